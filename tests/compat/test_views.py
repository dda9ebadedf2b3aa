"""Views, read by commands and from inside of other pipelines."""
import pytest
from pymongo.errors import OperationFailure

CYCLE, TOO_DEEP, READ_ONLY, ON_VIEW = 5, 165, 166, 167


def code_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except OperationFailure as e:
        return e.code
    return 0


@pytest.fixture
def shop(db):
    db.orders.insert_many([{"_id": i, "item": "abc"[i % 3], "n": i} for i in range(6)])
    db.items.insert_many([{"_id": k, "name": k * 3, "sold": k != "c", "parent": up, "tags": [k, "x"]} for k, up in (("a", None), ("b", "a"), ("c", "b"))])
    db.items.create_index("sold")
    db.create_collection("sold", viewOn="items", pipeline=[{"$match": {"sold": True}}, {"$set": {"shown": {"$toUpper": "$name"}}}])
    db.create_collection("named", viewOn="sold", pipeline=[{"$project": {"shown": 1, "parent": 1}}])
    return db


def join(source, **more):
    return {"$lookup": {"from": source, "localField": "item", "foreignField": "_id", "as": "i", **more}}


def test_every_command_that_reads(shop):
    assert [d["_id"] for d in shop.sold.find().sort("_id", -1)] == ["b", "a"]
    assert shop.command("count", "sold")["n"] == 2 and shop.command("count", "sold", query={"_id": "a"}, skip=1)["n"] == 0
    assert shop.sold.distinct("shown") == ["AAA", "BBB"] and sorted(shop.sold.distinct("tags")) == ["a", "b", "x"]
    assert shop.sold.distinct("shown", {"_id": "b"}) == ["BBB"]
    assert [d["shown"] for d in shop.named.aggregate([{"$sort": {"_id": -1}}])] == ["BBB", "AAA"]


def test_joined(shop):
    """An equality, a pipeline, both; a view over a view; a field that the view makes."""
    def shown(stage):
        return [[i["shown"] for i in d["i"]] for d in shop.orders.aggregate([{"$sort": {"_id": 1}}, {"$limit": 3}, stage])]
    assert shown(join("sold")) == shown(join("named")) == [["AAA"], ["BBB"], []]
    assert shown(join("named", pipeline=[{"$match": {"shown": {"$ne": "AAA"}}}])) == [[], ["BBB"], []]
    free = {"from": "named", "as": "i", "let": {"k": "$item"}, "pipeline": [{"$match": {"$expr": {"$lt": ["$_id", "$$k"]}}}]}
    assert shown({"$lookup": free}) == [[], ["AAA"], ["AAA", "BBB"]]
    by_made = {"$lookup": {"from": "named", "localField": "up", "foreignField": "shown", "as": "i"}}
    assert [d["i"][0]["_id"] for d in shop.orders.aggregate([{"$match": {"_id": 1}}, {"$set": {"up": "BBB"}}, by_made])] == ["b"]


def test_united_and_searched(shop):
    both = [d["_id"] for d in shop.named.aggregate([{"$sort": {"_id": 1}}, {"$unionWith": "named"}])]
    assert both == ["a", "b", "a", "b"]
    inside = {"$unionWith": {"coll": "named", "pipeline": [{"$sort": {"_id": -1}}, {"$limit": 1}, {"$unionWith": "sold"}]}}
    assert [d["_id"] for d in shop.items.aggregate([{"$match": {"_id": "c"}}, inside])] == ["c", "b", "a", "b"]
    up = {"$graphLookup": {"from": "named", "startWith": "$parent", "connectFromField": "parent", "connectToField": "_id", "as": "above"}}
    found = {d["_id"]: sorted(x["_id"] for x in d["above"]) for d in shop.items.aggregate([up])}
    assert found == {"a": [], "b": ["a"], "c": ["a", "b"]}


def test_a_view_that_joins_views_and_goes_on_over_batches(shop):
    shop.create_collection("full", viewOn="orders", pipeline=[join("named"), {"$unwind": "$i"}, {"$sort": {"_id": 1}}])
    assert [d["_id"] for d in shop.full.find(batch_size=1)] == [0, 1, 3, 4]
    late = [{"$match": {"_id": "c"}}, {"$unionWith": "full"}]  # the view is opened in the first getMore
    assert [d["_id"] for d in shop.items.aggregate(late, batchSize=1)] == ["c", 0, 1, 3, 4]
    grouped = {"from": "full", "as": "i", "pipeline": [{"$group": {"_id": "$item", "n": {"$sum": "$n"}}}, {"$sort": {"_id": 1}}]}
    assert shop.items.aggregate([{"$limit": 1}, {"$lookup": grouped}]).next()["i"] == [{"_id": "a", "n": 3}, {"_id": "b", "n": 5}]


def test_what_is_refused(shop):
    text = {"collation": {"locale": "en", "strength": 2}}
    assert code_of(lambda: list(shop.orders.aggregate([join("named")], **text))) == ON_VIEW
    assert code_of(lambda: list(shop.nothing.aggregate([{"$unionWith": {"coll": "items", "pipeline": [join("named")]}}], **text))) == ON_VIEW
    assert code_of(lambda: list(shop.orders.aggregate([{"$out": "named"}]))) == READ_ONLY
    assert code_of(shop.named.insert_one, {}) == READ_ONLY
    for stage, code in [({"$documents": [{}]}, 73), ({"$currentOp": {}}, 73), ({"$listLocalSessions": {}}, 73), ({"$changeStream": {}}, 40573)]:
        assert code_of(shop.create_collection, "odd", viewOn="items", pipeline=[stage]) == code, stage
        assert code_of(shop.command, "collMod", "named", viewOn="sold", pipeline=[stage]) == code, stage


def test_no_view_reads_itself(db):
    """Not through its stages, not through other views, not after a change."""
    def make(name, on, *stages):
        return code_of(db.create_collection, name, viewOn=on, pipeline=list(stages))
    assert make("v", "v") == CYCLE and make("v", "c", {"$unionWith": "v"}) == CYCLE
    assert make("v", "c", {"$lookup": {"from": "c", "pipeline": [{"$facet": {"f": [{"$unionWith": {"coll": "v"}}]}}], "as": "x"}}) == CYCLE
    assert make("a", "c", join("b")) == 0 and make("b", "d", {"$unionWith": "e"}) == 0
    assert make("e", "a") == CYCLE and make("e", "c", {"$graphLookup": dict(BACK, **{"from": "a"})}) == CYCLE
    assert make("e", "c") == 0
    assert code_of(db.command, "collMod", "e", viewOn="b") == CYCLE
    assert code_of(db.command, "collMod", "e", viewOn="c", pipeline=[{"$unionWith": "a"}]) == CYCLE
    assert code_of(db.command, "collMod", "e", viewOn="d", pipeline=[]) == 0


BACK = {"startWith": "$x", "connectFromField": "x", "connectToField": "x", "as": "x"}


def test_depth(db):
    for i in range(20):
        db.create_collection(f"v{i}", viewOn=f"v{i - 1}" if i else "c", pipeline=[{"$set": {f"f{i}": i}}])
    db.c.insert_one({"_id": 1})
    assert len(db.v19.find_one()) == 21
    assert len(db.c.aggregate([{"$unionWith": "v19"}, {"$skip": 1}]).next()) == 21
    assert code_of(db.create_collection, "v20", viewOn="v19", pipeline=[]) == TOO_DEEP


def test_a_join_of_many_gives_back_what_each_round_took(db):
    """The other collection is opened for each document: plans and parsed filters must not add up to the bound of a request's memory."""
    db.c.insert_many([{"_id": i, "k": i % 50} for i in range(20000)])
    db.d.insert_many([{"_id": i, "v": i} for i in range(50)])
    db.create_collection("view", viewOn="d", pipeline=[{"$match": {"v": {"$gte": 0}}}, {"$set": {"w": "$v"}}])
    many = {"$match": {"$or": [{"v": {"$gt": -i}} for i in range(1, 200)]}}
    for source in ("d", "view"):
        stage = {"$lookup": {"from": source, "localField": "k", "foreignField": "_id", "pipeline": [many], "as": "x"}}
        assert list(db.c.aggregate([stage, {"$match": {"x": []}}])) == [], source
