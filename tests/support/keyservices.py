"""Strict stand-ins for key services that cannot run here: each checks every part of a request and keeps what was wrong with it in
`problems`, which a test asserts to be empty. All are told apart by the same states, so that one test runs against each of them.

    service.deny()      the identity lost its permission          service.allow()
    service.disable()   the key is switched off                   service.enable()
    service.delete()    the key is gone                           service.recover()
    service.rotate()    a newer version of the key
    service.mode        None, "throttle", "broken" (503), "lie" (another key's bytes), "garbage" (an answer of somebody else)
    service.stop()      out of reach                              service.start()
"""
import base64
import datetime
import hashlib
import http.server
import ipaddress
import json
import os
import secrets
import ssl
import threading
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def un_b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class Authority:
    """An authority of this test alone, and what it signs."""

    def __init__(self, directory):
        self.dir = str(directory)
        os.makedirs(self.dir, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "key service test")])
        self.cert = self.build(self.name, self.key.public_key(), [
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
                           data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False), True),
            (x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)])
        self.ca_file = self.put("ca.pem", self.cert.public_bytes(serialization.Encoding.PEM))

    def put(self, name, data):
        path = os.path.join(self.dir, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
            f.write(data)
        return path

    def build(self, subject, public_key, extensions, over=False):
        now = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=3 if over else 0)
        b = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public_key)
             .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
             .not_valid_after(now + datetime.timedelta(days=2)))
        for extension, critical in extensions:
            b = b.add_extension(extension, critical)
        return b.sign(self.key, hashes.SHA256())

    def issue(self, name, key=None, over=False):
        """Certificate and key of a server on this machine, or of a client; their files. over: its time is over."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        cert = self.build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), [
            (x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost"),
                                          x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH, x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)], over)
        both = cert.public_bytes(serialization.Encoding.PEM) + pem(key)
        return cert, self.put(f"{name}.pem", both)


class Request:
    def __init__(self, handler):
        self.method = handler.command
        self.target = handler.path
        self.path, _, self.query = handler.path.partition("?")
        self.headers = handler.headers
        self.peer = handler.connection.getpeercert() if hasattr(handler.connection, "getpeercert") else None
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))

    def form(self):
        fields = urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)
        assert len(dict(fields)) == len(fields), "a field twice"
        return dict(fields)

    def json(self):
        def no_twins(pairs):
            assert len(dict(pairs)) == len(pairs), "a member twice"
            return dict(pairs)
        return json.loads(self.body, object_pairs_hook=no_twins)


class Refused(Exception):
    """Ends a request with this answer."""

    def __init__(self, status, body, headers=None):
        super().__init__(status)
        self.answer = (status, body, headers or {})


class Service:
    """One server on a port of its own; answer(request) gives (status, JSON object or bytes[, headers])."""

    tls = True
    name = "localhost"
    clock_ahead = 0  # seconds

    def __init__(self, authority):
        self.authority = authority
        self.problems = []
        self.mode = None
        self.n_requests = 0
        self.lock = threading.Lock()
        self.server = None
        self.port = 0
        if self.tls:
            _, self.pem_file = authority.issue(self.name)

    # ---- the server

    def start(self):
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                service.serve(self)
            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

            def log_message(self, *args):
                pass

            def date_time_string(self, timestamp=None):
                return super().date_time_string(time.time() + service.clock_ahead)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass  # a client that goes away is no news

            def process_request_thread(self, request, client_address):
                with service.lock:
                    service.connections.add(request)
                try:
                    super().process_request_thread(request, client_address)
                finally:
                    with service.lock:
                        service.connections.discard(request)

        self.connections = set()
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.pem_file)
            self.tune_tls(context)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def tune_tls(self, context):
        pass

    def stop(self):
        """Out of reach: nothing listens, and what is connected is cut off."""
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            for c in list(self.connections):
                try:
                    c.shutdown(2)
                except OSError:
                    pass
        self.server = None

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    # ---- a request

    def serve(self, handler):
        self.n_requests += 1
        try:
            answer = self.answer(Request(handler))
        except Refused as e:
            answer = e.answer
        except Exception as e:  # noqa: BLE001 - whatever a malformed request breaks
            self.problems.append(f"{handler.command} {handler.path}: {type(e).__name__}: {e}")
            answer = (400, {"error": {"code": "BadRequest"}})
        status, body, headers = (*answer, {})[:3]
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def expect(self, holds, what):
        if not holds:
            raise AssertionError(what)

    def answer(self, q):
        raise NotImplementedError


class KeyService(Service):
    """What all key services have: one key, its versions and its state."""

    # modes that are no verdict on the key, and the class that a node is to make of each
    verdicts = (("throttle", "throttled"), ("broken", "unreachable"), ("lie", "bad"), ("garbage", "bad"))

    def __init__(self, authority):
        super().__init__(authority)
        self.denied = self.disabled = self.deleted = False
        self.secrets = []  # texts that must never stand in a log

    def deny(self):
        self.denied = True

    def allow(self):
        self.denied = False

    def disable(self):
        self.disabled = True

    def enable(self):
        self.disabled = False

    def delete(self):
        self.deleted = True

    def recover(self):
        self.deleted = False

    def new_secret(self, n=24):
        text = "xmarkerx" + secrets.token_hex(n)
        self.secrets.append(text)
        return text

    def secret_file(self, name, text):
        return self.authority.put(name, text.encode() + b"\n")


class Entra(Service):
    """Tokens for one application, against a secret, a federated token or a certificate's signature; Arc's two steps; IMDS."""

    def __init__(self, authority, audience):
        super().__init__(authority)
        self.audience = audience
        self.tenant = "11111111-2222-3333-4444-555555555555"
        self.client_id = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
        self.client_secret = "s3cret~xmarkerx&+%=" + secrets.token_hex(8)
        self.federated = "xmarkerx." + secrets.token_hex(16) + ".x"
        self.app_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.app_cert, self.app_pem = authority.issue("app", self.app_key)
        self.gone = False
        self.tokens = set()
        self.seen_ids = set()
        self.arc_dir = os.path.join(authority.dir, "arc")
        os.makedirs(self.arc_dir, exist_ok=True)
        self.arc_key = None

    def new_token(self):
        token = "xmarkerxtoken." + secrets.token_hex(24)
        self.tokens.add(token)
        return token

    def revoke_tokens(self):
        self.tokens.clear()

    def refuse(self, status, error, number):
        raise Refused(status, {"error": error, "error_description": f"AADSTS{number}: refused", "error_codes": [number],
                               "timestamp": "2026-01-01 00:00:00Z", "trace_id": "t", "correlation_id": "c"})

    def answer(self, q):
        if self.mode == "broken":
            raise Refused(503, b"busy")
        if q.path == f"/{self.tenant}/oauth2/v2.0/token":
            return self.client_credentials(q)
        if q.path == "/metadata/identity/oauth2/token":
            return self.arc(q)
        raise Refused(404, b"")

    def client_credentials(self, q):
        self.expect(q.method == "POST" and q.query == "", "POST without a query")
        self.expect(q.headers["Content-Type"] == "application/x-www-form-urlencoded", "content type")
        f = q.form()
        self.expect(f.pop("grant_type") == "client_credentials", "grant type")
        self.expect(f.pop("client_id") == self.client_id, "client id")
        self.expect(f.pop("scope") == self.audience + "/.default", "scope")
        if self.gone:
            self.refuse(400, "unauthorized_client", 700016)
        if "client_secret" in f:
            if f.pop("client_secret") != self.client_secret:
                self.refuse(401, "invalid_client", 7000215)
        else:
            self.expect(f.pop("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "assertion type")
            self.check_assertion(f.pop("client_assertion"))
        self.expect(not f, f"fields that nobody asked for: {f}")
        return 200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": self.new_token()}

    def check_assertion(self, text):
        if text == self.federated:
            return
        if text.count(".") != 2 or text.startswith("xmarkerx."):
            self.refuse(401, "invalid_client", 70021)
        head, claims, signature = text.split(".")
        h, c = json.loads(un_b64url(head)), json.loads(un_b64url(claims))
        thumb = b64url(self.app_cert.fingerprint(hashes.SHA256()))
        self.expect(h == {"alg": "PS256", "typ": "JWT", "x5t#S256": thumb}, f"header {h}")
        self.expect(c["aud"] == f"{self.url}/{self.tenant}/oauth2/v2.0/token", f"audience {c}")
        self.expect(c["iss"] == c["sub"] == self.client_id, "issuer and subject")
        now = datetime.datetime.now(datetime.timezone.utc).timestamp()
        self.expect(c["nbf"] <= now + 5 and now < c["exp"] <= now + 605, "dates")
        self.expect(len(c["jti"]) >= 16 and c["jti"] not in self.seen_ids, "an id of its own")
        self.seen_ids.add(c["jti"])
        self.app_key.public_key().verify(un_b64url(signature), f"{head}.{claims}".encode(),
                                         padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())

    def arc(self, q):
        self.expect(q.method == "GET" and q.headers["Metadata"] == "true", "the Metadata header")
        given = dict(urllib.parse.parse_qsl(q.query, strict_parsing=True))
        self.expect(given == {"api-version": "2020-06-01", "resource": self.audience}, f"query {given}")
        if self.gone:
            raise Refused(400, {"error": "invalid_request", "error_description": "Identity not found"})
        if "Authorization" not in q.headers:
            self.arc_key = secrets.token_hex(16)
            path = os.path.join(self.arc_dir, f"{secrets.token_hex(4)}.key")
            with open(path, "w", encoding="ascii") as f:
                f.write(self.arc_key)
            raise Refused(401, b"", {"WWW-Authenticate": f"Basic realm={path}"})
        self.expect(q.headers["Authorization"] == f"Basic {self.arc_key}", "the file's content")
        now = int(datetime.datetime.now(datetime.timezone.utc).timestamp())
        return 200, {"access_token": self.new_token(), "expires_on": str(now + 3600), "expires_in": "3600", "resource": self.audience,
                     "token_type": "Bearer"}


class AzureVault(KeyService):
    """The keys data plane as a node uses it: get, wrapkey, unwrapkey of one RSA key, with Entra beside it."""

    key = "data"

    def __init__(self, authority, material=None):
        super().__init__(authority)
        self.audience = "https://vault.test"
        self.entra = Entra(authority, self.audience)
        self.versions = {}
        self.newest = None
        self.tags = {}
        self.rotate(material)

    def start(self):
        if self.entra.server is None:
            self.entra.start()
        return super().start()

    def rotate(self, material=None):
        self.newest = secrets.token_hex(16)
        self.versions[self.newest] = material or rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def take_key_of(self, other, restored):
        """Another vault of the same tenant with the same material: restored from its backup, with its versions, or imported under one of its own."""
        if restored:
            self.versions, self.newest = dict(other.versions), other.newest
        else:
            self.versions = {self.newest: other.versions[other.newest]}
        self.entra = other.entra

    def node_settings(self, source="client-secret"):
        self.secrets += [self.entra.client_secret, self.entra.federated]
        e = self.entra
        settings = {
            "key-mode": "cmk",
            "key-url": f"{self.url}/keys/{self.key}",
            "key-ca-file": self.authority.ca_file,
            "key-audience": self.audience,
            "token-source": source,
            "client-id": e.client_id,
            "tenant-id": e.tenant,
            "token-endpoint": f"{e.url}/{e.tenant}/oauth2/v2.0/token",
        }
        if source == "client-secret":
            settings["token-secret-file"] = self.secret_file("client-secret", e.client_secret)
        elif source == "workload":
            settings["token-secret-file"] = self.secret_file("federated", e.federated)
        elif source == "client-certificate":
            settings["token-secret-file"] = e.app_pem
        elif source == "arc":
            settings.update({"token-endpoint": f"{e.url}/metadata/identity/oauth2/token", "token-secret-file": e.arc_dir, "client-id": ""})
        return settings

    def refuse(self, status, code, inner=None, message="refused"):
        body = {"error": {"code": code, "message": message}}
        if inner:
            body["error"]["innererror"] = {"code": inner}
        raise Refused(status, body)

    def answer(self, q):
        self.expect(q.query == "api-version=7.4", f"query {q.query}")
        self.expect(q.headers["Accept"] == "application/json", "Accept")
        parts = q.path.split("/")
        self.expect(parts[:3] == ["", "keys", self.key], f"path {q.path}")
        op = parts[4] if len(parts) > 4 else ""
        self.expect((q.method, op) in (("GET", ""), ("POST", "wrapkey"), ("POST", "unwrapkey")), f"{q.method} {op}")
        if self.mode == "throttle":
            raise Refused(429, {"error": {"code": "Throttled", "message": "slow down"}}, {"Retry-After": "1"})
        if self.mode == "broken":
            raise Refused(503, b"<html>busy</html>", {"Content-Type": "text/html"})
        if self.mode == "garbage":
            raise Refused(403, b"<html>a proxy says no</html>", {"Content-Type": "text/html"})
        scheme, _, token = q.headers["Authorization"].partition(" ")
        if scheme != "Bearer" or token not in self.entra.tokens:
            raise Refused(401, {"error": {"code": "Unauthorized", "message": "AKV10000"}}, {
                "WWW-Authenticate": 'Bearer authorization="https://evil.example/t", resource="https://evil.example"'})
        return self.operate(q, parts[3] or self.newest, op)

    def operate(self, q, version, op):
        if self.denied:
            self.refuse(403, "Forbidden", "ForbiddenByRbac",
                        f"Caller is not authorized. Action: 'Microsoft.KeyVault/vaults/keys/{op or 'read'}/action'")
        if self.deleted or version not in self.versions:
            self.refuse(404, "KeyNotFound")
        key, kid = self.versions[version], f"{self.url}/keys/{self.key}/{version}"
        if not op:
            n = key.public_key().public_numbers()
            return 200, {"key": {"kid": kid, "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"],
                                 "n": b64url(n.n.to_bytes(256, "big")), "e": "AQAB"},
                         "attributes": {"enabled": not self.disabled, "created": 1, "updated": 1, "recoveryLevel": "Recoverable"},
                         "tags": self.tags}
        self.expect(q.headers["Content-Type"] == "application/json", "content type")
        body = q.json()
        self.expect(set(body) == {"alg", "value"} and body["alg"] == "RSA-OAEP-256", f"body {set(body)}")
        if self.disabled:
            self.refuse(403, "Forbidden", "KeyDisabled")
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        value = un_b64url(body["value"])
        if op == "wrapkey":
            self.expect(len(value) == 32, "what is wrapped has 32 bytes")
            return 200, {"kid": kid, "value": b64url(key.public_key().encrypt(value, oaep))}
        try:
            plain = key.decrypt(value, oaep)
        except ValueError:
            self.refuse(400, "BadParameter")
        if self.mode == "lie":
            plain = hashlib.sha256(plain).digest()
        return 200, {"kid": kid, "value": b64url(plain)}


class ConnectProxy(Service):
    """A proxy that tunnels, and counts."""

    tls = False

    def __init__(self, authority):
        super().__init__(authority)
        self.tunnels = []

    def start(self):
        import socket
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def stop(self):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.tunnel, args=(client,), daemon=True).start()

    def tunnel(self, client):
        import socket
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = client.recv(4096)
            if not more:
                return
            head += more
        method, target, _ = head.split(b"\r\n")[0].split(b" ")
        if method != b"CONNECT" or b"uthorization" in head:
            self.problems.append(f"not a bare CONNECT: {head!r}")
            client.close()
            return
        self.tunnels.append(target.decode())
        host, _, port = target.decode().rpartition(":")
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        def pump(a, b):
            try:
                while data := a.recv(65536):
                    b.sendall(data)
            except OSError:
                pass
            for s in (a, b):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        pump(client, server)


class Transit(KeyService):
    """HashiCorp Vault / OpenBao: one transit key, real AES-256-GCM under it, and the auth methods that a node uses."""

    key = "coffer"
    mount = "kms/transit"
    namespace = "team/db"

    def __init__(self, authority):
        super().__init__(authority)
        self.versions = {}
        self.least = 1
        self.tokens = set()
        self.role_id = "role-" + secrets.token_hex(8)
        self.secret_id = self.new_secret()
        self.jwt = "xmarkerx." + secrets.token_hex(24) + ".sig"
        self.role_gone = False
        self.may_switch = True  # update on keys/NAME/rotate and keys/NAME/config
        self.client_cert, self.client_pem = authority.issue("node")
        self.rotate()

    def tune_tls(self, context):
        context.load_verify_locations(self.authority.ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL

    def rotate(self):
        self.versions[len(self.versions) + 1] = secrets.token_bytes(32)

    def disable(self):
        """What an operator does to switch versions off: they may decrypt no more."""
        self.least = len(self.versions) + 1

    def enable(self):
        self.least = 1

    def new_token(self):
        token = "hvs.xmarkerx" + secrets.token_hex(24)
        self.tokens.add(token)
        self.secrets.append(token)
        return token

    def revoke_tokens(self):
        self.tokens.clear()

    def node_settings(self, source="approle"):
        self.secrets += [self.secret_id, self.jwt]
        settings = {
            "key-mode": "cmk",
            "key-url": f"vault://127.0.0.1:{self.port}/{self.mount}/{self.key}?namespace={self.namespace}",
            "key-ca-file": self.authority.ca_file,
            "token-source": source,
            "client-id": self.role_id,
        }
        if source == "approle":
            settings["token-secret-file"] = self.secret_file("secret-id", self.secret_id)
        elif source in ("kubernetes", "jwt"):
            settings["token-secret-file"] = self.secret_file("jwt", self.jwt)
            settings["token-endpoint"] = "auth/k8s-prod" if source == "kubernetes" else ""
        elif source == "cert":
            settings["token-secret-file"] = self.client_pem
        else:
            settings["token-secret-file"] = self.secret_file("token", self.new_token())
        return settings

    def refuse(self, status, *errors):
        raise Refused(status, {"errors": list(errors)})

    def answer(self, q):
        self.expect(q.headers["X-Vault-Namespace"] == self.namespace, "the namespace")
        self.expect(q.headers["X-Vault-Request"] == "true", "X-Vault-Request")
        self.expect(q.query == "", "no query")
        self.expect(q.body == b"" or q.headers["Content-Type"] == "application/json", "content type")
        if self.mode == "throttle":
            raise Refused(429, {"errors": ["request path: rate limit quota exceeded"]}, {"Retry-After": "1"})
        if self.mode == "broken":
            self.refuse(503, "Vault is sealed")
        if self.mode == "garbage":
            raise Refused(403, b"<html>a proxy says no</html>", {"Content-Type": "text/html"})
        if q.path.endswith("/login"):
            return self.login(q)
        self.expect("Authorization" not in q.headers, "one credential is enough")
        if q.headers["X-Vault-Token"] not in self.tokens or self.denied:
            self.refuse(403, "1 error occurred:\n\t* permission denied\n\n")
        start = f"/v1/{self.mount}/"
        self.expect(q.path.startswith(start), q.path)
        op, _, name = q.path[len(start):].partition("/")
        if q.method == "POST" and op == "keys":
            return self.operate(q, name)
        self.expect(name == self.key and (q.method, op) in (("GET", "keys"), ("POST", "encrypt"), ("POST", "decrypt")), q.path)
        return {"keys": self.describe, "encrypt": self.encrypt, "decrypt": self.decrypt}[op](q)

    def login(self, q):
        self.expect(q.method == "POST" and "X-Vault-Token" not in q.headers, "a login without a token")
        body = q.json()
        mount = q.path.removeprefix("/v1/").removesuffix("/login")
        wanted = {"auth/approle": {"role_id": self.role_id, "secret_id": self.secret_id},
                  "auth/k8s-prod": {"role": self.role_id, "jwt": self.jwt},
                  "auth/jwt": {"role": self.role_id, "jwt": self.jwt},
                  "auth/cert": {"name": self.role_id}}[mount]
        self.expect(set(body) == set(wanted), f"members {set(body)}")
        if self.role_gone:
            self.refuse(400, "invalid role or secret ID")
        if mount == "auth/cert" and not q.peer:
            self.refuse(400, "client certificate must be supplied")
        if body != wanted:
            self.refuse(400, "invalid role or secret ID")
        return 200, {"auth": {"client_token": self.new_token(), "accessor": "a", "policies": ["default"], "lease_duration": 3600,
                              "renewable": True, "token_type": "service"}}

    def operate(self, q, what):
        """Vault's path_rotate.go and path_config.go: what changes the key answers 204."""
        if not self.may_switch:
            self.refuse(403, "1 error occurred:\n\t* permission denied\n\n")
        if self.deleted:
            self.refuse(404)
        if what == f"{self.key}/rotate":
            self.expect(q.json() == {}, f"body {q.body}")
            self.rotate()
            return 204, b""
        body = q.json()
        self.expect(what == f"{self.key}/config" and list(body) == ["min_decryption_version"] and body["min_decryption_version"] >= 1,
                    f"{q.path}: {q.body}")
        if body["min_decryption_version"] > len(self.versions):
            self.refuse(400, f"cannot set min decryption version of {body['min_decryption_version']}, latest key version is {len(self.versions)}")
        self.least = body["min_decryption_version"]
        return 204, b""

    def describe(self, q):
        if self.deleted:
            self.refuse(404)
        return 200, {"data": {"name": self.key, "type": "aes256-gcm96", "deletion_allowed": False, "derived": False, "exportable": False,
                              "keys": {str(v): 1 for v in self.versions}, "latest_version": len(self.versions), "min_available_version": 0,
                              "min_decryption_version": self.least, "min_encryption_version": 0, "supports_encryption": True,
                              "supports_decryption": True, "supports_derivation": True, "supports_signing": False}}

    def encrypt(self, q):
        body = q.json()
        self.expect(set(body) == {"plaintext", "key_version"} and isinstance(body["key_version"], int), f"members {set(body)}")
        if self.deleted:
            self.refuse(400, "encryption key not found")
        plain, v = base64.b64decode(body["plaintext"], validate=True), body["key_version"]
        self.expect(len(plain) == 32 and v in self.versions, "32 bytes under a version that is there")
        nonce = secrets.token_bytes(12)
        text = f"vault:v{v}:{base64.b64encode(nonce + AESGCM(self.versions[v]).encrypt(nonce, plain, None)).decode()}"
        return 200, {"data": {"ciphertext": text, "key_version": v}}

    def decrypt(self, q):
        body = q.json()
        self.expect(set(body) == {"ciphertext"}, f"members {set(body)}")
        if self.deleted:
            self.refuse(400, "encryption key not found")
        word, version, text = body["ciphertext"].split(":")
        self.expect(word == "vault", "the prefix")
        v, data = int(version[1:]), base64.b64decode(text, validate=True)
        if v < self.least:
            self.refuse(400, "ciphertext or signature version is disallowed by policy (too old)")
        plain = AESGCM(self.versions[v]).decrypt(data[:12], data[12:], None)
        if self.mode == "lie":
            plain = hashlib.sha256(plain).digest()
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}
