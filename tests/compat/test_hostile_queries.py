"""Queries whose size is the attack: each ends within its time limit or with the error that is documented, and others are served meanwhile."""
import threading
import time

import pymongo.errors
import pytest

from processes import Node

MANY = 300000
A_LOT = list(range(MANY))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("hostile") / "node", {"auth": "false"}).start()
    with node.client(retryReads=False) as c:
        c.t.c.insert_many([{"_id": i, "x": i % 10, "pad": "a" * 1000} for i in range(200)])
        c.t.c.update_one({"_id": 1}, {"$set": {"list": A_LOT}})
        yield c
        assert node.alive()
    node.kill()


def pipeline(*stages):
    return {"aggregate": "c", "pipeline": list(stages), "cursor": {}}


QUADRATIC = {
    "$all": {"find": "c", "filter": {"list": {"$all": A_LOT}}},
    "$and": {"find": "c", "filter": {"$and": [{"list": i} for i in range(100000)]}},
    "arrayFilters": {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"list.$[a0]": 1}}, "arrayFilters": [{f"a{i}": 1} for i in range(MANY)]}]},
    "$in": pipeline({"$project": {"n": {"$filter": {"input": {"$range": [0, 100000]}, "cond": {"$in": ["$$this", {"$range": [0, 100000]}]}}}}}),
}


@pytest.mark.parametrize("name", QUADRATIC)
def test_the_time_limit_holds_within_one_document(client, name):
    waits = []
    done = threading.Event()

    def others():
        while not done.is_set():
            began = time.monotonic()
            client.t.other.find_one({"_id": 1})
            waits.append(time.monotonic() - began)
            time.sleep(0.05)
    thread = threading.Thread(target=others, daemon=True)
    thread.start()
    began = time.monotonic()
    with pytest.raises(pymongo.errors.OperationFailure) as e:
        client.t.command({**QUADRATIC[name], "maxTimeMS": 500})
    took = time.monotonic() - began
    done.set()
    thread.join()
    assert e.value.code == 50 and took < 20
    assert max(waits) < 10


def test_many_fields_are_not_looked_through_one_by_one(client):
    fields = {f"field{i}": 1 for i in range(MANY)}
    for command in ({"find": "c", "projection": fields}, pipeline({"$project": fields}), pipeline({"$unset": list(fields)})):
        assert client.t.command({**command, "maxTimeMS": 20000})["ok"] == 1


@pytest.mark.parametrize("stages", [
    [{"$set": {f"field{i}": "$pad" for i in range(20000)}}, {"$limit": 1}],
    [{"$group": {"_id": None, "all": {"$push": {"a": "$pad", "b": "$pad"}}}}, {"$set": {f"copy{i}": "$all" for i in range(60)}}],
], ids=["set", "group"])
def test_a_result_is_no_longer_than_a_document(client, stages):
    with pytest.raises(pymongo.errors.OperationFailure) as e:
        client.t.command(pipeline(*stages))
    assert e.value.code == 10334
    assert client.t.command(pipeline(*stages, {"$project": {"_id": 1}}))["ok"] == 1
