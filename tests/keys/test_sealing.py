"""The customer's key governs the data: disabled, the node seals itself; enabled, the data is back. Whole processes, real vault."""
import os
import secrets
import sys
import time

import pymongo.errors
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), "security"))

from memory import memory_holds  # noqa: E402
from processes import FAST_KEYS, wait_until  # noqa: E402
from sealing import INACCESSIBLE, fill, sealed_error, serves  # noqa: E402

def test_disabled_sealed_enabled_returned(cmk_node, vault):
    canary = "canary" + secrets.token_hex(8)
    fill(cmk_node, word=canary)
    with cmk_node.client() as open_before:
        assert open_before.t.c.count_documents({"word": {"$regex": canary}}) == 500
        assert memory_holds(cmk_node.pid, {canary.encode()}), "the search does not find what is there: it proves nothing"
        vault.disable()
        cmk_node.wait_state("Inaccessible")
        with pytest.raises(pymongo.errors.PyMongoError):
            open_before.t.c.find_one()
    error = wait_until(lambda: sealed_error(cmk_node), "the sealed node answers")
    assert error.code == INACCESSIBLE
    assert error.details["codeName"] == "ClusterInaccessible" and error.details["state"] == "Inaccessible"
    assert "since" in error.details and "nextProbe" in error.details
    assert not error.has_error_label("RetryableWriteError") and not error.has_error_label("TransientTransactionError")
    with cmk_node.client(auth=False) as client:
        assert client.admin.command("hello")["ok"] == 1
    with cmk_node.client() as client, pytest.raises(pymongo.errors.OperationFailure) as login:
        client.t.c.find_one()
    assert login.value.code == INACCESSIBLE
    assert memory_holds(cmk_node.pid, {canary.encode()}) == set()
    assert canary not in cmk_node.log_text()
    vault.enable()
    cmk_node.wait_state("Ready")
    wait_until(lambda: serves(cmk_node, 500), "the data is back")
    names = [e["event"] for e in cmk_node.events()]
    assert names.count("keySealing") == 1 and names.count("keySealed") == 1 and names.count("keyReturning") == 1


def test_again_and_again(cmk_node, vault):
    fill(cmk_node, 50)
    for _ in range(5):
        vault.disable()
        cmk_node.wait_state("Inaccessible")
        vault.enable()
        cmk_node.wait_state("Ready")
        wait_until(lambda: serves(cmk_node, 50), "the data is back")


def test_a_node_that_starts_without_its_key_waits(cmk_node, vault):
    fill(cmk_node)
    cmk_node.stop()
    vault.disable()
    cmk_node.start()
    cmk_node.wait_state("Inaccessible")
    assert sealed_error(cmk_node).code == INACCESSIBLE
    vault.enable()
    wait_until(lambda: serves(cmk_node, 500), "the data is there")


def test_a_vault_that_is_away_costs_grace_and_no_data(make_node, vault):
    node = make_node({**FAST_KEYS, "probe-timeout": "300ms", "grace-period": "8s"}, vault=vault)
    fill(node)
    began = time.monotonic()
    vault.kill()
    status = wait_until(lambda: (s := node.admin("status"))["lastProbe"].get("class") == "unreachable" and s, "the outage is seen")
    assert status["state"] == "Ready" and status["gracePeriod"]["leftMillis"] < status["gracePeriod"]["totalMillis"] == 8000
    assert serves(node, 500)
    node.wait_state("Inaccessible")
    assert time.monotonic() - began >= 7.5
    assert node.admin("status")["cause"] == "gracePeriod"
    vault.start()
    wait_until(lambda: serves(node, 500), "the data is back")


def test_a_new_version_is_followed(cmk_node, vault):
    fill(cmk_node)
    old = cmk_node.admin("status")["key"]["version"]
    assert vault.call("POST", f"/keys/{vault.key}/create", {"kty": "RSA", "key_size": 2048}).status_code == 200
    wait_until(lambda: cmk_node.admin("status")["key"]["version"] != old, "the newer version wraps the SMK")
    answer = vault.call("PATCH", f"/keys/{vault.key}/{old}", {"attributes": {"enabled": False}})
    assert answer.status_code == 200, answer.text
    cmk_node.restart()
    assert cmk_node.state() == "Ready" and serves(cmk_node, 500)


def test_a_backup_is_restored(make_node, vault, tmp_path):
    node = make_node(FAST_KEYS, vault=vault)
    fill(node)
    backup = str(tmp_path / "backup")
    answer = node.admin("backup", dir=backup)
    assert answer["ok"], answer
    with node.client() as client:
        client.t.c.delete_many({})
    node.stop()
    other = make_node({**FAST_KEYS, "restore-from": backup}, vault=vault, admin=False)
    other.user, other.password = node.user, node.password
    assert serves(other, 500)
    other.restart()
    assert serves(other, 500)
    with other.client() as client:
        assert client.t.validate_collection("c", full=True)["valid"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_with_the_default_settings(make_node, vault):
    """Sealed within 35 s of the key being disabled, Ready within 30 s of it being enabled, as a polling driver sees it."""
    node = make_node(vault=vault)
    fill(node)
    began = time.monotonic()
    vault.disable()
    wait_until(lambda: (e := sealed_error(node)) and e.code == INACCESSIBLE, "sealed", seconds=35, interval=0.1)
    sealed_s = time.monotonic() - began
    began = time.monotonic()
    vault.enable()
    wait_until(lambda: serves(node, 500), "returned", seconds=30, interval=0.1)
    print(f"sealed after {sealed_s:.1f} s, returned after {time.monotonic() - began:.1f} s")
