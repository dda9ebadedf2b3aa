"""The wire as clients meet it: compression, the old handshake, TLS, who is listened to, and limits."""
import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
import struct
import threading
import warnings
import zlib

import bson
import pymongo
import pymongo.errors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from wire import OP_REPLY, OP_QUERY, OP_COMPRESSED, OP_MSG, message, op_msg, read_exactly, read_message

COMPRESSORS = {"snappy": 1, "zlib": 2, "zstd": 3}


# ---- Certificates ----

def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(subject, key, issuer, issuer_key, ca=False):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .sign(issuer_key, hashes.SHA256()))


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """Files: ca.pem, server.pem, client.pem, and stranger.pem, a client's of another authority. PEM of certificate and key."""
    folder = tmp_path_factory.mktemp("pki")
    keys = {n: rsa.generate_private_key(65537, 2048) for n in ("ca", "server", "client", "other", "stranger")}
    made = {"ca": certificate("ca", keys["ca"], "ca", keys["ca"], ca=True),
            "server": certificate("server", keys["server"], "ca", keys["ca"]),
            "client": certificate("client", keys["client"], "ca", keys["ca"]),
            "stranger": certificate("stranger", keys["stranger"], "other", keys["other"])}
    for what, cert in made.items():
        with open(folder / f"{what}.pem", "wb") as f:
            f.write(cert.public_bytes(serialization.Encoding.PEM))
            if what != "ca":
                f.write(keys[what].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                 serialization.NoEncryption()))
    return lambda what: str(folder / f"{what}.pem")


def tls_settings(pki, **more):
    return {"tls-cert-file": pki("server"), **{k.replace("_", "-"): v for k, v in more.items()}}


def handshake(port, pki, lowest, highest, client=None):
    """The version that was agreed upon. Raises ssl.SSLError or ConnectionError when there was none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki("ca"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = lowest, highest
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the server that refuses what is old
    if client:
        context.load_cert_chain(client)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as s:
        s.sendall(op_msg({"ping": 1, "$db": "admin"}))  # TLS 1.3 tells of a refused certificate only now
        assert read_message(s)[1]["ok"] == 1
        return s.version()


# ---- Messages ----

def op_query(document, ns="admin.$cmd", n=-1):
    return message(OP_QUERY, struct.pack("<i", 0) + ns.encode() + b"\0" + struct.pack("<ii", 0, n) + bson.encode(document))


@pytest.fixture
def dial(node):
    open_sockets = []

    def connect(to=None):
        s = socket.create_connection(("127.0.0.1", (to or node).port), timeout=30)
        open_sockets.append(s)
        return s
    yield connect
    for s in open_sockets:
        s.close()


def closed(s):
    try:
        return s.recv(1) == b""
    except ConnectionError:
        return True


def ends(s):
    """The connection ends, perhaps after an error that says why."""
    try:
        assert read_message(s)[1]["ok"] == 0
    except ConnectionError:
        return True
    return closed(s)


# ---- Compression ----

class Opcodes:
    """A relay in front of a node that notes each message's opcode and compressor, both ways."""

    def __init__(self, port):
        self.seen = {"to": set(), "from": set()}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(port,), daemon=True).start()

    def accept(self, port):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for way, source, sink in (("to", client, server), ("from", server, client)):
                threading.Thread(target=self.relay, args=(way, source, sink), daemon=True).start()

    def relay(self, way, source, sink):
        try:
            while True:
                head = read_exactly(source, 16)
                length, _, _, opcode = struct.unpack("<iiii", head)
                body = read_exactly(source, length - 16)
                self.seen[way].add((opcode, body[8] if opcode == OP_COMPRESSED else None))
                sink.sendall(head + body)
        except OSError:
            for s in (source, sink):
                s.close()


@pytest.mark.parametrize("compressor", sorted(COMPRESSORS))
def test_a_driver_compresses(node, compressor):
    relay = Opcodes(node.port)
    uri = f"mongodb://{node.user}:{node.password}@127.0.0.1:{relay.port}/?authSource=admin"
    with pymongo.MongoClient(uri, compressors=compressor, directConnection=True) as client:
        documents = [{"_id": i, "text": "x" * 1000 + str(i)} for i in range(2000)]
        client.db.c.insert_many(documents)
        assert list(client.db.c.find().sort("_id")) == documents
    compressed = (OP_COMPRESSED, COMPRESSORS[compressor])
    assert compressed in relay.seen["to"] and compressed in relay.seen["from"]
    assert {c for op, c in relay.seen["from"] if op == OP_COMPRESSED} == {COMPRESSORS[compressor]}
    relay.listener.close()


def test_who_does_not_compress_is_not_answered_so(node):
    relay = Opcodes(node.port)
    uri = f"mongodb://{node.user}:{node.password}@127.0.0.1:{relay.port}/?authSource=admin"
    with pymongo.MongoClient(uri, directConnection=True) as client:
        client.db.c.insert_one({"text": "x" * 10000})
        assert client.db.c.find_one()
    assert {op for op, _ in relay.seen["from"]} <= {OP_MSG, OP_REPLY}
    relay.listener.close()


def test_hello_names_compressors_in_the_clients_order(node):
    with node.client() as client:
        assert client.admin.command("hello", compression=["zlib", "lz4", "zstd"])["compression"] == ["zlib", "zstd"]
        assert "compression" not in client.admin.command("hello")
        assert "compression" not in client.admin.command("hello", compression=["lz4"])


def test_compressed_messages_that_lie_end_the_connection(dial):
    inner = struct.pack("<IB", 0, 0) + bson.encode({"listCommands": 1, "$db": "admin"})
    good = struct.pack("<iiB", OP_MSG, len(inner), 2) + zlib.compress(inner)
    s = dial()
    s.sendall(message(OP_COMPRESSED, good))
    assert read_message(s)[1]["ok"] == 0  # nothing was agreed on
    s = dial()
    s.sendall(op_msg({"hello": 1, "compression": ["zlib"], "$db": "admin"}))
    assert read_message(s)[1]["compression"] == ["zlib"]
    s.sendall(message(OP_COMPRESSED, good))
    assert read_message(s) == (OP_COMPRESSED, 2)
    for bad in (struct.pack("<iiB", OP_MSG, len(inner) + 1, 2) + zlib.compress(inner), struct.pack("<iiB", OP_MSG, len(inner) - 1, 2) + zlib.compress(inner),
                struct.pack("<iiB", OP_MSG, 2**31 - 1, 2) + zlib.compress(inner), struct.pack("<iiB", OP_MSG, -1, 2) + zlib.compress(inner),
                struct.pack("<iiB", OP_MSG, len(inner), 9) + inner, struct.pack("<iiB", OP_COMPRESSED, len(good), 0) + good,
                struct.pack("<iiB", OP_MSG, len(inner), 2) + b"garbage", good[:8]):
        s = dial()
        s.sendall(op_msg({"hello": 1, "compression": ["zlib"], "$db": "admin"}))
        read_message(s)
        s.sendall(message(OP_COMPRESSED, bad))
        assert ends(s)


# ---- The old handshake ----

def test_op_query_is_for_the_handshake_alone(dial):
    s = dial()
    for hello in ("isMaster", "ismaster", "hello"):
        s.sendall(op_query({hello: 1, "helloOk": True}))
        opcode, reply = read_message(s)
        assert opcode == OP_REPLY and reply["ok"] == 1 and reply["maxWireVersion"] >= 21 and reply["helloOk"] is True
    s.sendall(op_query({"$query": {"isMaster": 1}, "$readPreference": {"mode": "primary"}}))
    assert read_message(s)[1]["ok"] == 1
    s.sendall(op_query({"hello": 1}, ns="db.c", n=0))
    assert read_message(s)[1]["code"] == 352
    for command in ({"ping": 1}, {"find": "c"}, {"insert": "c", "documents": [{}]}, {"saslStart": 1}):
        s.sendall(op_query(command))
        opcode, reply = read_message(s)
        assert (opcode, reply["ok"], reply["code"]) == (OP_REPLY, 0, 352)


@pytest.mark.parametrize("opcode", [2001, 2002, 2005, 2006, 2007, 2010, 2011, 1, 0, -1])
def test_other_opcodes_end_the_connection(dial, opcode):
    s = dial()
    body = bytes(4) + b"db.c\0" + bytes(8) + bson.encode({})
    s.sendall(message(opcode, body))
    assert ends(s)


@pytest.mark.parametrize("length", [-1, 0, 15, 48000001, 2**31 - 1])
def test_lengths_that_cannot_be_end_the_connection(dial, length):
    s = dial()
    s.sendall(struct.pack("<iiii", length, 7, 0, OP_MSG))
    assert closed(s)


def test_flags_of_op_msg(dial):
    s = dial()
    s.sendall(op_msg({"ping": 1, "$db": "admin"}, flags=1 << 1))  # moreToCome: no answer; the next one's comes
    s.sendall(op_msg({"buildInfo": 1, "$db": "admin"}, flags=1 << 30))  # unknown, but of those that are ignored
    assert "version" in read_message(s)[1]
    s.sendall(op_msg({"ping": 1, "$db": "admin"}, flags=1 << 2))  # unknown, of those that are not
    try:
        assert read_message(s)[1]["ok"] == 0
    except ConnectionError:
        pass


# ---- TLS ----

def test_tls_versions(make_node, pki):
    node = make_node(tls_settings(pki), start=False)
    start_tls(node)
    v = ssl.TLSVersion
    assert handshake(node.port, pki, v.TLSv1_2, v.TLSv1_2) == "TLSv1.2"
    assert handshake(node.port, pki, v.TLSv1_2, v.TLSv1_3) == "TLSv1.3"
    for old in (v.TLSv1_1, v.TLSv1):
        with pytest.raises((ssl.SSLError, ConnectionError)) as e:
            handshake(node.port, pki, old, old)
        assert "NO_PROTOCOLS_AVAILABLE" not in str(e.value), "it is the client here that knows no old version"
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as plain:
        plain.sendall(op_msg({"ping": 1, "$db": "admin"}))
        assert not plain.recv(4096).startswith(struct.pack("<i", 50)) and closed(plain)


def test_a_handshake_that_stops_holds_nobody_up(make_node, pki):
    """Nothing sent, half a ClientHello, a whole one and no answer to the server's: others log in meanwhile, and all of them end."""
    node = make_node(tls_settings(pki, handshake_timeout="1s", workers="1", max_workers="2"), start=False)
    start_tls(node)
    hello = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello).do_handshake()
    first = hello.read()
    stopped = []
    for n in range(60):
        s = socket.create_connection(("127.0.0.1", node.port), timeout=60)
        s.sendall((b"", first[:1], first[:len(first) // 2], first)[n % 4])
        stopped.append(s)
    v = ssl.TLSVersion
    for _ in range(5):
        assert handshake(node.port, pki, v.TLSv1_2, v.TLSv1_3) == "TLSv1.3"
    for s in stopped:
        with contextlib.suppress(ConnectionError):
            while s.recv(65536):
                pass
        s.close()
    assert handshake(node.port, pki, v.TLSv1_2, v.TLSv1_3) == "TLSv1.3"


def start_tls(node):
    node.spawn()
    node.port = node.wait_port()


def test_a_driver_over_tls(make_node, pki):
    node = make_node(tls_settings(pki), start=False)
    start_tls(node)
    with pymongo.MongoClient(f"mongodb://127.0.0.1:{node.port}", tls=True, tlsCAFile=pki("ca"), directConnection=True) as client:
        client.admin.command("createUser", "a", pwd="b", roles=["root"])
    with pymongo.MongoClient(f"mongodb://a:b@127.0.0.1:{node.port}", tls=True, tlsCAFile=pki("ca"), directConnection=True,
                             compressors="zstd") as client:
        client.db.c.insert_many([{"_id": i, "pad": "x" * 1000} for i in range(5000)])
        assert sum(1 for _ in client.db.c.find()) == 5000
    with pytest.raises(pymongo.errors.ServerSelectionTimeoutError):
        pymongo.MongoClient(f"mongodb://127.0.0.1:{node.port}", tls=True, serverSelectionTimeoutMS=500, directConnection=True).admin.command("ping")


@pytest.mark.parametrize("policy, without, own, stranger", [
    ("none", True, True, True), ("optional", True, True, False), ("required", False, True, False)])
def test_client_certificates(make_node, pki, policy, without, own, stranger):
    node = make_node(tls_settings(pki, tls_client_certificates=policy, tls_ca_file=pki("ca")), start=False)
    start_tls(node)
    v = ssl.TLSVersion
    for client, welcome in ((None, without), (pki("client"), own), (pki("stranger"), stranger)):
        for version in (v.TLSv1_2, v.TLSv1_3):
            if welcome:
                handshake(node.port, pki, version, version, client)
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    handshake(node.port, pki, version, version, client)


# ---- Who is listened to ----

@pytest.mark.parametrize("settings", [
    {}, {"auth": "false"}, {"auth": "false", "tls": True}])
def test_only_loopback_unless_tls_and_authentication(make_node, pki, settings):
    settings = dict(settings)
    tls = tls_settings(pki) if settings.pop("tls", None) else {}
    node = make_node({"bind": "0.0.0.0", **settings, **tls}, start=False)
    node.start_fails()
    said = node.tail()
    assert 'cannot listen on \\"0.0.0.0\\": addresses other than loopback need authentication and TLS' in said, said


def test_beyond_loopback_with_both(make_node, pki):
    node = make_node({"bind": "0.0.0.0", **tls_settings(pki)}, start=False)
    start_tls(node)
    assert handshake(node.port, pki, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


# ---- Limits ----

def test_connections_have_a_limit(make_node):
    node = make_node({"max-connections": "20"})
    held = [socket.create_connection(("127.0.0.1", node.port), timeout=30) for _ in range(40)]
    refused = 0
    for s in held:
        try:
            s.sendall(op_msg({"ping": 1, "$db": "admin"}))
            read_message(s)
        except ConnectionError:
            refused += 1
    for s in held:  # only now: the place of one that was let go is somebody else's
        s.close()
    assert 20 <= refused < 40


def test_who_stops_within_a_message_is_let_go(make_node):
    node = make_node({"message-timeout": "200ms", "handshake-timeout": "200ms"})
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as slow, socket.create_connection(("127.0.0.1", node.port), timeout=30) as idle:
        slow.sendall(op_msg({"ping": 1, "$db": "admin"})[:20])
        assert closed(slow)
        idle.sendall(op_msg({"ping": 1, "$db": "admin"}))  # between messages there is no limit
        assert read_message(idle)[1]["ok"] == 1


def test_what_hello_tells_holds(node):
    with node.client() as client:
        told = client.admin.command("hello")
        assert (told["maxBsonObjectSize"], told["maxMessageSizeBytes"], told["maxWriteBatchSize"]) == (16777216, 48000000, 100000)
        fits = 16777216 - len(bson.encode({"_id": 1, "a": b""}))
        client.db.c.insert_one({"_id": 1, "a": b"x" * fits})
        assert len(client.db.c.find_one()["a"]) == fits
        with pytest.raises(pymongo.errors.WriteError) as e:
            client.db.c.update_one({"_id": 1}, {"$set": {"b": 1}})
        assert e.value.code in (10334, 17419)
        result = client.db.command("insert", "d", documents=[{"_id": i} for i in range(100000)])
        assert result["n"] == 100000
        with pytest.raises(pymongo.errors.OperationFailure) as e:
            client.db.command("insert", "d", documents=[{} for i in range(100001)])
        assert e.value.code == 16


def test_nothing_is_listened_on_but_what_was_asked(node):
    """The only sockets that listen are the client port on loopback, and the administration socket's."""
    inodes = {os.readlink(f"/proc/{node.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{node.pid}/fd")
              if os.path.lexists(f"/proc/{node.pid}/fd/{fd}")}
    listening = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{node.pid}/net/{table}", encoding="ascii") as f:
            for line in list(f)[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    listening.add(fields[1])
    assert listening == {f"0100007F:{node.port:04X}"}
