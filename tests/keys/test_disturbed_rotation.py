"""Rotations and changes of the key that meet a disk without room, a directory that turned read-only, or the erasing of the cluster."""
import os
import threading

import pymongo.errors
import pytest

from mounts import filled, needs_root, read_only, small_disk
from processes import FAST_KEYS, Node, wait_until
from test_erase import erase, left_of, refuses_to_start, wait_erased
from test_rotation import fill, generations, rotate, wait_alone, whole

MEGABYTES = 96
SMALL = {"rotation-rate": "0", "memtable-size": "1MB", "cache-size": "4MB", "reserve-size": "1MB", "engine-reopen-delay": "500ms"}


def answer(node, op, **fields):
    """What the node says; between two images nothing."""
    try:
        return node.admin(op, **fields)
    except (OSError, ValueError):
        node.check_alive()
        return {}


def settled(node, n=2000):
    """Everything is there, and can be written again."""
    def writes():
        try:
            with node.client(retryWrites=False) as client:
                client.t.after.insert_one({})
            return True
        except pymongo.errors.PyMongoError:
            node.check_alive()
            return False
    wait_until(writes, "writes go on", 60)
    return whole(node, n)


@needs_root
def test_the_disk_fills_up_during_a_rotation(programs, tmp_path):
    with small_disk(str(tmp_path / "node" / "data"), MEGABYTES) as disk:
        node = programs.add(Node(tmp_path / "node", {**SMALL, "rotation-rate": "256KB"})).start().add_admin()
        fill(node)
        with node.client() as client:  # what is compressed is written anew before anybody can say stop
            client.t.noise.insert_many([{"r": os.urandom(1000)} for _ in range(2000)])
        rotate(node)
        assert node.admin("rotationPause", paused=True)["ok"]
        assert generations(node) == [(1, "live"), (2, "live")], "it is under way"
        with filled(disk):
            assert node.admin("rotationPause", paused=False)["ok"]
            wait_until(lambda: waits_for_room(node), "the re-encryption waits for room")
            assert (1, "live") in generations(node), "the older SMK is not destroyed before all is re-encrypted"
            assert whole(node), "reads go on"
        assert settled(node)
        wait_alone(node, 2)
        node.restart()
        assert whole(node) and generations(node) == [(2, "live")]
        node.stop()


def waits_for_room(node):
    status = answer(node, "rotationStatus")
    return status.get("state") == "noRoom" or "No space left" in status.get("error", "")


@needs_root
def test_a_rotation_that_begins_on_a_full_disk(programs, tmp_path):
    with small_disk(str(tmp_path / "node" / "data"), MEGABYTES) as disk:
        node = programs.add(Node(tmp_path / "node", SMALL)).start().add_admin()
        fill(node)
        with filled(disk):
            refused = node.admin("rotateKey")
            assert not refused["ok"] and "No space left" in refused["error"], refused
            assert whole(node)
        assert settled(node)
        wait_until(lambda: rotates(node), "a rotation begins")
        wait_until(lambda: len(generations(node)) == 1 and generations(node)[0][0] >= 2, "and ends", 120)
        node.restart()
        assert whole(node)
        node.stop()


def rotates(node):
    return len(generations(node)) > 1 or generations(node)[0][0] > 1 or answer(node, "rotateKey").get("ok")


@needs_root
@pytest.mark.parametrize("where", ["data", "state"])
def test_a_rewrap_meets_a_directory_that_is_read_only(make_node, vault, where):
    """The data directory: the version in use stays. The state directory: it is followed, and the pin cannot follow. Both are told, and made good as soon as they can be."""
    node = make_node({**FAST_KEYS, "key-follow-interval": "100ms"}, vault=vault)
    fill(node, 500)
    old = node.admin("keyShow")["key"]["version"]
    with read_only(node.data_dir if where == "data" else node.state_dir):
        made = vault.call("POST", f"/keys/{vault.key}/create", {"kty": "RSA", "key_size": 2048})
        assert made.status_code == 200, made.text
        newest = made.json()["key"]["kid"].rsplit("/", 1)[1]
        node.wait_event("keyRewrapFailed" if where == "data" else "envelopeDegraded")
        if where == "data":
            failed = node.events("keyRewrapFailed")[0]
            assert "Read-only" in failed["error"] and node.data_dir in failed["error"], failed
            assert node.admin("keyShow")["key"]["version"] == old
        else:
            assert node.admin("keyShow")["degraded"], "the pin, which lies there, could not follow: that is told"
        assert whole(node, 500), "reads go on"
    wait_until(lambda: answer(node, "keyShow").get("key", {}).get("version") == newest != old, "the newer version is followed", 60)
    node.restart()
    assert whole(node, 500)
    assert node.admin("keyShow")["key"]["version"] == newest


@pytest.mark.parametrize("paused", [False, True])
def test_erased_during_a_rotation(make_node, paused):
    node = make_node({"rotation-rate": "1KB", "memtable-size": "1MB"})
    fill(node)
    rotate(node)
    if paused:
        assert node.admin("rotationPause", paused=True)["ok"]
    assert len(generations(node)) == 2, "it is under way"
    with open(os.path.join(node.data_dir, "envelope.1"), "rb") as f:
        envelope = f.read()
    assert erase(node)["ok"]
    wait_erased(node)
    assert left_of([envelope], node.data_dir, node.state_dir) == []
    refuses_to_start(node)


def test_erased_during_a_change_of_the_key(make_node, vault):
    """The change waits at the step behind its intention; the erasing does not wait for it, and takes what it left too."""
    node = make_node(FAST_KEYS, vault=vault, start=False)
    node.env["COFFER_FAULTS"] = "keychange.intended=delay3000"
    node.start().add_admin()
    fill(node, 100)
    with open(os.path.join(node.data_dir, "envelope.1"), "rb") as f:
        envelope = f.read()
    changing = threading.Thread(target=lambda: answer_or_nothing(node, "keySwitch", **{"key-mode": "smk"}))
    changing.start()
    wait_until(lambda: os.path.exists(os.path.join(node.state_dir, "key-config.next")), "the change is under way")
    assert erase(node)["ok"]
    wait_erased(node)
    changing.join()
    assert left_of([envelope], node.data_dir, node.state_dir) == []
    refuses_to_start(node)


def answer_or_nothing(node, op, **fields):
    try:
        return node.admin(op, **fields)
    except (OSError, ValueError):
        return None


@needs_root
def test_a_start_with_a_state_directory_that_is_read_only(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault)
    fill(node, 500)
    node.stop()
    with read_only(node.state_dir):
        node.start_fails()
        error = node.events("startFailed")[-1]["error"]
        assert "Read-only" in error and node.state_dir in error, error
    node.start()
    assert whole(node, 500)
