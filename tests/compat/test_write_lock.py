"""fsync {lock: true} keeps writers out until fsyncUnlock: they wait, are seen to wait, and end when they are told to. Readers go on."""
import pytest

from processes import Node, wait_until
from running import INTERRUPTED, MAX_TIME_EXPIRED, Running, building, code_of

NOT_LOCKED = 20
LOCK_TIMEOUT = 24


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    n = Node(tmp_path_factory.mktemp("lock") / "node", {"auth": "false"}, env={"COFFER_FAULTS": "coll.build=delay1000"}).start()
    yield n
    n.kill()


@pytest.fixture
def client(node):
    with node.client() as c:
        c.drop_database("l")
        c.l.c.insert_many([{"_id": i} for i in range(3000)])
        yield c
        while "fsyncLock" in c.admin.command("currentOp"):
            c.admin.command("fsyncUnlock")


def waiting(node, command):
    r = Running(node, "l", command)
    wait_until(lambda: (r.op() or {}).get("waitingForLock"), "it waits", interval=0.02)
    return r


WRITES = [
    {"insert": "c", "documents": [{"_id": "new"}]},
    {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a": 1}}}]},
    {"delete": "c", "deletes": [{"q": {"_id": 2}, "limit": 1}]},
    {"findAndModify": "c", "query": {"_id": 3}, "remove": True},
    {"create": "other"},
    {"createIndexes": "c", "indexes": [{"key": {"a": 1}, "name": "a"}]},
    {"aggregate": "c", "pipeline": [{"$limit": 1}, {"$out": "copy"}], "cursor": {}},
]


def test_writers_wait(node, client):
    assert client.admin.command("fsync", 1, lock=True)["lockCount"] == 1
    assert client.admin.command("fsync", 1, lock=True)["lockCount"] == 2
    running = [waiting(node, w) for w in WRITES]
    assert client.l.c.count_documents({}) == 3000 and client.l.c.find_one({"_id": 2})
    assert sorted(client.l.list_collection_names()) == ["c"]
    op = running[0].op()
    assert op["ns"] == "l.c" and op["command"]["insert"] == "c" and op["active"]
    assert running[0].op()["opid"] == op["opid"]
    assert client.admin.command("fsyncUnlock")["lockCount"] == 1
    assert all(r.is_alive() for r in running)
    assert client.admin.command("fsyncUnlock")["lockCount"] == 0
    assert all(r.end() is None and r.answer["ok"] for r in running), [r.code for r in running]
    assert client.l.c.count_documents({}) == 3000 - 2 + 1
    assert sorted(client.l.list_collection_names()) == ["c", "copy", "other"] and "a" in client.l.c.index_information()
    assert code_of(client.admin.command, "fsyncUnlock") == NOT_LOCKED


def test_who_waits_can_be_ended(node, client):
    client.admin.command("fsync", 1, lock=True)
    killed = waiting(node, WRITES[0])
    late = waiting(node, {**WRITES[1], "maxTimeMS": 3000})
    client.admin.command("killOp", op=killed.op()["opid"])
    assert killed.end() == INTERRUPTED
    assert late.end() == MAX_TIME_EXPIRED
    with node.client() as gone:  # its owner leaves: the lock stays, and a waiting client may go
        gone.admin.command("fsync", 1, lock=True)
    assert client.admin.command("fsyncUnlock")["lockCount"] == 1
    client.admin.command("fsyncUnlock")
    assert client.l.c.find_one({"_id": "new"}) is None and "a" not in client.l.c.find_one({"_id": 1})


def test_a_lock_waits_for_writers(node, client):
    build = building(node, "l", {"key": {"b": 1}, "name": "b"})
    assert code_of(client.admin.command, "fsync", 1, lock=True, fsyncLockAcquisitionTimeoutMillis=1) == LOCK_TIMEOUT
    assert "fsyncLock" not in client.admin.command("currentOp")
    assert client.admin.command("fsync", 1, lock=True)["lockCount"] == 1
    assert "b" in client.l.c.index_information(), "the lock was given when the build was over"
    client.admin.command("fsyncUnlock")
    assert build.end() is None
