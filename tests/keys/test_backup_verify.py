"""A backup is verified before it is needed: its keys by the vault, every tag of every file, and that it opens; and what it is not is told and kept in the list."""
import os
import shutil
import signal
import subprocess

import pytest

from processes import FAST_KEYS, binary
from sealing import fill

INVALID, FOREIGN_ENVELOPE, NOT_FOUND, DENIED = 9900022, 9900012, 9900028, 9900017


def backup(node, place):
    answer = node.admin("backup", dir=str(place))
    assert answer["ok"], answer
    return str(place)


def verify(node, place):
    return node.admin("backupVerify", dir=str(place))


def listed(node):
    return {n["dir"]: n for n in node.admin("keyShow")["needed"] if n["by"] == "backup"}


def image(place):
    """Every file with its content and times: nothing of a backup changes by being verified."""
    found = {}
    for folder, _, names in os.walk(place):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as f:
                found[path] = (f.read(), os.stat(path).st_mtime_ns)
    return found


def files(place, *ends):
    store = os.path.join(place, "store")
    return [os.path.join(store, n) for n in sorted(os.listdir(store)) if n.endswith(ends) or n.startswith(ends)]


def test_a_good_one(make_node, tmp_path):
    node = make_node()
    fill(node)
    place = backup(node, tmp_path / "b")
    before = image(place)
    answer = verify(node, place)
    assert answer["ok"] and answer["files"] > 4 and answer["bytes"] > 1000, answer
    assert image(place) == before and sorted(os.listdir(tmp_path)) == ["b", "node1"], "nothing is left of the look"
    row = listed(node)[place]
    assert row["good"] and row["verified"] == answer["verified"]
    assert node.events("backupVerified")[-1]["good"]
    done = subprocess.run([binary("coffer"), "backup", "verify", place, "--admin-socket=" + node.admin_socket], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def cut(path):
    with open(path, "r+b") as f:
        f.truncate(max(128, os.path.getsize(path) - 20))


def flip(path):
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("ends, damage", [((".sst",), flip), ((".sst",), cut), ((".sst",), os.unlink), (("MANIFEST",), os.unlink), (("MANIFEST",), flip),
                                          (("ANCHOR",), os.unlink), (("CURRENT",), flip), (("OPTIONS",), flip)],
                         ids=["table flipped", "table cut", "table gone", "manifest gone", "manifest flipped", "anchor gone", "current flipped", "options flipped"])
def test_each_damage_is_found(ends, damage, make_node, tmp_path):
    node = make_node({"memtable-size": "64KB"})
    for i in range(3):
        with node.client() as client:
            client[f"t{i}"].c.insert_many([{"_id": n, "pad": os.urandom(300).hex()} for n in range(300)])
    place = backup(node, tmp_path / "b")
    shutil.copytree(place, tmp_path / "whole")
    found = files(place, *ends)
    assert found, (ends, os.listdir(place + "/store"))
    if damage in (flip, cut):  # a table of a backup is a link to the node's own
        content = open(found[0], "rb").read()
        os.unlink(found[0])
        with open(found[0], "wb") as f:
            f.write(content)
    damage(found[0])
    answer = verify(node, place)
    assert not answer["ok"] and answer["code"] == INVALID, answer
    row = listed(node)[place]
    assert not row["good"] and row["verifyError"] == answer["error"]
    assert sorted(os.listdir(tmp_path)) == ["b", "node1", "whole"]
    shutil.rmtree(place)
    os.rename(tmp_path / "whole", place)
    assert verify(node, place)["ok"] and listed(node)[place]["good"]
    with node.client() as client:
        assert client.t0.c.count_documents({}) == 300, "the node itself is as it was"


def test_one_of_another_cluster(make_node, tmp_path):
    node, other = make_node(), make_node()
    fill(node, 10)
    place = backup(other, tmp_path / "b")
    assert verify(node, place)["code"] == FOREIGN_ENVELOPE
    assert verify(node, tmp_path / "none")["code"] == NOT_FOUND
    os.unlink(place + "/envelope.1")
    os.unlink(place + "/envelope.2")
    assert not verify(other, place)["ok"]


def test_one_of_a_generation_that_is_gone(make_node, tmp_path):
    node = make_node({"rotation-rate": "0"})
    fill(node)
    place = backup(node, tmp_path / "b")
    assert node.admin("rotateKey", compromised=True)["ok"]
    answer = verify(node, place)
    assert answer["ok"] and answer["generation"] == 1, "it has its own envelope"


def test_one_whose_version_of_the_key_is_gone(make_node, vault, tmp_path):
    node = make_node({**FAST_KEYS, "key-follow-interval": "1h"}, vault=vault)
    fill(node)
    first = node.admin("keyShow")["key"]["version"]
    place = backup(node, tmp_path / "b")
    assert verify(node, place)["ok"]
    made = vault.call("POST", f"/keys/{vault.key}/create", {"kty": "RSA", "key_size": 2048})
    assert made.status_code == 200 and node.admin("keyFollow")["ok"]
    changed = vault.call("PATCH", f"/keys/{vault.key}/{first}", {"attributes": {"enabled": False}})
    assert changed.status_code == 200, changed.text
    assert verify(node, place)["code"] == DENIED, "a version that it needs cannot be used"
    assert listed(node)[place]["good"], "which is no verdict on the backup"


def test_a_look_that_is_cut_short_leaves_nothing(make_node, tmp_path):
    node = make_node()
    fill(node, 20)
    place = backup(node, tmp_path / "b")
    node.stop()
    node.env = {"COFFER_FAULTS": "verify.copied=kill"}
    node.start()
    with pytest.raises((OSError, ValueError)):
        verify(node, place)
    assert node.process.wait(10) == -signal.SIGKILL
    left = [n for n in os.listdir(tmp_path) if n.startswith("b.verify-")]
    assert len(left) == 1 and os.listdir(tmp_path / left[0] / "store"), "the control: it is cut short while its copy is there"
    node.env = {}
    node.start()
    assert sorted(os.listdir(tmp_path)) == ["b", "node1"] and not os.path.exists(os.path.join(node.state_dir, "verifying"))
    assert verify(node, place)["ok"]


def test_only_a_copy_of_a_look_is_ever_removed(make_node, tmp_path):
    node = make_node()
    fill(node, 20)
    node.stop()
    mine, note = tmp_path / "mine", os.path.join(node.state_dir, "verifying")
    mine.mkdir()
    (mine / "kept").write_text("kept")
    with open(note, "w", encoding="ascii") as f:
        f.write(str(mine))
    node.start()
    assert (mine / "kept").read_text() == "kept" and not os.path.exists(note)
    assert "names no copy" in str(node.events("backgroundError"))
    assert verify(node, backup(node, tmp_path / "b"))["ok"]
