"""Who may run what: each command under each built-in role, and the ways around that a curious user tries.

13 is Unauthorized. A command counts as allowed when it is answered with anything else, also with an error that comes later.
"""
import concurrent.futures
import contextlib
import threading

import bson
import pymongo
import pymongo.errors
import pytest

from processes import Node

PASSWORD = "not-a-secret"
READERS = {"read", "readWrite", "dbOwner", "readAnyDatabase", "readWriteAnyDatabase", "backup", "root"}
WRITERS = {"readWrite", "dbOwner", "readWriteAnyDatabase", "restore", "root"}
READ_AND_WRITE = WRITERS - {"restore"}
KEEPERS = {"dbAdmin", "dbOwner", "dbAdminAnyDatabase", "root"}
MONITORS = {"clusterMonitor", "clusterAdmin", "root"}
USER_ADMINS = {"userAdmin", "dbOwner", "userAdminAnyDatabase", "restore", "root"}
EVERYBODY = {"nothing", "read", "readWrite", "dbAdmin", "dbOwner", "userAdmin", "clusterMonitor", "clusterManager", "hostManager",
             "clusterAdmin", "backup", "restore", "readAnyDatabase", "readWriteAnyDatabase", "userAdminAnyDatabase",
             "dbAdminAnyDatabase", "root"}
OWNERS = {"readWrite", "dbAdmin", "dbOwner", "readWriteAnyDatabase", "dbAdminAnyDatabase", "restore", "root"}
HOST_MANAGERS = {"hostManager", "clusterAdmin", "root"}
BYPASSERS = {"dbOwner", "restore", "root"}
ON_DATABASE = {"read", "readWrite", "dbAdmin", "dbOwner", "userAdmin"}

IN_SHOP = [
    ({"find": "things"}, READERS),
    ({"aggregate": "things", "pipeline": [], "cursor": {}}, READERS),
    ({"count": "things"}, READERS),
    ({"distinct": "things", "key": "a"}, READERS),
    ({"explain": {"find": "things"}, "verbosity": "queryPlanner"}, READERS),
    ({"explain": {"count": "things"}, "verbosity": "queryPlanner"}, READERS),
    ({"explain": {"update": "things", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]}, "verbosity": "queryPlanner"}, WRITERS),
    ({"explain": {"delete": "things", "deletes": [{"q": {}, "limit": 0}]}, "verbosity": "executionStats"}, WRITERS),
    ({"explain": {"findAndModify": "things", "query": {}, "remove": True}, "verbosity": "queryPlanner"}, READ_AND_WRITE),
    ({"aggregate": "things", "pipeline": [{"$match": {}}], "explain": True}, READERS),
    ({"aggregate": 1, "pipeline": [{"$documents": [{"a": 1}]}], "cursor": {}}, EVERYBODY),
    ({"insert": "things", "documents": [{}]}, WRITERS),
    ({"update": "things", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]}, WRITERS),
    ({"update": "things", "updates": [{"q": {"a": 7}, "u": {"$set": {"b": 1}}, "upsert": True}]}, WRITERS),
    ({"delete": "things", "deletes": [{"q": {"a": 99}, "limit": 1}]}, WRITERS),
    ({"findAndModify": "things", "query": {"a": 99}, "update": {"$set": {"a": 1}}}, READ_AND_WRITE),
    ({"findAndModify": "things", "query": {"a": 99}, "remove": True}, READ_AND_WRITE),
    ({"aggregate": "things", "pipeline": [{"$out": "copies"}], "cursor": {}}, READ_AND_WRITE),
    ({"aggregate": "things", "pipeline": [{"$merge": {"into": "copies"}}], "cursor": {}}, READ_AND_WRITE),
    ({"aggregate": "things", "pipeline": [{"$out": {"db": "other", "coll": "copies"}}], "cursor": {}}, {"readWriteAnyDatabase", "root"}),
    ({"aggregate": "things", "pipeline": [{"$merge": {"into": {"db": "other", "coll": "copies"}}}], "cursor": {}},
     {"readWriteAnyDatabase", "root"}),
    ({"create": "things2"}, {"readWrite", "dbAdmin", "dbOwner", "readWriteAnyDatabase", "dbAdminAnyDatabase", "restore", "root"}),
    ({"createIndexes": "things", "indexes": [{"key": {"a": 1}, "name": "a_1"}]},
     OWNERS),
    ({"listIndexes": "things"}, READERS | KEEPERS),
    ({"collMod": "things"}, KEEPERS | {"restore"}),
    ({"validate": "things"}, KEEPERS),
    ({"insert": "things", "documents": [{}], "bypassDocumentValidation": True}, BYPASSERS),
    ({"update": "things", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}], "bypassDocumentValidation": True}, BYPASSERS),
    ({"findAndModify": "things", "query": {"a": 99}, "remove": True, "bypassDocumentValidation": True}, BYPASSERS - {"restore"}),
    ({"aggregate": "things", "pipeline": [{"$out": "copies"}], "cursor": {}, "bypassDocumentValidation": True}, BYPASSERS - {"restore"}),
    ({"findAndModify": "things", "query": {"a": 98}, "update": {"a": 98}, "upsert": True}, READ_AND_WRITE),
    ({"create": "view", "viewOn": "things", "pipeline": []}, OWNERS),
    ({"listCollections": 1}, (READERS | KEEPERS | {"restore"})),
    ({"dropIndexes": "things", "index": "none_1"}, OWNERS),
    ({"drop": "nothing"}, OWNERS),
    ({"startSession": 1}, EVERYBODY),
    ({"refreshSessions": []}, EVERYBODY),
    ({"endSessions": []}, EVERYBODY),
    ({"killSessions": []}, EVERYBODY),
    ({"killCursors": "things", "cursors": [bson.Int64(1)]}, EVERYBODY),  # of one's own; test_another_users_cursor
    ({"buildInfo": 1}, EVERYBODY),
    ({"hello": 1}, EVERYBODY),
    ({"listCommands": 1}, EVERYBODY),
    ({"whatsmyuri": 1}, EVERYBODY),
    ({"collStats": "things"}, READERS | KEEPERS | MONITORS),
    ({"dbStats": 1}, (READERS | KEEPERS | MONITORS) - {"backup"}),
    ({"createUser": "somebody", "pwd": "x", "roles": []}, USER_ADMINS),
    ({"usersInfo": {"forAllDBs": True}}, {"userAdminAnyDatabase", "root", "restore"}),
    ({"usersInfo": 1}, USER_ADMINS),
    ({"usersInfo": "somebody"}, USER_ADMINS),
    ({"usersInfo": {"user": "somebody", "db": "other"}}, {"userAdminAnyDatabase", "root", "restore"}),
    ({"rolesInfo": 1}, USER_ADMINS),
    ({"updateUser": "somebody", "pwd": "y"}, USER_ADMINS),
    ({"updateUser": "somebody", "customData": {"a": 1}}, USER_ADMINS),
    # Roles of any database may be taken away by it: only who may revoke them all may say so.
    ({"updateUser": "somebody", "roles": []}, {"userAdminAnyDatabase", "root", "restore"}),
    ({"grantRolesToUser": "somebody", "roles": ["read"]}, USER_ADMINS),
    ({"grantRolesToUser": "somebody", "roles": [{"role": "read", "db": "other"}]}, {"userAdminAnyDatabase", "root", "restore"}),
    ({"grantRolesToUser": "somebody", "roles": [{"role": "root", "db": "admin"}]}, {"userAdminAnyDatabase", "root", "restore"}),
    ({"revokeRolesFromUser": "somebody", "roles": ["read"]}, USER_ADMINS),
    ({"createUser": "escalated", "pwd": "x", "roles": [{"role": "root", "db": "admin"}]},
     {"userAdminAnyDatabase", "root", "restore"}),
    ({"dropUser": "somebody"}, USER_ADMINS),
    ({"aggregate": "things", "pipeline": [{"$indexStats": {}}], "cursor": {}}, KEEPERS | MONITORS),
    ({"aggregate": "things", "pipeline": [{"$collStats": {"count": {}}}], "cursor": {}}, READERS | KEEPERS | MONITORS),
    ({"compact": "nowhere"}, KEEPERS),
    ({"planCacheClear": "things"}, KEEPERS),
    ({"planCacheSetFilter": "things", "query": {"a": 1}, "indexes": [{"a": 1}]}, KEEPERS),
    ({"planCacheListFilters": "things"}, KEEPERS),
    ({"planCacheClearFilters": "things"}, KEEPERS),
    ({"profile": -1}, KEEPERS),
    ({"dbHash": 1}, READERS - {"backup"}),
    ({"convertToCapped": "nowhere", "size": 4096}, OWNERS),
    ({"cloneCollectionAsCapped": "nowhere", "toCollection": "elsewhere", "size": 4096}, READ_AND_WRITE),
    ({"validateDBMetadata": 1, "apiParameters": {"version": "1"}}, {"dbAdminAnyDatabase", "root"}),
    ({"ping": 1}, EVERYBODY),
    ({"connectionStatus": 1}, EVERYBODY),
]
ON_ADMIN = [
    ({"serverStatus": 1}, MONITORS | {"backup"}),
    ({"hostInfo": 1}, MONITORS),
    ({"getLog": "global"}, MONITORS),
    ({"getCmdLineOpts": 1}, MONITORS),
    ({"getParameter": "*"}, MONITORS | {"backup", "restore"}),
    ({"coffer": 1}, MONITORS),
    ({"coffer": "keyShow"}, MONITORS),
    ({"coffer": "revalidate"}, MONITORS),
    ({"currentOp": 1}, MONITORS | {"clusterManager"}),
    ({"currentOp": 1, "$ownOps": True}, EVERYBODY),
    ({"killOp": 1, "op": 2147483647}, EVERYBODY),  # of one's own; tests/compat/test_interruption.py
    ({"killAllSessions": []}, HOST_MANAGERS),
    ({"fsync": 1}, HOST_MANAGERS),
    ({"fsyncUnlock": 1}, HOST_MANAGERS),
    ({"setParameter": 1, "quiet": False}, HOST_MANAGERS),
    ({"logRotate": "nonsense"}, HOST_MANAGERS),
    ({"getClusterParameter": "*"}, MONITORS | {"clusterManager"}),
    ({"setClusterParameter": {"nonsense": {}}}, {"clusterManager", "clusterAdmin", "root"}),
    ({"setFeatureCompatibilityVersion": "nonsense"}, {"clusterManager", "clusterAdmin", "root"}),
    ({"top": 1}, MONITORS),
    ({"lockInfo": 1}, MONITORS | {"backup"}),
    ({"connPoolStats": 1}, MONITORS),
    ({"dropConnections": 1, "hostAndPort": []}, HOST_MANAGERS),
    ({"autoCompact": False}, {"dbAdminAnyDatabase", "root"}),
    ({"aggregate": 1, "pipeline": [{"$currentOp": {"allUsers": True}}], "cursor": {}}, MONITORS | {"clusterManager"}),
    ({"listDatabases": 1}, EVERYBODY),
    ({"dataSize": "shop.things"}, READERS),
    ({"dataSize": "other.things"}, READERS - ON_DATABASE),
    ({"bulkWrite": 1, "nsInfo": [{"ns": "shop.things"}], "ops": [{"insert": 0, "document": {}}]}, WRITERS),
    ({"bulkWrite": 1, "nsInfo": [{"ns": "shop.things"}], "ops": [{"update": 0, "filter": {"a": 99}, "updateMods": {"$set": {"a": 1}}}]}, WRITERS),
    ({"bulkWrite": 1, "nsInfo": [{"ns": "shop.things"}], "ops": [{"delete": 0, "filter": {"a": 99}}]}, WRITERS),
    ({"bulkWrite": 1, "nsInfo": [{"ns": "shop.things"}, {"ns": "other.things"}],
      "ops": [{"insert": 0, "document": {}}, {"insert": 1, "document": {}}]}, {"readWriteAnyDatabase", "restore", "root"}),
    ({"bulkWrite": 1, "nsInfo": [{"ns": "shop.things"}], "bypassDocumentValidation": True, "ops": [{"insert": 0, "document": {}}]}, BYPASSERS),
    ({"bulkWrite": 1, "nsInfo": [{"ns": "shop.things"}],
      "ops": [{"update": 0, "filter": {"a": 99}, "updateMods": {"$set": {"a": 1}}, "upsert": True}]}, WRITERS),
    ({"aggregate": 1, "pipeline": [{"$currentOp": {}}], "cursor": {}}, EVERYBODY),
    ({"aggregate": 1, "pipeline": [{"$listLocalSessions": {}}], "cursor": {}}, EVERYBODY),
    ({"aggregate": 1, "pipeline": [{"$listLocalSessions": {"allUsers": True}}], "cursor": {}}, MONITORS | {"clusterManager"}),
    ({"listDatabases": 1, "authorizedDatabases": False},
     MONITORS | {"backup", "readAnyDatabase", "readWriteAnyDatabase", "userAdminAnyDatabase", "dbAdminAnyDatabase"}),
    ({"renameCollection": "shop.nowhere", "to": "other.nowhere"}, {"readWriteAnyDatabase", "root"}),
    ({"find": "system.users"}, {"backup", "restore", "userAdminAnyDatabase", "root"}),
    ({"insert": "system.users", "documents": [{}]}, {"root", "restore"}),
    ({"drop": "system.users"}, set()),
    ({"renameCollection": "shop.nowhere", "to": "shop.elsewhere"},
     OWNERS),
]


def code_of(client, database, command):
    try:
        client[database].command(command)
        return 0
    except pymongo.errors.OperationFailure as e:
        return e.code


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    """users(NAME): a client that is logged in as the user with that role; one node for all tests of this file."""
    node = Node(tmp_path_factory.mktemp("roles") / "node").start().add_admin()
    clients = {"admin": node.client()}
    admin = clients["admin"]
    admin.shop.things.insert_one({"a": 1})
    admin.other.things.insert_one({"a": 1})
    admin.shop.many.insert_many([{"a": i} for i in range(20)])
    for role in EVERYBODY:
        roles = [] if role == "nothing" else [{"role": role, "db": "shop" if role in ON_DATABASE else "admin"}]
        admin.admin.command("createUser", "u-" + role, pwd=PASSWORD, roles=roles)

    admin.admin.things.insert_one({"a": 1})
    admin.admin.command("createUser", "u-on-admin", pwd=PASSWORD, roles=["readWrite"])
    admin.admin.command("createUser", "u-owner", pwd=PASSWORD, roles=["dbOwner"])

    def get(name):
        if name not in clients:
            clients[name] = pymongo.MongoClient(node.uri(False), username="u-" + name, password=PASSWORD, directConnection=True)
        return clients[name]
    get.node = node
    yield get
    for client in clients.values():
        client.close()
    node.kill()


@contextlib.contextmanager
def raw(users, role):
    """run(database, command) on a connection of its own, as the user with the role: what is sent is what is given, no session is added."""
    with pymongo.MongoClient(users.node.uri(False), username="u-" + role, password=PASSWORD, directConnection=True, maxPoolSize=1) as client:
        client.admin.command("ping")
        with client._conn_for_reads(pymongo.ReadPreference.PRIMARY, None, "find") as (connection, _):  # pylint: disable=protected-access
            def run(database, command):
                return connection.command(database, command, check=False)
            yield run


ROWS = [("shop", *row) for row in IN_SHOP] + [("admin", *row) for row in ON_ADMIN]


@pytest.mark.parametrize("database, command, allowed", [pytest.param(*row, id=str(row[1])[1:80]) for row in ROWS])
def test_a_command_asks_for_its_privileges(users, database, command, allowed):
    assert {role for role in EVERYBODY if code_of(users(role), database, command) != 13} == allowed


def test_what_was_refused_before_it_began_fills_no_profile(users):
    db = users("admin").shop
    db.command("profile", 2)
    with pymongo.MongoClient(users.node.uri(False), directConnection=True) as stranger:
        for client in (users("nothing"), stranger):
            assert code_of(client, "shop", {"find": "things", "comment": "refused"}) == 13
    list(db.things.find({}, comment="allowed"))
    db.command("profile", 0)
    assert [o["command"].get("comment") for o in db.system.profile.find({"op": "query"})] == ["allowed"]
    db.drop_collection("system.profile")


# Commands that change or end what the rows above need, or have a test of their own below or elsewhere.
ELSEWHERE = {
    "authenticate", "saslStart", "saslContinue", "logout",  # of a connection: src/identity/t, tests/compat
    "dropAllUsersFromDatabase", "dropDatabase", "getMore",  # below
}


def test_no_command_is_forgotten(users):
    """Every command that the node knows is a row of these tables, or is named as tested elsewhere."""
    known = set(users("root").admin.command("listCommands")["commands"])
    tried = {next(iter(command)) for _, command, _ in ROWS}
    assert known - tried == ELSEWHERE and tried <= known


def test_dropping_a_database_and_its_users(users):
    """Each on a database of its own, since it works but once."""
    for role in sorted(EVERYBODY):
        database = "shop" if role in ON_DATABASE else "gone"
        users("root")[database].kept.insert_one({})
        allowed = {"dbAdmin", "dbOwner", "dbAdminAnyDatabase", "clusterAdmin", "restore", "root"}
        if role in allowed and database == "shop":
            continue  # it would take the rows' collections away; the privilege on others is what the next line asks for
        assert (code_of(users(role), database, {"dropDatabase": 1}) != 13) == (role in allowed), role
        assert code_of(users(role), "empty", {"dropAllUsersFromDatabase": 1}) == (
            0 if role in {"userAdminAnyDatabase", "restore", "root"} else 13), role
        assert role not in ON_DATABASE or code_of(users(role), "gone", {"dropDatabase": 1}) == 13, role


def test_a_role_of_one_database_says_nothing_on_another(users):
    for role in ON_DATABASE:
        for command, allowed in IN_SHOP:
            if allowed != EVERYBODY and role in allowed:
                assert code_of(users(role), "other", command) == 13, (role, command)


STAGES = [
    lambda c: {"$lookup": {"from": c, "localField": "a", "foreignField": "a", "as": "x"}},
    lambda c: {"$lookup": {"from": c, "pipeline": [], "as": "x"}},
    lambda c: {"$unionWith": c},
    lambda c: {"$unionWith": {"coll": c, "pipeline": []}},
    lambda c: {"$graphLookup": {"from": c, "startWith": "$a", "connectFromField": "a", "connectToField": "a", "as": "x"}},
]
WRAPPERS = [
    lambda stage: stage,
    lambda stage: {"$facet": {"f": [stage]}},
    lambda stage: {"$unionWith": {"coll": "things", "pipeline": [stage]}},
    lambda stage: {"$lookup": {"from": "things", "pipeline": [{"$lookup": {"from": "things", "pipeline": [stage], "as": "y"}}], "as": "x"}},
]


@pytest.mark.parametrize("wrap", range(len(WRAPPERS)))
@pytest.mark.parametrize("stage", range(len(STAGES)))
def test_every_collection_that_a_pipeline_reads_is_asked_for(users, stage, wrap):
    """readWrite on admin reads its collections, but not the users': not by any stage, at any depth, in an explain or through a view."""
    admin = users("on-admin")
    hidden, seen = (WRAPPERS[wrap](STAGES[stage](c)) for c in ("system.users", "things"))
    run = {"aggregate": "things", "pipeline": [seen], "cursor": {}}
    assert code_of(admin, "admin", run) == 0
    run["pipeline"] = [hidden]
    assert code_of(admin, "admin", run) == 13
    assert code_of(admin, "admin", {"explain": run, "verbosity": "executionStats"}) == 13
    assert code_of(admin, "admin", {"aggregate": 1, "pipeline": [{"$documents": []}, hidden], "cursor": {}}) == 13
    assert code_of(admin, "admin", {"create": f"view{stage}{wrap}", "viewOn": "things", "pipeline": [seen]}) == 0
    assert code_of(admin, "admin", {"create": f"evil{stage}{wrap}", "viewOn": "things", "pipeline": [hidden]}) == 13
    assert code_of(admin, "admin", {"create": f"evil{stage}{wrap}", "viewOn": "system.users", "pipeline": []}) == 13


def test_a_view_cannot_be_turned_to_what_its_maker_may_not_read(users):
    owner = users("owner")
    assert code_of(owner, "admin", {"create": "turned", "viewOn": "things", "pipeline": []}) == 0
    assert code_of(owner, "admin", {"collMod": "turned", "viewOn": "things", "pipeline": [{"$match": {}}]}) == 0
    for change in ({"viewOn": "system.users"}, {"pipeline": [{"$unionWith": "system.users"}]}):
        assert code_of(owner, "admin", {"collMod": "turned", **change}) == 13
    assert [d["a"] for d in owner.admin.turned.find()] == [1]


def test_another_users_cursor(users):
    """Nobody goes on with it; only who may kill any ends it. (50738: PyMongo sends a session of its own with each command.)"""
    owner = users("readWrite")
    cursor = owner.shop.command({"find": "many", "batchSize": 2})["cursor"]["id"]
    more = {"getMore": bson.Int64(cursor), "collection": "many", "batchSize": 1}
    kill = {"killCursors": "many", "cursors": [bson.Int64(cursor)]}
    for role in EVERYBODY - {"readWrite"}:
        assert code_of(users(role), "shop", more) in (13, 50738), role
        if role not in {"hostManager", "clusterAdmin", "root"}:
            assert code_of(users(role), "shop", kill) == 13, role
    assert users("hostManager").shop.command(kill)["cursorsKilled"] == [cursor]
    assert code_of(owner, "shop", more) == 43


def test_getmore_without_a_session_asks_for_the_user(users):
    """Raw commands, without the session that a driver adds: the user alone decides."""
    with raw(users, "readWrite") as mine, raw(users, "root") as other:
        cursor = mine("shop", {"find": "many", "batchSize": 2})["cursor"]["id"]
        assert other("shop", {"getMore": bson.Int64(cursor), "collection": "many"})["code"] == 13
        assert mine("shop", {"getMore": bson.Int64(cursor), "collection": "many", "batchSize": 1})["ok"] == 1


def test_a_privilege_that_is_gone_ends_at_the_next_batch(users):
    root = users("root")
    root.admin.command("createUser", "u-passing", pwd=PASSWORD, roles=[{"role": "read", "db": "shop"}])
    passing = users("passing")
    open_cursors = [passing.shop.many.find({}, batch_size=2), passing.shop.many.aggregate([{"$match": {}}], batchSize=2),
                    passing.shop.things.aggregate([{"$unionWith": "many"}], batchSize=2)]
    for cursor in open_cursors:
        next(cursor)
    root.admin.command("revokeRolesFromUser", "u-passing", roles=[{"role": "read", "db": "shop"}])
    for cursor in open_cursors:
        with pytest.raises(pymongo.errors.OperationFailure) as e:
            list(cursor)
        assert e.value.code == 13


def test_a_user_made_anew_is_another(users):
    root = users("root")
    root.admin.command("createUser", "u-twice", pwd=PASSWORD, roles=["read"])
    twice = users("twice")
    assert code_of(twice, "admin", {"find": "things"}) == 0
    root.admin.command("dropUser", "u-twice")
    root.admin.command("createUser", "u-twice", pwd="another", roles=["root"])
    assert code_of(twice, "admin", {"find": "things"}) == 13


def test_sessions_are_their_users(users):
    """The same id, sent by another user or by nobody, is another session."""
    admin = users("root")
    for stranger in (users("read"), pymongo.MongoClient(users.node.uri(False), directConnection=True)):
        for verb in ("endSessions", "killSessions"):
            with admin.start_session() as session:
                cursor = admin.shop.many.find({}, session=session, batch_size=2)
                next(cursor)
                code_of(stranger, "admin", {verb: [session.session_id]})
                assert len(list(cursor)) == 19
    with admin.start_session() as session:
        cursor = admin.shop.many.find({}, session=session, batch_size=2)
        next(cursor)
        assert code_of(admin, "admin", {"killSessions": [session.session_id]}) == 0
        with pytest.raises(pymongo.errors.CursorNotFound):
            list(cursor)


def test_unknown_roles_are_31(users):
    root = users("root")
    for roles in (["nonsense"], [{"role": "nonsense", "db": "admin"}], [{"role": "root", "db": "shop"}], ["read", "Read"]):
        assert code_of(root, "admin", {"createUser": "u-none", "pwd": "x", "roles": roles}) == 31, roles
        assert code_of(root, "admin", {"grantRolesToUser": "u-read", "roles": roles}) == 31, roles
    assert code_of(root, "shop", {"createUser": "u-none", "pwd": "x", "roles": ["clusterAdmin"]}) == 31
    assert code_of(root, "admin", {"dropUser": "u-none"}) == 11


def test_nothing_without_a_login(users):
    allowed = {"authenticate", "buildInfo", "connectionStatus", "endSessions", "hello", "listCommands", "logout", "ping", "saslContinue",
               "saslStart", "whatsmyuri"}
    with pymongo.MongoClient(users.node.uri(False), directConnection=True) as nobody:
        for database, command, _ in ROWS:
            name = next(iter(command))
            assert (code_of(nobody, database, command) == 13) == (name not in allowed), command


def test_the_localhost_exception_is_for_the_first_user_alone(make_node):
    node = make_node(admin=False)
    with pymongo.MongoClient(node.uri(False), directConnection=True) as nobody:
        for database, command, _ in ROWS:
            if next(iter(command)) not in ("createUser", "listDatabases", "usersInfo") and _ != EVERYBODY:
                assert code_of(nobody, database, command) in (11, 13, 31), command
        assert code_of(nobody, "shop", {"createUser": "first", "pwd": "x", "roles": []}) == 13  # on admin only
        assert nobody.admin.command({"usersInfo": []})["users"] == []
        assert code_of(nobody, "admin", {"createUser": "first", "pwd": "x", "roles": ["root"]}) == 0
        assert code_of(nobody, "admin", {"createUser": "second", "pwd": "x", "roles": ["root"]}) == 13
        with pymongo.MongoClient(node.uri(False), username="first", password="x", directConnection=True) as first:
            assert [u["user"] for u in first.admin.command("usersInfo")["users"]] == ["first"]
            assert code_of(first, "admin", {"dropUser": "first"}) == 0
        assert code_of(nobody, "admin", {"createUser": "third", "pwd": "x", "roles": ["root"]}) == 13  # gone for good


def test_of_many_first_users_there_is_one(make_node):
    node = make_node(admin=False)
    clients = [pymongo.MongoClient(node.uri(False), directConnection=True) for _ in range(8)]
    for client in clients:
        client.admin.command("ping")
    start = threading.Barrier(len(clients))

    def make(i):
        start.wait()
        return code_of(clients[i], "admin", {"createUser": f"first{i}", "pwd": "x", "roles": ["root"]})
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        codes = list(pool.map(make, range(len(clients))))
    for client in clients:
        client.close()
    assert sorted(codes) == [0] + [13] * (len(clients) - 1)
