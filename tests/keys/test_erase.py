"""Crypto-erase: every known wrapped copy of a cluster's keys is destroyed, from every state, whatever stops it in between; what is left opens for nobody."""
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from processes import FAST_KEYS, ROOT, Node, Vault, binary, wait_until
from sealing import fill

ERASED, BAD_VALUE = 9900031, 2
DECRYPT = os.path.join(ROOT, "tools/decrypt-store")


def report(node):
    with open(os.path.join(node.state_dir, "erased"), encoding="utf-8") as f:
        return json.load(f)


def rows(node, what):
    return {r["path"]: r for r in report(node)["rows"] if r["what"] == what}


def wait_erased(node):
    """The process answers, replaces itself, erases and ends in order."""
    assert node.process.wait(60) == 0, node.tail()
    assert report(node)["state"] == "erased"


def erase(node, **fields):
    return node.admin("erase", **{"confirm": "coffer", **fields})


def erase_stopped(node, *flags):
    settings = {k: v for k, v in node.settings.items() if k not in ("port", "port-file")}
    args = [f"--{k}={v}" for k, v in {**settings, "log-file": node.log_file, "log-format": "json"}.items()]
    return subprocess.run([binary("cofferd"), *args, *flags, "erase"], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, **node.env})


def refuses_to_start(node):
    _, events = node.start_fails()
    assert events[-1]["code"] == ERASED, events[-1]
    return events[-1]["error"]


def left_of(envelopes, *directories):
    """Files in which some 40 bytes of an envelope stand."""
    pieces = {e[i:i + 40] for e in envelopes for i in range(166, len(e) - 40, 20)}
    found = []
    for directory in directories:
        for folder, _, names in os.walk(directory):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    content = f.read()
                found += [os.path.join(folder, name)] * any(p in content for p in pieces)
    return found


def envelope(node):
    with open(os.path.join(node.data_dir, "envelope.1"), "rb") as f:
        return f.read()


def nothing_opens(node, root_key, *envelopes):
    assert not left_of(envelopes, node.data_dir, node.state_dir)
    done = subprocess.run([sys.executable, DECRYPT, "--root-key", root_key, node.data_dir], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "ok   " not in done.stdout, done.stdout


def keep_root_key(node, tmp_path):
    """What a thief has: the key that wraps."""
    kept = str(tmp_path / "stolen-root.key")
    shutil.copy(os.path.join(node.state_dir, "service-root.key"), kept)
    return kept


def test_the_key_that_wrapped_opens_nothing_any_more(make_node, tmp_path):
    node = make_node()
    fill(node)
    kept, before = keep_root_key(node, tmp_path), envelope(node)
    assert left_of([before], node.data_dir), "the search finds what is there"
    copy = str(tmp_path / "copy")
    node.stop()
    shutil.copytree(node.data_dir, copy)
    control = subprocess.run([sys.executable, DECRYPT, "--root-key", kept, copy], capture_output=True, text=True, check=False)
    assert control.returncode == 0, control.stdout + control.stderr
    node.start()
    answer = erase(node)
    assert answer["ok"] and answer["report"] == os.path.join(node.state_dir, "erased")
    wait_erased(node)
    nothing_opens(node, kept, before)
    assert not os.path.exists(os.path.join(node.state_dir, "service-root.key"))
    assert not os.path.exists(os.path.join(node.state_dir, "pin"))
    found = report(node)
    assert found["mode"] == "smk" and len(found["notKnown"]) >= 3
    assert {r["outcome"] for r in found["rows"]} <= {"destroyed", "absent"}
    assert [e["op"] for e in node.events("adminOperation")] == ["erase"] and len(node.events("clusterErased")) == 1
    assert "was erased on 20" in refuses_to_start(node)
    os.rename(node.state_dir, node.state_dir + ".away")  # the data directory alone says so too
    assert "was erased" in refuses_to_start(node)


@pytest.mark.parametrize("state", ["ready", "sealed", "stopped"])
def test_from_every_state(state, make_node, vault, tmp_path):
    node = make_node(FAST_KEYS, vault=vault)
    fill(node)
    before = envelope(node)
    if state == "sealed":
        vault.disable()
        node.wait_state("Inaccessible")
    if state == "stopped":
        node.stop()
        done = erase_stopped(node, "--confirm=coffer")
        assert done.returncode == 0, done.stderr
        assert report(node)["state"] == "erased"
    else:
        assert erase(node)["ok"]
        wait_erased(node)
    assert not left_of([before], node.data_dir, node.state_dir)
    version = next(iter(rows(node, "keyVersion").values()))
    assert version["outcome"] == "failed" and "Microsoft.KeyVault" in version["why"], "the identity may not, and that is said"
    refuses_to_start(node)
    again = erase_stopped(node, "--confirm=coffer")
    assert again.returncode != 0 and "erased" in again.stderr


def test_the_version_is_disabled_where_it_may_be(programs, make_node, tmp_path):
    vault = programs.add(Vault(tmp_path / "vault", {"bootstrap-identities": "node:crypto-officer,customer:crypto-officer"})).start()
    vault.administer("role", "assign", "crypto-service-encryption-user", "--vault=main", "--principal=node")
    node = make_node(FAST_KEYS, vault=vault)
    version = node.admin("keyShow")["key"]["version"]
    assert erase(node)["ok"]
    wait_erased(node)
    assert next(iter(rows(node, "keyVersion").values()))["outcome"] == "disabled"
    refused = vault.call("GET", f"/keys/data/{version}")
    assert refused.status_code == 403 and "disabled" in refused.text, refused.text


def test_the_version_is_kept_when_that_is_asked_for(programs, make_node, tmp_path):
    vault = programs.add(Vault(tmp_path / "vault", {"bootstrap-identities": "node:crypto-officer,customer:crypto-officer"})).start()
    vault.administer("role", "assign", "crypto-service-encryption-user", "--vault=main", "--principal=node")
    node = make_node(FAST_KEYS, vault=vault)
    assert erase(node, **{"keep-key-version": True})["ok"]
    wait_erased(node)
    assert next(iter(rows(node, "keyVersion").values()))["outcome"] == "kept"
    assert vault.call("GET", "/keys/data/").json()["attributes"]["enabled"] is True


def test_backups_go_too_and_those_that_do_not_are_named(make_node, tmp_path):
    node = make_node()
    fill(node)
    places = [str(tmp_path / name) for name in ("here", "moved", "reused")]
    for place in places:
        assert node.admin("backup", dir=place)["ok"]
    os.rename(places[1], places[1] + ".away")
    stranger = make_node()
    shutil.rmtree(places[2])
    assert stranger.admin("backup", dir=places[2])["ok"]
    kept, before = keep_root_key(node, tmp_path), envelope(node)
    assert erase(node)["ok"]
    wait_erased(node)
    assert not left_of([before], places[0])
    assert subprocess.run([sys.executable, DECRYPT, "--root-key", kept, places[0]], capture_output=True, check=False).returncode != 0
    outcome = rows(node, "backupEnvelope")
    assert outcome[places[0] + "/envelope.1"]["outcome"] == outcome[places[0] + "/envelope.2"]["outcome"] == "destroyed"
    assert outcome[places[1]]["outcome"] == "kept" and "somewhere else" in outcome[places[1]]["why"]
    assert outcome[places[2]]["outcome"] == "kept" and "another cluster" in outcome[places[2]]["why"]
    assert os.path.exists(places[2] + "/envelope.1")


def test_a_root_key_that_others_may_use_stays_and_is_named(make_node, tmp_path):
    shared = str(tmp_path / "shared.key")
    node = make_node({"service-root-key": shared})
    other = make_node({"service-root-key": shared})
    fill(other)
    before = envelope(node)
    assert erase(node)["ok"]
    wait_erased(node)
    assert rows(node, "serviceRootKey")[shared]["outcome"] == "kept"
    nothing_opens(node, shared, before)
    other.restart()
    assert other.state() == "Ready"


STEPS = ["erase.begin", "erase.asked-vault", "erase.file:0", "erase.file:1", "erase.envelopes", "erase.file:2", "erase.backups", "erase.file:4",
         "erase.root-key", "erase.file:5", "erase.end"]


def test_killed_at_every_step(make_node, tmp_path):
    for i, point in enumerate(STEPS):
        node = make_node()
        fill(node, 20)
        place = str(tmp_path / f"b{i}")
        assert node.admin("backup", dir=place)["ok"]
        kept, before = keep_root_key(node, tmp_path), envelope(node)
        node.stop()
        where, _, skip = point.partition(":")
        node.env = {"COFFER_FAULTS": f"{where}=kill:{skip or 0}:1"}
        done = erase_stopped(node, "--confirm=coffer")
        assert done.returncode == -signal.SIGKILL, (point, done)
        assert report(node)["state"] == "erasing"
        node.env = {}
        node.spawn()  # whoever starts it, means to or not: there is no way back
        assert node.process.wait(30) == 0, node.tail()
        assert report(node)["state"] == "erased", point
        assert not left_of([before], node.data_dir, node.state_dir, place), point
        nothing_opens(node, kept, before)
        outcome = rows(node, "backupEnvelope")
        assert {r["outcome"] for r in outcome.values()} == {"destroyed"} and len(outcome) == 2, (point, outcome)
        refuses_to_start(node)


def test_what_cannot_be_destroyed_is_told_and_tried_again(make_node):
    node = make_node()
    fill(node, 20)
    node.stop()
    envelope_file = os.path.join(node.data_dir, "envelope.1")
    os.rename(envelope_file, envelope_file + ".away")
    os.mkdir(envelope_file)  # neither to be overwritten nor to be removed as a file
    done = erase_stopped(node, "--confirm=coffer")
    assert done.returncode != 0 and "not every copy" in done.stderr
    assert rows(node, "envelope")[envelope_file]["outcome"] == "failed" and report(node)["state"] == "erasing"
    os.rmdir(envelope_file)
    node.spawn()
    assert node.process.wait(30) == 0 and report(node)["state"] == "erased"
    assert not [n for n in os.listdir(node.data_dir) if n.startswith("envelope")]


def test_not_without_its_name(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault)
    fill(node)
    for fields in ({"confirm": "other"}, {"confirm": ""}):
        refused = erase(node, **fields)
        assert not refused["ok"] and refused["code"] == BAD_VALUE, refused
    assert node.admin("erase")["code"] == BAD_VALUE
    with node.client() as client:
        names = {o["name"] for o in client.admin.command("coffer", 1)["operations"]}
    assert "erase" not in names, "not over the network"
    node.restart()
    assert node.state() == "Ready" and not os.path.exists(os.path.join(node.state_dir, "erased"))


def test_who_writes_the_data_directory_erases_nothing(make_node):
    node = make_node()
    fill(node)
    node.stop()
    for name in ("ERASED", "erased"):
        with open(os.path.join(node.data_dir, name), "w", encoding="ascii") as f:
            f.write('{"format": 1, "state": "erasing", "cluster": "coffer"}\n')
    node.start()
    assert node.state() == "Ready" and os.path.exists(os.path.join(node.data_dir, "envelope.1"))


@pytest.mark.parametrize("running", [True, False])
def test_by_command(running, programs, make_node, tmp_path):
    home = tmp_path / "home"
    node = programs.add(Node(home / "x", {"cluster-name": "x"})).start()
    if not running:
        node.stop()

    def coffer(*args):
        return subprocess.run([binary("coffer"), "cluster", *args, f"--home={home}", "-o", "json"], capture_output=True, text=True, timeout=120, check=False)
    for flags in ((), ("--confirm=y",)):
        refused = coffer("erase", "x", *flags)
        assert refused.returncode != 0 and "for ever" in refused.stderr, refused
    assert os.path.exists(os.path.join(node.data_dir, "envelope.1"))
    assert [c["state"] for c in json.loads(coffer("list").stdout)] == ["Ready" if running else "Stopped"]
    done = coffer("erase", "x", "--confirm=x")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "erased"
    if running:
        node.process.wait(30)
    assert coffer("erase", "none", "--confirm=none").returncode != 0
    told = coffer("status", "x")
    assert told.returncode == 1 and told.stdout == "" and "was erased: see " in told.stderr and "state/erased" in told.stderr
    wait_until(lambda: not os.path.exists(os.path.join(node.data_dir, "envelope.1")), "it is erased")
    assert json.loads(coffer("list").stdout) == [{"name": "x", "state": "Erased"}]
