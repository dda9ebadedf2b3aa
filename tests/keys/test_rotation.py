"""Rotation of the SMK on a running node: a new generation, everything written anew, the old one destroyed. Under the load of a real driver, and killed at any moment.

COFFER_ROTATIONS and COFFER_ROTATION_KILLS make it longer (`make rotations`)."""
import datetime
import os
import random
import shutil
import subprocess
import sys
import threading
import time

import pymongo.errors
import pytest

from processes import ROOT, wait_until

ROTATIONS = int(os.environ.get("COFFER_ROTATIONS") or 20)
KILLS = int(os.environ.get("COFFER_ROTATION_KILLS") or 6)
DECRYPT = os.path.join(ROOT, "tools/decrypt-store")


class Load:
    """A driver that inserts and reads until stopped; what was acknowledged is remembered. From `most` documents on it changes them instead: a thousand
    rotations would each write more anew than the one before."""

    def __init__(self, node, most=10000):
        self.node, self.acked, self.errors, self.stopping, self.most = node, 0, [], False, most
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with self.node.client(retryWrites=False, retryReads=False) as client:  # what is killed is not waited for
            c = client.load.c
            while not self.stopping:
                try:
                    if self.acked < self.most:
                        c.insert_one({"_id": self.acked, "text": "x" * 300})
                        self.acked += 1
                    else:
                        assert c.update_one({"_id": random.randrange(self.acked)}, {"$inc": {"n": 1}}).matched_count == 1
                    assert c.find_one({"_id": random.randrange(self.acked)})["text"] == "x" * 300
                except (pymongo.errors.PyMongoError, AssertionError, TypeError) as e:
                    self.errors.append(e)
                    return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()


def fill(node, n=2000):
    with node.client() as client:
        client.t.c.create_index("k")
        client.t.c.insert_many([{"_id": i, "k": i % 97, "pad": "p" * 300} for i in range(n)])


def whole(node, n=2000):
    with node.client() as client:
        return client.t.c.count_documents({}) == n and client.t.c.count_documents({"k": 5}) == len(range(5, n, 97))


def generations(node):
    return [(g["generation"], g["state"]) for g in node.admin("status")["generations"]]


def under(node):
    return sorted(row["generation"] for row in node.admin("status")["census"])


def wait_alone(node, gen, seconds=120):
    wait_until(lambda: generations(node) == [(gen, "live")], f"generation {gen} is alone", seconds, interval=0.05)
    assert under(node) == [gen]


def rotate(node, **fields):
    answer = node.admin("rotateKey", **fields)
    assert answer["ok"], answer
    return answer["generation"]


def accounted_for(node, data=None):
    """The independent decryptor, with the root key and the envelope that is there."""
    data = data or node.data_dir
    return subprocess.run([sys.executable, DECRYPT, "--root-key", os.path.join(node.state_dir, "service-root.key"), data],
                          capture_output=True, text=True, check=False)


def resident_kb(node):
    with open(f"/proc/{node.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_many_in_a_row_under_load(make_node):
    # Small caches, so that what the load brings into memory is not taken for what a rotation leaves there.
    node = make_node({"rotation-rate": "0", "cache-size": "4MB", "memtable-size": "1MB"})
    fill(node)
    files = []
    with Load(node) as load:
        for i in range(ROTATIONS - 2):
            assert rotate(node) == i + 2
            wait_alone(node, i + 2)
            if i == 2:
                memory = resident_kb(node)
    assert not load.errors, load.errors
    assert load.acked > 0 and whole(node)
    # Under load each of them adds the tables of what came in; without it, nothing that stays. How many tables the engine makes of the same
    # content, and when it removes in the background what is over, is its own affair: what a rotation left behind would be about as many again.
    for gen in (ROTATIONS, ROTATIONS + 1):
        assert rotate(node) == gen
        wait_alone(node, gen)
        files.append(len(node.files()))
    wait_until(lambda: len(node.files()) < files[0] * 1.5, f"about as few files as before: {files[0]}")
    assert resident_kb(node) < memory * 2 + 65536, "memory is left behind"
    with node.client() as client:
        status = client.admin.command("serverStatus")["coffer"]
        assert status["smkRotation"]["state"] == "idle" and status["smkRotation"]["completed"] == ROTATIONS
        assert client.load.c.count_documents({}) == load.acked
    assert not [e for e in node.events() if e["event"] == "rotationFailed"]
    node.stop()
    done = accounted_for(node)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"generation {ROTATIONS + 1}," in done.stdout and f"generation {ROTATIONS}," not in done.stdout


def test_killed_at_any_moment(make_node):
    node = make_node({"rotation-rate": "0"})
    fill(node)
    with Load(node) as load:
        began = time.monotonic()
        gen = rotate(node)
        wait_alone(node, gen)
        took = time.monotonic() - began
    acked, interrupted = load.acked, 0
    for i in range(KILLS):
        with Load(node) as load:
            load.acked = acked
            rotate(node)
            time.sleep(random.Random(i).uniform(0, took))
            node.kill()
        interrupted += gen not in {e["generation"] for e in node.events("generationDestroyed")}
        node.start()
        gen += 1
        with node.client() as client:
            have = client.load.c.count_documents({})
            assert have >= load.acked
            acked = have
        assert whole(node)
        if i % 2:  # else the next one begins while this one is under way
            wait_alone(node, gen)
    assert interrupted, "each rotation was over before its kill"
    wait_alone(node, gen)
    assert whole(node)
    node.stop()
    done = accounted_for(node)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_old_smk_opens_nothing_new(make_node, tmp_path):
    node = make_node({"rotation-rate": "0"})
    fill(node)
    node.stop()
    assert accounted_for(node).returncode == 0
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("envelope.1", "envelope.2"):
        shutil.copy(os.path.join(node.data_dir, name), kept / name)
    shutil.copytree(os.path.join(node.data_dir, "store"), kept / "store")
    assert accounted_for(node, str(kept)).returncode == 0, "the control: the old SMK opened what was there"
    node.start()
    rotate(node, compromised=True)
    wait_alone(node, 2)
    node.stop()
    assert accounted_for(node).returncode == 0
    shutil.rmtree(kept / "store")
    shutil.copytree(os.path.join(node.data_dir, "store"), kept / "store")
    done = accounted_for(node, str(kept))
    assert done.returncode != 0 and "ok   " not in done.stdout.replace("ok   " + str(kept / "envelope"), ""), done.stdout


def test_a_pause_survives_a_restart(make_node):
    node = make_node()
    fill(node)
    assert node.admin("rotationPause")["state"] == "paused"
    rotate(node)  # whoever rotates goes on
    wait_alone(node, 2)
    node.settings["rotation-rate"] = "1KB"
    node.restart()
    rotate(node)
    assert node.admin("rotationPause", paused=True)["ok"]
    node.kill()
    node.settings["rotation-rate"] = "0"
    node.start()
    assert node.admin("rotationStatus")["state"] == "paused"
    time.sleep(1)
    assert (2, "live") in generations(node) and whole(node)
    node.restart()
    assert node.admin("rotationPause", paused=False)["ok"]
    wait_alone(node, 3)
    assert whole(node)


def test_a_backup_holds_up_the_last_step(make_node, tmp_path):
    node = make_node({"rotation-rate": "0"})
    fill(node)
    backup = str(tmp_path / "backup")
    assert node.admin("backup", dir=backup)["ok"]
    rotate(node)
    wait_until(lambda: generations(node) == [(1, "retired"), (2, "live")], "generation 1 is retired", 60)
    assert under(node) == [2]
    node.restart()
    time.sleep(1)
    assert generations(node) == [(1, "retired"), (2, "live")]
    rotate(node, compromised=True)
    wait_alone(node, 3)
    other = make_node({"restore-from": backup, "service-root-key": os.path.join(node.state_dir, "service-root.key")}, start=False, admin=False)
    other.user, other.password = node.user, node.password
    other.start()
    assert whole(other), "the backup has its own envelope, and opens with what it had"


def rotate_with_room(node):
    """Refused while data is still under as many generations as an envelope holds: that is over when it is re-encrypted."""
    return wait_until(lambda: next((a["generation"] for a in [node.admin("rotateKey")] if a["ok"]), None), "a rotation", 120, interval=0.2)


def backups_shown(node):
    return {n["generation"]: n["inEnvelope"] for n in node.admin("keyShow")["needed"] if n["by"] == "backup"}


def destroyed(node):
    return {e["generation"]: e["inBackups"] for e in node.events("generationDestroyed")}


def test_more_kept_backups_than_an_envelope_holds(make_node, tmp_path):
    """Each made under a generation of its own. The oldest leave the node's envelope, told as destroyed, and their backups' own envelopes open them."""
    node = make_node({"rotation-rate": "0"})
    fill(node, 200)
    places = {}
    for gen in range(1, 71):
        places[gen] = str(tmp_path / f"b{gen}")
        answer = node.admin("backup", dir=places[gen])
        assert answer["ok"], answer
        if gen == 66:  # killed when room was made for the next, before anybody was told so
            wait_until(lambda: [g for g, state in generations(node) if state == "live"] == [66], "nothing else is written to the envelope", 120)
            wait_until(lambda: destroyed(node) == {1: True, 2: True}, "what made room is told")
            node.stop()
            node.env = {"COFFER_FAULTS": "envelope.after-copy-1=kill:0:1"}
            node.start()
            with pytest.raises((OSError, ValueError, AssertionError)):
                rotate_with_room(node)
            wait_until(lambda: not node.alive(), "the node is dead")
            node.env = {}
            node.start()
            assert generations(node)[0] == (4, "retired") and whole(node, 200), "the new one comes into force at the start, and 3 has made room"
        else:
            assert rotate_with_room(node) == gen + 1
    wait_until(lambda: generations(node)[-2:] == [(70, "retired"), (71, "live")], "generation 70 is retired", 120)
    assert generations(node) == [(gen, "retired") for gen in range(8, 71)] + [(71, "live")]
    assert backups_shown(node) == {gen: gen >= 8 for gen in range(1, 71)}
    wait_until(lambda: destroyed(node) == {gen: True for gen in (1, 2, 4, 5, 6, 7)}, "what made room is told, but for the one that the stop hid")
    assert whole(node, 200) and under(node) == [71]
    for gen in (1, 70):
        other = make_node({"restore-from": places[gen], "service-root-key": os.path.join(node.state_dir, "service-root.key")}, start=False, admin=False)
        other.user, other.password = node.user, node.password
        other.start()
        assert whole(other, 200)
        other.stop()


def test_what_was_spilled_before_is_read_after(make_node):
    """A sort that is over its memory lies in a temporary file, under a key of its own: no rotation takes that away."""
    node = make_node({"rotation-rate": "0", "query-memory": "64KB"})
    with node.client() as client:
        client.t.c.insert_many([{"_id": i, "k": (i * 7919) % 5000, "pad": "p" * 200} for i in range(5000)])
        cursor = client.t.c.aggregate([{"$sort": {"k": 1}}], allowDiskUse=True, batchSize=10)
        got = [next(cursor)["k"] for _ in range(10)]
        rotate(node, compromised=True)
        wait_alone(node, 2)
        got += [d["k"] for d in cursor]
    assert got == list(range(5000))


class Churn:
    """What else goes on in a database, over and over until it is stopped, each in a thread of its own; a failure ends the test."""

    def __init__(self, node, directory):
        self.node, self.directory, self.stopping, self.errors, self.rounds = node, str(directory), False, [], {}
        self.threads = [threading.Thread(target=self.repeat, args=(step,)) for step in (self.index, self.recreate, self.capped, self.expire, self.back_up)]

    def repeat(self, step):
        with self.node.client(retryWrites=False, retryReads=False) as client:
            i = 0
            while not self.stopping:
                try:
                    step(client.churn, i)
                except Exception as e:  # noqa: BLE001 - whatever it is, the test is to fail by it
                    self.errors.append((step.__name__, e))
                    return
                i += 1
                self.rounds[step.__name__] = i

    def index(self, db, i):
        if i == 0:
            db.indexed.insert_many([{"_id": n, "a": n % 7, "b": n % 11} for n in range(2000)])
        db.indexed.create_index([("a", 1), ("b", -1)], name="ab")
        assert db.indexed.count_documents({"a": 3}, hint="ab") == len(range(3, 2000, 7))
        db.indexed.drop_index("ab")

    def recreate(self, db, i):
        db.again.drop()
        db.again.insert_many([{"_id": n, "round": i} for n in range(50)])
        assert db.again.count_documents({"round": i}) == 50

    def capped(self, db, i):
        if i == 0:
            db.create_collection("ring", capped=True, size=1 << 20, max=100)
        db.ring.insert_many([{"round": i, "pad": "x" * 100} for _ in range(30)])
        assert db.ring.estimated_document_count() <= 100

    def expire(self, db, i):
        if i == 0:
            db.old.create_index("at", expireAfterSeconds=0)
        db.old.insert_many([{"at": datetime.datetime.now(datetime.timezone.utc)} for _ in range(20)])
        time.sleep(0.02)

    def back_up(self, db, i):
        path = os.path.join(self.directory, f"backup{i}")
        answer = self.node.admin("backup", dir=path)
        assert answer["ok"], answer
        shutil.rmtree(path)
        time.sleep(0.1)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        for t in self.threads:
            t.join()


def test_while_everything_else_goes_on(make_node, tmp_path):
    """Index builds, collections dropped and made anew under their names, a capped one that rolls over, documents that expire, backups: then every index and
    every document is compared."""
    node = make_node({"rotation-rate": "0", "ttl-interval": "100ms"})
    fill(node)
    with Churn(node, tmp_path) as churn, Load(node) as load:
        for gen in (2, 3, 4):
            rotate(node, compromised=True)
            wait_alone(node, gen)
        wait_until(lambda: churn.errors or (len(churn.rounds) == 5 and min(churn.rounds.values()) > 2), "each of them had some rounds")
    assert not churn.errors, churn.errors
    assert not load.errors, load.errors
    for _ in range(2):
        assert whole(node)
        with node.client() as client:
            assert client.load.c.count_documents({}) == load.acked
            assert [d["_id"] for d in client.load.c.find({}, {"_id": 1}).sort("_id", 1)] == list(range(load.acked))
            for db, name in (("t", "c"), ("load", "c"), ("churn", "indexed"), ("churn", "again"), ("churn", "ring"), ("churn", "old")):
                answer = client[db].validate_collection(name, full=True)
                assert answer["valid"], answer
        node.restart()
    node.stop()
    done = accounted_for(node)
    assert done.returncode == 0, done.stdout + done.stderr
