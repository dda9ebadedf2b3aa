"""What clients give create, collMod, renameCollection and the commands on indexes: what is refused, with which code, and what is shown of the rest."""
import uuid

import bson
import pytest
from bson.binary import Binary

from processes import Node
from running import code_of

BAD_VALUE, PARSE, MISMATCH, EXISTS, INVALID_OPTIONS, INVALID_NAMESPACE = 2, 9, 14, 48, 72, 73
NOT_SUPPORTED, ON_VIEW, SPEC_OPTION, INVALID_UUID, UUID_MISMATCH, MISSING, UNKNOWN = 115, 167, 197, 207, 361, 40414, 40415
CLUSTERED = {"key": {"_id": 1}, "unique": True}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    n = Node(tmp_path_factory.mktemp("collections") / "node", {"auth": "false"}).start()
    yield n
    n.kill()


@pytest.fixture
def db(node):
    with node.client() as c:
        c.drop_database("d")
        yield c.d


@pytest.mark.parametrize("spec,code", [
    (True, 5979703), (1, 5979703), (None, MISMATCH), ("x", MISMATCH), ([CLUSTERED], MISMATCH), ({"unique": True}, MISSING), ({"key": {"_id": 1}}, MISSING),
    ({"key": {"_id": 1}, "unique": None}, MISSING), ({"key": 1, "unique": True}, MISMATCH), ({"key": {"x": 1}, "unique": True}, SPEC_OPTION),
    ({"key": {"_id": -1}, "unique": True}, SPEC_OPTION), ({"key": {"_id": 1}, "unique": False}, 5979700), ({"key": {"_id": 1}, "unique": "yes"}, MISMATCH),
    (CLUSTERED | {"v": 1}, 5979704), (CLUSTERED | {"v": float("nan")}, 5979704), (CLUSTERED | {"x": 1}, UNKNOWN), (CLUSTERED | {"name": 1}, MISMATCH),
    (CLUSTERED, NOT_SUPPORTED), (CLUSTERED | {"v": 2.0, "name": "n"}, NOT_SUPPORTED), (False, 0)])
def test_clustered_index(db, spec, code):
    assert code_of(db.command, "create", "c", clusteredIndex=spec) == code


@pytest.mark.parametrize("others,code", [
    ({"clusteredIndex": CLUSTERED, "capped": True, "size": 4096}, 6049200), ({"clusteredIndex": False, "capped": True, "size": 4096}, 6049200),
    ({"clusteredIndex": CLUSTERED, "max": 5}, 6049204), ({"clusteredIndex": CLUSTERED, "viewOn": "x", "pipeline": []}, 6026500),
    ({"clusteredIndex": CLUSTERED, "timeseries": {"timeField": "t"}}, INVALID_OPTIONS), ({"expireAfterSeconds": 5}, INVALID_OPTIONS),
    ({"expireAfterSeconds": "off"}, MISMATCH), ({"expireAfterSeconds": None}, 0), ({"clusteredIndex": CLUSTERED, "expireAfterSeconds": -1}, INVALID_OPTIONS),
    ({"clusteredIndex": CLUSTERED, "expireAfterSeconds": 9_999_999_999}, INVALID_OPTIONS),
    ({"clusteredIndex": CLUSTERED, "expireAfterSeconds": float("inf")}, INVALID_OPTIONS), ({"clusteredIndex": CLUSTERED, "expireAfterSeconds": 5}, NOT_SUPPORTED),
    ({"viewOn": "x", "pipeline": [], "changeStreamPreAndPostImages": {"enabled": True}}, INVALID_OPTIONS)])
def test_options_that_do_not_go_together(db, others, code):
    assert code_of(db.command, "create", "c", **others) == code


@pytest.mark.parametrize("series,code", [
    (1, MISMATCH), ({}, MISSING), ({"timeField": None}, MISSING), ({"timeField": 1}, MISMATCH), ({"timeField": "a.b"}, INVALID_OPTIONS),
    ({"timeField": "a\0b"}, BAD_VALUE), ({"timeField": "t", "metaField": 1}, MISMATCH), ({"timeField": "t", "metaField": "_id"}, INVALID_OPTIONS),
    ({"timeField": "t", "metaField": "t"}, INVALID_OPTIONS), ({"timeField": "t", "granularity": "days"}, BAD_VALUE), ({"timeField": "t", "x": 1}, UNKNOWN),
    ({"timeField": "t", "bucketMaxSpanSeconds": 5}, INVALID_OPTIONS), ({"timeField": "t", "bucketRoundingSeconds": 5}, INVALID_OPTIONS),
    ({"timeField": "t", "bucketMaxSpanSeconds": 5, "bucketRoundingSeconds": 6}, INVALID_OPTIONS),
    ({"timeField": "t", "bucketMaxSpanSeconds": 0, "bucketRoundingSeconds": 0}, BAD_VALUE),
    ({"timeField": "t", "bucketMaxSpanSeconds": 31536001, "bucketRoundingSeconds": 31536001}, BAD_VALUE),
    ({"timeField": "t", "bucketMaxSpanSeconds": True, "bucketRoundingSeconds": True}, MISMATCH),
    ({"timeField": "t", "granularity": "hours", "bucketMaxSpanSeconds": 5, "bucketRoundingSeconds": 5}, INVALID_OPTIONS),
    ({"timeField": "t", "bucketMaxSpanSeconds": 31536000, "bucketRoundingSeconds": 31536000}, NOT_SUPPORTED), ({"timeField": "t", "metaField": "m"}, NOT_SUPPORTED)])
def test_time_series(db, series, code):
    assert code_of(db.command, "create", "c", timeseries=series) == code


def test_time_series_alone(db):
    for other in ({"capped": True, "size": 4096}, {"validator": {}}, {"validationLevel": "off"}, {"validationAction": "warn"}, {"viewOn": "x"},
                  {"idIndex": {"key": {"_id": 1}, "name": "_id_"}}, {"changeStreamPreAndPostImages": {"enabled": False}}):
        assert code_of(db.command, "create", "c", timeseries={"timeField": "t"}, **other) == INVALID_OPTIONS, other


def test_options_that_say_nothing_are_not_shown(db):
    for _ in range(2):
        db.command("create", "c", storageEngine={}, indexOptionDefaults={}, changeStreamPreAndPostImages={"enabled": False})
        db.command("create", "c")
    shown = lambda: next(db.list_collections(filter={"name": "c"}))["options"]
    assert shown() == {}
    db.command("collMod", "c", changeStreamPreAndPostImages={"enabled": True})
    assert shown() == {"changeStreamPreAndPostImages": {"enabled": True}}
    db.command("collMod", "c", changeStreamPreAndPostImages={"enabled": False})
    assert shown() == {}


def test_where_and_what_validators_can_be(db, node):
    db.command("create", "c")
    for command in ("create", "collMod"):
        name = "new" if command == "create" else "c"
        for near in ("$near", "$nearSphere"):
            assert code_of(db.command, command, name, validator={"a": {near: [0, 0]}}) == 5626500
        with node.client() as client:
            for other in ("admin", "local", "config"):
                assert code_of(client[other].command, command, "v", validator={"a": 1}) == INVALID_OPTIONS
    assert code_of(db.command, "create", "new", validator={"a": {"$geoWithin": {"$box": [[0, 0], [1, 1]]}}}) == 0


def test_names_with_a_dollar(db):
    assert code_of(db.command, "create", "a$b") == INVALID_NAMESPACE
    assert code_of(db.command, "createIndexes", "a$", indexes=[{"key": {"a": 1}, "name": "a"}]) == INVALID_NAMESPACE
    assert code_of(db.command, "insert", "a$b", documents=[{}]) == INVALID_NAMESPACE
    assert code_of(db.command, "update", "a$b", updates=[{"q": {}, "u": {"a": 1}, "upsert": True}]) == INVALID_NAMESPACE
    assert code_of(db.command, "findAndModify", "a$b", query={}, update={"a": 1}, upsert=True) == INVALID_NAMESPACE
    assert db.command("update", "a$b", updates=[{"q": {}, "u": {"a": 1}}])["n"] == 0 and db.list_collection_names() == []


def test_coll_mod_of_views_and_indexes(db):
    db.c.insert_one({"a": 1})
    db.c.create_index("a")
    db.command("create", "v", viewOn="c", pipeline=[])
    for stage in ({"$out": "x"}, {"$merge": "x"}):
        assert code_of(db.command, "collMod", "v", viewOn="c", pipeline=[stage]) == ON_VIEW
    assert code_of(db.command, "collMod", "v", viewOn="") == BAD_VALUE
    assert code_of(db.command, "createIndexes", "c", indexes=[{"key": {"z": 1}, "name": "z", "hidden": 1}]) == MISMATCH
    for change, code in (({"unique": False}, BAD_VALUE), ({"unique": True}, NOT_SUPPORTED), ({"prepareUnique": True}, NOT_SUPPORTED), ({"prepareUnique": 0}, 0),
                         ({"prepareUnique": True, "hidden": True}, INVALID_OPTIONS), ({"prepareUnique": False, "hidden": True}, 0)):
        assert code_of(db.command, "collMod", "c", index={"name": "a_1"} | change) == code, change


def test_the_target_of_a_rename(db):
    rename = lambda to, **more: code_of(db.client.admin.command, "renameCollection", "d.c", to=to, **more)
    db.c.insert_one({"_id": 1})
    db.t.insert_one({"_id": 2})
    db.command("create", "v", viewOn="c", pipeline=[])
    strange = uuid.uuid4()
    for value, code in ((1, MISMATCH), ("x", MISMATCH), (Binary(b"0" * 16, 3), INVALID_UUID), (Binary(b"0" * 8, 4), INVALID_UUID), (False, EXISTS), (None, MISMATCH),
                        (Binary(strange.bytes, 4), UUID_MISMATCH)):
        assert rename("d.t", dropTarget=value) == code, value
    assert rename("d.none", dropTarget=Binary(strange.bytes, 4)) == UUID_MISMATCH
    assert rename("e.t", dropTarget=Binary(strange.bytes, 4)) == INVALID_OPTIONS
    assert rename("d.v", dropTarget=True) == EXISTS
    assert code_of(db.client.admin.command, "renameCollection", None, to="d.t") == MISSING
    own = next(db.list_collections(filter={"name": "t"}))["info"]["uuid"]
    assert rename("d.t", dropTarget=own) == 0
    assert list(db.t.find()) == [{"_id": 1}] and "c" not in db.list_collection_names()


def test_indexes(db):
    create = lambda **spec: code_of(db.command, "createIndexes", "c", indexes=[spec])
    assert create(key={"_id": -1}, name="x") == BAD_VALUE and create(key={"a": 1}, name="_id_") == BAD_VALUE
    assert create(key={"_id": 1}, name="x") == 0 and create(key={"_id": -1, "a": 1}, name="y") == 0
    assert create(key={"a": "2d"}, name="p", min=5, max=5) == INVALID_OPTIONS
    plain = db.command("listIndexes", "c")["cursor"]["firstBatch"]
    assert db.command("listIndexes", "c", includeIndexBuildInfo=True)["cursor"]["firstBatch"] == [{"spec": i} for i in plain]
    assert db.command("listIndexes", "c", includeBuildUUIDs=True)["cursor"]["firstBatch"] == plain
    assert code_of(db.command, "listIndexes", "c", includeIndexBuildInfo=True, includeBuildUUIDs=True) == INVALID_OPTIONS
    assert code_of(db.command, "dropIndexes", "c", index=None) == MISMATCH and code_of(db.command, "dropIndexes", "c") == MISSING


def test_provenance_of_a_read_concern(db):
    for value, code in (("clientSupplied", 0), ("implicitDefault", 0), (None, 0), ("x", BAD_VALUE), (1, MISMATCH), (bson.Timestamp(1, 1), MISMATCH)):
        assert code_of(db.command, "find", "c", readConcern={"level": "local", "provenance": value}) == code, value
