"""Every command of the release once through a driver, and what it refuses: unknown fields, wrong types, things that are not there."""
import concurrent.futures
import datetime
import socket
import struct
import uuid

import bson
import pymongo
import pymongo.errors
import pytest
from bson.decimal128 import Decimal128 as Dec

from processes import wait_until
from running import code_of


def refused(db, **command):
    return code_of(lambda: db.command(command))


# ---- What a command does not know ----

# command, a field that it requires (None: it takes none), and its arguments
STRICT = [
    ({"insert": "c", "documents": [{}]}, "documents"), ({"find": "c"}, None), ({"update": "c", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]}, "updates"),
    ({"delete": "c", "deletes": [{"q": {}, "limit": 1}]}, "deletes"), ({"count": "c"}, None), ({"distinct": "c", "key": "a"}, "key"),
    ({"aggregate": "c", "pipeline": [], "cursor": {}}, "pipeline"), ({"findAndModify": "c", "remove": True}, None), ({"create": "new"}, None), ({"drop": "new"}, None),
    ({"listCollections": 1}, None), ({"createIndexes": "c", "indexes": [{"key": {"a": 1}, "name": "a"}]}, "indexes"), ({"listIndexes": "c"}, None),
    ({"dropIndexes": "c", "index": "a"}, "index"), ({"collStats": "c"}, None), ({"dbStats": 1}, None), ({"validate": "c"}, None), ({"collMod": "c"}, None),
    ({"killCursors": "c", "cursors": []}, "cursors"), ({"ping": 1}, None), ({"buildInfo": 1}, None), ({"connectionStatus": 1}, None), ({"usersInfo": 1}, None),
    ({"rolesInfo": 1}, None), ({"endSessions": []}, None), ({"dropDatabase": 1}, None),
]


@pytest.mark.parametrize("command, required", STRICT, ids=[next(iter(c)) for c, _ in STRICT])
def test_commands_are_strict(db, command, required):
    db.c.insert_one({"a": 1})
    assert code_of(lambda: db.command({**command, "nonsense": 1})) == 40415
    if required:
        left = {k: v for k, v in command.items() if k != required}
        assert code_of(lambda: db.command({**left})) == 40414
        if required not in ("documents", "updates", "deletes"):  # which the driver itself takes out of the body
            assert code_of(lambda: db.command({**command, required: 1.5})) == 14
    if required == "index":
        db.c.create_index("a", name="a")
    assert code_of(lambda: db.command({**command})) == 0
    if required == "index":
        db.c.create_index("a", name="a")
    assert code_of(lambda: db.command({**command, "comment": "x", "maxTimeMS": 60000})) == 0
    assert code_of(lambda: db.command({**command, "maxTimeMS": -1})) == 2
    assert code_of(lambda: db.command({**command, "apiVersion": "2"})) == 322


def test_unknown_commands(db):
    for name in ("nonsense", "Find", "HELLO", "getlasterror", "eval", "$cmd", ""):
        assert refused(db, **{name: 1}) == 59, name


def test_fields_twice(shared_node):
    """No driver sends such a thing: by hand, before login."""
    body = bson.encode({"hello": 1, "$db": "admin"})[4:-1]
    for command, code in ((b"\x10ping\0\1\0\0\0" + b"\x02comment\0\2\0\0\0a\0" * 2, 40413), (b"\x10ping\0\1\0\0\0", None)):
        document = command + body[body.index(b"\x02$db"):] + b"\0"
        document = struct.pack("<i", len(document) + 4) + document
        with socket.create_connection(("127.0.0.1", shared_node.port), timeout=30) as s:
            s.sendall(struct.pack("<iiiiIB", 21 + len(document), 1, 0, 2013, 0, 0) + document)
            reply = bson.decode(s.recv(65536)[21:])
        assert reply.get("code") == code, reply


def test_transactions_and_change_streams_are_refused(db, shared_client):
    lsid = {"id": bson.Binary(uuid.uuid4().bytes, 4)}
    assert code_of(lambda: db.command({"insert": "c", "documents": [{}], "lsid": lsid, "txnNumber": bson.Int64(1), "autocommit": False,
                                       "startTransaction": True})) == 20
    with shared_client.start_session() as session, pytest.raises(pymongo.errors.OperationFailure) as e:
        with session.start_transaction():
            db.c.insert_one({}, session=session)
    assert e.value.code == 20
    assert db.c.count_documents({}) == 0
    for watch in (db.c.watch, db.watch, shared_client.watch):
        assert code_of(watch) == 40573


# ---- Reading and writing ----

def test_insert(db):
    assert db.c.insert_one({"_id": 1, "a": Dec("1.50")}).inserted_id == 1
    with pytest.raises(pymongo.errors.BulkWriteError) as e:
        db.c.insert_many([{"_id": 2}, {"_id": 1}, {"_id": 3}])
    assert [(w["index"], w["code"], w["keyPattern"], w["keyValue"]) for w in e.value.details["writeErrors"]] == [(1, 11000, {"_id": 1}, {"_id": 1})]
    assert [d["_id"] for d in db.c.find().sort("_id")] == [1, 2]
    with pytest.raises(pymongo.errors.BulkWriteError) as e:
        db.c.insert_many([{"_id": 1}, {"_id": 3}, {"_id": 2}, {"_id": 4}], ordered=False)
    assert [w["index"] for w in e.value.details["writeErrors"]] == [0, 2] and db.c.count_documents({}) == 4
    assert str(db.c.find_one({"_id": 1})["a"]) == "1.50"
    for document, code in [({"_id": [1]}, 53), ({"_id": bson.Regex("x")}, 53), ({"_id": {"$x": 1}}, 52)]:
        assert db.command("insert", "c", documents=[document])["writeErrors"][0]["code"] == code, document
    for name, code in [("", 73), ("$x", 73), ("a" * 300, 73)]:
        assert refused(db, insert=name, documents=[{}]) == code, name
    assert refused(db, insert=1, documents=[{}]) == 73
    assert refused(db, insert="c", documents=[]) == 16


def test_find_and_cursors(db):
    db.c.insert_many([{"_id": i, "a": i % 3} for i in range(1000)])
    assert [d["_id"] for d in db.c.find({"a": 1}).sort("_id", -1).skip(2).limit(3)] == [991, 988, 985]
    assert len(list(db.c.find({}, batch_size=7))) == 1000
    reply = db.command("find", "c", batchSize=2)["cursor"]
    assert len(reply["firstBatch"]) == 2 and reply["ns"].endswith(".c") and reply["id"] > 0
    assert db.command("find", "c", batchSize=2, singleBatch=True)["cursor"]["id"] == 0
    for more, code in [({"filter": 1}, 14), ({"limit": -1}, 2), ({"skip": -1}, 2), ({"batchSize": -1}, 2), ({"hint": "none"}, 2), ({"hint": 1}, 9),
                       ({"sort": 1}, 14), ({"projection": 1}, 14), ({"collation": {"locale": "nonsense"}}, 2), ({"readConcern": {"level": "snapshot"}}, 123),
                       ({"readConcern": {"level": "nonsense"}}, 2), ({"min": {"a": 1}}, 51173), ({"writeConcern": {"w": 1}}, 72)]:
        assert refused(db, find="c", **more) == code, (more, refused(db, find="c", **more))
    assert refused(db, getMore=bson.Int64(123456), collection="c") == 43
    assert refused(db, getMore=1, collection="c") == 14
    assert db.command("killCursors", "c", cursors=[bson.Int64(5)])["cursorsNotFound"] == [5]
    cursor = db.c.find({}, batch_size=2)
    next(cursor)
    assert db.command("killCursors", "c", cursors=[bson.Int64(cursor.cursor_id)])["cursorsKilled"] == [cursor.cursor_id]
    with pytest.raises(pymongo.errors.CursorNotFound):
        list(cursor)


def test_max_time(db):
    db.c.insert_many([{"_id": i, "t": "x" * 100} for i in range(2000)])
    slow = {"$expr": {"$gt": [{"$reduce": {"input": {"$range": [0, 3000]}, "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}}}, 0]}}
    with pytest.raises(pymongo.errors.ExecutionTimeout) as e:
        list(db.c.find(slow).max_time_ms(20))
    assert e.value.code == 50


def test_update_and_delete(db):
    db.c.insert_many([{"_id": i, "a": 1} for i in range(5)])
    result = db.c.update_many({}, {"$inc": {"a": 1}})
    assert (result.matched_count, result.modified_count) == (5, 5)
    assert db.c.delete_one({"a": 2}).deleted_count == 1 and db.c.delete_many({"a": 2}).deleted_count == 4
    reply = db.command("update", "c", updates=[{"q": {"_id": 9}, "u": {"$set": {"a": 1}}, "upsert": True}])
    assert reply["upserted"] == [{"index": 0, "_id": 9}] and (reply["n"], reply["nModified"]) == (1, 0)
    assert refused(db, delete="c", deletes=[{"q": {}}]) == 40414
    assert refused(db, delete="c", deletes=[{"q": {}, "limit": 2}]) == 9
    assert refused(db, update="c", updates=[{"q": {}}]) == 40414
    assert refused(db, update="c", updates=[]) == 16
    for concern, code in [({"w": 2}, 2), ({"w": "nonsense"}, 2), ({"w": 51}, 9), ({"w": -1}, 9), ({"nonsense": 1}, 40415)]:
        assert refused(db, insert="c", documents=[{}], writeConcern=concern) == code, concern


def test_find_and_modify(db):
    db.c.insert_many([{"_id": i, "a": i} for i in range(3)])
    assert db.c.find_one_and_update({"a": {"$gt": 0}}, {"$inc": {"a": 10}}, sort=[("a", -1)]) == {"_id": 2, "a": 2}
    assert db.c.find_one_and_update({"_id": 2}, {"$inc": {"a": 1}}, {"_id": 0}, return_document=True) == {"a": 13}
    assert db.c.find_one_and_replace({"_id": 2}, {"b": 1}, return_document=True) == {"_id": 2, "b": 1}
    assert db.c.find_one_and_delete({"_id": 2}) == {"_id": 2, "b": 1} and db.c.find_one_and_delete({"_id": 2}) is None
    made = db.command("findAndModify", "c", query={"_id": 7}, update={"$set": {"a": 1}}, upsert=True, new=True)
    assert made["value"] == {"_id": 7, "a": 1} and made["lastErrorObject"] == {"n": 1, "updatedExisting": False, "upserted": 7}
    for more, code in [({}, 9), ({"remove": True, "update": {"a": 1}}, 9), ({"remove": True, "new": True}, 9), ({"update": {"$nonsense": {"a": 1}}}, 9),
                       ({"update": {"$set": {"_id": 9}}, "query": {"_id": 1}}, 66)]:
        assert refused(db, findAndModify="c", **more) == code, more


def test_count_and_distinct(db):
    db.c.insert_many([{"a": [1, 2]}, {"a": 2}, {"a": Dec("2.0")}, {"b": 1}])
    assert db.command("count", "c")["n"] == 4 and db.command("count", "c", query={"a": 2}, skip=1, limit=-1)["n"] == 1
    assert db.c.distinct("a") == [1, 2] and db.c.distinct("a", {"b": 1}) == []
    assert db.command("count", "nothing")["n"] == 0 and db.nothing.distinct("a") == []
    assert refused(db, count="c", skip=-1) == 2 and refused(db, distinct="c", key=1) == 14


def test_bulk_write(shared_client, db):
    name = f"{db.name}.c"
    reply = shared_client.admin.command("bulkWrite", 1, nsInfo=[{"ns": name}], ops=[
        {"insert": 0, "document": {"_id": 1}}, {"update": 0, "filter": {"_id": 1}, "updateMods": {"$set": {"a": 1}}}, {"delete": 0, "filter": {"_id": 1}}])
    assert (reply["nInserted"], reply["nModified"], reply["nDeleted"], reply["nErrors"]) == (1, 1, 1, 0)
    assert code_of(lambda: shared_client.admin.command("bulkWrite", 1, nsInfo=[{"ns": name}], ops=[])) == 16
    assert code_of(lambda: db.command("bulkWrite", 1, nsInfo=[{"ns": name}], ops=[{"insert": 0, "document": {}}])) == 13


# ---- Collections, databases, views ----

def test_collections(db, shared_client):
    db.create_collection("a", validator={"n": {"$type": "int"}})
    db.create_collection("small", capped=True, size=4096, max=3)
    db.command("create", "view", viewOn="a", pipeline=[{"$match": {"n": {"$gt": 1}}}])
    assert code_of(lambda: db.command("create", "a")) == 48 and code_of(lambda: db.command("create", "b", capped=True)) == 72
    assert db.command("insert", "a", documents=[{"n": "x"}])["writeErrors"][0]["code"] == 121
    db.a.insert_many([{"n": 1}, {"n": 2}])
    db.small.insert_many([{"_id": i} for i in range(10)])
    assert [d["_id"] for d in db.small.find()] == [7, 8, 9]
    assert [d["n"] for d in db.view.find()] == [2] and db.view.count_documents({}) == 1
    assert refused(db, insert="view", documents=[{}]) == 166
    listed = {c["name"]: c for c in db.list_collections()}
    assert listed["a"]["type"] == "collection" and listed["view"]["type"] == "view" and listed["small"]["options"]["capped"] is True
    assert [c["name"] for c in db.list_collections(filter={"type": "view"})] == ["view"]
    db.a.rename("z")
    assert "z" in db.list_collection_names() and "a" not in db.list_collection_names()
    admin = shared_client.admin
    for args, code in [((f"{db.name}.none", f"{db.name}.x"), 26), ((f"{db.name}.z", f"{db.name}.small"), 48), ((f"{db.name}.z", "nodot"), 73)]:
        assert code_of(lambda a=args: admin.command("renameCollection", a[0], to=a[1])) == code, args
    assert db.command("collMod", "view", viewOn="z", pipeline=[])["ok"] == 1 and db.view.count_documents({}) == 2
    assert refused(db, collMod="none") == 26
    assert db.command("drop", "z")["nIndexesWas"] == 1 and db.command("drop", "none")["ok"] == 1
    db.command("create", "loop", viewOn="loop2", pipeline=[])
    assert code_of(lambda: db.command("create", "loop2", viewOn="loop", pipeline=[])) == 5


def test_databases(db, shared_client):
    db.c.insert_one({})
    listed = {d["name"]: d for d in shared_client.list_databases()}
    assert db.name in listed and listed[db.name]["empty"] is False
    assert [d["name"] for d in shared_client.admin.command("listDatabases", filter={"name": db.name}, nameOnly=True)["databases"]] == [db.name]
    assert shared_client[db.name].command("dropDatabase")["dropped"] == db.name
    assert db.name not in shared_client.list_database_names()
    assert code_of(lambda: shared_client.admin.command("dropDatabase")) == 20
    assert code_of(lambda: shared_client[db.name.upper()].c.insert_one({})) == 0
    assert code_of(lambda: shared_client[db.name].c.insert_one({})) == 13297  # the same but for case
    shared_client.drop_database(db.name.upper())
    assert code_of(lambda: db.command("listDatabases")) == 13


# ---- Indexes ----

def test_indexes(db):
    db.c.insert_many([{"_id": i, "a": i, "b": [i, i + 1], "c": i % 2} for i in range(50)])
    assert db.c.create_index("a", unique=True) == "a_1" and db.c.create_index([("b", 1), ("c", -1)]) == "b_1_c_-1"
    db.c.create_index("s", sparse=True)
    db.c.create_index("c", partialFilterExpression={"a": {"$gt": 40}}, name="part")
    assert {i["name"] for i in db.c.list_indexes()} == {"_id_", "a_1", "b_1_c_-1", "s_1", "part"}
    assert code_of(lambda: db.c.insert_one({"a": 1})) == 11000
    for key, options, code in [([("a", 1)], {"name": "other", "unique": True}, 85), ([("x", 1)], {"name": "a_1"}, 86), ([("b", 1), ("arrays", 1)], {}, 0),
                               ([("x", 0)], {}, 67), ([("x", "nonsense")], {}, 67), ([("x", 1)], {"unique": True, "expireAfterSeconds": -1}, 67)]:
        assert code_of(lambda k=key, o=options: db.c.create_index(k, **o)) == code, (key, options)
    assert code_of(lambda: db.c.insert_one({"b": [1], "arrays": [1]})) == 171
    assert refused(db, createIndexes="c", indexes=[{"key": {"q": 1}, "name": "q", "nonsense": 1}]) == 197
    assert refused(db, createIndexes="c", indexes=[]) == 2
    db.c.drop_index("s_1")
    assert refused(db, dropIndexes="c", index="s_1") == 27 and refused(db, dropIndexes="c", index="_id_") == 72 and refused(db, dropIndexes="none", index="*") == 26
    assert refused(db, listIndexes="none") == 26
    assert code_of(lambda: db.c.create_index("c", unique=True, name="dup")) == 11000
    db.c.drop_indexes()
    assert [i["name"] for i in db.c.list_indexes()] == ["_id_"]


def stages(plan):
    found = []
    while plan:
        found.append(plan["stage"])
        plan = plan.get("inputStage")
    return found


def test_explain_says_what_is_used(db):
    db.c.insert_many([{"_id": i, "a": i % 10, "b": i} for i in range(200)])
    db.c.create_index([("a", 1), ("b", 1)])

    def plan(cursor):
        return stages(cursor.explain()["queryPlanner"]["winningPlan"])
    assert plan(db.c.find({"b": 1})) == ["COLLSCAN"] and plan(db.c.find({"_id": 1})) in (["IDHACK"], ["EXPRESS_IXSCAN"])
    assert plan(db.c.find({"a": 1})) == ["FETCH", "IXSCAN"]
    assert plan(db.c.find({"a": 1}, {"_id": 0, "a": 1, "b": 1})) == ["PROJECTION_COVERED", "IXSCAN"]
    assert plan(db.c.find({"a": 1}).sort("b", 1)) == ["FETCH", "IXSCAN"] and "SORT" in plan(db.c.find({"a": {"$gt": 1}}).sort("b", 1))
    assert plan(db.c.find({"a": 1}).hint([("$natural", 1)])) == ["COLLSCAN"]
    ran = db.command("explain", {"find": "c", "filter": {"a": 3, "b": {"$lt": 100}}}, verbosity="executionStats")
    stats = ran["executionStats"]
    assert (stats["nReturned"], stats["totalDocsExamined"]) == (10, 10) and stats["totalKeysExamined"] <= 11
    bounds = ran["queryPlanner"]["winningPlan"]["inputStage"]["indexBounds"]
    assert bounds["a"] == ["[3, 3]"] and len(bounds["b"]) == 1
    for command in ({"count": "c", "query": {"a": 1}}, {"distinct": "c", "key": "a"}, {"aggregate": "c", "pipeline": [{"$match": {"a": 1}}], "cursor": {}},
                    {"update": "c", "updates": [{"q": {"a": 1}, "u": {"$set": {"z": 1}}}]}, {"delete": "c", "deletes": [{"q": {"a": 1}, "limit": 0}]},
                    {"findAndModify": "c", "query": {"a": 1}, "remove": True}):
        for verbosity in ("queryPlanner", "executionStats", "allPlansExecution"):
            assert "IXSCAN" in str(db.command("explain", command, verbosity=verbosity)) or "COUNT_SCAN" in str(
                db.command("explain", command, verbosity=verbosity)) or "DISTINCT" in str(db.command("explain", command, verbosity=verbosity)) or "distinct" in command
    assert db.c.count_documents({}) == 200 and db.c.count_documents({"z": 1}) == 0
    assert code_of(lambda: db.command("explain", {"insert": "c", "documents": [{}]}, verbosity="queryPlanner")) == 20
    assert code_of(lambda: db.command("explain", {"nonsense": 1}, verbosity="queryPlanner")) == 59
    assert code_of(lambda: db.command("explain", {"find": "c"}, verbosity="nonsense")) == 2


@pytest.mark.parametrize("verbosity", ["queryPlanner", "executionStats", "allPlansExecution"])
@pytest.mark.parametrize("stage", [{"$documents": [{"a": 1}]}, {"$currentOp": {}}, {"$listLocalSessions": {}}, {"$collStats": {"count": {}}}, {"$indexStats": {}},
                                   {"$geoNear": {"near": {"type": "Point", "coordinates": [0, 0]}, "distanceField": "d"}}],
                         ids=lambda s: next(iter(s)))
def test_explain_of_stages_that_read_no_collection(db, stage, verbosity):
    db.c.drop()
    db.c.create_index([("p", "2dsphere")])
    db.c.insert_one({"p": [1, 1]})
    where = db.client.admin if "$currentOp" in stage else db
    on = "c" if next(iter(stage)) in ("$collStats", "$indexStats", "$geoNear") else 1
    pipeline = [stage, {"$match": {"a": 1}}, {"$limit": 3}]
    answer = where.command("explain", {"aggregate": on, "pipeline": pipeline, "cursor": {}}, verbosity=verbosity)
    assert answer["ok"] and next(iter(stage)) in str(answer)
    assert where.command("ping")["ok"]


def test_documents_expire(make_node):
    node = make_node({"ttl-interval": "50ms"})
    with node.client() as client:
        c = client.db.c
        now = datetime.datetime.now(datetime.timezone.utc)
        c.insert_many([{"_id": 1, "t": now - datetime.timedelta(hours=2)}, {"_id": 2, "t": now + datetime.timedelta(hours=2)}, {"_id": 3, "t": "text"}, {"_id": 4}])
        c.create_index("t", expireAfterSeconds=60)
        wait_until(lambda: c.count_documents({"_id": 1}) == 0, "the expired document goes")
        assert [d["_id"] for d in c.find().sort("_id")] == [2, 3, 4]
        assert client.db.command("validate", "c")["valid"] is True


def test_stats_and_validate(db):
    db.c.insert_many([{"_id": i, "a": [i, -i]} for i in range(1, 101)])
    db.c.create_index("a")
    stats = db.command("collStats", "c")
    assert stats["count"] == 100 and stats["nindexes"] == 2 and stats["size"] > 0 and set(stats["indexSizes"]) == {"_id_", "a_1"}
    assert db.command("dbStats")["objects"] == 100 and db.command("dbStats", scale=1024)["scaleFactor"] == 1024
    assert refused(db, dbStats=1, scale=0) == 2
    checked = db.command("validate", "c", full=True)
    assert checked["valid"] is True and checked["nrecords"] == 100 and checked["keysPerIndex"] == {"_id_": 100, "a_1": 200}
    assert refused(db, validate="none") == 26


# ---- Diagnostics, sessions ----

def test_diagnostics(shared_client, shared_node):
    admin = shared_client.admin
    hello = admin.command("hello")
    assert hello["isWritablePrimary"] is True and not {"setName", "hosts", "msg"} & set(hello) and hello["logicalSessionTimeoutMinutes"] == 30
    assert admin.command("isMaster")["ismaster"] is True
    assert admin.command("ping") == {"ok": 1.0}
    info = admin.command("buildInfo")
    assert info["versionArray"][:2] == [8, 2] and info["maxBsonObjectSize"] == 16777216 and hello["maxWireVersion"] == 27
    status = admin.command("serverStatus")
    assert {"host", "version", "process", "pid", "uptime", "connections", "network", "opcounters", "mem", "coffer"} <= set(status)
    coffer = status["coffer"]
    assert coffer["state"] == "Ready" and status["pid"] == shared_node.pid
    assert "coffer" not in admin.command("serverStatus", coffer=0)
    assert {"system", "os"} <= set(admin.command("hostInfo")) and admin.command("whatsmyuri")["you"].startswith("127.0.0.1:")
    assert admin.command("connectionStatus")["authInfo"]["authenticatedUsers"] == [{"user": "admin", "db": "admin"}]
    assert "featureCompatibilityVersion" in admin.command("getParameter", "*")
    assert code_of(lambda: admin.command("getParameter", 1, nonsense=1)) == 72
    assert admin.command("getCmdLineOpts")["argv"][0].endswith("cofferd")
    assert admin.command("getLog", "global")["totalLinesWritten"] >= 0 and "startupWarnings" in admin.command("getLog", "*")["names"]
    assert code_of(lambda: admin.command("getLog", "nonsense")) != 0
    for name in ("getLog", "getCmdLineOpts", "getParameter"):
        assert code_of(lambda n=name: shared_client.other.command(n, "*")) == 13, name
    assert {"find", "aggregate", "coffer", "validate"} <= set(admin.command("listCommands")["commands"])


def test_what_is_counted(db, shared_client):
    def counters():
        return shared_client.admin.command("serverStatus")["opcounters"]
    before = counters()
    db.c.insert_many([{"_id": i} for i in range(5)])
    db.c.update_one({"_id": 1}, {"$set": {"a": 1}})
    db.c.delete_one({"_id": 2})
    assert len(list(db.c.find({}, batch_size=2))) == 4
    db.c.create_index("a")
    db.command("ping")
    assert db.c.count_documents({}) == 4
    after = counters()
    grown = {name: after[name] - before[name] for name in ("insert", "query", "update", "delete", "getmore", "command")}
    assert grown.pop("command") >= 4  # serverStatus, createIndexes, ping, aggregate; and the driver's own
    assert grown == {"insert": 5, "query": 1, "update": 1, "delete": 1, "getmore": 2}, grown


def test_sessions(db, shared_client):
    made = db.command("startSession")
    assert made["timeoutMinutes"] == 30 and len(made["id"]["id"]) == 16
    assert db.command("refreshSessions", [made["id"]])["ok"] == 1 and db.command("killSessions", [made["id"]])["ok"] == 1
    assert db.command("endSessions", [made["id"]])["ok"] == 1
    assert refused(db, endSessions=[{"id": 1}]) == 14 and refused(db, endSessions=1) == 14
    db.c.insert_many([{} for _ in range(10)])
    with shared_client.start_session() as one, shared_client.start_session() as other:
        reply = db.command("find", "c", batchSize=2, session=one)
        assert code_of(lambda: db.command("getMore", reply["cursor"]["id"], collection="c", session=other)) == 50738


def test_users(db, shared_client, shared_node):
    admin = shared_client.admin
    name = f"user-{db.name}"
    db.command("createUser", name, pwd="secret", roles=["read"], customData={"k": 1})
    assert refused(db, createUser=name, pwd="x", roles=[]) == 51003 and refused(db, createUser="other", pwd="", roles=[]) == 50687
    assert refused(db, createUser="other", pwd="x", roles=["nonsense"]) == 31 and refused(db, createUser="other", pwd="x") == 40414
    shown = db.command("usersInfo", name)["users"][0]
    assert shown["roles"] == [{"role": "read", "db": db.name}] and shown["customData"] == {"k": 1} and "credentials" not in shown
    shown = db.command("usersInfo", {"user": name, "db": db.name}, showCredentials=True, showPrivileges=True)["users"][0]
    assert shown["credentials"]["SCRAM-SHA-256"]["iterationCount"] == 15000 and shown["inheritedPrivileges"]
    db.command("updateUser", name, pwd="changed", roles=["readWrite"])
    assert refused(db, updateUser="none", pwd="x") == 11 and refused(db, dropUser="none") == 11 and refused(db, updateUser=name) == 2

    def login(password):
        with pymongo.MongoClient(shared_node.uri(False), username=name, password=password, authSource=db.name, directConnection=True) as client:
            client[db.name].c.insert_one({})
    assert code_of(lambda: login("secret")) == 18
    login("changed")
    assert {r["role"] for r in db.command("rolesInfo", "read")["roles"]} == {"read"}
    assert len(admin.command("rolesInfo", 1, showBuiltinRoles=True)["roles"]) >= 17
    db.command("grantRolesToUser", name, roles=["dbAdmin"])
    db.command("revokeRolesFromUser", name, roles=["readWrite"])
    assert [r["role"] for r in db.command("usersInfo", name)["users"][0]["roles"]] == ["dbAdmin"]
    db.command("dropUser", name)
    assert code_of(lambda: login("changed")) == 18 and db.command("dropAllUsersFromDatabase")["n"] == 0
    assert refused(db, saslStart=1, mechanism="PLAIN", payload=b"x") == 334


def test_two_administrators_at_once(db):
    """One makes the user, the others hear that it is there: none of a conflict inside."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for i in range(10):
            codes = list(pool.map(lambda _, n=f"both-{i}": refused(db, createUser=n, pwd="x", roles=[]), range(8)))
            assert sorted(codes) == [0] + [51003] * 7
            codes = list(pool.map(lambda k, n=f"both-{i}": refused(db, updateUser=n, customData={"k": k}), range(8)))
            assert codes == [0] * 8
            codes = list(pool.map(lambda _, n=f"both-{i}": refused(db, dropUser=n), range(8)))
            assert sorted(codes) == [0] + [11] * 7


def test_logout(shared_node):
    with shared_node.client(maxPoolSize=1) as client:
        assert client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
        client.admin.command("logout")
        assert client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"] == []
        assert code_of(lambda: client.db.c.find_one()) == 13
