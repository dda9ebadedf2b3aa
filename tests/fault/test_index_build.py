"""Indexes are built, and collections compacted, beside everybody else, and end when they are told to. Fault points make both as slow as they are on a collection
of gigabytes: half a second for a few thousand documents.
"""
import threading
import time

import pymongo.errors
import pytest

from processes import Node, wait_until
from running import INTERRUPTED, MAX_TIME_EXPIRED, Running, building

DOCS = 12000
BUILD_ABORTED = 276
DUPLICATE = 11000
INDEX_NOT_FOUND = 27


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    n = Node(tmp_path_factory.mktemp("build") / "node", {"auth": "false"},
             env={"COFFER_FAULTS": "coll.build=delay500,store.compact=delay500"}).start()
    yield n
    n.kill()


@pytest.fixture
def filled(node):
    with node.client() as client:
        client.drop_database("b")
        for at in range(0, DOCS, 2000):
            client.b.c.insert_many([{"_id": i, "a": i % 100, "u": i, "tags": [i % 7, "x"]} for i in range(at, at + 2000)])
        yield client


class User(threading.Thread):
    """Does one thing again and again, and counts how often it was done before the build was."""

    def __init__(self, node, number, what, running):
        super().__init__(daemon=True)
        self.number, self.what, self.running = number, what, running
        self.client, self.n, self.failure = node.client(), 0, None

    def run(self):
        i = 0
        try:
            while self.running.is_alive():
                self.what(self.client, self.number * 1000000 + i, i)
                self.n += self.running.is_alive()
                i += 1
        except Exception as e:  # pylint: disable=broad-except
            self.failure = e
        self.client.close()


USERS = {
    "find": lambda c, key, i: c.b.c.find_one({"_id": 17}),
    "query": lambda c, key, i: list(c.b.c.find({"a": 5}).limit(3)),
    "insert": lambda c, key, i: c.b.c.insert_one({"_id": -1 - key, "a": i % 100, "u": -1 - key, "tags": [1, 2, 3]}),
    "update": lambda c, key, i: c.b.c.update_one({"_id": i * 37 % DOCS}, {"$set": {"a": 1000 + i, "tags": ["new", i]}}),
    "delete": lambda c, key, i: c.b.c.delete_one({"_id": i * 41 % DOCS}),
    "list": lambda c, key, i: c.b.c.index_information(),
    "create": lambda c, key, i: c.b[f"other{i % 5}"].insert_one({"i": i}),
}


def test_everybody_goes_on_during_a_build(node, filled):
    running = building(node, "b", {"key": {"a": 1, "tags": 1}, "name": "at"}, {"key": {"u": -1}, "name": "u", "unique": True})
    users = [User(node, n, what, running) for n, what in enumerate(list(USERS.values()) * 3)]
    for u in users:
        u.start()
    assert running.end() is None and running.answer["numIndexesAfter"] == 3
    for u in users:
        u.join(60)
        assert not u.is_alive() and u.failure is None, u.failure
    done = dict.fromkeys(USERS, 0)
    for name, u in zip(list(USERS) * 3, users):
        done[name] += u.n
    assert all(done.values()), done
    answer = filled.b.command("validate", "c")
    assert answer["valid"], answer
    assert answer["keysPerIndex"]["_id_"] == answer["keysPerIndex"]["u"] == answer["nrecords"] == filled.b.c.count_documents({})
    # And it answers like a scan of everything.
    for query in ({"a": 5}, {"a": {"$gte": 1000}}, {"a": {"$gte": 0}, "tags": "new"}):
        by_index = sorted(d["_id"] for d in filled.b.c.find(query).hint("at"))
        assert by_index == sorted(d["_id"] for d in filled.b.c.find(query).hint([("$natural", 1)]))
    assert filled.b.c.find({"a": 5}).explain()["queryPlanner"]["winningPlan"]["inputStage"]["indexName"] == "at"


def test_a_build_is_ended(node, filled):
    assert building(node, "b", {"key": {"a": 1}, "name": "a"}, maxTimeMS=200).end() == MAX_TIME_EXPIRED
    running = building(node, "b", {"key": {"a": 1}, "name": "a"})
    waiting = Running(node, "b", {"createIndexes": "c", "indexes": [{"key": {"u": 1}, "name": "u"}], "maxTimeMS": 100})
    assert waiting.end() == MAX_TIME_EXPIRED  # for its turn
    filled.admin.command("killOp", op=running.op()["opid"])
    assert running.end() == INTERRUPTED
    running = building(node, "b", {"key": {"a": 1}, "name": "a"}, {"key": {"u": 1}, "name": "u", "unique": True})
    with pytest.raises(pymongo.errors.OperationFailure, match="unfinished") as e:
        filled.b.c.drop_index("u")  # a build ends as a whole
    assert e.value.code == INDEX_NOT_FOUND
    filled.b.command("dropIndexes", "c", index=["u", "a"])
    assert running.end() == BUILD_ABORTED
    running = building(node, "b", {"key": {"u": -1}, "name": "u", "unique": True})
    filled.b.command("dropIndexes", "c", index={"u": -1})
    assert running.end() == BUILD_ABORTED
    assert list(filled.b.c.index_information()) == ["_id_"]
    running = building(node, "b", {"key": {"a": 1}, "name": "a"})
    filled.b.c.drop()
    assert running.end() == BUILD_ABORTED
    assert filled.b.list_collection_names() == []


def test_a_duplicate_fails_a_build_at_its_end_alone(node, filled):
    """Writers are refused nothing, and what they took back is no duplicate."""
    running = building(node, "b", {"key": {"u": 1}, "name": "u", "unique": True})
    filled.b.c.insert_one({"_id": "again", "u": DOCS - 1})
    filled.b.c.insert_one({"_id": "once more", "u": 1})
    assert running.op(), "they came before its end"
    assert running.end() == DUPLICATE
    assert list(filled.b.c.index_information()) == ["_id_"]
    running = building(node, "b", {"key": {"u": 1}, "name": "u", "unique": True})
    filled.b.c.update_one({"_id": 5}, {"$set": {"u": 6}})
    filled.b.c.delete_many({"_id": {"$in": ["again", 1, 6]}})
    assert running.op(), "and so did these"
    assert running.end() is None
    answer = filled.b.command("validate", "c")
    assert answer["valid"] and answer["keysPerIndex"]["u"] == answer["nrecords"] == DOCS - 1, answer
    with pytest.raises(pymongo.errors.DuplicateKeyError):
        filled.b.c.insert_one({"u": 6})


def test_kill_while_duplicates_stand_aside(node, filled):
    """A build that dies leaves no index and no entry that the next one meets, and loses none of what writers put in meanwhile."""
    running = building(node, "b", {"key": {"u": 1}, "name": "u", "unique": True})
    filled.b.c.insert_many([{"_id": f"again {i}", "u": i % 5} for i in range(50)])
    assert running.op(), "they stand aside"
    node.kill()
    running.join(60)
    node.start()
    with node.client() as client:
        c = client.b.c
        assert list(c.index_information()) == ["_id_"]
        assert c.count_documents({}) == DOCS + 50
        with pytest.raises(pymongo.errors.OperationFailure) as e:
            client.b.command("createIndexes", "c", indexes=[{"key": {"u": 1}, "name": "u", "unique": True}])
        assert e.value.code == DUPLICATE
        c.delete_many({"_id": {"$regex": "^again"}})
        c.create_index("u", unique=True, name="u")
        answer = client.b.command("validate", "c")
        assert answer["valid"] and answer["keysPerIndex"]["u"] == answer["nrecords"] == DOCS, answer


def test_compact_and_validate_are_ended(node, filled):
    assert Running(node, "b", {"compact": "c", "maxTimeMS": 100}).end() == MAX_TIME_EXPIRED
    running = Running(node, "b", {"compact": "c"})
    filled.admin.command("killOp", op=wait_until(running.op, "it runs", interval=0.01)["opid"])
    assert running.end() == INTERRUPTED
    assert Running(node, "b", {"validate": "c", "maxTimeMS": 1}).end() == MAX_TIME_EXPIRED
    began = time.monotonic()
    assert Running(node, "b", {"compact": "c"}).end() is None and time.monotonic() - began >= 1  # records and an index
    assert filled.b.command("validate", "c")["valid"]
