"""The key comes back and the disk will not have it: the node stays Inaccessible, says what is in the way, holds no key, and is Ready by itself once it can be. Damage is
another matter: that ends the process with its error, as at every start."""
import fcntl
import os
import subprocess
import sys

import pytest

from mounts import filled, needs_root, read_only, small_disk
from processes import FAST_KEYS, ROOT, Node, binary, wait_until
from sealing import INACCESSIBLE, fill, sealed_error, serves
from test_smk_memory import smk_of

sys.path.insert(0, os.path.join(ROOT, "tests", "security"))

from memory import memory_holds  # noqa: E402

OUT_OF_DISK_SPACE = 14031
IO_ERROR = 9900000
MEGABYTES = 64
SMALL = {**FAST_KEYS, "memtable-size": "1MB", "reserve-size": "1MB"}


def storage(node):
    """What the node says is in the way of its data; nothing between two images."""
    try:
        return node.admin("status").get("storage") or {}
    except (OSError, ValueError):
        return {}


def wait_tries(node, n):
    return wait_until(lambda: node.check_alive() or (storage(node).get("tries", 0) >= n and storage(node)), f"{n} tries to open the data")


def asked_by_the_command(node):
    done = subprocess.run([binary("coffer"), "cluster", "key", "show", "--admin-socket=" + node.admin_socket], capture_output=True, text=True,
                          timeout=60, check=False)
    return done.stdout if done.returncode == 0 else ""


def is_locked(node):
    fd = os.open(node.data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def expect_waiting(node, code, text, *needles):
    """Inaccessible with the cause of its own, to everybody who asks; without a key, with the lock; not for the key's sake."""
    found = wait_tries(node, 2)
    assert found["code"] == code and text in found["error"] and node.data_dir in found["error"], found
    event = node.wait_event("storageUnavailable")
    assert event["code"] == code and text in event["error"], event
    shown = wait_until(lambda: asked_by_the_command(node), "the command is answered")
    assert "storage" in shown and text in shown and "Inaccessible" in shown, shown
    error = wait_until(lambda: sealed_error(node), "clients are told")
    assert error.code == INACCESSIBLE and "data cannot be opened" in str(error), error
    assert memory_holds(node.pid, set(needles)) == set()
    assert is_locked(node)
    assert not node.events("startFailed")


@needs_root
def test_a_disk_that_is_full_when_the_key_comes_back(programs, vault, tmp_path):
    with small_disk(str(tmp_path / "node" / "data"), MEGABYTES) as disk:
        node = programs.add(Node(tmp_path / "node", SMALL, vault)).start().add_admin()
        fill(node)
        key, pid = smk_of(node, vault), node.pid
        assert memory_holds(node.pid, {key}), "the search does not find what is there: it proves nothing"
        vault.disable()
        node.wait_state("Inaccessible")
        with filled(disk):
            vault.enable()
            expect_waiting(node, OUT_OF_DISK_SPACE, "No space left", key)
            assert wait_tries(node, 4)["tries"] >= 4, "it goes on"
        wait_until(lambda: node.check_alive() or serves(node), "the data is back by itself")
        assert node.pid == pid and node.state() == "Ready"
        assert "storage" not in node.admin("status") and "cause" not in node.admin("status")
        node.restart()
        assert serves(node)
        node.stop()


@needs_root
def test_a_data_directory_that_is_read_only_when_the_key_comes_back(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault)
    fill(node)
    key = smk_of(node, vault)
    vault.disable()
    node.wait_state("Inaccessible")
    with read_only(node.data_dir):
        vault.enable()
        expect_waiting(node, IO_ERROR, "Read-only", key)
        # the key is lost while the node waits for the disk: that is the cause now, and the disk is not tried
        vault.disable()
        wait_until(lambda: kept_by_the_key(node), "the key is what keeps it")
        vault.enable()
        wait_until(lambda: cause(node) == "storage", "the disk is what keeps it again")
    wait_until(lambda: node.check_alive() or serves(node), "the data is back by itself")


def kept_by_the_key(node):
    try:
        status = node.admin("status")
    except (OSError, ValueError):
        return False
    return status["state"] == "Inaccessible" and status["lastProbe"].get("class") == "denied" and "storage" not in status


def cause(node):
    try:
        return node.admin("status").get("cause")
    except (OSError, ValueError):
        return None


FAILING = {
    "fs.open=EIO": IO_ERROR,
    "fs.read=EIO": IO_ERROR,
    "fs.open.journal=EMFILE": IO_ERROR,
    "fs.read.manifest=ENOMEM": IO_ERROR,
    "fs.create.manifest=EACCES": IO_ERROR,
    "fs.create=EDQUOT": OUT_OF_DISK_SPACE,
    "fs.append=ENOSPC": OUT_OF_DISK_SPACE,
    "fs.sync=EIO": IO_ERROR,
    "fs.rename=EIO": IO_ERROR,
}


@pytest.mark.parametrize("fault", FAILING)
def test_what_the_system_refuses_is_waited_for(make_node, vault, fault):
    """Every image of this node gets the same refusal, so it never gets through: it waits, and a start without the refusal finds all of the data."""
    node = make_node(FAST_KEYS, vault=vault)
    fill(node)
    node.stop()
    vault.disable()
    node.env["COFFER_FAULTS"] = fault
    node.start()
    node.wait_state("Inaccessible")
    vault.enable()
    assert wait_tries(node, 3)["code"] == FAILING[fault], storage(node)
    assert cause(node) in ("storage", None)
    assert not node.events("startFailed")
    assert node.stop() == 0, "a stop in order ends the waiting"
    del node.env["COFFER_FAULTS"]
    node.start()
    assert serves(node)


def test_at_a_start_by_hand_it_is_an_error(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault)
    fill(node)
    node.stop()
    node.env["COFFER_FAULTS"] = "fs.create=ENOSPC"
    node.start_fails()
    failed = node.events("startFailed")[-1]
    assert failed["code"] == OUT_OF_DISK_SPACE and "No space left" in failed["error"] and node.data_dir in failed["error"]
    assert not node.events("storageUnavailable")
    del node.env["COFFER_FAULTS"]
    node.start()
    assert serves(node)


def flip(path, at=-1):
    with open(path, "r+b") as f:
        f.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = f.read(1)
        f.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        f.write(bytes([byte[0] ^ 1]))


def damage_a_tag(node, _):
    flip(os.path.join(node.data_dir, "store", "ANCHOR"))


def put_a_stranger(node, _):
    with open(os.path.join(node.data_dir, "store", "stranger"), "w", encoding="ascii") as f:
        f.write("hello")


def put_an_older_anchor(node, older):
    with open(os.path.join(node.data_dir, "store", "ANCHOR"), "wb") as f:
        f.write(older)


def take_the_store(node, _):
    os.rename(os.path.join(node.data_dir, "store"), node.path("moved"))


@pytest.mark.parametrize("damage", [damage_a_tag, put_a_stranger, put_an_older_anchor, take_the_store])
def test_damage_is_not_waited_for(make_node, vault, damage):
    node = make_node(FAST_KEYS, vault=vault)
    with open(os.path.join(node.data_dir, "store", "ANCHOR"), "rb") as f:
        older = f.read()
    fill(node)
    with node.client() as client:
        client.admin.command("fsync")
    node.restart()
    vault.disable()
    node.wait_state("Inaccessible")
    damage(node, older)
    vault.enable()
    assert node.process.wait(30) == 1
    assert node.events("startFailed")[-1]["code"] not in (OUT_OF_DISK_SPACE, IO_ERROR)
    assert not node.events("storageUnavailable")


@needs_root
def test_an_engine_that_stopped_waits_for_the_disk_too(make_node):
    """Without a customer's key there is nothing to ask: only the disk is waited for."""
    node = make_node({"engine-reopen-delay": "1s"})
    fill(node)
    node.stop()
    node.env["COFFER_FAULTS"] = "fs.sync.journal=EIO:40:1"
    node.start()
    with read_only(node.data_dir), node.client(retryWrites=False) as client:
        wait_until(lambda: writes_fail(client), "the engine stops")
        found = wait_tries(node, 2)
        assert found["code"] == IO_ERROR and "Read-only" in found["error"]
        assert node.state() == "Inaccessible" and cause(node) == "storage"
        error = wait_until(lambda: sealed_error(node), "clients are told")
        assert error.code == INACCESSIBLE and "data cannot be opened" in str(error)
    wait_until(lambda: node.check_alive() or serves(node), "the data is back by itself")


def writes_fail(client):
    import pymongo.errors

    try:
        client.t.other.insert_one({})
        return False
    except pymongo.errors.PyMongoError:
        return True
