"""Indexes under a collation, and collections that compare by one."""
import pytest
from pymongo.errors import DuplicateKeyError, OperationFailure

ANY_CASE = {"locale": "en", "strength": 2}
BAD_VALUE, CANNOT_CREATE, CONFLICT, ON_VIEW, AMBIGUOUS = 2, 67, 85, 167, 181


def code_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except OperationFailure as e:
        return e.code
    return 0


def plan_of(db, coll, query, **more):
    return str(db.command("explain", {"find": coll, "filter": query, **more}, verbosity="queryPlanner")["queryPlanner"]["winningPlan"])


@pytest.fixture
def people(db):
    db.people.insert_many([{"_id": i, "name": n, "age": i * 10, "tags": [n, {"k": n}]} for i, n in
                           enumerate(["anna", "Anna", "Ben", "ben", "\u00c4nne", "\u00e4nne", "z", "\u00df", "ss", ""])])
    return db.people


def test_index_gives_what_a_scan_gives(db, people):
    """All that compares: points, ranges, lists, arrays, documents, in both directions, with and without the index."""
    queries = [{"name": "ANNA"}, {"name": {"$gt": "B"}}, {"name": {"$gte": "BEN", "$lt": "Z"}}, {"name": {"$in": ["ANNA", "Z", "SS", 5]}}, {"tags": "BEN"},
               {"tags": {"k": "BEN"}}, {"name": ""}, {"name": {"$lte": "\u00c4NNE"}}, {"name": {"$ne": "ANNA"}}, {"name": {"$regex": "^a"}}, {"name": None},
               {"$or": [{"name": "ANNA"}, {"age": 90}]}, {"age": {"$gt": 30}, "name": {"$gt": "b"}}]

    def answers():
        by_id = [sorted(d["_id"] for d in people.find(q, collation=c)) for q in queries for c in (ANY_CASE, {"locale": "de"}, None)]
        ordered = [[d["name"].lower() for d in people.find(q, collation=ANY_CASE).sort("name", way)] for q in queries for way in (1, -1)]
        return by_id, ordered
    scanned = answers()
    for keys in ([("name", 1)], [("name", -1), ("age", 1)], [("tags", 1)], [("age", 1), ("name", 1)]):
        people.create_index(keys, collation=ANY_CASE)
    assert answers() == scanned
    people.create_index([("name", 1)], name="bytes")
    people.create_index([("age", 1)])
    assert answers() == scanned


def test_which_index_is_used(db, people):
    people.create_index("name", collation=ANY_CASE, name="any")
    assert "'any'" in plan_of(db, "people", {"name": "x"}, collation=ANY_CASE)
    assert "'any'" not in plan_of(db, "people", {"name": "x"}) and "'any'" not in plan_of(db, "people", {"name": "x"}, collation={"locale": "en"})
    assert "'any'" in plan_of(db, "people", {"name": 5}), "numbers have one order"
    assert "SORT" in plan_of(db, "people", {"name": {"$gt": 5}}, sort={"name": 1}) and "SORT" not in plan_of(db, "people", {}, sort={"name": 1}, collation=ANY_CASE)
    assert "FETCH" in plan_of(db, "people", {"name": "x"}, projection={"name": 1, "_id": 0}, collation=ANY_CASE), "a key does not say what the string was"
    assert people.find_one({"name": "BEN"}, {"name": 1, "_id": 0}, collation=ANY_CASE)["name"] in ("Ben", "ben")
    assert people.index_information()["any"]["collation"]["strength"] == 2


def test_unique(db):
    db.users.create_index("mail", unique=True, collation=ANY_CASE)
    db.users.insert_one({"_id": 1, "mail": "Ann@x.org"})
    with pytest.raises(DuplicateKeyError) as failed:
        db.users.insert_one({"_id": 2, "mail": "ANN@X.ORG"})
    assert failed.value.details["keyValue"]["mail"].startswith("0x")
    db.users.update_one({"_id": 1}, {"$set": {"mail": "ANN@x.org"}})
    db.users.insert_one({"_id": 3, "mail": "bob@x.org"})
    assert code_of(db.users.update_one, {"_id": 3}, {"$set": {"mail": "ann@X.org"}}) == 11000
    db.users.delete_one({"_id": 1})
    db.users.insert_one({"_id": 4, "mail": "aNN@x.org"})
    assert db.command("validate", "users", full=True)["valid"]
    db.users.insert_one({"_id": 5, "mail": "BOB2@x.org"})
    db.users.create_index("mail", name="bytes")
    assert code_of(db.users.create_index, "mail", name="again", collation=ANY_CASE, unique=True) == CONFLICT
    assert code_of(db.users.create_index, [("at", "2d")], collation=ANY_CASE) == CANNOT_CREATE


def test_partial(db, people):
    people.create_index("age", name="part", partialFilterExpression={"name": {"$gte": "ben"}}, collation=ANY_CASE)
    by_index = people.find({"age": {"$gte": 0}, "name": {"$gte": "ben"}}, collation=ANY_CASE).hint("part")
    assert sorted(d["_id"] for d in by_index) == sorted(d["_id"] for d in people.find({"name": {"$gte": "ben"}}, collation=ANY_CASE))
    above = {"age": {"$gte": 0}, "name": {"$gte": "ANNA"}}  # lower in this order, higher and lower by bytes: the index has not all of it
    for query in (above, {**above, "name": {"$gt": "anna"}}, {**above, "name": "anna"}, {**above, "name": {"$in": ["anna", "z"]}}):
        assert "part" not in plan_of(db, "people", query, collation=ANY_CASE), query
    people.create_index("age", name="upper", partialFilterExpression={"name": {"$gte": "BEN"}}, collation=ANY_CASE)
    assert sorted(d["_id"] for d in people.find({**above, "name": "anna"}, collation=ANY_CASE)) == [0, 1]
    assert "part" not in plan_of(db, "people", {"age": {"$gte": 0}, "name": {"$gte": "ben"}})


def test_default_of_a_collection(db):
    """Every command compares by it when it says nothing; `simple` turns it off; indexes have it, that of _id too."""
    db.create_collection("c", collation=ANY_CASE, validator={"kind": {"$in": ["a", "b"]}})
    c = db.c
    assert db.command("listCollections", filter={"name": "c"})["cursor"]["firstBatch"][0]["options"]["collation"]["version"]
    c.insert_many([{"_id": "x", "n": "One", "kind": "A"}, {"_id": "y", "n": "one", "kind": "b"}, {"_id": "Z", "n": "two", "kind": "B"}])
    assert code_of(c.insert_one, {"_id": "X", "kind": "a"}) == 11000 and code_of(c.insert_one, {"_id": "q", "kind": "c"}) == 121
    c.create_index("n")
    assert c.index_information()["n_1"]["collation"]["strength"] == 2 and "IXSCAN" in plan_of(db, "c", {"n": "ONE"})
    assert c.count_documents({"n": "ONE"}) == 2 and db.command("count", "c", query={"n": "ONE"})["n"] == 2
    assert c.count_documents({"n": "ONE"}, collation={"locale": "simple"}) == 0
    assert "IDHACK" in plan_of(db, "c", {"_id": "X"}) and c.find_one({"_id": "X"})["n"] == "One"
    assert c.find_one({"_id": "X"}, collation={"locale": "simple"}) is None and c.find_one({"_id": "x"}, collation={"locale": "simple"})
    assert c.distinct("n") in (["One", "two"], ["one", "two"])
    assert sorted(g["n"] for g in c.aggregate([{"$group": {"_id": "$n", "n": {"$sum": 1}}}])) == [1, 2]
    assert c.update_many({"n": "ONE"}, {"$set": {"seen": 1}}).modified_count == 2
    assert c.update_many({"n": "ONE"}, {"$set": {"seen": 2}}, collation={"locale": "simple"}).modified_count == 0
    assert c.find_one_and_update({"_id": "z"}, {"$set": {"seen": 3}})["_id"] == "Z"
    assert c.delete_one({"n": "TWO"}).deleted_count == 1
    c.create_index("kind", collation={"locale": "simple"})
    assert "collation" not in c.index_information()["kind_1"]
    assert code_of(db.command, "createIndexes", "c", indexes=[{"key": {"_id": 1}, "name": "_id_", "collation": {"locale": "simple"}}]) == BAD_VALUE
    assert code_of(db.create_collection, "d", collation={"locale": "no such"}) == BAD_VALUE
    c.rename("renamed")
    assert db.renamed.find_one({"_id": "X"})


def test_joins_compare_as_the_command_does(db):
    db.create_collection("l", collation=ANY_CASE)
    db.l.insert_many([{"_id": 1, "k": "a"}, {"_id": 2, "k": "B"}])
    db.r.insert_many([{"_id": "A"}, {"_id": "b"}, {"_id": "B"}])
    stage = {"$lookup": {"from": "r", "localField": "k", "foreignField": "_id", "as": "x"}}
    assert [[x["_id"] for x in d["x"]] for d in db.l.aggregate([{"$sort": {"_id": 1}}, stage])] == [["A"], ["b", "B"]]
    back = {"$lookup": {"from": "l", "localField": "_id", "foreignField": "k", "as": "x"}}
    assert {d["_id"]: len(d["x"]) for d in db.r.aggregate([back])} == {"A": 0, "b": 0, "B": 1}


def test_merge_meets_documents_as_the_pipeline_compares(db):
    db.src.insert_many([{"k": "a", "v": 1}, {"k": "B", "v": 2}, {"k": "c", "v": 3}])
    db.create_collection("into", collation=ANY_CASE)
    db.into.insert_many([{"k": "A", "v": 0}, {"k": "b", "v": 0}])
    db.into.create_index("k", unique=True)
    merge = [{"$project": {"_id": 0}}, {"$merge": {"into": "into", "on": "k"}}]
    assert code_of(lambda: list(db.src.aggregate(merge))) == 51183
    list(db.src.aggregate(merge, collation=ANY_CASE))
    assert {d["k"].lower(): d["v"] for d in db.into.find()} == {"a": 1, "b": 2, "c": 3} and db.into.count_documents({}) == 3
    db.into.drop_indexes()
    db.into.create_index("k", unique=True, collation={"locale": "simple"})
    list(db.src.aggregate([{"$set": {"v": 9}}, *merge]))
    assert [d["v"] for d in db.into.find()] == [9, 9, 9]


def test_views(db):
    """A view has a collation of its own, not that of what it is over; what reads it has to compare as it does."""
    db.create_collection("c", collation=ANY_CASE)
    db.c.insert_many([{"_id": 1, "n": "One"}, {"_id": 2, "n": "two"}])
    db.create_collection("plain", viewOn="c", pipeline=[])
    db.create_collection("same", viewOn="c", pipeline=[], collation=ANY_CASE)
    assert db.plain.count_documents({"n": "ONE"}) == 0 and db.same.count_documents({"n": "ONE"}) == 1
    assert db.same.count_documents({"n": "ONE"}, collation=ANY_CASE) == 1
    assert code_of(db.same.find_one, {}, collation={"locale": "simple"}) == ON_VIEW and code_of(db.plain.find_one, {}, collation=ANY_CASE) == ON_VIEW
    assert code_of(lambda: list(db.plain.aggregate([{"$unionWith": "same"}]))) == ON_VIEW
    assert len(list(db.same.aggregate([{"$unionWith": "same"}, {"$match": {"n": "TWO"}}]))) == 2
    assert len(list(db.c.aggregate([{"$unionWith": "same"}]))) == 4 and code_of(lambda: list(db.c.aggregate([{"$unionWith": "plain"}]))) == ON_VIEW
    assert code_of(db.create_collection, "over", viewOn="same", pipeline=[]) == ON_VIEW
    assert code_of(db.create_collection, "over", viewOn="c", pipeline=[{"$unionWith": "same"}]) == ON_VIEW
    assert code_of(db.command, "collMod", "plain", viewOn="c", pipeline=[{"$unionWith": "same"}]) == ON_VIEW


def test_what_goes_along(db, shared_client):
    """A collection that is renamed to another database, capped or written anew compares as it did, and so do its indexes."""
    db.create_collection("c", collation=ANY_CASE)
    db.c.insert_many([{"_id": "a", "k": "X"}, {"_id": "b", "k": "y"}])
    db.c.create_index("k", name="own")
    db.c.create_index("k", name="bytes", collation={"locale": "simple"})
    for command in ({"dropIndexes": "c", "index": {"k": 1}}, {"collMod": "c", "index": {"keyPattern": {"k": 1}, "hidden": True}}):
        assert code_of(db.command, command) == AMBIGUOUS
    other = shared_client[db.name + "_2"]
    shared_client.drop_database(other)
    shared_client.admin.command("renameCollection", f"{db.name}.c", to=f"{other.name}.c")
    assert other.c.find_one({"_id": "A"})["k"] == "X" and ["collation" in i for i in other.c.list_indexes()] == [True, True, False]
    other.command("cloneCollectionAsCapped", "c", toCollection="small", size=10000)
    other.create_collection("out", collation=ANY_CASE)
    other.out.create_index("z")
    list(other.c.aggregate([{"$out": "out"}]))
    other.command("convertToCapped", "c", size=10000)
    for coll in (other.small, other.out, other.c):
        assert coll.find_one({"_id": "A"})["k"] == "X" and coll.options()["collation"]["strength"] == 2, coll.name
        assert all(i["collation"]["strength"] == 2 for i in coll.list_indexes()) and other.command("validate", coll.name)["valid"], coll.name
    shared_client.drop_database(other)
