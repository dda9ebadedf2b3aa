"""What a database administrator asks a node and tells it: parameters, top, dbHash, the profiler, background compaction, serverStatus."""
import hashlib
import time

import bson
import pytest

from processes import Node, wait_until
from running import code_of

BAD_VALUE, MISMATCH, ILLEGAL, ALREADY, BUSY, INVALID_OPTIONS = 2, 14, 20, 23, 314, 72


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    n = Node(tmp_path_factory.mktemp("administration") / "node", {"auth": "false", "ttl-interval": "100ms"}).start()
    yield n
    n.kill()


@pytest.fixture
def client(node):
    with node.client() as c:
        c.drop_database("d")
        yield c


def test_parameters(client):
    admin = client.admin
    every = admin.command("getParameter", "*")
    assert every["logLevel"] == 0 and every["ttlMonitorEnabled"] is True and every["allowDiskUseByDefault"] is True
    runtime = admin.command("getParameter", {"allParameters": True, "setAt": "runtime", "showDetails": True})
    assert runtime["logLevel"] == {"value": 0, "settableAtRuntime": True, "settableAtStartup": True} and "authenticationMechanisms" not in runtime
    assert admin.command("setParameter", 1, logLevel=2, quiet=1)["was"] == 0
    assert admin.command("getParameter", 1, logLevel=1, quiet=1).items() >= {"logLevel": 2, "quiet": True}.items()
    # All or nothing.
    assert code_of(admin.command, "setParameter", 1, logLevel=3, nonsense=1) == INVALID_OPTIONS
    assert code_of(admin.command, "setParameter", 1, logLevel=3, cursorTimeoutMillis=0) == BAD_VALUE
    assert code_of(admin.command, "setParameter", 1, authenticationMechanisms=[]) == ILLEGAL
    assert code_of(admin.command, "setParameter", 1, automationServiceDescriptor=5) == MISMATCH
    assert admin.command("setParameter", 1, logLevel=0, quiet=False)["was"] == 2
    assert "automationServiceDescriptor" not in admin.command("hello")
    admin.command("setParameter", 1, automationServiceDescriptor="robot")
    assert admin.command("hello")["automationServiceDescriptor"] == "robot"
    admin.command("setParameter", 1, automationServiceDescriptor="")
    assert "automationServiceDescriptor" not in admin.command("hello")


def test_a_quiet_node_logs_no_connections(node, client):
    def visit():
        with node.client() as c:
            return c.admin.command("hello")["connectionId"]

    def connections():
        return client.admin.command("serverStatus")["connections"]["current"]

    def logged(connection):
        return {e["event"] for e in node.events() if e["event"] in ("clientConnected", "clientGone") and e["connection"] == connection}

    client.admin.command("setParameter", 1, logLevel=1)
    loud = visit()
    wait_until(lambda: len(logged(loud)) == 2, "it came and went")
    before = connections()
    client.admin.command("setParameter", 1, quiet=True)
    quiet = visit()
    wait_until(lambda: connections() <= before, "it has gone")
    assert not logged(quiet)
    client.admin.command("setParameter", 1, quiet=False, logLevel=0)


def test_documents_expire_only_while_the_monitor_may(client):
    client.admin.command("setParameter", 1, ttlMonitorEnabled=False)
    passes = client.admin.command("serverStatus")["metrics"]["ttl.passes"]
    client.d.t.create_index("at", expireAfterSeconds=0)
    client.d.t.insert_one({"at": bson.datetime_ms.DatetimeMS(0)})
    time.sleep(2.5)  # the node looks about once a second
    assert client.d.t.count_documents({}) == 1
    assert client.admin.command("serverStatus")["metrics"]["ttl.passes"] - passes <= 1  # one that had begun
    client.admin.command("setParameter", 1, ttlMonitorEnabled=True)
    wait_until(lambda: client.d.t.count_documents({}) == 0, "it expires")


def test_idle_cursors_end_when_they_are_told_to(client):
    client.d.c.insert_many([{"_id": i} for i in range(10)])
    was = client.admin.command("setParameter", 1, cursorTimeoutMillis=1)["was"]
    cursor = client.d.c.find(batch_size=2)
    next(cursor)
    wait_until(lambda: gone(client, cursor), "it is closed")
    assert client.admin.command("setParameter", 1, cursorTimeoutMillis=was)["was"] == 1


def gone(client, cursor):
    """Whether the cursor was closed by itself: asking for it would keep it."""
    time.sleep(2.5)
    return code_of(client.d.command, "getMore", cursor.cursor_id, collection="c", batchSize=1) == 43


def test_top_counts_by_kind(client):
    c = client.d.c
    c.insert_many([{"_id": i} for i in range(300)])
    c.update_one({"_id": 1}, {"$set": {"a": 1}})
    c.delete_one({"_id": 2})
    assert len(list(c.find(batch_size=200))) == 299
    c.count_documents({"a": 1})
    top = client.admin.command("top")["totals"]
    assert top["note"] == "all times in microseconds"
    counts = {k: v["count"] for k, v in top["d.c"].items()}
    assert counts == {"total": 6, "readLock": 3, "writeLock": 3, "queries": 1, "getmore": 1, "insert": 1, "update": 1, "remove": 1, "commands": 1}
    assert all(top["d.c"][k]["time"] > 0 for k in ("insert", "queries", "total"))


def test_db_hash(client):
    docs = [{"_id": 3, "x": "y"}, {"_id": 1, "a": [1, 2]}, {"_id": 2}]
    client.d.c.insert_many(docs)
    client.d.create_collection("empty")
    client.d.create_collection("capped", capped=True, size=4096).insert_many([{"_id": 2}, {"_id": 1}])
    client.d.create_collection("view", viewOn="c", pipeline=[])
    answer = client.d.command("dbHash")
    md5 = {"c": hashlib.md5(b"".join(bson.encode(d) for d in sorted(docs, key=lambda d: d["_id"]))).hexdigest(), "empty": hashlib.md5(b"").hexdigest(),
           "capped": hashlib.md5(bson.encode({"_id": 2}) + bson.encode({"_id": 1})).hexdigest()}
    assert answer["collections"] == md5 and answer["capped"] == ["capped"] and set(answer["uuids"]) == set(md5)
    assert client.d.command("dbHash", collections=["c", "none"])["collections"] == {"c": md5["c"]}
    assert client.d.command("dbHash")["md5"] == answer["md5"]
    client.d.c.update_one({"_id": 2}, {"$set": {"a": 1}})
    other = client.d.command("dbHash")
    assert other["md5"] != answer["md5"] and other["collections"]["empty"] == md5["empty"] and other["collections"]["c"] != md5["c"]


@pytest.fixture
def profiled(client):
    yield client.d
    client.d.command("profile", 0, slowms=100, sampleRate=1.0, filter="unset")


def test_profiler(client, profiled):
    db = profiled
    db.c.insert_many([{"_id": i} for i in range(5)])
    assert db.command("profile", -1).items() >= {"was": 0, "slowms": 100, "sampleRate": 1.0}.items()
    assert db.command("profile", 2)["was"] == 0
    list(db.c.find({"_id": {"$gt": 2}}, comment="mine"))
    db.c.update_many({}, {"$set": {"a": 1}})
    assert code_of(db.command, "find", "c", filter={"$nonsense": 1}) == BAD_VALUE
    db.command("createUser", "someone", pwd="a password that nobody sees", roles=[])
    client.other.c.find_one({})
    db.command("profile", 0)
    written = list(db.system.profile.find())
    find = next(o for o in written if o["command"].get("comment") == "mine")
    assert find["op"] == "query" and find["ns"] == "d.c" and find["nreturned"] == 2 and find["millis"] >= 0 and find["ts"] and find["client"]
    update = next(o for o in written if o["op"] == "update")
    assert (update["nMatched"], update["nModified"], update["ns"]) == (5, 5, "d.c")
    assert next(o for o in written if "errCode" in o)["errCode"] == BAD_VALUE
    assert not [o for o in written if "createUser" in o["command"] or "password" in str(o)] and {o["ns"].split(".")[0] for o in written} == {"d"}
    assert db.command("collStats", "system.profile")["capped"]
    before = db.system.profile.count_documents({})
    list(db.c.find())
    assert db.system.profile.count_documents({}) == before
    db.command("dropUser", "someone")
    assert db.command("profile", -1)["was"] == 0


def test_profiler_chooses(client, profiled):
    db = profiled

    def seen(comment):
        return db.system.profile.count_documents({"command.comment": comment})

    db.command("profile", 1, slowms=100000)
    list(db.c.find(comment="fast"))
    db.command("profile", 1, slowms=0)
    list(db.c.find(comment="slow enough"))
    db.command("profile", 1, sampleRate=0.0)
    list(db.c.find(comment="not drawn"))
    answer = db.command("profile", 1, filter={"op": "insert"})
    assert "filter" not in answer
    db.c.insert_one({}, comment="filtered in")
    list(db.c.find(comment="filtered out"))
    answer = db.command("profile", -1)
    assert answer["filter"] == {"op": {"$eq": "insert"}} and "slowms" in answer["note"] and answer["sampleRate"] == 0
    assert code_of(db.command, "drop", "system.profile") == ILLEGAL
    db.command("profile", 0)
    assert [seen(c) for c in ("fast", "slow enough", "not drawn", "filtered in", "filtered out")] == [0, 1, 0, 1, 0]
    db.command("drop", "system.profile")
    assert code_of(db.command, "profile", 1, sampleRate=1.5) == BAD_VALUE and code_of(db.command, "profile", 1, filter="nonsense") == BAD_VALUE


def test_background_compaction(client):
    admin = client.admin
    assert code_of(admin.command, "autoCompact", 1) == MISMATCH and code_of(admin.command, "autoCompact", True, freeSpaceTargetMB=0) == BAD_VALUE
    client.d.c.insert_many([{"_id": i, "pad": "x" * 1000} for i in range(3000)])
    admin.command("fsync")
    admin.command("autoCompact", True, freeSpaceTargetMB=1)
    admin.command("autoCompact", True, freeSpaceTargetMB=1)
    assert code_of(admin.command, "autoCompact", True, freeSpaceTargetMB=2) == ALREADY
    admin.command("autoCompact", False)
    admin.command("autoCompact", False)

    def enabled(target_mb, refused):
        """Once and no more; until then it is refused with that code."""
        code = code_of(admin.command, "autoCompact", True, freeSpaceTargetMB=target_mb, runOnce=True)
        assert code in (0, refused)
        return code == 0

    wait_until(lambda: enabled(1, BUSY), "it has wound down")
    wait_until(lambda: enabled(7, ALREADY), "it has been done once: then other options are no conflict")
    assert client.d.command("validate", "c")["valid"]


def test_server_status(client):
    client.d.create_collection("capped", capped=True, size=4096)
    client.d.create_collection("view", viewOn="c", pipeline=[])
    status = client.admin.command("serverStatus", locks=0)
    assert status["connections"]["active"] >= 1 and status["globalLock"]["activeClients"]["total"] >= 1 and "locks" not in status
    assert status["catalogStats"]["capped"] == 1 and status["catalogStats"]["views"] == 1 and status["extra_info"]["maximum_resident_set_kb"] > 0
    ops = client.admin.command("currentOp")["inprog"]
    assert [o["op"] for o in ops if "currentOp" in o["command"]] == ["command"]


def parameter(client, name):
    (one,) = client.admin.command("getClusterParameter", name)["clusterParameters"]
    return one


@pytest.fixture
def fresh(tmp_path):
    """A node of one's own, with these settings."""
    made = []

    def make(settings):
        made.append(Node(tmp_path / "node", settings).start())
        return made[-1]

    yield make
    for n in made:
        n.kill()


def test_cluster_parameters_are_kept(fresh):
    n = fresh({"auth": "false"})
    with n.client() as client:
        admin = client.admin
        names = {p["_id"] for p in admin.command("getClusterParameter", "*")["clusterParameters"]}
        assert {"changeStreamOptions", "changeStreams", "defaultMaxTimeMS"} <= names
        first = parameter(client, "changeStreamOptions")
        assert first["preAndPostImages"] == {"expireAfterSeconds": "off"} and first["clusterParameterTime"] == bson.Timestamp(0, 0)
        for seconds in (7200, 7200.0, "off", 100):
            before = parameter(client, "changeStreamOptions")["clusterParameterTime"]
            admin.command("setClusterParameter", {"changeStreamOptions": {"preAndPostImages": {"expireAfterSeconds": seconds}}})
            now = parameter(client, "changeStreamOptions")
            assert now["preAndPostImages"] == {"expireAfterSeconds": seconds} and now["clusterParameterTime"] > before
        refused = [({}, 4), ({"nonsense": {}}, 4), ({"changeStreams": {}, "defaultMaxTimeMS": {}}, INVALID_OPTIONS), (1, MISMATCH), (None, 40414),
                   ({"changeStreams": {"expireAfterSeconds": 0}}, BAD_VALUE), ({"changeStreams": {"expireAfterSeconds": "1"}}, MISMATCH),
                   ({"changeStreams": {"x": 1}}, 40415), ({"changeStreams": {"$x": 1}}, 52), ({"changeStreamOptions": {}}, BAD_VALUE),
                   ({"changeStreamOptions": {"preAndPostImages": {"expireAfterSeconds": True}}}, BAD_VALUE),
                   ({"defaultMaxTimeMS": {"readOperations": -1}}, BAD_VALUE), ({"defaultMaxTimeMS": 5}, BAD_VALUE)]
        for value, code in refused:
            assert code_of(admin.command, "setClusterParameter", value) == code, value
        assert code_of(admin.command, "getClusterParameter", []) == BAD_VALUE
        assert code_of(admin.command, "getClusterParameter", ["*"]) == 4
        # null is the default; what is not given stays
        admin.command("setClusterParameter", {"changeStreams": {"expireAfterSeconds": 5}})
        admin.command("setClusterParameter", {"changeStreams": {}})
        assert parameter(client, "changeStreams")["expireAfterSeconds"] == 5
        admin.command("setClusterParameter", {"changeStreams": {"expireAfterSeconds": None}})
        assert parameter(client, "changeStreams")["expireAfterSeconds"] == 3600
        admin.command("setFeatureCompatibilityVersion", "8.0", confirm=True)
        kept = parameter(client, "changeStreamOptions")
    n.kill()
    n.start()
    with n.client() as client:
        assert parameter(client, "changeStreamOptions") == kept
        assert client.admin.command("getParameter", 1, featureCompatibilityVersion=1)["featureCompatibilityVersion"] == {"version": "8.0"}


def test_the_feature_compatibility_version(client):
    admin = client.admin
    assert code_of(admin.command, "setFeatureCompatibilityVersion", "8.0") == 7369100
    assert code_of(admin.command, "setFeatureCompatibilityVersion", "7.0", confirm=True) == 4926900
    assert code_of(admin.command, "setFeatureCompatibilityVersion", 8.0, confirm=True) == MISMATCH
    assert code_of(client.d.command, "setFeatureCompatibilityVersion", "8.0", confirm=True) == 13
    for version in ("8.0", "8.2"):
        admin.command("setFeatureCompatibilityVersion", version, confirm=1)
        assert admin.command("getParameter", 1, featureCompatibilityVersion=1)["featureCompatibilityVersion"] == {"version": version}


def test_reads_have_a_limit_by_default(client):
    client.d.c.insert_many([{"x": i} for i in range(3000)])
    client.admin.command("setClusterParameter", {"defaultMaxTimeMS": {"readOperations": 1}})
    try:
        slow = [{"$lookup": {"from": "c", "pipeline": [{"$match": {"$expr": {"$eq": ["$x", -1]}}}], "as": "y"}}, {"$count": "n"}]
        assert code_of(client.d.command, "aggregate", "c", pipeline=slow, cursor={}) == 50
        # What a read says itself counts; writes have none.
        assert client.d.c.count_documents({}, maxTimeMS=600000) == 3000
        assert client.d.c.update_many({}, {"$inc": {"x": 1}}).modified_count == 3000
    finally:
        client.admin.command("setClusterParameter", {"defaultMaxTimeMS": {"readOperations": 0}})


def test_the_log_begins_a_new_file(fresh, tmp_path):
    log = tmp_path / "elsewhere.log"
    with fresh({"auth": "false", "log-file": str(log)}).client() as client:
        for value, code in (("audit", 4), ("", 4), ({}, MISMATCH), (None, MISMATCH)):
            assert code_of(client.admin.command, "logRotate", value) == code
        assert code_of(client.admin.command, "logRotate", 1, x=1) == 40415
        before = log.read_text()
        client.admin.command("logRotate", 1)
        (aside,) = [p for p in tmp_path.iterdir() if p.name.startswith("elsewhere.log.")]
        assert aside.read_text().startswith(before) and "logRotated" in log.read_text() and "logRotated" not in aside.read_text()
        # Within that second there is a file of that name already; the log stays whole either way.
        wait_until(lambda: code_of(client.admin.command, "logRotate", 1) == 0, "a second rotation")
        assert sum("logRotated" in p.read_text() for p in tmp_path.iterdir() if p.name.startswith("elsewhere.log")) == 2


def test_a_log_that_is_no_file_is_not_rotated(client):
    assert client.admin.command("logRotate", "server")["ok"] == 1
