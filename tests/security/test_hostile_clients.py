"""Clients that mean harm with what they do not do: read their replies, finish their messages; and with messages that unfold to far more than they are."""
import socket
import struct
import time
import zlib

import bson
import pymongo.errors
import pytest

from processes import wait_until
from wire import OP_COMPRESSED, OP_MSG, message, op_msg, read_message

# Two requests at a time and two threads: who holds a worker holds up everybody.
NARROW = {"auth": "false", "workers": "1", "max-workers": "2"}


def resident(node, what="VmRSS"):
    with open(f"/proc/{node.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what + ":")) * 1024


def dial(node, small=False):
    s = socket.socket()
    if small:  # so that the system takes little of the reply off the server
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(60)
    s.connect(("127.0.0.1", node.port))
    return s


def is_gone(s):
    """Whether the server let this connection go, without reading what it sent."""
    state = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != 1  # TCP_ESTABLISHED


def ask(node, command):
    with dial(node) as s:
        s.sendall(op_msg({command: 1, "$db": "admin"}))
        return read_message(s)[1]


def is_served(node):
    return ask(node, "ping")["ok"] == 1


@pytest.fixture
def filled(make_node):
    node = make_node({**NARROW, "write-timeout": "500ms", "max-inflight-size": "64MB"}, admin=False)
    with node.client(auth=False) as client:
        client.db.c.insert_many([{"_id": i, "pad": "p" * 100_000} for i in range(150)])
    return node


def test_who_does_not_read_is_let_go(filled):
    """Replies of 15 MB that nobody reads: the others are served meanwhile, and then the connections end."""
    with_replies = [dial(filled, small=True) for _ in range(20)]
    for s in with_replies:
        s.sendall(op_msg({"find": "c", "batchSize": 1000, "$db": "db"}))
    for _ in range(20):
        assert is_served(filled)
    wait_until(lambda: ask(filled, "serverStatus")["connections"]["current"] < 5, "clients that do not read are let go", interval=0.2)
    assert is_served(filled)
    for s in with_replies:
        s.close()
    with filled.client(auth=False) as client:
        assert sum(1 for _ in client.db.c.find()) == 150


def test_requests_without_end_and_no_reading(filled):
    """Whoever sends and sends is not read from, once what waits for him is too much: memory stays within its bound."""
    request = op_msg({"find": "c", "batchSize": 10, "$db": "db"})  # a megabyte of reply for 60 bytes
    before = resident(filled)
    senders = [dial(filled, small=True) for _ in range(8)]
    for s in senders:
        s.setblocking(False)
    until = time.monotonic() + 3
    sent = 0
    while time.monotonic() < until:
        for s in senders:
            try:
                sent += s.send(request * 50)
            except (BlockingIOError, ConnectionError):
                pass
        assert is_served(filled)
    assert sent > 0 and resident(filled) - before < 500 << 20
    for s in senders:
        s.close()
    assert is_served(filled)


def test_messages_that_unfold_to_far_more(make_node):
    """48 MB from 47 KB, many at once: each is refused or read within the room of one message a worker, and the memory is given back."""
    node = make_node(NARROW, admin=False)
    assert is_served(node)
    before = resident(node)
    body = bson.encode({"ping": 1, "$db": "admin", "pad": b"\0" * 16_700_000})
    zeros = b"\0" * 47_990_000
    clients = []
    for inner, size in ((struct.pack("<IB", 0, 0) + body, None), (zeros, None), (zeros, 47_999_000), (zeros, 48_000_000), (zeros[:1000], 47_000_000)):
        packed = zlib.compress(inner, 9)
        assert len(packed) < 60_000
        for _ in range(8):
            s = dial(node)
            s.sendall(op_msg({"hello": 1, "compression": ["zlib"], "$db": "admin"}))
            assert read_message(s)[1]["compression"] == ["zlib"]
            s.sendall(message(OP_COMPRESSED, struct.pack("<iiB", OP_MSG, len(inner) if size is None else size, 2) + packed))
            clients.append(s)
    for s in clients:
        try:
            read_message(s)
        except ConnectionError:
            pass
        s.close()
    assert is_served(node)
    assert resident(node, "VmHWM") - before < 400 << 20, "more than a message for each worker at a time"
    wait_until(lambda: resident(node) - before < 150 << 20, "the memory is given back")


def test_half_a_message_holds_nobody_up(make_node):
    """Heads that announce 48 MB, and nothing behind them: no room is made for what does not come, and they end in time."""
    node = make_node({**NARROW, "message-timeout": "500ms"}, admin=False)
    before = resident(node)
    halves = [dial(node) for _ in range(200)]
    for i, s in enumerate(halves):
        s.sendall(struct.pack("<iiii", 48_000_000, 7, 0, OP_MSG)[:16 if i % 2 else 7])
    assert is_served(node)
    assert resident(node) - before < 100 << 20
    with node.client(auth=False) as client:
        assert client.admin.command("ping")["ok"] == 1
    wait_until(lambda: all(is_gone(s) for s in halves), "messages that do not come end the connection")
    for s in halves:
        s.close()
    assert is_served(node)


def test_all_requests_together_have_a_limit(make_node):
    """Cursors over sorts and groups that are left open: they go to disk early, what is small goes on, and what cannot is told so."""
    node = make_node({"auth": "false", "all-requests-memory": "24MB"}, admin=False)
    with node.client(auth=False) as client:
        c = client.db.c
        c.insert_many([{"_id": i, "k": (i * 7919) % 30000, "pad": "p" * 400} for i in range(30000)])
        before = resident(node)
        cursors = [c.find({}, batch_size=2).sort("k", 1) for _ in range(12)]
        cursors += [c.aggregate([{"$group": {"_id": "$k", "pad": {"$first": "$pad"}}}], batchSize=2) for _ in range(12)]
        for cursor in cursors:
            next(cursor)
        assert resident(node) - before < 200 << 20  # 24 times 12 MB and more, if all of it were in memory
        assert c.find_one({"_id": 5})["k"] == 5 * 7919 % 30000
        c.insert_one({"_id": "small"})
        assert [d["k"] for d in cursors[0]] == list(range(1, 30000))
        assert sum(1 for _ in cursors[-1]) == 29999
        with pytest.raises(pymongo.errors.OperationFailure) as e:  # 40 MB that no stage can put on disk
            c.aggregate([{"$limit": 1}, {"$project": {"a": {"$map": {"input": {"$range": [0, 2_000_000]}, "in": {"$add": ["$$this", 0.5]}}}}},
                         {"$project": {"n": {"$size": "$a"}}}])
        assert e.value.code == 146
        for cursor in cursors:
            cursor.close()
        assert c.count_documents({"k": {"$lt": 100}}) == 100
