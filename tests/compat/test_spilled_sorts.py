"""Sorts of find whose rows do not fit in memory: what was spilled comes back whole, whatever is done with each row behind the sort."""
import random

import pytest

from processes import Node

DOCS = 6000


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    n = Node(tmp_path_factory.mktemp("spilled") / "node", {"auth": "false", "query-memory": "1MB"}).start()
    with n.client() as c:
        drawn = random.Random(5)
        docs = [{"_id": i, "k": i * 7919 % DOCS, "pad": chr(97 + i % 26) * drawn.randrange(100, 1000), "n": {"i": i}} for i in range(DOCS)]
        drawn.shuffle(docs)
        c.s.c.insert_many(docs)
        yield c
    n.kill()



@pytest.fixture(scope="module")
def pads(client):
    return {d["_id"]: d["pad"] for d in client.s.c.find({}, {"pad": 1})}


def test_whole_documents(client, pads):
    i = 0
    for i, d in enumerate(client.s.c.find().sort("k", 1)):
        assert d == {"_id": d["n"]["i"], "k": i, "pad": pads[d["_id"]], "n": {"i": i * pow(7919, -1, DOCS) % DOCS}}
    assert i == DOCS - 1


def test_computed_fields(client, pads):
    projection = {"_id": 0, "k": 1, "n.i": 1, "twice": {"$concat": ["$pad", "-", "$pad"]}, "k1": {"$add": ["$k", 1]}, "id": "$_id"}
    rows = list(client.s.c.find({}, projection).sort("k", -1).skip(10).limit(DOCS - 20))
    assert [d["k"] for d in rows] == list(range(DOCS - 11, 9, -1))
    for d in rows:
        assert d["twice"] == f"{pads[d['id']]}-{pads[d['id']]}" and d["k1"] == d["k"] + 1 and d["n"] == {"i": d["id"]}


def test_record_ids(client, pads):
    rows = list(client.s.c.find({}, {"pad": 1}, show_record_id=True).sort("k", 1))
    assert len({d["$recordId"] for d in rows}) == DOCS and all(d["pad"] == pads[d["_id"]] for d in rows)
