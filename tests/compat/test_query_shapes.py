"""What queries have in common that differ in their values alone: the hashes of explain, and index filters, which decide by shape what a plan may use."""
import hashlib

import bson
import pymongo
import pytest

from processes import Node
from running import code_of

VIEW = 166
BAD_VALUE = 2


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    n = Node(tmp_path_factory.mktemp("shapes") / "node", {"auth": "false"}).start()
    yield n
    n.kill()


@pytest.fixture
def db(node):
    with node.client() as c:
        c.drop_database("s")
        c.s.c.insert_many([{"_id": i, "a": i % 7, "b": i % 3, "tags": [i, "x"]} for i in range(50)])
        c.s.c.create_indexes([pymongo.IndexModel([("a", 1)]), pymongo.IndexModel([("a", 1), ("b", 1)]), pymongo.IndexModel([("b", -1)])])
        yield c.s


def explain(db, command, verbosity="queryPlanner"):
    return db.command("explain", command, verbosity=verbosity)


def find(db, query, **more):
    return explain(db, {"find": "c", "filter": query, **more})


def scan_of(plan):
    while "inputStage" in plan:
        plan = plan["inputStage"]
    return plan.get("indexName", plan["stage"])


def shape(db, query, **more):
    return find(db, query, **more)["queryShapeHash"]


def plan_shape(db, query, **more):
    return find(db, query, **more)["queryPlanner"]["planCacheShapeHash"]


SAME = [
    ({"a": 1}, {"a": {"$eq": 99.5}}),
    ({"a": 1, "b": 2}, {"$and": [{"a": 3}, {"b": 4}]}),
    ({"a": {"$in": [1]}}, {"a": {"$in": [5, 6]}}),
    ({"a": {"$gt": 1, "$lt": 5}}, {"$and": [{"a": {"$gt": 2}}, {"a": {"$lt": 7}}]}),
    ({"a": {"$ne": 1}}, {"a": {"$ne": 2}}),
    ({"$or": [{"a": 1}, {"b": "x"}]}, {"$or": [{"a": 2}, {"b": "y"}]}),
    ({"tags": {"$elemMatch": {"$gt": 1}}}, {"tags": {"$elemMatch": {"$gt": 2}}}),
    ({"$expr": {"$gt": ["$a", 1]}}, {"$expr": {"$gt": ["$a", 2]}}),
    ({"a": 1, "$comment": "one"}, {"a": 1}),
]
OTHER = [
    ({"a": 1}, {"b": 1}),
    ({"a": {"$gt": 1}}, {"a": {"$gte": 1}}),
    ({"a": {"$in": [1, 2]}}, {"a": {"$nin": [1, 2]}}),
    ({"a": {"$exists": True}}, {"a": {"$exists": False}}),
    ({"$or": [{"a": 1}, {"b": 1}]}, {"$nor": [{"a": 1}, {"b": 1}]}),
    ({"a": {"$all": [1]}}, {"a": {"$all": [1, 2]}}),
    ({"a": {"$bitsAllSet": 1}}, {"a": {"$bitsAnySet": 1}}),
    ({"$expr": {"$gt": ["$a", 1]}}, {"$expr": {"$gt": ["$b", 1]}}),
    ({"tags": {"$elemMatch": {"$gt": 1}}}, {"tags": {"$elemMatch": {"x": {"$gt": 1}}}}),
]


def test_shapes(db):
    for one, two in SAME:
        assert shape(db, one) == shape(db, two), (one, two)
    for one, two in SAME[:2] + SAME[3:]:  # of one value, $in is an equality to the planner
        assert plan_shape(db, one) == plan_shape(db, two), (one, two)
    for one, two in OTHER:
        assert shape(db, one) != shape(db, two) and plan_shape(db, one) != plan_shape(db, two), (one, two)
    # The order of conditions means nothing to the planner; order, fields and collation mean something to both.
    assert shape(db, {"a": 1, "b": 1}) != shape(db, {"b": 1, "a": 1}) and plan_shape(db, {"a": 1, "b": 1}) == plan_shape(db, {"b": 1, "a": 1})
    for of in (shape, plan_shape):
        seen = {of(db, {"a": 1}, **more) for more in ({}, {"sort": {"b": 1}}, {"sort": {"b": -1}}, {"projection": {"b": 1}}, {"projection": {"a": 1}},
                                                      {"collation": {"locale": "en"}}, {"collation": {"locale": "en", "strength": 1}})}
        assert len(seen) == 7
    # It is a hash of the shape alone: the same on every node, whatever is in it.
    text = bson.encode({"cmdNs": {"db": "s", "coll": "c"}, "command": "find", "filter": {"a": {"$eq": "?number"}}, "sort": {"b": 1}})
    assert shape(db, {"a": 1}, sort={"b": 1}, comment="whatever") == hashlib.sha256(text).hexdigest().upper()
    before = shape(db, {"a": 1}), plan_shape(db, {"a": 1})
    db.c.drop_indexes()
    db.c.delete_many({})
    assert before == (shape(db, {"a": 1}), plan_shape(db, {"a": 1}))


def set_filter(db, query, *indexes, **more):
    return db.command({"planCacheSetFilter": "c", "query": query, "indexes": list(indexes), **more})


def filters(db, name="c"):
    return db.command("planCacheListFilters", name)["filters"]


def test_filters_steer_plans(db):
    assert scan_of(find(db, {"a": 1})["queryPlanner"]["winningPlan"]) in ("a_1", "a_1_b_1")
    for index, name in (({"a": 1, "b": 1}, "a_1_b_1"), ("a_1", "a_1"), ({"b": -1}, "COLLSCAN"), ("no such", "COLLSCAN")):
        set_filter(db, {"a": 1}, index)
        for command in ({"find": "c", "filter": {"a": 5}}, {"find": "c", "filter": {"a": 2}, "hint": {"b": -1}}, {"find": "c", "filter": {"a": 2}, "hint": {"$natural": 1}},
                        {"count": "c", "query": {"a": 5}}, {"distinct": "c", "key": "b", "query": {"a": 5}},
                        {"aggregate": "c", "pipeline": [{"$match": {"a": 5}}], "cursor": {}}, {"update": "c", "updates": [{"q": {"a": 5}, "u": {"$set": {"z": 1}}}]},
                        {"delete": "c", "deletes": [{"q": {"a": 5}, "limit": 0}]}, {"findAndModify": "c", "query": {"a": 5}, "remove": True}):
            planner = explain(db, command)["queryPlanner"]
            assert planner["indexFilterSet"] and scan_of(planner["winningPlan"]) == name, (command, planner)
        assert sorted(d["_id"] for d in db.c.find({"a": 5})) == list(range(5, 50, 7))
    # Others are not concerned.
    for command in ({"find": "c", "filter": {"a": {"$gt": 5}}}, {"find": "c", "filter": {"a": 5}, "sort": {"b": 1}}, {"find": "c", "filter": {"a": 5}, "projection": {"b": 1}}):
        planner = explain(db, command)["queryPlanner"]
        assert not planner["indexFilterSet"] and scan_of(planner["winningPlan"]) != "COLLSCAN"
    set_filter(db, {"_id": 1}, {"a": 1})
    planner = find(db, {"_id": 1})["queryPlanner"]
    assert planner["winningPlan"]["stage"] == "IDHACK" and not planner["indexFilterSet"]
    # min and max go with their hint.
    assert [d["_id"] for d in db.c.find({"a": 5}, hint=[("a", 1)]).min([("a", 5)]).max([("a", 6)])] == list(range(5, 50, 7))


def test_filters_are_listed_and_cleared(db):
    assert filters(db) == [] == filters(db, "none such")
    set_filter(db, {"a": 1}, {"a": 1})
    set_filter(db, {"a": 2}, "a_1", {"b": -1})  # the same shape: instead
    set_filter(db, {"a": 1}, {"a": 1}, sort={"b": 1}, projection={"a": 1}, collation={"locale": "fr"})
    one, two = filters(db)
    assert one == {"query": {"a": 2}, "sort": {}, "projection": {}, "indexes": ["a_1", {"b": -1}]}
    assert two["sort"] == {"b": 1} and two["projection"] == {"a": 1} and two["collation"]["locale"] == "fr"
    db.command({"planCacheClear": "c"})
    assert len(filters(db)) == 2
    db.command({"planCacheClearFilters": "c", "query": {"a": 77}})
    assert filters(db) == [two]
    db.command({"planCacheClearFilters": "c"})
    assert filters(db) == [] and not find(db, {"a": 1})["queryPlanner"]["indexFilterSet"]
    set_filter(db, {"a": 1}, {"a": 1})
    db.c.rename("d")
    assert len(filters(db, "d")) == 1 and filters(db) == []
    db.d.drop()
    db.create_collection("d")
    assert filters(db, "d") == []
    db.create_collection("v", viewOn="d", pipeline=[])
    for bad, code in (({"planCacheSetFilter": "none", "query": {}, "indexes": [{"a": 1}]}, BAD_VALUE), ({"planCacheSetFilter": "d", "query": {}, "indexes": []}, BAD_VALUE),
                      ({"planCacheSetFilter": "d", "query": {"$x": 1}, "indexes": [{"a": 1}]}, BAD_VALUE), ({"planCacheListFilters": "v"}, VIEW),
                      ({"planCacheClearFilters": "d", "sort": {"a": 1}}, BAD_VALUE)):
        assert code_of(db.command, bad) == code, bad


def test_explained_writes_say_what_they_would_do(db):
    db.c.update_one({"_id": 5}, {"$set": {"z": 1}})
    update = {"update": "c", "updates": [{"q": {"a": 5}, "u": {"$set": {"z": 1}}, "multi": True}]}
    stats = explain(db, update, "executionStats")["executionStats"]
    assert stats["nReturned"] == 0 and stats["executionStages"]["stage"] == "UPDATE"
    assert (stats["executionStages"]["nMatched"], stats["executionStages"]["nWouldModify"]) == (7, 6)
    update["updates"][0]["multi"] = False
    assert explain(db, update, "executionStats")["executionStats"]["executionStages"]["nMatched"] == 1
    update["updates"][0].update(q={"a": -1}, upsert=True)
    assert explain(db, update, "executionStats")["executionStats"]["executionStages"]["nWouldUpsert"] == 1
    delete = {"delete": "c", "deletes": [{"q": {"a": 5}, "limit": 0}]}
    assert explain(db, delete, "executionStats")["executionStats"]["executionStages"]["nWouldDelete"] == 7
    assert db.c.count_documents({"a": 5}) == 7 and db.c.count_documents({"z": 1}) == 1
