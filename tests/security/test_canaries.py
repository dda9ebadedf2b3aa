"""Canaries: what a client stores or asks for stands in no file, no log and no core; the same search finds it in the live memory."""
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys

import pymongo.errors

sys.path.insert(0, os.path.dirname(__file__))

from memory import all_files, core_memory_holds, files_hold, memory_holds  # noqa: E402
from processes import FAST_KEYS, Node, Vault  # noqa: E402


def canary(where):
    return f"canary{where}{secrets.token_hex(8)}"


def plant(node):
    """One canary in each kind of place; the set of them, as bytes."""
    c = {where: canary(where) for where in ("value", "field", "key", "coll", "db", "index", "query", "password", "error", "sort", "variable", "comment", "ddl")}
    with node.client() as client:
        coll = client[c["db"]][c["coll"]]
        coll.create_index([(c["field"], 1)], name=c["index"])
        coll.insert_many([{"_id": f"{c['key']}{i}", c["field"]: c["value"] + str(i), "pad": "p" * 400} for i in range(2000)])
        list(coll.find({"pad": {"$ne": c["query"]}}).limit(5))
        assert coll.count_documents({c["field"]: {"$regex": c["value"]}}) == 2000
        list(coll.aggregate([{"$group": {"_id": f"${c['field']}", "n": {"$sum": 1}}}, {"$sort": {"_id": 1, c["sort"]: 1}}]))
        coll.update_many({}, {"$set": {"also": c["value"]}})
        try:
            coll.find_one({"$" + c["error"]: 1})
            raise AssertionError("an unknown operator was accepted")
        except pymongo.errors.OperationFailure:
            pass
        list(coll.aggregate([{"$limit": 3}, {"$project": {"x": {"$let": {"vars": {"v": c["variable"]}, "in": {"$concat": ["$$v", "!"]}}}}}], comment=c["comment"]))
        for failing in (lambda: coll.create_index([("pad", c["ddl"])]), lambda: client[c["db"]].create_collection(c["coll"]),
                        lambda: client[c["db"]].command("collMod", c["ddl"])):
            try:
                failing()
                raise AssertionError("it was to fail")
            except pymongo.errors.PyMongoError:
                pass
        client.admin.command("createUser", "somebody", pwd=c["password"], roles=[])
    return {name.encode() for where, name in c.items()}, c


def places(node):
    """Everything that the node wrote: data, state, log, output."""
    return [p for p in all_files(node.dir) if not p.endswith("admin.sock")]


def test_canaries_reach_no_disk(make_node):
    node = make_node({"memtable-size": "256KB", "log-level": "debug"})
    needles, names = plant(node)
    expected = {n.encode() for where, n in names.items() if where in ("value", "field", "key", "coll", "db", "index")}
    assert expected <= memory_holds(node.pid, needles), "the search does not find what is there: it proves nothing"
    assert files_hold(places(node), needles) == {}
    for name in ("cmdline", "environ"):
        with open(f"/proc/{node.pid}/{name}", "rb") as f:
            text = f.read()
        assert text and not [n for n in needles if n in text]
    assert node.admin("backup", dir=node.path("backup"))["ok"]
    assert files_hold(places(node), needles) == {}
    node.kill()
    assert files_hold(places(node), needles) == {}
    node.start()
    node.stop()
    assert files_hold(places(node), needles) == {}
    node.start()
    assert files_hold(places(node), needles) == {}
    with node.client() as client:
        assert client[names["db"]][names["coll"]].count_documents({}) == 2000


def test_spilled_sorts_are_sealed(make_node):
    """A sort over its memory budget writes a temporary file: unnamed, and sealed."""
    node = make_node({"query-memory": "64KB"})
    word = canary("spill")
    with node.client() as client:
        client.s.c.insert_many([{"_id": i, "k": f"{word}{(i * 7919) % 20000:06d}", "pad": "p" * 200} for i in range(20000)])
        seen = [d["k"] for d in client.s.c.aggregate([{"$sort": {"k": 1}}], allowDiskUse=True)]
        assert seen == sorted(seen) and len(seen) == 20000
    assert files_hold(places(node), {word.encode()}) == {}
    for folder in ("/tmp", node.dir):
        assert not [p for p in os.listdir(folder) if "spill" in p.lower()]


def force_core(node, out):
    """A core of the running node, as root takes it with gcore."""
    gcore = shutil.which("gcore")
    assert gcore, "gcore (package gdb) is missing"
    done = subprocess.run([gcore, "-o", str(out), str(node.pid)], capture_output=True, text=True, timeout=240, check=False)
    path = f"{out}.{node.pid}"
    assert os.path.exists(path), done.stdout + done.stderr
    return path


def test_a_core_holds_nothing(make_node, tmp_path):
    """Dumps enabled, as root: no core is written, and one that root takes by force holds no memory."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # what the node inherits, and gives up
    node = make_node()
    needles, _ = plant(node)
    assert core_memory_holds(force_core(node, tmp_path / "forced"), needles) == set()
    assert memory_holds(node.pid, needles), "the search does not find what is there: it proves nothing"
    # The same again with the filter that the node emptied: then the search finds what is there.
    with open(f"/proc/{node.pid}/coredump_filter", "w", encoding="ascii") as f:
        f.write("0x33")
    assert core_memory_holds(force_core(node, tmp_path / "unfiltered"), needles)
    os.kill(node.pid, signal.SIGSEGV)
    node.process.wait(30)
    assert node.process.returncode == -signal.SIGSEGV
    left = [p for p in all_files(node.dir) + [os.path.join("/tmp", n) for n in os.listdir("/tmp")] if os.path.basename(p).startswith("core")]
    assert files_hold(left, needles) == {}


def owner(pid):
    """/proc gives the files of a process that must not be dumped to root, and those of others to whom they run as."""
    stat = os.stat(f"/proc/{pid}/environ")
    return stat.st_uid, stat.st_gid


def test_no_process_may_be_dumped_or_traced(programs, tmp_path):
    """Neither the vault nor the node, Ready or sealed. As root they run with another group, or the owner would be root in any case."""
    group = 65534 if os.geteuid() == 0 else None
    vault = programs.add(Vault(tmp_path / "vault"))
    vault.group = group
    vault.start()
    node = programs.add(Node(tmp_path / "node", FAST_KEYS, vault))
    node.group = group
    node.start()
    with subprocess.Popen(["sleep", "600"], group=group) as other:
        assert owner(other.pid) != (0, 0), "the owner tells nothing here: it proves nothing"
        other.kill()
    assert owner(vault.pid) == owner(node.pid) == (0, 0)
    vault.disable()
    node.wait_state("Inaccessible")
    assert owner(node.pid) == (0, 0)
