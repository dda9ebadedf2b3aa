"""A strict KMIP server of one client's AES keys, in the manner of keyservices.py: every byte of a request is accounted for. Its keys are objects; rotate()
makes what a re-key makes: a new object, linked from the old one. Besides the modes that all services have, it can lie in KMIP's own ways (LIES).
"""
import hashlib
import secrets
import socketserver
import ssl
import struct
import threading
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import keyservices
from wire import read_exactly

STRUCTURE, INTEGER, LONG, BIG, ENUM, BOOL, TEXT, BYTES, DATE, INTERVAL = range(1, 11)

ATTRIBUTE, ATTRIBUTE_NAME, ATTRIBUTE_VALUE, BATCH_COUNT, BATCH_ITEM = 0x420008, 0x42000A, 0x42000B, 0x42000D, 0x42000F
BLOCK_CIPHER_MODE, ALGORITHM, PARAMETERS, NONCE, LINK_TYPE, LINKED = 0x420011, 0x420028, 0x42002B, 0x42003D, 0x42004B, 0x42004C
MAX_RESPONSE, OPERATION, PADDING, VERSION, MAJOR, MINOR = 0x420050, 0x42005C, 0x42005F, 0x420069, 0x42006A, 0x42006B
REQUEST_HEADER, REQUEST, REQUEST_PAYLOAD, RESPONSE_HEADER, RESPONSE, RESPONSE_PAYLOAD = range(0x420077, 0x42007D)
RESULT_MESSAGE, RESULT_REASON, RESULT_STATUS, TIME_STAMP, UID = 0x42007D, 0x42007E, 0x42007F, 0x420092, 0x420094
DATA, RANDOM_IV, TAG_LENGTH, AUTH_TAG = 0x4200C2, 0x4200C5, 0x4200CE, 0x4200FF
GET_ATTRIBUTES, ENCRYPT, DECRYPT = 0x0B, 0x1F, 0x20
NOT_FOUND, CRYPTOGRAPHIC_FAILURE, PERMISSION_DENIED, WRONG_STATE, GENERAL_FAILURE = 0x01, 0x0A, 0x0C, 0x43, 0x100
ACTIVE, DEACTIVATED = 2, 3

# what a lying server answers, and the class that a node is to make of it
LIES = (("other id", "bad"), ("cut", "unreachable"), ("two counted", "bad"), ("two items", "bad"), ("no items", "bad"), ("too long within", "bad"),
        ("too long", "bad"), ("too short", "bad"), ("other operation", "bad"), ("other version", "bad"), ("undone", "bad"), ("no payload", "bad"), ("short", "bad"),
        ("zeroes", "bad"), ("text for bytes", "bad"), ("twice", "bad"), ("a request", "bad"), ("silence", "unreachable"), ("drip", "unreachable"))


def item(tag, kind, value):
    return struct.pack(">IBI", tag, kind, len(value))[1:] + value + b"\0" * (-len(value) % 8)


def block(tag, *items):
    return item(tag, STRUCTURE, b"".join(items))


def integer(tag, v):
    return item(tag, INTEGER, struct.pack(">i", v))


def enum(tag, v):
    return item(tag, ENUM, struct.pack(">I", v))


def text(tag, v):
    return item(tag, TEXT, v.encode())


def read(data):
    """The items of data as [(tag, value)]: structures as such lists, the rest as int, str or bytes."""
    items = []
    while data:
        tag, kind, n = struct.unpack(">I", b"\0" + data[:3])[0], data[3], struct.unpack(">I", data[4:8])[0]
        value, pad = data[8:8 + n], data[8 + n:8 + n + -n % 8]
        assert len(value) == n and len(pad) == -n % 8 and not any(pad), "a length, or padding that is not zero"
        data = data[8 + n + len(pad):]
        if kind == STRUCTURE:
            value = read(value)
        elif kind in (INTEGER, ENUM):
            assert n == 4
            value = int.from_bytes(value, "big", signed=kind == INTEGER)
        elif kind in (BOOL, DATE):
            assert n == 8
            value = int.from_bytes(value, "big")
        elif kind == TEXT:
            value = value.decode()
        else:
            assert kind == BYTES, f"type {kind}"
        items.append((tag, value))
    return items


def take(items, *tags):
    """The values, where the items are exactly these, in this order."""
    assert [t for t, _ in items] == list(tags), f"items {[hex(t) for t, _ in items]}"
    return [v for _, v in items]


class Failed(Exception):
    def __init__(self, reason, message="refused"):
        super().__init__(message)
        self.reason, self.message = reason, message


class Kmip(keyservices.KeyService):
    verdicts = tuple(v for v in keyservices.KeyService.verdicts if v[0] != "throttle")  # KMIP has no word for it

    def __init__(self, authority, mode="gcm"):
        super().__init__(authority)
        self.cipher_mode = mode
        self.minor = 4 if mode == "gcm" else 2
        self.objects, self.links = {}, {}
        self.first = self.new_object()
        self.newest = self.first
        _, self.client_pem = authority.issue("node")
        with open(self.client_pem, encoding="ascii") as f:
            self.secrets.append(f.read().split("PRIVATE KEY-----")[1].split("\n")[1])

    def new_object(self):
        name = secrets.token_hex(16)
        self.objects[name] = secrets.token_bytes(32)
        return name

    def rotate(self):
        self.links[self.newest] = self.new_object()
        self.newest = self.links[self.newest]

    def node_settings(self):
        return {
            "key-mode": "cmk",
            "key-url": f"kmip://127.0.0.1:{self.port}/{self.first}" + ("" if self.cipher_mode == "gcm" else "?mode=cbc"),
            "key-ca-file": self.authority.ca_file,
            "token-source": "cert",
            "token-secret-file": self.client_pem,
        }

    # ---- the server

    def start(self):
        service = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with service.lock:
                    service.connections.add(self.request)
                try:
                    self.request.do_handshake()
                    service.converse(self.request)
                except OSError:
                    pass  # a client that goes away is no news
                finally:
                    with service.lock:
                        service.connections.discard(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem_file)
        context.load_verify_locations(self.authority.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
        self.connections = set()
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def converse(self, sock):
        head = read_exactly(sock, 8)
        request = head + read_exactly(sock, struct.unpack(">I", head[4:])[0])
        self.n_requests += 1
        if self.mode == "garbage":
            sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
            return
        if self.mode in ("silence", "drip"):
            self.drag(sock)
            return
        answer = self.serve_request(request)
        sock.sendall(answer[:len(answer) // 2] if self.mode == "cut" else answer)

    def drag(self, sock):
        mode, until = self.mode, time.monotonic() + 60
        head = struct.pack(">IBI", RESPONSE, STRUCTURE, 4096)[1:]
        while self.mode == mode and time.monotonic() < until:
            if mode == "drip":
                sock.sendall(head[:1] or b"\0")
                head = head[1:]
            time.sleep(0.05)

    def serve_request(self, request):
        try:
            operation, payload = self.answer_request(request)
            return self.message(operation, payload)
        except Failed as e:
            return self.wrap_item(enum(RESULT_STATUS, 1) + enum(RESULT_REASON, e.reason) + text(RESULT_MESSAGE, e.message))
        except Exception as e:  # noqa: BLE001 - whatever a malformed request breaks
            self.problems.append(f"{type(e).__name__}: {e}")
            return self.wrap_item(enum(RESULT_STATUS, 1) + enum(RESULT_REASON, 4))

    def header(self, count=1):
        minor = self.minor + (self.mode == "other version")
        return block(RESPONSE_HEADER, block(VERSION, integer(MAJOR, 1), integer(MINOR, minor)),
                     item(TIME_STAMP, DATE, struct.pack(">q", int(time.time()))), integer(BATCH_COUNT, count))

    def wrap_item(self, inner):
        return block(RESPONSE, self.header(), block(BATCH_ITEM, inner))

    def message(self, operation, payload):
        """A success; or what a liar makes of it."""
        mode = self.mode
        if mode == "other operation":
            operation = ENCRYPT if operation == DECRYPT else DECRYPT
        inner = enum(OPERATION, operation) + enum(RESULT_STATUS, 3 if mode == "undone" else 0)
        if mode != "no payload":
            inner += block(RESPONSE_PAYLOAD, payload)
        if mode == "too long within":  # the last item's length goes past the payload's end
            at = inner.rindex(b"\x42\x00") + 4
            inner = inner[:at] + struct.pack(">I", 4096) + inner[at + 4:]
        one = block(BATCH_ITEM, inner)
        items = {"two items": one + one, "no items": b""}.get(mode, one)
        answer = block(RESPONSE, self.header(2 if mode == "two counted" else 1), items)
        if mode == "too long":
            answer = answer[:4] + struct.pack(">I", 1 << 30) + answer[8:]
        if mode == "too short":
            answer = answer[:4] + struct.pack(">I", len(answer) - 24) + answer[8:]
        return b"\x42\x00\x78" + answer[3:] if mode == "a request" else answer

    # ---- a request

    def answer_request(self, request):
        (message,) = take(read(request), REQUEST)
        header, batch = take(message, REQUEST_HEADER, BATCH_ITEM)
        version, room, count = take(header, VERSION, MAX_RESPONSE, BATCH_COUNT)
        self.expect(take(version, MAJOR, MINOR) == [1, self.minor] and room >= 4096 and count == 1, "the header")
        operation, payload = take(batch, OPERATION, REQUEST_PAYLOAD)
        if self.mode == "broken":
            raise Failed(GENERAL_FAILURE, "the database is away")
        handler = {GET_ATTRIBUTES: self.describe, ENCRYPT: self.encrypt, DECRYPT: self.decrypt}[operation]
        self.expect(payload[0][0] == UID, "the object comes first")
        name = payload[0][1]
        if self.denied:
            raise Failed(PERMISSION_DENIED, "the client may not\nuse this object")
        if self.deleted or name not in self.objects:
            raise Failed(NOT_FOUND, "no such object")
        answer = handler(name, payload[1:])
        shown = secrets.token_hex(16) if self.mode == "other id" else name
        return operation, text(UID, shown) + answer

    def describe(self, name, rest):
        asked = [v for _, v in rest]
        take(rest, *[ATTRIBUTE_NAME] * 7)
        self.expect(len(set(asked)) == 7 and "State" in asked, f"attributes {asked}")
        known = [("State", enum(ATTRIBUTE_VALUE, DEACTIVATED if self.disabled else ACTIVE)),
                 ("Cryptographic Algorithm", enum(ATTRIBUTE_VALUE, 3)), ("Cryptographic Length", integer(ATTRIBUTE_VALUE, 256)),
                 ("Cryptographic Usage Mask", integer(ATTRIBUTE_VALUE, 12)),
                 ("Activation Date", item(ATTRIBUTE_VALUE, DATE, struct.pack(">q", 1)))]
        if name in self.links:
            known.append(("Link", block(ATTRIBUTE_VALUE, enum(LINK_TYPE, 0x106), text(LINKED, self.links[name]))))
        return b"".join(block(ATTRIBUTE, text(ATTRIBUTE_NAME, n), v) for n, v in known)

    def parameters(self, items, encrypts):
        gcm = self.cipher_mode == "gcm"
        expected = [(BLOCK_CIPHER_MODE, 9 if gcm else 1)] + ([] if gcm else [(PADDING, 3)]) + [(ALGORITHM, 3)]
        expected += ([(RANDOM_IV, 1)] if encrypts else []) + ([(TAG_LENGTH, 16)] if gcm else [])
        self.expect(items == expected, f"parameters {items}")
        if self.disabled:
            raise Failed(WRONG_STATE, "the object is not active")

    def encrypt(self, name, rest):
        parameters, plain = take(rest, PARAMETERS, DATA)
        self.parameters(parameters, True)
        self.expect(len(plain) == 32, "what is wrapped has 32 bytes")
        key = self.objects[name]
        if self.cipher_mode == "gcm":
            nonce = secrets.token_bytes(12)
            sealed = AESGCM(key).encrypt(nonce, plain, None)
            return item(DATA, BYTES, sealed[:-16]) + item(NONCE, BYTES, nonce) + item(AUTH_TAG, BYTES, sealed[-16:])
        nonce, padder = secrets.token_bytes(16), padding.PKCS7(128).padder()
        c = Cipher(algorithms.AES(key), modes.CBC(nonce)).encryptor()
        return item(DATA, BYTES, c.update(padder.update(plain) + padder.finalize()) + c.finalize()) + item(NONCE, BYTES, nonce)

    def decrypt(self, name, rest):
        key = self.objects[name]
        if self.cipher_mode == "gcm":
            parameters, sealed, nonce, tag = take(rest, PARAMETERS, DATA, NONCE, AUTH_TAG)
            self.parameters(parameters, False)
            try:
                plain = AESGCM(key).decrypt(nonce, sealed + tag, None)
            except InvalidTag:
                raise Failed(CRYPTOGRAPHIC_FAILURE) from None
        else:
            parameters, sealed, nonce = take(rest, PARAMETERS, DATA, NONCE)
            self.parameters(parameters, False)
            c = Cipher(algorithms.AES(key), modes.CBC(nonce)).decryptor()
            unpadder = padding.PKCS7(128).unpadder()
            plain = unpadder.update(c.update(sealed) + c.finalize()) + unpadder.finalize()
        plain = {"lie": hashlib.sha256(plain).digest(), "short": plain[:-1], "zeroes": b"\0" * 32}.get(self.mode, plain)
        answer = item(DATA, TEXT if self.mode == "text for bytes" else BYTES, plain)
        return answer * 2 if self.mode == "twice" else answer
