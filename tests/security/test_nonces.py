"""No key seals two texts under one nonce: not over a thousand versions of a document, not when copies of a data directory run on beside each other, not in
anything that lies on disk when a test of this run ends (conftest.py keeps the ledger)."""
import os
import shutil
import subprocess
import sys

import pytest

from nonces import HEADER, Ledger, Repeated, header_of, salt_of, sealed_blocks
from processes import ROOT

DECRYPT = os.path.join(ROOT, "tools/decrypt-store")
WORDS = "the same words, again and again, in every version of this document. " * 20


def files_of(*directories):
    return [os.path.join(folder, name) for d in directories for folder, _, names in os.walk(d) for name in names if header_of(os.path.join(folder, name))]


def repeated(paths):
    """How many blocks of 16 sealed bytes stand in more than one place, and how many there are."""
    seen, twice, n = set(), 0, 0
    for path in paths:
        for block in sealed_blocks(path):
            n += 1
            twice += block in seen
            seen.add(block)
    return twice, n


def decrypted(node, out):
    done = subprocess.run([sys.executable, DECRYPT, "--root-key", os.path.join(node.state_dir, "service-root.key"), "--out", str(out), node.data_dir],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return b"".join(open(os.path.join(folder, name), "rb").read() for folder, _, names in os.walk(out) for name in names)


def test_a_document_written_a_thousand_times_repeats_no_block(make_node, tmp_path):
    node = make_node({"memtable-size": "1MB"})
    for round_ in range(4):
        with node.client() as client:
            for i in range(250):
                client.t.c.replace_one({"_id": 1}, {"_id": 1, "text": WORDS, "n": round_ * 250 + i}, upsert=True)
        node.restart()  # what was written becomes a table
    node.stop()
    assert decrypted(node, tmp_path / "plain").count(WORDS[:64].encode()) > 200, "the control: the texts are as alike as that"
    twice, n = repeated(files_of(node.data_dir))
    assert n > 10000 and twice == 0, (twice, n)


def test_copies_that_run_on_share_nothing_that_is_new(make_node, tmp_path):
    """A directory is copied cold, and its backup restored twice; all of them write the same documents."""
    node = make_node()
    with node.client() as client:
        client.t.c.insert_many([{"_id": i, "text": WORDS} for i in range(100)])
    backup = str(tmp_path / "backup")
    assert node.admin("backup", dir=backup)["ok"]
    node.stop()
    copy = make_node(start=False)
    for mine, theirs in ((node.data_dir, copy.data_dir), (node.state_dir, copy.state_dir)):
        shutil.copytree(mine, theirs, ignore=shutil.ignore_patterns("*.sock"))
    root = {"service-root-key": os.path.join(node.state_dir, "service-root.key")}
    others = [copy] + [make_node({**root, "restore-from": backup}, start=False) for _ in range(2)]
    before = {salt_of(header_of(p)) for p in files_of(node.data_dir, backup)}
    for one in [node] + others:
        one.user, one.password = node.user, node.password
        one.start()
        with one.client() as client:
            client.t.c.insert_many([{"_id": i, "text": WORDS} for i in range(100, 400)])
        one.stop()
    ledger, new = Ledger(), []
    for one in [node] + others:
        ledger.note_all(one.data_dir)
        new.append([p for p in files_of(one.data_dir) if salt_of(header_of(p)) not in before])
    assert all(new), "each of them wrote files of its own"
    salts = [salt_of(header_of(p)) for paths in new for p in paths]
    assert len(salts) == len(set(salts))
    twice, n = repeated(p for paths in new for p in paths)
    assert n > 1000 and twice == 0, (twice, n)


@pytest.mark.parametrize("damage", ["chunk", "frame", "header", "copy"])
def test_the_ledger_finds_what_it_looks_for(damage, node, tmp_path):
    with node.client() as client:
        client.t.c.insert_many([{"_id": i, "text": WORDS} for i in range(3000)])
    assert node.admin("backup", dir=str(tmp_path / "backup"))["ok"]
    with node.client() as client:
        client.t.c.insert_many([{"_id": -i, "text": WORDS} for i in range(1, 100)])
    node.kill()
    wanted, place = (".log", node.data_dir) if damage == "frame" else (".sst", tmp_path / "backup")
    path = max((p for p in files_of(place) if p.endswith(wanted)), key=os.path.getsize)
    other = shutil.copy(path, tmp_path / os.path.basename(path))
    at = {"chunk": HEADER + 100, "frame": HEADER + 60, "header": 20, "copy": None}[damage]
    if at is not None:
        with open(other, "r+b") as f:
            f.seek(at)
            old = f.read(1)
            f.seek(at)
            f.write(bytes([old[0] ^ 1]))
    ledger = Ledger()
    ledger.note(path)
    if damage == "copy":
        ledger.note(other)
        assert ledger.n_files == 2
    else:
        with pytest.raises(Repeated):
            ledger.note(other)
