"""What may happen just while a node changes its state: signals, a key that comes back, a stop, a restore."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from processes import FAST_KEYS, binary, wait_until
from sealing import INACCESSIBLE, fill, sealed_error, serves
from wire import op_msg


class Unread:
    """A connection with an answer of many megabytes that is never read: the node cannot be rid of it at once."""

    def __init__(self, node):
        with node.client() as client:
            client.t.big.insert_one({"_id": 1, "pad": b"x" * (15 << 20)})
        self.socket = socket.create_connection(("127.0.0.1", node.port))
        self.socket.sendall(op_msg({"find": "big", "$db": "t"}))
        assert self.socket.recv(16)
        time.sleep(0.3)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def make_open_node(make_node, vault, **settings):
    """Without logins, so that a bare socket may ask for documents."""
    return make_node({**FAST_KEYS, "auth": "false", **settings}, vault=vault, admin=False)


def seal_slowly(node, vault):
    vault.disable()
    node.wait_event("keySealing")


def test_a_signal_while_sealing_does_not_end_the_next_image(make_node, vault):
    node = make_open_node(make_node, vault)
    fill(node)
    with Unread(node):
        seal_slowly(node, vault)
        os.kill(node.pid, signal.SIGUSR1)
        node.wait_state("Inaccessible")
    vault.enable()
    wait_until(lambda: serves(node, 500), "the data is back")


def test_a_stop_while_sealing_is_a_stop_in_order(make_node, vault):
    node = make_open_node(make_node, vault)
    with Unread(node):
        seal_slowly(node, vault)
        assert node.stop() == 0
    assert node.events("stopped")


def test_a_key_that_is_back_while_the_node_seals(make_node, vault):
    node = make_open_node(make_node, vault)
    fill(node)
    with Unread(node):
        seal_slowly(node, vault)
        vault.enable()
        wait_until(lambda: node.check_alive() or node.events("keyReturning"), "sealed and back")
        wait_until(lambda: serves(node, 500), "the data is back")
    assert not node.events("panic")


def test_a_key_that_is_lost_while_the_node_stops(make_node, vault):
    """The stop waits for a client that does not read; the keys are wiped and the image is gone all the same."""
    node = make_open_node(make_node, vault, **{"write-timeout": "60s"})
    with Unread(node):
        os.kill(node.pid, signal.SIGTERM)
        node.wait_event("stopping")
        vault.disable()
        began = time.monotonic()
        node.process.wait(30)
        assert time.monotonic() - began < 15


def test_status_is_asked_while_the_node_stops(make_node, vault):
    for _ in range(3):
        node = make_node(FAST_KEYS, vault=vault)
        os.kill(node.pid, signal.SIGTERM)
        while node.alive():
            try:
                node.admin("status")
            except (OSError, ValueError):
                pass
        assert node.process.wait() == 0


def make_backup(make_node, vault, tmp_path):
    node = make_node(FAST_KEYS, vault=vault)
    fill(node)
    backup = str(tmp_path / "backup")
    assert node.admin("backup", dir=backup)["ok"]
    node.stop()
    return node, backup


def test_the_key_is_lost_while_a_backup_is_restored(make_node, vault, tmp_path):
    node, backup = make_backup(make_node, vault, tmp_path)
    vault.disable()
    other = make_node({**FAST_KEYS, "restore-from": backup}, vault=vault, admin=False)
    other.user, other.password = node.user, node.password
    other.wait_state("Inaccessible")
    assert sealed_error(other).code == INACCESSIBLE
    vault.enable()
    wait_until(lambda: other.check_alive() or serves(other, 500), "the restored data is there")
    other.restart()
    assert serves(other, 500)


def test_a_restore_that_was_cut_short_is_no_empty_cluster(make_node, vault, tmp_path):
    node, backup = make_backup(make_node, vault, tmp_path)
    unreadable = os.path.join(backup, "store", "link")
    os.symlink("nowhere", unreadable)  # the copy ends there
    other = make_node({**FAST_KEYS, "restore-from": backup}, vault=vault, start=False)
    other.user, other.password = node.user, node.password
    other.start_fails()
    assert os.listdir(other.data_dir) == ["store"]
    os.unlink(unreadable)
    del other.settings["restore-from"]
    for adopt in ("false", "true"):
        other.settings["adopt"] = adopt
        other.start_fails()
    del other.settings["adopt"]
    other.settings["restore-from"] = backup
    other.start_fails()
    assert "empty" in other.events("startFailed")[-1]["error"]
    shutil.rmtree(os.path.join(other.data_dir, "store"))
    other.start()
    assert serves(other, 500)


def test_a_store_that_is_gone_is_not_made_anew(make_node):
    node = make_node()
    fill(node)
    node.stop()
    shutil.move(os.path.join(node.data_dir, "store"), node.path("moved"))
    node.start_fails()
    shutil.move(node.path("moved"), os.path.join(node.data_dir, "store"))
    node.start()
    assert serves(node, 500)


def test_no_other_process_gets_the_directory_between_two_images(make_node, vault):
    """The lock goes along over exec: whoever tries all the while never gets it."""
    import fcntl

    node = make_node(FAST_KEYS, vault=vault)
    fill(node, 50)
    got = 0
    directory = os.open(node.data_dir, os.O_RDONLY | os.O_DIRECTORY)
    for change, state in ((vault.disable, "Inaccessible"), (vault.enable, "Ready")) * 3:
        change()
        deadline = time.monotonic() + 30
        while True:
            for _ in range(2000):
                try:
                    fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    fcntl.flock(directory, fcntl.LOCK_UN)
                    got += 1
                except BlockingIOError:
                    pass
            try:
                if node.state() == state:
                    break
            except (OSError, ValueError):
                node.check_alive()
            assert time.monotonic() < deadline
    os.close(directory)
    assert got == 0


def ask(node, *more):
    return subprocess.Popen([binary("coffer"), "cluster", "key", "show", "--admin-socket=" + node.admin_socket, "-o", "json", *more],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_command_that_meets_a_node_between_two_images_is_answered(make_node, vault):
    """The socket is away for a moment; and a node that is not there at all is a clear error."""
    node = make_node(FAST_KEYS, vault=vault)
    os.rename(node.admin_socket, node.admin_socket + ".away")
    asked = ask(node)
    time.sleep(0.5)
    assert asked.poll() is None, asked.communicate()
    os.rename(node.admin_socket + ".away", node.admin_socket)
    out, err = asked.communicate(timeout=30)
    assert asked.returncode == 0 and json.loads(out)["state"] == "Ready", err
    os.unlink(node.admin_socket)
    asked = ask(node)
    out, err = asked.communicate(timeout=30)
    assert asked.returncode != 0 and "no node listens on" in err and node.admin_socket in err


def test_commands_while_the_node_changes_its_state_all_the_time(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault)
    answered = 0
    for change, state in ((vault.disable, "Inaccessible"), (vault.enable, "Ready")) * 4:
        change()
        while True:
            asked = ask(node)
            out, err = asked.communicate(timeout=30)
            node.check_alive()
            assert "no node listens" not in err, err
            if asked.returncode == 0:
                answered += 1
                shown = json.loads(out)
                if shown["state"] == state and not node_is_sealing(node):
                    break
    assert answered >= 8


def node_is_sealing(node):
    try:
        return node.admin("status").get("sealing")
    except (OSError, ValueError):
        return True
