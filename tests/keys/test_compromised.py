"""A key that somebody may have got hold of: however it is replaced, what it protected is re-encrypted at once and its generation destroyed, whatever stops in between.
And what needs a version of the key, before somebody disables it."""
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

import keyservices
from processes import FAST_KEYS, wait_until
from sealing import fill, serves

CONFLICT = 9900024
# At this pace a rotation that is not urgent takes longer than any test waits.
SLOW = {**FAST_KEYS, "rotation-rate": "1", "key-follow-interval": "1h"}


def new_version(vault, key=None):
    answer = vault.call("POST", f"/keys/{key or vault.key}/create", {"kty": "RSA", "key_size": 2048})
    assert answer.status_code == 200, answer.text
    return f"{vault.url}/keys/{key or vault.key}"


def generations(node):
    return [(g["generation"], g["state"]) for g in node.admin("status")["generations"]]


def wish(node):
    path = os.path.join(node.state_dir, "rotation")
    if not os.path.exists(path):
        return ""
    with open(path, encoding="ascii") as f:
        return f.read()


def wait_replaced(node, gen):
    wait_until(lambda: generations(node) == [(gen, "live")] and wish(node) == "", f"only generation {gen} is left, and nothing is urgent", 120)
    assert [row["generation"] for row in node.admin("status")["census"]] == [gen]


def backup(node, path):
    answer = node.admin("backup", dir=str(path))
    assert answer["ok"], answer
    return str(path)


def follow(node, vault):
    new_version(vault)
    # the node may be following it by itself just now
    return wait_until(lambda: next((a for a in [node.admin("keyFollow", compromised=True)] if a.get("code") != CONFLICT), None), "its own following is over")


def set_another(node, vault):
    return node.admin("keySet", **{"key-url": new_version(vault, "second"), "compromised": True})


@pytest.mark.parametrize("change", [follow, set_another])
def test_nothing_holds_it_up(change, make_node, vault, tmp_path):
    node = make_node(SLOW, vault=vault)
    fill(node)
    backup(node, tmp_path / "b")  # a rotation in peace would keep generation 1 for it
    answer = change(node, vault)
    assert answer["ok"] and answer["generation"] == 2, answer
    wait_replaced(node, 2)
    assert serves(node)
    assert [e["compromised"] for e in node.events("rotationBegun")] == [True]


@pytest.mark.parametrize("point", ["rotator.intended", "rotator.made"])
def test_killed_in_between(point, make_node, vault, tmp_path):
    node = make_node(SLOW, vault=vault)
    fill(node)
    backup(node, tmp_path / "b")
    node.stop()
    node.env = {"COFFER_FAULTS": f"{point}=kill"}
    node.start()
    with pytest.raises((OSError, ValueError)):
        set_another(node, vault)
    assert node.process.wait(10) == -signal.SIGKILL
    node.env = {}
    node.start()
    assert serves(node)
    if point == "rotator.made":
        wait_replaced(node, 2)
        return
    # No generation was made: nothing is urgent, not even the rotation that somebody asks for next.
    assert generations(node) == [(1, "live")] and wish(node) == ""
    assert not node.admin("rotateKey")["urgent"]


def test_a_change_that_fails_makes_nothing_urgent(make_node, vault, tmp_path):
    node = make_node(SLOW, vault=vault)
    fill(node)
    backup(node, tmp_path / "b")
    refused = node.admin("keySet", **{"key-url": vault.url + "/keys/none", "compromised": True})
    assert not refused["ok"]
    assert wish(node) == "" and generations(node) == [(1, "live")]
    assert not node.admin("rotateKey")["urgent"]


def test_while_sealed_it_is_refused_with_the_reason(cmk_node, vault):
    vault.disable()
    cmk_node.wait_state("Inaccessible")
    refused = cmk_node.admin("keySet", **{"key-url": vault.url + "/keys/data", "compromised": True})
    assert not refused["ok"] and "Ready" in refused["error"], refused


def test_all_that_needs_a_version_is_told(make_node, vault, tmp_path):
    node = make_node(SLOW, vault=vault)
    fill(node)
    first = node.admin("keyShow")["key"]["version"]
    place = backup(node, tmp_path / "b")
    new_version(vault)
    assert node.admin("keyFollow")["ok"]
    second = node.admin("keyShow")["key"]["version"]
    assert first != second
    shown = node.admin("keyShow")
    assert [(n["by"], n["version"]) for n in shown["needed"]] == [("cluster", second), ("backup", first)]
    assert shown["olderVersionsNeeded"] == [first]
    assert shown["needed"][1]["generations"] == [{"generation": 1, "version": first}] and shown["needed"][1]["dir"] == place
    # Data under an older generation is told, with what wraps that now; its own version of the key is in backups only.
    assert node.admin("rotateKey")["ok"]
    rows = {n["by"]: n for n in node.admin("keyShow")["needed"]}
    assert set(rows) == {"cluster", "data", "backup"}
    assert rows["data"]["generation"] == 1 and rows["data"]["version"] == second and rows["data"]["files"] > 0 and rows["data"]["bytes"] > 0
    assert rows["cluster"]["generation"] == 2
    vault.disable()
    node.wait_state("Inaccessible")
    sealed = node.admin("keyShow")
    assert sealed["needed"][0]["by"] == "cluster" and sealed["needed"][0]["version"] == second
    assert first in sealed["olderVersionsNeeded"]


def test_a_retired_generation_names_its_version(make_node, vault, tmp_path):
    node = make_node({**FAST_KEYS, "rotation-rate": "0", "key-follow-interval": "1h"}, vault=vault)
    fill(node)
    first = node.admin("keyShow")["key"]["version"]
    backup(node, tmp_path / "b")
    assert node.admin("rotateKey")["ok"]
    wait_until(lambda: generations(node) == [(1, "retired"), (2, "live")], "generation 1 is retired", 60)
    new_version(vault)
    assert node.admin("keyFollow")["ok"]
    shown = node.admin("keyShow")
    rows = [(n["by"], n["version"] == first) for n in shown["needed"]]
    assert rows == [("cluster", False), ("retiredGeneration", True), ("backup", True)]
    assert shown["olderVersionsNeeded"] == [first]


def test_a_backup_and_a_rotation_at_once(make_node, tmp_path):
    node = make_node({"rotation-rate": "0"}, start=False)
    node.env = {"COFFER_FAULTS": "backup.store-copied=delay4000:0:1"}
    node.start()
    node.add_admin()
    fill(node)
    place = str(tmp_path / "b")
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(node.admin, "backup", dir=place)
        wait_until(lambda: os.path.exists(os.path.join(place, "store", "ANCHOR")), "the store is copied")
        assert not os.path.exists(os.path.join(place, "envelope.1"))
        assert node.admin("rotateKey", compromised=True)["ok"]
        assert made.result()["ok"]
    wait_until(lambda: generations(node) == [(2, "live")], "generation 1 is gone", 60)
    other = make_node({"restore-from": place, "service-root-key": os.path.join(node.state_dir, "service-root.key")}, start=False, admin=False)
    other.user, other.password = node.user, node.password
    other.start()
    assert serves(other), "its envelope holds what its files are under"


def test_a_backup_that_fails_is_not_listed(make_node, tmp_path):
    node = make_node()
    assert not node.admin("backup", dir=str(tmp_path / "none" / "b"))["ok"]
    assert [n["by"] for n in node.admin("keyShow")["needed"]] == ["cluster"]
    place = tmp_path / "b"
    backup(node, place)
    assert not node.admin("backup", dir=str(place))["ok"]
    assert [n["by"] for n in node.admin("keyShow")["needed"]] == ["cluster", "backup"]


class CutOff(keyservices.AzureVault):
    """A vault that goes away between the two halves of a rotation: what was wrapped is there, and cannot be verified."""

    cutting, n_wraps, n_unwraps = False, 0, 0

    def operate(self, q, version, op):
        if self.cutting and op == "wrapkey":
            self.n_wraps += 1
        if self.cutting and op == "unwrapkey" and self.n_wraps == 3:  # the two SMKs and the canary
            self.n_unwraps += 1
            if self.n_unwraps > 1:  # the canary is looked at at once
                raise keyservices.Refused(503, b"busy")
        return super().operate(q, version, op)


@pytest.mark.parametrize("compromised", [False, True])
def test_what_an_outage_cut_off_goes_on_by_itself(compromised, make_node, tmp_path):
    vault = CutOff(keyservices.Authority(tmp_path / "pki")).start()
    try:
        node = make_node({**SLOW, "probe-interval": "10min", **vault.node_settings()})
        fill(node)
        backup(node, tmp_path / "b")
        vault.cutting = True
        answer = node.admin("rotateKey", compromised=compromised)
        assert not answer["ok"] and "goes on by itself" in answer["error"], answer
        assert node.admin("status")["envelope"]["rotation"] == "prepared" and node.admin("status")["currentGeneration"] == 1
        vault.cutting = False
        wait_until(lambda: node.admin("status")["currentGeneration"] == 2, "the new generation is in force")
        assert node.admin("status")["envelope"]["rotation"] == "idle" and serves(node)
        if compromised:
            wait_replaced(node, 2)
        else:
            assert not node.admin("rotationStatus")["urgent"]
    finally:
        vault.stop()
