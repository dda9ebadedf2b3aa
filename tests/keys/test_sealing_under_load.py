"""Sealing while clients are busy: what was acknowledged is there afterwards, what was not fails with the documented error or a closed connection, and
nothing hangs. And sealing while the node is disturbed from outside: floods of its administration socket, kill -9 at any moment."""
import os
import random
import socket
import threading
import time

import bson
import pymongo
import pymongo.errors
import pytest

from processes import FAST_KEYS, Node, wait_until
from sealing import INACCESSIBLE, fill, serves
from wire import op_msg

SEED = int(os.environ.get("COFFER_SEED") or random.randrange(1 << 32))


def valid(node):
    with node.client() as client:
        answer = client.t.validate_collection("c", full=True)
        assert answer["valid"], answer


class Client(threading.Thread):
    """One client that repeats step(client) until it fails; only failures that a sealed node may cause are forgiven."""

    def __init__(self, node, step):
        super().__init__(daemon=True)
        self.node, self.step, self.error, self.ended = node, step, None, False
        self.start()

    def run(self):
        try:
            with self.node.client(retryWrites=False, retryReads=False, serverSelectionTimeoutMS=3000) as client:
                while True:
                    self.step(client)
        except (pymongo.errors.ConnectionFailure, bson.errors.InvalidBSON) as e:
            self.error = e
        except pymongo.errors.OperationFailure as e:
            self.error = e
            self.ended = e.code != INACCESSIBLE and e
        except Exception as e:  # a test that must not pass
            self.ended = e

    def check(self):
        self.join(30)
        assert not self.is_alive(), "a client hangs"
        assert not self.ended, repr(self.ended)


def seal_and_return(node, vault):
    vault.disable()
    node.wait_state("Inaccessible")
    vault.enable()
    node.wait_state("Ready")


def test_acknowledged_writes_outlive_sealing(cmk_node, vault):
    acknowledged, lock = set(), threading.Lock()

    def writer(number):
        at = 0

        def step(client):
            nonlocal at
            ids = list(range(number * 1000000 + at, number * 1000000 + at + 10))
            client.t.get_collection("c", write_concern=pymongo.WriteConcern(w=1, j=True)).insert_many([{"_id": i, "n": i} for i in ids])
            with lock:
                acknowledged.update(ids)
            at += 10
        return step

    with cmk_node.client() as client:
        client.t.c.create_index("n")
    for round_ in range(3):
        before = len(acknowledged)
        writers = [Client(cmk_node, writer(round_ * 10 + i)) for i in range(8)]
        wait_until(lambda: len(acknowledged) > before + 200, "the writers write")
        seal_and_return(cmk_node, vault)
        for w in writers:
            w.check()
    with cmk_node.client() as client:
        found = {d["_id"] for d in client.t.c.find({}, {"_id": 1})}
        by_index = {d["n"] for d in client.t.c.find({"n": {"$gte": 0}}, {"_id": 0, "n": 1}).hint("n_1")}
    assert acknowledged <= found and found == by_index
    valid(cmk_node)


def test_cursors_and_index_builds_are_ended(cmk_node, vault):
    fill(cmk_node, 30000)
    went = []

    def scan(client):
        for read, _ in enumerate(client.t.c.find({}, batch_size=100)):  # to its end, if the node is slow to seal; then again
            if read == 150:
                went.append("scan")

    def build(client):
        client.t.c.create_index([("word", 1), ("pad", 1)], name="built")
        client.t.c.drop_index("built")

    clients = [Client(cmk_node, scan) for _ in range(4)] + [Client(cmk_node, build)]
    wait_until(lambda: len(went) >= 4, "cursors are open")
    seal_and_return(cmk_node, vault)
    for c in clients:
        c.check()
        assert c.error, "it was ended"
    assert serves(cmk_node, 30000)
    valid(cmk_node)
    with cmk_node.client() as client:
        names = set(client.t.c.index_information())
        if "built" in names:
            client.t.c.drop_index("built")
        client.t.c.create_index([("word", 1), ("pad", 1)], name="built")
        assert client.t.c.count_documents({"word": {"$gte": "x"}}, hint="built") == 30000
    valid(cmk_node)


def test_a_message_that_is_half_sent_is_cut_off(cmk_node, vault):
    """Neither the head alone nor a body that never ends keeps a sealing node, and the sealed image knows nothing of the rest."""
    whole = op_msg({"insert": "c", "documents": [{"pad": "x" * 100000}], "$db": "t"})
    halves = []
    for part in (3, 16, 20, len(whole) // 2, len(whole) - 1):
        s = socket.create_connection(("127.0.0.1", cmk_node.port), timeout=20)
        s.sendall(whole[:part])
        halves.append((s, part))
    began = time.monotonic()
    vault.disable()
    cmk_node.wait_state("Inaccessible")
    assert time.monotonic() - began < 15
    for s, part in halves:
        try:
            s.sendall(whole[part:])
            answer = s.recv(65536)
        except OSError:
            answer = b""
        assert answer == b"" or bson.decode(answer[21:]).get("code") == INACCESSIBLE
        s.close()


def test_a_backup_that_is_cut_short_is_refused(make_node, vault, tmp_path):
    node = make_node({**FAST_KEYS, "memtable-size": "16MB"}, vault=vault)
    fill(node, 20000)
    backups = []

    def back_up():
        while node.alive():
            path = str(tmp_path / f"backup{len(backups)}")
            backups.append([path, None])
            try:
                backups[-1][1] = node.admin("backup", dir=path)
            except (OSError, ValueError):
                pass
            if not (backups[-1][1] or {}).get("ok"):
                return

    thread = threading.Thread(target=back_up, daemon=True)
    thread.start()
    wait_until(lambda: len(backups) > 2, "backups are made")
    seal_and_return(node, vault)
    thread.join(30)
    assert not thread.is_alive()
    node.stop()
    for path, answer in (backups[0], backups[-1]):
        if not os.path.isdir(path):
            continue
        other = make_node({**FAST_KEYS, "restore-from": path}, vault=vault, start=False)
        other.user, other.password = node.user, node.password
        complete = any(name in ("envelope.1", "envelope.2") for name in os.listdir(path))
        if complete:
            other.start()
            assert serves(other, 20000)
            other.stop()
        else:
            assert not (answer or {}).get("ok")
            other.start_fails()


@pytest.mark.timeout(120)
def test_a_key_that_comes_and_goes(cmk_node, vault):
    rng = random.Random(SEED)
    print(f"COFFER_SEED={SEED}")
    fill(cmk_node, 50)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        vault.disable()
        time.sleep(rng.uniform(0, 0.5))
        vault.enable()
        time.sleep(rng.uniform(0, 0.3))
    wait_until(lambda: cmk_node.check_alive() or serves(cmk_node, 50), "the data is back")
    events = [e["event"] for e in cmk_node.events()]
    assert "panic" not in events
    assert events.count("keySealed") == events.count("keyReturning") > 0


def test_a_second_start_touches_nothing(programs, make_node, vault, tmp_path):
    node = make_node(FAST_KEYS, vault=vault)
    fill(node, 50)
    before = {f: os.stat(f).st_mtime_ns for f in node.files() if "envelope" in f or f.endswith("CURRENT")}
    for state, change in (("Ready", lambda: None), ("Inaccessible", vault.disable)):
        change()
        node.wait_state(state)
        second = programs.add(Node(tmp_path / f"second-{state}", {**FAST_KEYS, "data-dir": node.data_dir, "state-dir": node.state_dir}, vault))
        _, events = second.start_fails()
        assert events[-1]["codeName"] == "DirectoryBusy", events[-1]
        assert node.state() == state
        assert before == {f: os.stat(f).st_mtime_ns for f in before}
    vault.enable()
    wait_until(lambda: serves(node, 50), "the data is back")


def flood(node, data, n=300):
    held = []
    for _ in range(n):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(1)
        try:
            s.connect(node.admin_socket)
            s.sendall(data)
        except OSError:
            s.close()
            continue
        held.append(s)
    return held


@pytest.mark.parametrize("data", [b"", b'{"op":"sta', b"\x00\xff" * 2000 + b"\n", b"[" * 60000 + b"\n", b'{"op":' * 9000 + b"\n", b"x" * 70000,
                                  b'{"op":"status"}\n' * 500], ids=["silent", "half", "garbage", "brackets", "nested", "long", "many"])
def test_floods_of_the_administration_socket(make_node, vault, data):
    """The node serves its clients meanwhile, and its administration socket is back when the flood is over."""
    node = make_node(FAST_KEYS, vault=vault)
    fill(node, 50)
    threads = len(os.listdir(f"/proc/{node.pid}/task"))
    held = flood(node, data)
    assert serves(node, 50)
    assert len(os.listdir(f"/proc/{node.pid}/task")) <= threads + 20
    for s in held:
        s.close()
    wait_until(lambda: answers(node), "the socket answers", seconds=20)
    held = flood(node, data, 20)
    vault.disable()
    wait_until(lambda: node.events("keySealed"), "sealed in spite of the flood")
    for s in held:
        s.close()
    node.wait_state("Inaccessible")


def answers(node):
    try:
        return node.admin("status")["ok"]
    except (OSError, ValueError):
        return False


@pytest.mark.timeout(180)
def test_kill_at_any_moment_of_the_hand_off(make_node, vault):
    rng = random.Random(SEED)
    print(f"COFFER_SEED={SEED}")
    node = make_node(FAST_KEYS, vault=vault)
    fill(node, 200)
    for i in range(12):
        away = i % 2 == 0
        if away:
            before = len(node.events("keySealing"))
            vault.disable()
            node.wait_event("keySealing", after=before)
        else:
            node.wait_state("Inaccessible")
            vault.enable()
        time.sleep(rng.uniform(0, 0.25))
        node.kill()
        node.start()
        node.wait_state("Inaccessible" if away else "Ready")
        if not away:
            wait_until(lambda: serves(node, 200), "the data is there")
            valid(node)


@pytest.mark.timeout(180)
def test_kill_at_any_moment_of_the_first_start_and_of_a_restore(make_node, vault, tmp_path):
    """What a first start left half made is made whole by the next one; a restore is either whole or refused, never an empty cluster."""
    rng = random.Random(SEED)
    print(f"COFFER_SEED={SEED}")
    source = make_node(FAST_KEYS, vault=vault)
    fill(source, 3000)
    backup = str(tmp_path / "backup")
    assert source.admin("backup", dir=backup)["ok"]
    source.stop()
    for _ in range(8):
        node = make_node(FAST_KEYS, vault=vault, start=False)
        node.spawn()
        time.sleep(rng.uniform(0, 0.4))
        node.kill()
        node.start().add_admin()
        fill(node, 10)
        node.stop()
    for _ in range(8):
        node = make_node({**FAST_KEYS, "restore-from": backup}, vault=vault, start=False)
        node.user, node.password = source.user, source.password
        node.spawn()
        time.sleep(rng.uniform(0, 0.4))
        node.kill()
        entries = os.listdir(node.data_dir) if os.path.isdir(node.data_dir) else []
        if entries and not any(name in ("envelope.1", "envelope.2") for name in entries):
            node.start_fails()
            assert "empty" in node.events("startFailed")[-1]["error"]
        else:
            node.start()
            assert serves(node, 3000)
            node.restart()
            assert serves(node, 3000)
            node.stop()
