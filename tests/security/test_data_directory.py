"""A whole data directory in SMK mode, opened from docs/formats alone with the service root key: envelope, keys, every byte of every file."""
import os
import subprocess
import sys
import threading

import pymongo
import pymongo.errors
import pytest

from processes import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DECRYPT = os.path.join(ROOT, "tools/decrypt-store")
CANARY = "QXZJKVdirectory"
DOCUMENTS = 20000


def account(data, root_key, *more):
    return subprocess.run([sys.executable, DECRYPT, "--root-key", root_key, *more, str(data)], capture_output=True, text=True, check=False)


def root_key(node):
    return os.path.join(node.state_dir, "service-root.key")


def assert_accounted(node, data=None, plain=None):
    more = ["--pin", os.path.join(node.state_dir, "pin")] + (["--out", str(plain)] if plain else [])
    done = account(data or node.data_dir, root_key(node), *more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 unaccounted for" in done.stdout.splitlines()[-1]
    return done.stdout


def load(node):
    with node.client() as client:
        c = client[CANARY + "db"][CANARY + "collection"]
        c.create_index(CANARY + "field", name=CANARY + "index")
        for n in range(0, DOCUMENTS, 1000):
            c.insert_many([{"_id": i, CANARY + "field": f"{CANARY}{i}", "pad": "x" * 200} for i in range(n, n + 1000)])
        c.update_many({"_id": {"$lt": 1000}}, {"$set": {"more": CANARY}})
        client.drop_database("nothing")


def contents(folder):
    for where, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(where, name), "rb") as f:
                yield os.path.join(where, name), f.read()


def test_every_byte_is_accounted_for(make_node, tmp_path):
    node = make_node({"memtable-size": "1MB"})
    load(node)
    assert node.stop() == 0
    out = assert_accounted(node, plain=tmp_path / "plain")
    assert out.count(".sst:") >= 2 and ".log:" in out and "MANIFEST-" in out and "ANCHOR:" in out
    # The search below finds these once they are decrypted: documents, names, and a user's name.
    plain = b"".join(text for _, text in contents(tmp_path / "plain"))
    for wanted in (CANARY + "db", CANARY + "collection", CANARY + "field", CANARY + "index", node.user):
        assert wanted.encode() in plain, wanted
    for path, text in contents(node.data_dir):
        assert CANARY.encode() not in text, path


def test_after_kill_9_too(make_node):
    """Under load, three times over: what a crash leaves is known to the last byte, and so is what the next start made of it."""
    node = make_node({"memtable-size": "1MB"})
    load(node)
    for _ in range(3):
        stop, acked = threading.Event(), []

        def write():
            with node.client(retryWrites=False) as client:
                try:
                    while not stop.is_set():
                        client.crash.c.insert_many([{"pad": "x" * 500, CANARY: 1} for _ in range(50)])
                        acked.append(1)
                except pymongo.errors.ConnectionFailure:
                    pass

        writers = [threading.Thread(target=write) for _ in range(4)]
        for w in writers:
            w.start()
        wait_until(lambda: len(acked) > 40, "writers write")
        node.kill()
        stop.set()
        for w in writers:
            w.join(30)
        assert_accounted(node)
        node.start()
    assert node.stop() == 0
    assert_accounted(node)


def test_a_backup_too(node, tmp_path):
    load(node)
    answer = node.admin("backup", dir=str(tmp_path / "backup"))
    assert answer.get("ok"), answer
    node.kill()
    assert_accounted(node, data=tmp_path / "backup")


def flipped(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(1)
        f.seek(at)
        f.write(bytes([old[0] ^ 0x10]))


@pytest.mark.parametrize("part", ["digest", "root", "pin", "stray", "copies"])
def test_the_tool_says_so_when_something_is_wrong(node, tmp_path, part):
    assert node.stop() == 0
    data, key, pin = node.data_dir, root_key(node), os.path.join(node.state_dir, "pin")
    assert account(data, key, "--pin", pin).returncode == 0
    if part == "digest":
        for name in ("envelope.1", "envelope.2"):
            flipped(os.path.join(data, name), 200)
    elif part == "copies":
        flipped(os.path.join(data, "envelope.2"), 200)
    elif part == "pin":
        flipped(pin, 14)
    elif part == "root":
        key = tmp_path / "other.key"
        key.write_bytes(bytes(32))
    else:
        with open(os.path.join(data, "notes.txt"), "w", encoding="ascii") as f:
            f.write("plaintext")
    assert account(data, str(key), "--pin", pin).returncode == 1
