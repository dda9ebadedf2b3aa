"""coffer inspect: what an auditor sees of a data directory, without keys beside a running node, and with the node's keys of a backup."""
import json
import os
import subprocess

import pytest

from processes import binary, wait_until


def inspect(directory, *flags):
    done = subprocess.run([binary("coffer"), "inspect", str(directory), *flags], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def inspect_json(directory, *flags):
    code, out, err = inspect(directory, "-o", "json", *flags)
    return code, json.loads(out) if out else err


@pytest.fixture
def filled(cmk_node):
    with cmk_node.client() as client:
        client.shop.orders.insert_many([{"_id": i, "note": "nobody reads this " * 20} for i in range(2000)])
        client.shop.orders.create_index("note")
    return cmk_node


def backup_of(node, name):
    target = node.path(name)
    answer = node.admin("backup", dir=target)
    assert answer["ok"] == 1, answer
    return target


def largest_table(directory):
    store = os.path.join(directory, "store")
    return max((os.path.join(store, f) for f in os.listdir(store) if f.endswith(".sst")), key=os.path.getsize)


def test_without_keys_beside_a_running_node(filled):
    code, report = inspect_json(filled.data_dir)
    assert code == 0, report
    on_disk = {os.path.relpath(f, filled.data_dir).removeprefix("store/") for f in filled.files()}
    told = {f["name"] for f in report["files"]} | {v["name"] for v in report["envelopes"]}
    assert told == on_disk
    assert report["totals"]["problems"] == 0 and report["totals"]["keys"] is False and report["totals"]["authenticated"] == 0
    assert [g["generation"] for g in report["generations"]] == [1]
    salts = [f["salt"] for f in report["files"] if "salt" in f]
    assert len(set(salts)) == len(salts) >= 5
    envelope = report["envelopes"][0]
    assert envelope["mode"] == "cmk" and envelope["keyVersion"] == filled.admin("keyShow")["key"]["version"]
    code, out, _ = inspect(filled.data_dir)
    assert code == 0 and "nothing in the clear was found" in out and "CURRENT" in out


def test_with_keys_every_tag_of_a_backup(filled):
    target = backup_of(filled, "copy")
    code, report = inspect_json(target, f"--admin-socket={filled.admin_socket}")
    assert code == 0, report
    sealed = [f for f in report["files"] if "salt" in f]
    assert all(f["authenticated"] for f in sealed) and report["totals"]["authenticated"] == len(sealed)

    # One bit anywhere: unseen without keys, named with them.
    table = largest_table(target)
    with open(table, "r+b") as f:
        f.seek(500)
        byte = f.read(1)[0]
        f.seek(500)
        f.write(bytes([byte ^ 1]))
    assert inspect_json(target)[0] == 0
    code, report = inspect_json(target, f"--admin-socket={filled.admin_socket}")
    assert code == 1
    assert [f["name"] for f in report["files"] if "problem" in f] == [os.path.basename(table)]


def test_with_keys_a_backup_of_a_generation_that_the_cluster_has_no_more(filled, vault):
    target, socket = backup_of(filled, "copy"), f"--admin-socket={filled.admin_socket}"
    assert filled.admin("rotateKey", compromised=True)["ok"]
    wait_until(lambda: [g["generation"] for g in filled.admin("keyShow")["generations"]] == [2], "the first one is destroyed")
    code, report = inspect_json(target, socket)
    assert code == 0, [f for f in report["files"] if "problem" in f]
    assert [g["generation"] for g in report["generations"]] == [1] and report["totals"]["authenticated"] == len([f for f in report["files"] if "salt" in f])
    for name in ("envelope.1", "envelope.2"):
        os.unlink(os.path.join(target, name))
    code, report = inspect_json(target, socket)
    assert code == 1 and report["envelopeNotOpened"] and "not at hand" in str(report["files"])


def test_with_keys_every_tag_of_the_directory_in_use(filled):
    socket = f"--admin-socket={filled.admin_socket}"
    code, report = inspect_json(filled.data_dir, socket)
    assert code == 0, report
    assert report["directory"] == str(filled.data_dir) and report["consistentCopy"] is True
    sealed = [f for f in report["files"] if "salt" in f]
    assert all(f["authenticated"] for f in sealed) and report["totals"]["authenticated"] == len(sealed)
    tables = {f["name"] for f in report["files"] if f["role"] == "table"}
    assert tables and tables == {f["name"] for f in inspect_json(filled.data_dir)[1]["files"] if f["role"] == "table"}
    assert not [f for f in os.listdir(filled.dir) if ".verify-" in f] and filled.admin("keyShow")["needed"][0]["by"] == "cluster"
    assert len(filled.admin("keyShow")["needed"]) == 1, "the copy is no backup that holds a version up"

    table = largest_table(filled.data_dir)
    with open(table, "r+b") as f:
        f.seek(500)
        byte = f.read(1)[0]
        f.seek(500)
        f.write(bytes([byte ^ 1]))
    code, report = inspect_json(filled.data_dir, socket)
    assert code == 1
    assert [f["name"] for f in report["files"] if "problem" in f] == [os.path.basename(table)]
    code, out, _ = inspect(filled.data_dir, socket)
    assert code == 1 and "consistent copy" in out


def test_with_the_keys_of_another_cluster(filled, make_node):
    other = make_node()
    for directory in (filled.data_dir, backup_of(filled, "copy")):
        code, _, err = inspect(directory, f"--admin-socket={other.admin_socket}")
        assert code == 1 and "is another cluster's" in err and "EnvelopeForeign" in err


def test_what_is_in_the_clear_is_found(filled):
    target = backup_of(filled, "copy")
    with open(os.path.join(target, "orders.json"), "w", encoding="utf-8") as f:
        f.write('{"note": "an export that somebody left here"}')
    table = largest_table(target)
    with open(table, "r+b") as f:
        f.seek(1000)
        f.write(b"nobody reads this " * 20)
    code, report = inspect_json(target)
    assert code == 1
    found = {f["name"]: f["problem"] for f in report["files"] if "problem" in f}
    assert set(found) == {"orders.json", os.path.basename(table)}
    assert "printable" in found[os.path.basename(table)]
    code, out, err = inspect(target)
    assert code == 1 and out.count("PROBLEM: ") == 2 and "2 problems" in err


def test_what_is_no_data_directory(tmp_path):
    for directory in (tmp_path, tmp_path / "none"):
        code, _, err = inspect(directory)
        assert code == 1 and "is no data directory" in err
