"""kill -9 under load: what was acknowledged is there, nothing is half there, documents and indexes agree.

Many writers insert and count up; each remembers what the server acknowledged. Then the process is killed, started again, and everything
that any writer remembers is looked up. The long version is `make crash N=500`.
"""
import os
import random
import threading
import time

import pymongo
import pymongo.errors
import pytest

from processes import wait_until

LOOPS = int(os.environ.get("COFFER_KILL_LOOPS") or 30)
WRITERS = 12


class Writer(threading.Thread):
    """Inserts documents of its own and counts one document up, remembering what was acknowledged."""

    def __init__(self, number, uri, stop, acked, counter, tried):
        super().__init__(daemon=True)
        self.number, self.uri, self.stop_event = number, uri, stop
        self.acked = acked        # ids of inserts that were acknowledged
        self.failure = None
        self.counter = counter    # [last value that was acknowledged]
        self.tried = tried        # [next id]: one that was tried may be there without having been acknowledged

    def run(self):
        with pymongo.MongoClient(self.uri, directConnection=True, retryWrites=False, serverSelectionTimeoutMS=5000) as client:
            c = client.crash.c
            try:
                while not self.stop_event.is_set():
                    n = self.tried[0]
                    self.tried[0] += 1
                    c.insert_one({"_id": f"{self.number}-{n}", "writer": self.number, "n": n, "tags": [n, n + 1], "pad": "x" * random.randint(0, 900)})
                    self.acked.append(n)
                    want = self.counter[0] + 1
                    c.update_one({"_id": f"counter-{self.number}"}, {"$set": {"value": want, "writer": self.number}}, upsert=True)
                    self.counter[0] = want
            except pymongo.errors.ConnectionFailure:
                pass  # the kill; whether the last write got through is what the check allows for
            except Exception as e:  # kept, and looked at by the test
                self.failure = e


def check(client, acked, counters):
    c = client.crash.c
    for number in range(WRITERS):
        there = {d["n"] for d in c.find({"writer": number, "n": {"$exists": True}}, {"n": 1})}
        lost = set(acked[number]) - there
        assert not lost, f"writer {number}: acknowledged inserts are gone: {sorted(lost)[:10]}"
        value = (c.find_one({"_id": f"counter-{number}"}) or {"value": 0})["value"]
        assert counters[number][0] <= value <= counters[number][0] + 1, f"writer {number}: counter {value} after {counters[number][0]}"
        counters[number][0] = value
    result = client.crash.validate_collection("c", full=True)
    assert result["valid"], result
    assert result["nrecords"] == c.count_documents({})
    by_index = c.count_documents({"writer": {"$gte": 0}}, hint="writer_1")
    assert by_index == c.count_documents({"writer": {"$gte": 0}}, hint=[("$natural", 1)])


@pytest.mark.slow
def test_kill_under_load(make_node):
    seed = int(os.environ.get("COFFER_SEED") or random.randrange(1 << 30))
    print("COFFER_SEED =", seed)
    rng = random.Random(seed)
    node = make_node({"memtable-size": "256KB"})
    with node.client() as client:
        client.crash.c.create_index("writer")
        client.crash.c.create_index("tags")
    acked = [[] for _ in range(WRITERS)]
    counters = [[0] for _ in range(WRITERS)]
    tried = [[0] for _ in range(WRITERS)]
    total = 0
    for _ in range(LOOPS):
        stop = threading.Event()
        writers = [Writer(i, node.uri(), stop, acked[i], counters[i], tried[i]) for i in range(WRITERS)]
        for w in writers:
            w.start()
        wait_until(lambda: sum(len(a) for a in acked) > total, "the writers begin")
        time.sleep(rng.uniform(0, 0.7))
        node.kill()
        stop.set()
        for w in writers:
            w.join(30)
            assert not w.is_alive()
            assert w.failure is None, repr(w.failure)
        node.start()
        with node.client() as client:
            check(client, acked, counters)
        total = sum(len(a) for a in acked)
    assert total > LOOPS * WRITERS
