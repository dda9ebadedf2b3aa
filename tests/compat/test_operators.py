"""Every operator of the release once through a driver: what it gives, and with which code it refuses what makes no sense.

The rules in full are tested beside the code (src/query). This file proves that each is reachable under its name and refuses by MongoDB's code.
"""
import datetime
import re

import bson
import pytest
from bson.decimal128 import Decimal128 as Dec

from running import code_of

NOON = datetime.datetime(2024, 2, 29, 12, 30, 15, 250000)
OID = bson.ObjectId("65e07a37c0ffee0000c0ffee")


# ---- Query operators: (filter, ids that match), (filter, code) ----

PEOPLE = [
    {"_id": 1, "n": 1, "s": "ann", "a": [1, 2, 3], "d": {"x": 1}},
    {"_id": 2, "n": 5, "s": "bob", "a": [4], "items": [{"k": 1, "v": 9}, {"k": 2, "v": 1}]},
    {"_id": 3, "n": bson.Int64(10), "s": "Ann", "a": [], "z": None},
    {"_id": 4, "n": Dec("10.5"), "a": "x", "items": [{"k": 1, "v": 1}]},
    {"_id": 5, "n": 2.5, "s": "carl"},
]
MATCHES = [
    ({"n": {"$eq": 5}}, [2]), ({"n": {"$ne": 5}}, [1, 3, 4, 5]), ({"n": {"$gt": 5}}, [3, 4]), ({"n": {"$gte": 5}}, [2, 3, 4]),
    ({"n": {"$lt": 5}}, [1, 5]), ({"n": {"$lte": 5}}, [1, 2, 5]), ({"n": {"$in": [1, Dec("10.50")]}}, [1, 4]),
    ({"n": {"$nin": [1, 5]}}, [3, 4, 5]), ({"$and": [{"n": {"$gt": 1}}, {"n": {"$lt": 6}}]}, [2, 5]),
    ({"$or": [{"n": 1}, {"s": "bob"}]}, [1, 2]), ({"$nor": [{"n": 1}, {"s": "bob"}]}, [3, 4, 5]),
    ({"n": {"$not": {"$gt": 1}}}, [1]), ({"z": {"$exists": True}}, [3]), ({"s": {"$exists": False}}, [4]),
    ({"n": {"$type": "decimal"}}, [4]), ({"n": {"$type": ["long", "double"]}}, [3, 5]), ({"a": {"$type": "array"}}, [1, 2, 3]),
    ({"s": {"$regex": "^ann$", "$options": "i"}}, [1, 3]), ({"s": re.compile("^b")}, [2]), ({"a": {"$size": 0}}, [3]),
    ({"a": {"$all": [1, 3]}}, [1]), ({"items": {"$elemMatch": {"k": 1, "v": {"$lt": 5}}}}, [4]), ({"a": {"$elemMatch": {"$gt": 1, "$lt": 3}}}, [1]),
    ({"n": {"$mod": [5, 0]}}, [2, 3, 4]), ({"$expr": {"$gt": ["$n", {"$size": {"$ifNull": ["$items", []]}}]}}, [1, 2, 3, 4, 5]),
    ({"d.x": 1}, [1]), ({"items.k": 2}, [2]), ({"items.0.v": 9}, [2]), ({"z": None}, [1, 2, 3, 4, 5]), ({"a": [4]}, [2]), ({}, [1, 2, 3, 4, 5]),
    ({"n": {"$bitsAllSet": 5}}, [2]), ({"$comment": "x", "n": 1}, [1]),
]
MISMATCHES = [
    ({"n": {"$nonsense": 1}}, 2), ({"$nonsense": 1}, 2), ({"n": {"$in": 1}}, 2), ({"n": {"$nin": "x"}}, 2), ({"$and": []}, 2), ({"$or": {}}, 2),
    ({"$nor": [1]}, 2), ({"n": {"$not": 1}}, 2), ({"n": {"$type": "nonsense"}}, 2), ({"n": {"$type": []}}, 9), ({"s": {"$regex": "("}}, 51091),
    ({"s": {"$regex": "x", "$options": "q"}}, 51108), ({"s": {"$options": "i"}}, 2), ({"a": {"$size": -1}}, 2), ({"a": {"$size": "x"}}, 2),
    ({"a": {"$all": 1}}, 2), ({"a": {"$elemMatch": 1}}, 2), ({"n": {"$mod": [0, 1]}}, 2), ({"n": {"$mod": [1]}}, 2), ({"n": {"$mod": [1, 2, 3]}}, 2),
    ({"$expr": {"$nonsense": 1}}, 168), ({"n": {"$in": [{"$gt": 1}]}}, 2), ({"s": {"$gt": re.compile("x")}}, 2),
]


@pytest.fixture
def people(db):
    db.people.insert_many(PEOPLE)
    return db.people


@pytest.mark.parametrize("indexed", [False, True])
def test_query_operators(people, indexed):
    """The same answers with and without indexes on what is asked for."""
    if indexed:
        for key in ("n", "s", "a", "items.k"):
            people.create_index(key)
    for query, ids in MATCHES:
        assert [d["_id"] for d in people.find(query).sort("_id")] == ids, query
        assert people.count_documents(query) == len(ids), query


def test_query_operators_refuse(people, db):
    for query, code in MISMATCHES:
        assert code_of(lambda q=query: list(people.find(q))) == code, query
        assert code_of(lambda q=query: list(db.nothing.find(q))) == code, ("without a collection", query)
        assert code_of(lambda q=query: people.delete_many(q)) == code, query
    assert people.count_documents({}) == len(PEOPLE)


def test_natural_hints_and_limits_refuse(people, db):
    for direction in (0, 2, -2, 0.5, float("nan"), True, "forward", None, [], {}):
        hint = {"$natural": direction}
        for command in ({"find": "people", "hint": hint}, {"count": "people", "hint": hint}, {"distinct": "people", "key": "n", "hint": hint},
                        {"aggregate": "people", "pipeline": [], "cursor": {}, "hint": hint}):
            assert code_of(lambda c=command: db.command(c)) == 2, command
    assert code_of(lambda: db.command("count", "people", hint={"$natural": 1, "n": 1})) == 2
    for direction in (1, -1, 1.0, bson.Int64(-1), Dec("1")):
        assert db.command("count", "people", hint={"$natural": direction})["n"] == len(PEOPLE)
    for limit in ("x", True, [], {}, OID, NOON):
        assert code_of(lambda v=limit: db.command("count", "people", limit=v)) == 2, limit
    for limit in (1.5, float("inf"), float("nan"), Dec("1.5"), Dec("1E+30")):
        assert code_of(lambda v=limit: db.command("count", "people", limit=v)) == 9, limit
    assert [db.command("count", "people", limit=n)["n"] for n in (2, -2, 2.0, Dec("20E-1"), None, 0)] == [2, 2, 2, 2, 5, 5]


# ---- Projection, sort ----

PROJECTIONS = [
    ({"n": 1}, {"_id": 1, "n": 1}), ({"_id": 0, "n": 1}, {"n": 1}), ({"a": 0, "d": 0, "s": 0}, {"_id": 1, "n": 1}),
    ({"_id": 1, "a": {"$slice": 2}}, {"_id": 1, "a": [1, 2]}), ({"a": {"$slice": [1, 1]}, "_id": 1, "n": 1}, {"_id": 1, "n": 1, "a": [2]}),
    ({"a": {"$elemMatch": {"$gt": 1}}}, {"_id": 1, "a": [2]}), ({"d.x": 1}, {"_id": 1, "d": {"x": 1}}),
    ({"_id": 0, "twice": {"$multiply": ["$n", 2]}}, {"twice": 2}),
]


def test_projection(people):
    for projection, expected in PROJECTIONS:
        found = people.find_one({"_id": 1}, projection)
        assert {k: v for k, v in found.items() if k in expected} == expected and (set(found) == set(expected) or "$slice" in str(projection)), projection
    assert people.find_one({"_id": 1, "a": {"$gt": 1}}, {"a.$": 1}) == {"_id": 1, "a": [2]}
    for projection, code in [({"a": 1, "n": 0}, 31254), ({"a": 0, "n": 1}, 31253), ({"a.$": 1}, 51246), ({"a": {"$slice": "x"}}, 28667),
                             ({"a": {"$elemMatch": 1}}, 31274), ({"x": {"$nonsense": 1}}, 31325), ({"a": 1, "a.b": 1}, 31249)]:
        assert code_of(lambda p=projection: list(people.find({}, p))) == code, projection


def test_sort(people):
    assert [d["_id"] for d in people.find().sort("n", -1)] == [4, 3, 2, 5, 1]
    assert [d["_id"] for d in people.find().sort([("a", 1), ("_id", 1)])] == [3, 5, 1, 2, 4]  # an empty array, null, the lowest element, a text
    assert [d["_id"] for d in people.find().sort([("a", -1), ("_id", 1)])] == [4, 2, 1, 5, 3]
    for sort, code in [({"n": 0}, 2), ({"n": "x"}, 2), ({"": 1}, 2)]:
        assert code_of(lambda s=sort: people.database.command({"find": "people", "sort": s})) != 0, sort


# ---- Updates: (before, update, after), (update, code) ----

UPDATES = [
    ({"a": 1}, {"$set": {"b.c": 2}}, {"a": 1, "b": {"c": 2}}), ({"a": 1, "b": 2}, {"$unset": {"b": ""}}, {"a": 1}),
    ({"a": 1}, {"$inc": {"a": 2, "b": Dec("1.5")}}, {"a": 3, "b": Dec("1.5")}), ({"a": 3}, {"$mul": {"a": 2, "b": 5}}, {"a": 6, "b": 0}),
    ({"a": 3}, {"$min": {"a": 2, "b": 1}}, {"a": 2, "b": 1}), ({"a": 3}, {"$max": {"a": 2, "b": 1}}, {"a": 3, "b": 1}),
    ({"a": 1}, {"$rename": {"a": "b.c"}}, {"b": {"c": 1}}), ({"a": [1]}, {"$push": {"a": 2}}, {"a": [1, 2]}),
    ({"a": [3, 1]}, {"$push": {"a": {"$each": [2, 9], "$sort": -1, "$slice": 3}}}, {"a": [9, 3, 2]}),
    ({"a": [1, 4]}, {"$push": {"a": {"$each": [2, 3], "$position": 1}}}, {"a": [1, 2, 3, 4]}),
    ({"a": [1, 5, 2]}, {"$pull": {"a": {"$gte": 2}}}, {"a": [1]}), ({"a": [1, 2, 1]}, {"$pullAll": {"a": [1]}}, {"a": [2]}),
    ({"a": [1]}, {"$addToSet": {"a": 1}}, {"a": [1]}), ({"a": [1]}, {"$addToSet": {"a": {"$each": [2, 1, 2]}}}, {"a": [1, 2]}),
    ({"a": [1, 2]}, {"$pop": {"a": 1}}, {"a": [1]}), ({"a": [1, 2]}, {"$pop": {"a": -1}}, {"a": [2]}),
    ({"a": 1}, {"$setOnInsert": {"b": 1}}, {"a": 1}), ({"a": 12}, {"$bit": {"a": {"and": 10}}}, {"a": 8}),
    ({"a": 1}, {"$bit": {"a": {"or": 4}}}, {"a": 5}), ({"a": 7}, {"$bit": {"a": {"xor": 2}}}, {"a": 5}),
    ({"a": [1, 2]}, {"$inc": {"a.$[]": 10}}, {"a": [11, 12]}), ({"a": 1}, [{"$set": {"b": {"$add": ["$a", 1]}}}], {"a": 1, "b": 2}),
]
REFUSED_UPDATES = [
    ({"$nonsense": {"a": 1}}, 9), ({"$set": 1}, 9), ({"$set": {"_id": 7}}, 66), ({"$inc": {"s": 1}}, 14), ({"$inc": {"a": "x"}}, 14),
    ({"$mul": {"s": 2}}, 14), ({"$set": {"n.x": 1}}, 28), ({"$push": {"n": 1}}, 2), ({"$push": {"a": {"$each": 1}}}, 2),
    ({"$pull": {"n": 1}}, 2), ({"$pullAll": {"a": 1}}, 2), ({"$addToSet": {"n": 1}}, 2), ({"$pop": {"a": 2}}, 9), ({"$pop": {"n": 1}}, 14),
    ({"$rename": {"a": "a"}}, 2), ({"$currentDate": {"a": 1}}, 2), ({"$bit": {"a": {"not": 1}}}, 2), ({"$set": {"a": 1}, "$inc": {"a": 1}}, 40),
    ({"$set": {"a.$": 1}}, 2), ({"$set": {"a.$[x]": 1}}, 2), ({"$set": {"": 1}}, 56), ({"$set": {"a.": 1}}, 56), ([{"$match": {}}], 72),
]


def test_update_operators(db):
    for i, (before, update, after) in enumerate(UPDATES):
        db.c.insert_one({"_id": i, **before})
        result = db.c.update_one({"_id": i}, update)
        assert result.matched_count == 1 and result.modified_count == (before != after), update
        assert db.c.find_one({"_id": i}) == {"_id": i, **after}, update
        twin = db.c.find_one_and_update({"_id": i}, {"$set": {"twin": 1}}, {"_id": 0}, return_document=True)
        assert twin == {**after, "twin": 1}


def test_current_date(db):
    db.c.insert_one({"_id": 1})
    db.c.update_one({"_id": 1}, {"$currentDate": {"d": True, "t": {"$type": "timestamp"}}})
    made = db.c.find_one()
    assert abs((made["d"] - datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)).total_seconds()) < 60
    assert isinstance(made["t"], bson.Timestamp)


def test_positional_updates(db):
    db.c.insert_one({"_id": 1, "a": [1, 5, 9], "items": [{"k": 1, "v": 1}, {"k": 2, "v": 2}]})
    db.c.update_one({"a": {"$gt": 3}}, {"$set": {"a.$": 50}})
    assert db.c.find_one()["a"] == [1, 50, 9]
    db.c.update_one({}, {"$inc": {"items.$[i].v": 10}}, array_filters=[{"i.k": 2}])
    assert [i["v"] for i in db.c.find_one()["items"]] == [1, 12]
    assert code_of(lambda: db.c.update_one({}, {"$set": {"items.$[i].v": 1}}, array_filters=[{"j.k": 2}])) in (2, 9)


def test_update_operators_refuse(db):
    before = {"_id": 1, "n": 1, "s": "text", "a": [1]}
    db.c.insert_one(before)
    for update, code in REFUSED_UPDATES:
        assert code_of(lambda u=update: db.c.update_one({"_id": 1}, u)) == code, update
        assert code_of(lambda u=update: db.c.find_one_and_update({"_id": 1}, u)) == code, update
        assert db.c.find_one() == before, update
    assert db.command("update", "c", updates=[{"q": {}, "u": {"a": 1}, "multi": True}])["writeErrors"][0]["code"] == 9


def test_replacements_and_upserts(db):
    result = db.c.replace_one({"_id": 1}, {"a": 1}, upsert=True)
    assert result.upserted_id == 1
    result = db.c.update_one({"k": 5, "x": {"$gt": 1}}, {"$set": {"a": 1}, "$setOnInsert": {"b": 2}}, upsert=True)
    assert db.c.find_one({"_id": result.upserted_id}, {"_id": 0}) == {"k": 5, "a": 1, "b": 2}
    assert db.c.replace_one({"_id": 1}, {"b": 2}).modified_count == 1 and db.c.find_one({"_id": 1}) == {"_id": 1, "b": 2}
    assert code_of(lambda: db.c.replace_one({"_id": 1}, {"_id": 2, "b": 2})) == 66
    assert code_of(lambda: db.c.update_one({"$and": [{"k": 1}, {"k": 2}], "q": 1}, {"$set": {"a": 1}}, upsert=True)) == 54


# ---- Stages: (pipeline, documents), (pipeline, code) ----

SALES = [{"_id": 1, "item": "a", "n": 2, "tags": ["x", "y"]}, {"_id": 2, "item": "b", "n": 3, "tags": ["x"]},
         {"_id": 3, "item": "a", "n": 5, "tags": []}]
BY_ID = {"$sort": {"_id": 1}}
STAGES = [
    ([{"$match": {"item": "b"}}, {"$project": {"n": 1}}], [{"_id": 2, "n": 3}]),
    ([{"$match": {"_id": 1}}, {"$addFields": {"m": {"$add": ["$n", 1]}}}, {"$project": {"m": 1}}], [{"_id": 1, "m": 3}]),
    ([{"$match": {"_id": 1}}, {"$set": {"n": "$$REMOVE", "tags": 0}}], [{"_id": 1, "item": "a", "tags": 0}]),
    ([{"$match": {"_id": 1}}, {"$unset": ["tags", "n"]}], [{"_id": 1, "item": "a"}]),
    ([{"$group": {"_id": "$item", "n": {"$sum": "$n"}}}, BY_ID], [{"_id": "a", "n": 7}, {"_id": "b", "n": 3}]),
    ([{"$sort": {"n": -1}}, {"$skip": 1}, {"$limit": 1}, {"$project": {"_id": 1}}], [{"_id": 2}]),
    ([{"$unwind": "$tags"}, {"$sort": {"_id": 1, "tags": 1}}, {"$project": {"_id": 0, "tags": 1}}], [{"tags": "x"}, {"tags": "y"}, {"tags": "x"}]),
    ([{"$unwind": {"path": "$tags", "preserveNullAndEmptyArrays": True, "includeArrayIndex": "i"}}, {"$match": {"_id": 3}}, {"$project": {"i": 1}}],
     [{"_id": 3, "i": None}]),
    ([{"$count": "all"}], [{"all": 3}]),
    ([{"$lookup": {"from": "parts", "localField": "item", "foreignField": "of", "as": "p"}}, BY_ID, {"$project": {"p": {"$size": "$p"}}}],
     [{"_id": 1, "p": 2}, {"_id": 2, "p": 0}, {"_id": 3, "p": 2}]),
    ([{"$match": {"_id": 1}}, {"$lookup": {"from": "parts", "let": {"i": "$item"}, "as": "p", "pipeline": [
        {"$match": {"$expr": {"$eq": ["$of", "$$i"]}}}, BY_ID, {"$limit": 1}, {"$project": {"_id": 1}}]}}, {"$project": {"p": 1}}],
     [{"_id": 1, "p": [{"_id": 10}]}]),
    ([{"$facet": {"n": [{"$count": "n"}], "first": [BY_ID, {"$limit": 1}, {"$project": {"_id": 1}}]}}], [{"n": [{"n": 3}], "first": [{"_id": 1}]}]),
    ([{"$sortByCount": "$item"}], [{"_id": "a", "count": 2}, {"_id": "b", "count": 1}]),
    ([BY_ID, {"$limit": 1}, {"$replaceRoot": {"newRoot": {"was": "$_id"}}}], [{"was": 1}]),
    ([BY_ID, {"$limit": 1}, {"$replaceWith": {"was": "$item"}}], [{"was": "a"}]),
    ([{"$sample": {"size": 2}}, {"$count": "n"}], [{"n": 2}]),
    ([{"$unionWith": "parts"}, {"$count": "n"}], [{"n": 5}]),
    ([{"$bucket": {"groupBy": "$n", "boundaries": [0, 3, 10]}}], [{"_id": 0, "count": 1}, {"_id": 3, "count": 2}]),
]
REFUSED_STAGES = [
    ([{"$nonsense": 1}], 40324), ([{}], 40323), ([{"$match": {}, "$limit": 1}], 40323), ([{"$match": 1}], 15959), ([{"$project": {}}], 51272),
    ([{"$project": {"a": 1, "b": 0}}], 31254), ([{"$addFields": 1}], 40272), ([{"$unset": 1}], 31002), ([{"$group": {"n": {"$sum": 1}}}], 15955),
    ([{"$group": {"_id": 1, "n": 1}}], 40234), ([{"$group": {"_id": 1, "n": {"$nonsense": 1}}}], 15952), ([{"$sort": {}}], 15976),
    ([{"$sort": {"a": 2}}], 15975), ([{"$limit": 0}], 15958), ([{"$limit": "x"}], 5107201), ([{"$skip": -1}], 5107200), ([{"$unwind": "tags"}], 28818),
    ([{"$unwind": {"path": 1}}], 28808), ([{"$count": ""}], 40157), ([{"$lookup": {"from": "x"}}], 40414), ([{"$lookup": 1}], 9),
    ([{"$facet": {}}], 40169), ([{"$facet": {"a": [{"$out": "x"}]}}], 40600), ([{"$sortByCount": "item"}], 40148),
    ([{"$replaceRoot": {"newRoot": 1}}], 40228), ([{"$replaceWith": "$item"}], 40228), ([{"$sample": {"size": -1}}], 28747),
    ([{"$changeStream": {}}], 40573), ([{"$out": "x"}, {"$match": {}}], 40601),
]


@pytest.fixture
def sales(db):
    db.sales.insert_many(SALES)
    db.parts.insert_many([{"_id": 10, "of": "a"}, {"_id": 11, "of": "a"}])
    return db.sales


def test_stages(sales):
    for pipeline, documents in STAGES:
        assert list(sales.aggregate(pipeline)) == documents, pipeline


def test_stages_refuse(sales, db):
    for pipeline, code in REFUSED_STAGES:
        found = code_of(lambda p=pipeline: list(sales.aggregate(p)))
        assert found == code, (pipeline, found)
        if not {"$replaceWith", "$replaceRoot"} & set(pipeline[0]):  # it takes a document to be wrong
            assert code_of(lambda p=pipeline: list(db.nothing.aggregate(p))) == code, ("without a collection", pipeline)


def fusion(**pipelines):
    return {"$rankFusion": {"input": {"pipelines": pipelines}, "scoreDetails": True}}


def test_rank_fusion(sales, db):
    """Rankings of a collection, of a view and of a place's surroundings made one; metadata stays with its document through other stages."""
    both = fusion(most=[{"$sort": {"n": -1}}], named=[{"$match": {"item": "a"}}, {"$sort": {"_id": 1}}])
    scores = {"$project": {"score": {"$meta": "score"}, "details": {"$meta": "scoreDetails"}}}
    found = list(sales.aggregate([both, {"$sort": {"_id": -1}}, scores]))
    assert [d["_id"] for d in found] == [3, 2, 1]
    expected = {3: 1 / 61 + 1 / 62, 2: 1 / 62, 1: 1 / 63 + 1 / 61}
    assert {d["_id"]: d["score"] for d in found} == pytest.approx(expected)
    assert [(p["inputPipelineName"], p["rank"]) for p in found[1]["details"]["details"]] == [("most", 2), ("named", "NA")]
    assert [d["_id"] for d in sales.aggregate([both])] == [3, 1, 2]

    db.create_collection("view", viewOn="sales", pipeline=[{"$match": {"_id": {"$ne": 3}}}])
    assert [d["_id"] for d in db.view.aggregate([both])] == [1, 2]

    pair = fusion(p=[{"$match": {"n": 2}}, {"$sort": {"n": 1}}], q=[{"$match": {"n": 5}}, {"$sort": {"n": 1}}])
    sales.create_index("n")
    assert [d["_id"] for d in sales.aggregate([pair])] == [1, 3]
    assert "IXSCAN" in str(db.command("explain", {"aggregate": "sales", "pipeline": [pair], "cursor": {}}, verbosity="queryPlanner"))


def test_rank_fusion_of_places(db):
    point = {"type": "Point", "coordinates": [16, 48]}
    db.places.insert_many([{"_id": i, "at": {"type": "Point", "coordinates": [16 + i, 48]}, "n": i % 2} for i in range(4)])
    db.places.create_index([("at", "2dsphere")])
    near = fusion(near=[{"$geoNear": {"near": point}}, {"$limit": 3}], odd=[{"$sort": {"n": -1}}, {"$limit": 2}])
    assert [d["_id"] for d in db.places.aggregate([near])] == [1, 0, 3, 2]
    far = list(db.places.aggregate([{"$geoNear": {"near": point}}, {"$sort": {"_id": -1}},
                                    {"$project": {"far": {"$meta": "geoNearDistance"}, "at": {"$meta": "geoNearPoint"}}}]))
    assert far[3]["far"] == 0 and far[0]["far"] > far[1]["far"] > 0 and far[0]["at"]["coordinates"] == [19, 48]


ACCUMULATORS = [({"$sum": "$n"}, 10), ({"$avg": "$n"}, 10 / 3), ({"$min": "$n"}, 2), ({"$max": "$n"}, 5), ({"$first": "$n"}, 2), ({"$last": "$n"}, 5),
                ({"$push": "$item"}, ["a", "b", "a"]), ({"$count": {}}, 3), ({"$sum": Dec("0.1")}, Dec("0.3")), ({"$mergeObjects": {"n": "$n"}}, {"n": 5})]


def test_accumulators(sales):
    for spec, value in ACCUMULATORS:
        assert list(sales.aggregate([BY_ID, {"$group": {"_id": None, "v": spec}}])) == [{"_id": None, "v": value}], spec
    assert sorted(next(sales.aggregate([{"$group": {"_id": None, "v": {"$addToSet": "$item"}}}]))["v"]) == ["a", "b"]
    for spec, code in [({"$count": 1}, 14), ({"$sum": ["$n", 1]}, 40237), ({"$avg": [1, 2]}, 40237), ({"$push": "$n", "$sum": 1}, 40238)]:
        found = code_of(lambda s=spec: list(sales.aggregate([{"$group": {"_id": None, "v": s}}])))
        assert found == code, (spec, found)


# ---- Expressions: (expression, value), (expression, code) ----

EXPRESSIONS = [
    ({"$cmp": [1, 2]}, -1), ({"$eq": [1, bson.Int64(1)]}, True), ({"$ne": ["a", "A"]}, True), ({"$gt": ["a", 1]}, True), ({"$gte": [2, 2]}, True),
    ({"$lt": [None, 1]}, True), ({"$lte": [3, 2]}, False), ({"$and": [1, "x"]}, True), ({"$or": [0, None]}, False), ({"$not": [0]}, True),
    ({"$cond": [True, 1, 2]}, 1), ({"$cond": {"if": 0, "then": 1, "else": 2}}, 2), ({"$ifNull": ["$none", None, 7]}, 7),
    ({"$switch": {"branches": [{"case": False, "then": 1}, {"case": True, "then": 2}], "default": 3}}, 2),
    ({"$add": [1, 2.5]}, 3.5), ({"$add": ["$day", 1000]}, NOON.replace(microsecond=250000) + datetime.timedelta(seconds=1)), ({"$subtract": [5, 7]}, -2),
    ({"$multiply": [Dec("0.1"), 3]}, Dec("0.3")), ({"$divide": [7, 2]}, 3.5), ({"$mod": [-7, 3]}, -1), ({"$abs": -3}, 3), ({"$ceil": 1.2}, 2.0),
    ({"$floor": -1.2}, -2.0), ({"$round": [2.5, 0]}, 2.0), ({"$round": [1234, -2]}, 1200), ({"$trunc": [-1.78, 1]}, -1.7), ({"$pow": [2, 10]}, 1024), ({"$sqrt": 16}, 4.0),
    ({"$add": [Dec("9999999999999999999999999999999999"), 1]}, Dec("1.000000000000000000000000000000000E+34")),
    ({"$arrayElemAt": ["$list", -1]}, 3), ({"$size": "$list"}, 3), ({"$in": [2, "$list"]}, True),
    ({"$filter": {"input": "$list", "as": "x", "cond": {"$gt": ["$$x", 1]}}}, [2, 3]), ({"$map": {"input": "$list", "in": {"$multiply": ["$$this", 2]}}}, [2, 4, 6]),
    ({"$reduce": {"input": "$list", "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}}}, 6), ({"$concatArrays": ["$list", [4]]}, [1, 2, 3, 4]),
    ({"$slice": ["$list", 1, 2]}, [2, 3]), ({"$first": "$list"}, 1), ({"$last": "$list"}, 3), ({"$range": [0, 6, 2]}, [0, 2, 4]), ({"$isArray": "$list"}, True),
    ({"$concat": ["a", "$text"]}, "aHéllo"), ({"$toLower": "$text"}, "héllo"), ({"$toUpper": "abc"}, "ABC"), ({"$substrCP": ["$text", 1, 3]}, "éll"),
    ({"$split": ["a-b-c", "-"]}, ["a", "b", "c"]), ({"$strLenCP": "$text"}, 5), ({"$indexOfCP": ["$text", "l"]}, 2), ({"$trim": {"input": "  x "}}, "x"),
    ({"$regexMatch": {"input": "$text", "regex": "^h", "options": "i"}}, True),
    ({"$type": "$none"}, "missing"), ({"$type": Dec("1")}, "decimal"), ({"$convert": {"input": "x", "to": "int", "onError": -1}}, -1),
    ({"$toString": 1.5}, "1.5"), ({"$toInt": "42"}, 42), ({"$toLong": 3.9}, bson.Int64(3)), ({"$toDouble": "2.5"}, 2.5), ({"$toDate": "2024-02-29T12:30:15.250Z"}, NOON),
    ({"$toObjectId": str(OID)}, OID), ({"$let": {"vars": {"x": 2}, "in": {"$add": ["$$x", 1]}}}, 3), ({"$literal": "$x"}, "$x"),
    ({"$mergeObjects": [{"a": 1}, {"b": 2}]}, {"a": 1, "b": 2}), ({"$getField": {"field": {"$literal": "a.b"}, "input": {"$literal": {"a.b": 1}}}}, 1),
    ({"$year": "$day"}, 2024), ({"$month": "$day"}, 2), ({"$dayOfMonth": "$day"}, 29), ({"$hour": "$day"}, 12), ({"$minute": "$day"}, 30), ({"$second": "$day"}, 15),
    ({"$millisecond": "$day"}, 250), ({"$dayOfWeek": "$day"}, 5), ({"$dayOfYear": "$day"}, 60), ({"$week": "$day"}, 8), ({"$isoWeek": "$day"}, 9),
    ({"$isoWeekYear": "$day"}, 2024), ({"$isoDayOfWeek": "$day"}, 4),
    ({"$dateToString": {"date": "$day", "format": "%Y-%m-%dT%H:%M:%S.%LZ"}}, "2024-02-29T12:30:15.250Z"), ({"$dateToString": {"date": "$day"}}, "2024-02-29T12:30:15.250Z"),
]
REFUSED_EXPRESSIONS = [
    ({"$nonsense": 1}, 168), ({"$eq": [1]}, 16020), ({"$not": [1, 2]}, 16020), ({"$cond": [1, 2]}, 16020), ({"$cond": {"if": 1}}, 17081),
    ({"$switch": {"branches": []}}, 40068), ({"$switch": {"branches": [{"case": False, "then": 1}]}}, 40069), ({"$ifNull": [1]}, 1257300), ({"$add": ["x", 1]}, 14),
    ({"$subtract": ["x", 1]}, 14), ({"$multiply": ["x", 1]}, 14), ({"$divide": [1, 0]}, 2), ({"$divide": ["x", 1]}, 14), ({"$mod": [1, 0]}, 16610),
    ({"$abs": "x"}, 28765), ({"$ceil": "x"}, 28765), ({"$round": [1, "x"]}, 16004), ({"$pow": [0, -1]}, 28764), ({"$sqrt": -1}, 28714),
    ({"$arrayElemAt": [1, 0]}, 28689), ({"$size": 1}, 17124), ({"$in": [1, 1]}, 40081), ({"$filter": {"input": 1, "cond": 1}}, 28651),
    ({"$map": {"input": 1, "in": 1}}, 16883), ({"$reduce": {"input": 1, "initialValue": 0, "in": 1}}, 40080), ({"$concatArrays": [1]}, 28664),
    ({"$slice": [1, 1]}, 28724), ({"$range": [0, 1, 0]}, 34449), ({"$concat": [1]}, 16702), ({"$substrCP": ["x", -1, 1]}, 34455), ({"$split": [1, "x"]}, 40085),
    ({"$strLenCP": 1}, 34471), ({"$indexOfCP": [1, "x"]}, 40093), ({"$trim": {"input": 1}}, 50699), ({"$regexMatch": {"input": "x", "regex": "("}}, 51111),
    ({"$convert": {"input": "x", "to": "int"}}, 241), ({"$toInt": "x"}, 241), ({"$toInt": 3e10}, 241), ({"$toObjectId": "x"}, 241), ({"$toDate": "x"}, 241),
    ({"$let": {"vars": {"x": 1}}}, 16877), ({"$mergeObjects": [1]}, 40400), ({"$getField": 1}, 3041704), ({"$year": "x"}, 16006),
    ({"$dateToString": {"date": "$day", "format": "%Q"}}, 18536), ("$$nonsense", 17276), ({"$eq": [1, 1], "$ne": [1, 1]}, 15983),
]


@pytest.fixture
def one(db):
    db.c.insert_one({"_id": 1, "list": [1, 2, 3], "text": "Héllo", "day": NOON})
    return db.c


def test_expressions(one):
    """Computed from the document, and again where the planner folds constants: the same value in both."""
    for expression, value in EXPRESSIONS:
        got = next(one.aggregate([{"$project": {"_id": 0, "v": expression}}]))["v"]
        assert got == value and isinstance(got, bool) == isinstance(value, bool), expression
        assert one.count_documents({"$expr": {"$eq": [expression, {"$literal": value}]}}) == 1, expression


def test_expressions_refuse(one):
    for expression, code in REFUSED_EXPRESSIONS:
        for pipeline in ([{"$group": {"_id": expression}}], [{"$match": {"$expr": expression}}]):
            found = code_of(lambda p=pipeline: list(one.aggregate(p)))
            assert found == code, (expression, found)
