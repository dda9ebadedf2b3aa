"""A disk that fills up, or fails, under a node: clear errors, reads that go on, recovery by itself, nothing acknowledged lost.

The disk is not really full: COFFER_FAULTS makes chosen system calls fail for a while ("fs.free=ENOSPC" is a file system that says it has
no room left). What the node does about it is the same.
"""
import threading
import time

import pymongo
import pymongo.errors
import pytest

from processes import wait_until

OUT_OF_DISK_SPACE = 14031
IO_ERROR = 9900000
ENGINE_FATAL = 9900027
WRITERS = 6
KNOWN = 500


class Writer(threading.Thread):
    """Inserts until told to stop; remembers what was acknowledged, and every error."""

    def __init__(self, client, number, stop):
        super().__init__(daemon=True)
        self.collection, self.number, self.stop_event = client.full.c, number, stop
        self.acked, self.errors, self.failure = [], [], None

    def run(self):
        n = 0
        while not self.stop_event.is_set():
            n += 1
            try:
                self.collection.insert_one({"_id": f"{self.number}-{n}", "n": n, "pad": "x" * 2000})
                self.acked.append(n)
            except pymongo.errors.OperationFailure as e:  # the only thing that a full disk may do to a client
                self.errors.append((e.code, str(e)))
                time.sleep(0.01)
            except Exception as e:
                self.failure = e
                return


class Load:
    """A node with documents that were there before, writers, and a reader that must never fail."""

    def __init__(self, make_node, faults, settings=None):
        self.node = make_node({"memtable-size": "1MB", **(settings or {})}, start=False)
        self.node.start().add_admin()
        with self.node.client() as client:
            client.full.known.insert_many([{"_id": i, "v": i} for i in range(KNOWN)])
            client.full.c.create_index("n")
        self.node.stop()
        self.node.env["COFFER_FAULTS"] = faults
        self.node.start()
        self.client = self.node.client(retryWrites=False)
        self.stop_event = threading.Event()
        self.writers = [Writer(self.client, i, self.stop_event) for i in range(WRITERS)]
        self.reads, self.read_failure = 0, None
        self.reader = threading.Thread(target=self.read, daemon=True)
        for t in self.writers + [self.reader]:
            t.start()

    def read(self):
        while not self.stop_event.is_set():
            try:
                assert sum(d["v"] for d in self.client.full.known.find()) == KNOWN * (KNOWN - 1) // 2
                assert self.client.full.known.find_one({"_id": 7})["v"] == 7
                self.reads += 1
            except Exception as e:
                self.read_failure = e
                return

    def errors(self):
        return [e for w in self.writers for e in w.errors]

    def acked(self):
        return sum(len(w.acked) for w in self.writers)

    def wait_errors(self):
        wait_until(self.errors, "a writer is refused")
        before = self.reads
        wait_until(lambda: self.reads > before + 2, "reads go on meanwhile")

    def wait_writes(self):
        before = self.acked()
        wait_until(lambda: self.acked() > before + 5 * WRITERS, "writes are accepted again")

    def end(self):
        self.stop_event.set()
        for t in self.writers + [self.reader]:
            t.join(30)
            assert not t.is_alive()
        assert self.read_failure is None, repr(self.read_failure)
        assert [w.failure for w in self.writers if w.failure] == []
        assert self.reads > 0
        return self

    def check(self):
        """What was acknowledged is there; documents and indexes agree."""
        with self.node.client() as client:
            c = client.full.c
            there = {d["_id"] for d in c.find({}, {"_id": 1})}
            for w in self.writers:
                lost = [n for n in w.acked if f"{w.number}-{n}" not in there]
                assert not lost, f"writer {w.number}: acknowledged inserts are gone: {lost[:10]}"
            for name in ("c", "known"):
                result = client.full.validate_collection(name, full=True)
                assert result["valid"], result
            assert c.count_documents({"n": {"$gt": 0}}, hint="n_1") == len(there)

    def restart_and_check(self):
        """After kill -9: what counts is what is on the disk."""
        self.check()
        self.node.kill()
        self.node.env.pop("COFFER_FAULTS")
        self.node.start()
        self.check()


def only(errors, code):
    assert {c for c, _ in errors} == {code}, sorted(set(errors))[:5]


def test_less_room_than_the_reserve(make_node):
    """Free room is looked at twice a second: from the 6th look on there is none, for ten looks."""
    load = Load(make_node, "fs.free=ENOSPC:6:10")
    load.wait_errors()
    only(load.errors(), OUT_OF_DISK_SPACE)
    assert "room" in load.errors()[0][1]
    load.node.wait_event("storeReadOnly")
    load.node.wait_event("storeWritable")
    load.wait_writes()
    load.end()
    load.restart_and_check()


@pytest.mark.parametrize("fault", ["fs.append.journal=ENOSPC:150:1", "fs.append.journal=ENOSPC:151:1", "fs.append.table=ENOSPC:12:2",
                                   "fs.create.table=ENOSPC:6:1", "fs.append.journal=EDQUOT:80:1"])
def test_a_write_finds_no_room(make_node, fault):
    """The disk is full before anybody looked. The node goes read-only, and comes back once a look shows room."""
    load = Load(make_node, fault)
    load.wait_errors()
    only(load.errors(), OUT_OF_DISK_SPACE)
    load.node.wait_event("storeWritable")
    load.wait_writes()
    load.end()
    load.restart_and_check()


def test_a_sort_finds_no_room_to_spill(make_node):
    """A query that cannot spill fails; nobody else notices."""
    load = Load(make_node, "fs.append.spill=ENOSPC:0:-1", {"query-memory": "1MB"})
    load.wait_writes()
    wait_until(lambda: load.acked() > 2500, "enough to spill")
    with pytest.raises(pymongo.errors.OperationFailure) as caught:
        list(load.client.full.c.find().sort("pad", 1).allow_disk_use(True))
    assert caught.value.code == OUT_OF_DISK_SPACE, caught.value
    load.wait_writes()
    assert load.errors() == []
    load.end()
    load.restart_and_check()


@pytest.mark.parametrize("fault", ["fs.sync.journal=EIO:60:1", "fs.create.journal=ENOSPC:2:1"])
def test_the_engine_stops(make_node, fault):
    """Nobody knows what is on the disk after a failed sync, and without a new journal the engine cannot go on (decision 0042): no write is
    acknowledged until the node is started again. Reads go on."""
    load = Load(make_node, fault, {"engine-reopen-delay": "1h"})
    load.wait_errors()
    load.node.wait_event("storeFatal")
    wait_until(lambda: {c for c, _ in load.errors()[-WRITERS:]} == {ENGINE_FATAL}, "every write says that the engine stopped")
    assert {c for c, _ in load.errors()} <= {ENGINE_FATAL, IO_ERROR}
    before = load.acked()
    time.sleep(0.5)
    assert load.acked() == before
    load.end()
    load.restart_and_check()


@pytest.mark.parametrize("fault", ["fs.sync.journal=EIO:60:1", "fs.create.journal=ENOSPC:2:1"])
def test_a_stopped_engine_is_opened_anew(make_node, fault):
    """By itself, once there is room: the process replaces itself, keeping its port; what was acknowledged is there."""
    node = make_node({"memtable-size": "1MB", "engine-reopen-delay": "200ms"})
    node.stop()
    node.env["COFFER_FAULTS"] = fault
    node.start()
    pid, acked = node.pid, 0
    with node.client(retryWrites=False) as client:
        with pytest.raises(pymongo.errors.OperationFailure):
            for acked in range(100000):
                client.full.c.insert_one({"_id": acked, "pad": "p" * 2000})

        def writes():
            try:
                client.full.after.insert_one({})
                return True
            except pymongo.errors.PyMongoError:
                return False
        wait_until(writes, "writes are accepted again")
        assert client.full.c.count_documents({"_id": {"$lt": acked}}) == acked
        assert client.full.validate_collection("c", full=True)["valid"]
    assert node.pid == pid and node.alive()
    assert node.events("storeReopening")


@pytest.mark.parametrize("fault", ["fs.append=ENOSPC:0:-1", "fs.create.manifest=ENOSPC:0:-1", "fs.append.anchor=ENOSPC:0:-1"])
def test_a_start_finds_no_room(node, fault):
    """It says so and ends; the next start, with room, finds everything."""
    with node.client() as client:
        client.full.c.insert_many([{"_id": i} for i in range(1000)])
    node.kill()
    node.env["COFFER_FAULTS"] = fault
    _, events = node.start_fails()
    assert any("No space left" in str(e) or "OutOfDiskSpace" in str(e) for e in events), node.tail()
    node.env.pop("COFFER_FAULTS")
    node.start()
    with node.client() as client:
        assert client.full.c.count_documents({}) == 1000
