"""What runs for long can be ended: by its time limit, by killOp, with its session, with its cursor, and by its client's leaving. Each way is tried on each
kind of long command; the commands here would take minutes."""
import socket
import threading
import time
import uuid

import pymongo
import pymongo.errors
import pytest

from processes import Node, wait_until
from wire import op_msg

N = 20000
BURN = {"$gt": [{"$sum": {"$map": {"input": {"$range": [0, 100000]}, "in": {"$mod": ["$$this", 7]}}}}, -1]}
SLOW = {"$expr": BURN}
CROSS = [{"$lookup": {"from": "c", "pipeline": [{"$match": {"$expr": {"$gt": [{"$strLenCP": "$pad"}, 1000]}}}], "as": "o"}}, {"$match": {"x": -1}}]

READS = {
    "find": {"find": "c", "filter": SLOW},
    "count": {"count": "c", "query": SLOW},
    "distinct": {"distinct": "c", "key": "x", "query": SLOW},
    "lookup": {"aggregate": "c", "pipeline": CROSS, "cursor": {}},
    "group": {"aggregate": "c", "pipeline": [{"$group": {"_id": BURN, "n": {"$sum": 1}}}], "cursor": {}},
    "sort": {"aggregate": "c", "pipeline": [{"$set": {"k": BURN}}, {"$sort": {"k": 1}}], "cursor": {}},
    "facet": {"aggregate": "c", "pipeline": [{"$facet": {"a": CROSS, "b": [{"$count": "n"}]}}], "cursor": {}},
    "reduce": {"aggregate": "c", "pipeline": [{"$match": {"$expr": {"$lt": [0, {"$reduce": {
        "input": {"$range": [0, 100000]}, "initialValue": 0, "in": {"$add": ["$$value", {"$indexOfCP": ["$pad", "zzz"]}]}}}]}}}], "cursor": {}},
    "graph": {"aggregate": "c", "pipeline": [{"$graphLookup": {"from": "c", "startWith": "$x", "connectFromField": "x", "connectToField": "y", "as": "o",
                                                               "restrictSearchWithMatch": {"never": 1}}}, {"$match": {"x": -1}}], "cursor": {}},
    "regex": {"aggregate": "c", "pipeline": [{"$limit": 1}, {"$project": {"v": {"$map": {"input": {"$range": [0, 1000000]}, "in": {
        "$regexMatch": {"input": "$pad", "regex": "^(.*?,){60}z$"}}}}}}], "cursor": {}},
    # None of them may keep its memory once it has said no.
    "many expressions": {"find": "c", "filter": {"$or": [{"$expr": {"$lt": [{"$sum": {"$map": {
        "input": {"$range": [0, {"$add": [100000, {"$mod": ["$x", 2]}]}]}, "in": "$$this"}}}, -i]}} for i in range(1, 200)]}},
    "explain": {"explain": {"count": "c", "query": SLOW}, "verbosity": "executionStats"},
}
WRITES = {
    "update": {"update": "c", "updates": [{"q": SLOW, "u": {"$set": {"seen": 1}}, "multi": True}]},
    "pipeline update": {"update": "c", "updates": [{"q": {}, "u": [{"$set": {"seen": BURN}}], "multi": True}]},
    "delete": {"delete": "c", "deletes": [{"q": {"$expr": {"$not": [BURN]}}, "limit": 0}]},
    "findAndModify": {"findAndModify": "c", "query": {"$expr": {"$not": [BURN]}}, "update": {"$set": {"seen": 1}}},
    "out": {"aggregate": "c", "pipeline": [{"$set": {"k": BURN}}, {"$out": "o"}], "cursor": {}},
    "merge": {"aggregate": "c", "pipeline": [{"$set": {"k": BURN}}, {"$merge": "o"}], "cursor": {}},
}
ALL = {**READS, **WRITES}


@pytest.fixture(scope="module")
def open_node(tmp_path_factory):
    """Without logins, so that a bare socket may ask."""
    n = Node(tmp_path_factory.mktemp("interruption") / "node", {"auth": "false"}).start()
    yield n
    n.kill()


@pytest.fixture(scope="module")
def client(open_node):
    with open_node.client() as c:
        for at in range(0, N, 2000):
            c.t.c.insert_many([{"_id": i, "x": i, "y": i % 7, "pad": "a,b," * 100} for i in range(at, at + 2000)])
        yield c


def op_of(client, tag):
    """The entry of $currentOp of the command with that comment, or None."""
    ops = [o for o in client.admin.aggregate([{"$currentOp": {"allUsers": True}}]) if o["command"].get("comment") == tag]
    return ops[0] if ops else None


class Running(threading.Thread):
    """A command on a client of its own, and what became of it."""

    def __init__(self, node, command, session=False):
        super().__init__(daemon=True)
        self.tag = "tag" + uuid.uuid4().hex
        self.command = {**command, "comment": self.tag}
        self.client = node.client(retryReads=False, retryWrites=False)
        self.session = self.client.start_session() if session else None
        self.code = None
        self.start()

    def run(self):
        try:
            self.client.t.command(self.command, session=self.session)
            self.code = 0
        except pymongo.errors.OperationFailure as e:
            self.code = e.code

    def wait_running(self, client):
        return wait_until(lambda: op_of(client, self.tag), "it runs")

    def ends(self, code):
        self.join(20)
        assert not self.is_alive(), "it goes on"
        assert self.code == code
        self.client.close()


@pytest.mark.parametrize("name", ALL)
def test_the_time_limit(open_node, client, name):
    command = ALL[name]
    if name == "explain":
        command = {**command, "explain": {**command["explain"], "maxTimeMS": 300}}
    began = time.monotonic()
    Running(open_node, {**command, "maxTimeMS": 300}).ends(50)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ALL)
def test_kill_op(open_node, client, name):
    running = Running(open_node, ALL[name])
    op = running.wait_running(client)
    assert op["active"] and op["secs_running"] >= 0 and op["ns"].startswith("t.")
    assert client.admin.command("killOp", op=op["opid"])["info"] == "attempting to kill op"
    running.ends(11601)


def send(node, command):
    s = socket.create_connection(("127.0.0.1", node.port))
    s.sendall(op_msg({**command, "$db": "t"}))
    return s


@pytest.mark.parametrize("name", READS)
def test_a_client_that_leaves(open_node, client, name):
    """Nobody reads the answer: the worker is free soon."""
    tag = "tag" + uuid.uuid4().hex
    s = send(open_node, {**READS[name], "comment": tag})
    wait_until(lambda: op_of(client, tag), "it runs")
    s.close()
    wait_until(lambda: op_of(client, tag) is None, "it ends with its client", seconds=20, interval=0.1)


@pytest.mark.parametrize("command,into", [
    ({"update": "w", "updates": [{"q": {}, "u": [{"$set": {"seen": BURN}}], "multi": True}]}, "w"),
    ({"aggregate": "w", "pipeline": [{"$set": {"seen": BURN}}, {"$out": "w_out"}], "cursor": {}}, "w_out"),
    ({"aggregate": "w", "pipeline": [{"$set": {"seen": BURN}}, {"$merge": "w_merge"}], "cursor": {}}, "w_merge"),
], ids=["update", "out", "merge"])
def test_a_write_goes_on_without_its_client(open_node, client, command, into):
    tag = "tag" + uuid.uuid4().hex
    client.t.drop_collection("w")
    client.t.w.insert_many([{"_id": i} for i in range(500)])
    s = send(open_node, {**command, "comment": tag})
    wait_until(lambda: op_of(client, tag), "it runs")
    s.close()
    wait_until(lambda: op_of(client, tag) is None, "it is done", seconds=60, interval=0.1)
    assert client.t[into].count_documents({"seen": True}) == 500


def test_half_a_minute_of_lost_clients_leaves_room_for_others(open_node, client):
    """More lost requests than there are workers."""
    for _ in range(40):
        send(open_node, READS["find"]).close()
    began = time.monotonic()
    assert client.t.c.find_one({"_id": 5})["x"] == 5
    wait_until(lambda: not [o for o in client.admin.command("currentOp")["inprog"] if o["command"].get("find")], "all are gone", seconds=60)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("how", ["killSessions", "killAllSessions"])
def test_sessions_end_with_what_runs_in_them(open_node, client, how):
    running = Running(open_node, READS["find"], session=True)
    other = Running(open_node, READS["find"], session=True)
    running.wait_running(client), other.wait_running(client)
    client.admin.command(how, [running.session.session_id] if how == "killSessions" else [])
    running.ends(11601)
    if how == "killSessions":
        assert other.is_alive()
        client.admin.command("killOp", op=op_of(client, other.tag)["opid"])
    other.ends(11601)


def test_a_cursor_is_killed_while_its_batch_is_made(open_node, client):
    for how in ("killCursors", "killSessions"):
        reader = open_node.client()
        session = reader.start_session()
        first = reader.t.command({"find": "c", "filter": {"$or": [{"_id": {"$lt": 10}}, SLOW]}, "batchSize": 2}, session=session)
        code = []

        def get_more(reader=reader, session=session, cursor=first["cursor"]["id"], code=code):
            try:
                reader.t.command({"getMore": cursor, "collection": "c", "batchSize": 100000, "comment": how}, session=session)
            except pymongo.errors.OperationFailure as e:
                code.append(e.code)
        thread = threading.Thread(target=get_more, daemon=True)
        thread.start()
        wait_until(lambda: op_of(client, how), "getMore runs")
        if how == "killCursors":
            assert client.t.command("killCursors", "c", cursors=[first["cursor"]["id"]])["cursorsKilled"] == [first["cursor"]["id"]]
        else:
            client.admin.command(how, [session.session_id])
        thread.join(20)
        assert not thread.is_alive() and code in ([237], [11601])
        with pytest.raises(pymongo.errors.OperationFailure) as gone:
            reader.t.command({"getMore": first["cursor"]["id"], "collection": "c"}, session=session)
        assert gone.value.code == 43
        reader.close()


def test_who_may_see_and_end_what(make_node):
    node = make_node()
    with node.client() as admin:
        admin.t.c.insert_many([{"_id": i} for i in range(5000)])
        for user in ("one", "two"):
            admin.admin.command("createUser", user, pwd="secret", roles=[{"role": "readWrite", "db": "t"}])

        def as_user(user):
            return pymongo.MongoClient(node.uri(auth=False), username=user, password="secret", directConnection=True, retryReads=False)

        with as_user("one") as one, as_user("two") as two:
            ended = []

            def burn():
                with pytest.raises(pymongo.errors.OperationFailure) as e:
                    one.t.command({**READS["find"], "comment": "mine"})
                ended.append(e.value.code)
            thread = threading.Thread(target=burn, daemon=True)
            thread.start()
            op = wait_until(lambda: op_of(admin, "mine"), "it runs")
            with pytest.raises(pymongo.errors.OperationFailure) as refused:
                two.admin.command({"aggregate": 1, "pipeline": [{"$currentOp": {"allUsers": True}}], "cursor": {}})
            assert refused.value.code == 13
            seen = two.admin.command({"aggregate": 1, "pipeline": [{"$currentOp": {}}], "cursor": {}})["cursor"]["firstBatch"]
            assert [o["command"].get("comment") for o in seen] == [None]
            with pytest.raises(pymongo.errors.OperationFailure) as refused:
                two.admin.command("killOp", op=op["opid"])
            assert refused.value.code == 13
            two.admin.command("killSessions", [op["lsid"]])
            assert op_of(admin, "mine")
            mine = one.admin.command({"aggregate": 1, "pipeline": [{"$currentOp": {}}], "cursor": {}})["cursor"]["firstBatch"]
            assert op["opid"] in [o["opid"] for o in mine]
            one.admin.command("killOp", op=op["opid"])
            thread.join(20)
            assert ended == [11601]
