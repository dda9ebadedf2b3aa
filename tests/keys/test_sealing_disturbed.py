"""Sealing while something else goes wrong with the node: a log that nobody reads, a change of the key that is quick, a directory that is gone."""
import fcntl
import os
import signal
import threading

import pytest

from processes import FAST_KEYS, Node, wait_until
from sealing import INACCESSIBLE, fill, sealed_error, serves
from test_transitions import Unread, make_open_node, seal_slowly


class Pipe:
    """A log that somebody reads for a while only. 4 KB of it wait for the reader; then whoever logs waits too."""

    def __init__(self, path):
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, 4096)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while not self.stopping.wait(0.01):
            try:
                os.read(self.fd, 65536)
            except BlockingIOError:
                pass

    def stop_reading(self):
        self.stopping.set()
        self.thread.join()

    def fill(self, path):
        """Whoever logs waits from now on."""
        self.stop_reading()
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            for size in (1024, 1):
                try:
                    while os.write(fd, b"." * size):
                        pass
                except BlockingIOError:
                    pass
        finally:
            os.close(fd)


@pytest.mark.timeout(120)
def test_a_prober_that_hangs_does_not_keep_the_data_open(programs, vault, tmp_path):
    """The prober cannot log what it saw, so it decides nothing: the grace period runs out on that as on a vault that does not answer."""
    pipe = Pipe(str(tmp_path / "log"))
    node = programs.add(Node(tmp_path / "node", {**FAST_KEYS, "probe-timeout": "500ms", "grace-period": "6s", "log-file": str(tmp_path / "log")}, vault))
    try:
        node.start().add_admin()
        fill(node, 50)
        assert node.state() == "Ready"
        with node.client() as client:
            assert client.t.c.count_documents({}) == 50
            pipe.fill(str(tmp_path / "log"))
            vault.kill()
            wait_until(lambda: node.admin("status")["lastProbe"]["class"] != "ok", "the prober has something to tell")
            assert client.t.c.count_documents({}) == 50, "the control: the data is there while the prober hangs"
        assert node.process.wait(60) == -signal.SIGKILL, "it cannot replace itself either, and ends"
    finally:
        pipe.stop_reading()
        os.close(pipe.fd)


def test_nothing_takes_a_cluster_away_from_a_key_that_was_just_withdrawn(make_node, vault):
    """Sealing takes a second while a client does not read; the keys are still there, and whoever runs the node could wrap them with his own."""
    node = make_open_node(make_node, vault)
    fill(node)
    with Unread(node):
        seal_slowly(node, vault)
        for name, fields in (("keySwitch", {"key-mode": "smk"}), ("keySet", {"key-url": vault.url + "/keys/other"})):
            try:
                answer = node.admin(name, **fields)
            except (OSError, ValueError):  # this image is over
                continue
            assert not answer["ok"], answer
        node.wait_state("Inaccessible")
    assert node.admin("status")["mode"] == "cmk"
    assert not os.path.exists(os.path.join(node.state_dir, "key-config.next"))
    vault.enable()
    wait_until(lambda: serves(node), "the data is back, by the key that it was under")


class Elsewhere(Node):
    """A node that keeps what others use to find it in a directory of its own."""

    @property
    def port_file(self):
        return self.path("run", "port")

    @property
    def admin_socket(self):
        return self.path("run", "admin.sock")


def test_a_directory_that_is_gone_keeps_no_node_from_sealing_and_returning(programs, vault, tmp_path):
    node = Elsewhere(tmp_path / "node", FAST_KEYS, vault)
    node.settings.update({"admin-socket": node.admin_socket, "client-socket": node.path("run", "clients.sock")})
    os.mkdir(node.path("run"))
    programs.add(node).start().add_admin()
    fill(node, 50)
    os.rename(node.path("run"), node.path("away"))
    vault.disable()
    error = wait_until(lambda: node.check_alive() or sealed_error(node), "sealed, and it answers")
    assert error.code == INACCESSIBLE
    assert len(node.wait_event("adminUnavailable")) > 0
    vault.enable()
    wait_until(lambda: node.check_alive() or serves(node, 50), "the data is back")
    os.rename(node.path("away"), node.path("run"))
    wait_until(lambda: os.path.exists(node.admin_socket) and answers(node), "the socket is there again by itself")
    assert node.state() == "Ready"


def answers(node):
    try:
        return node.admin("status")["ok"]
    except (OSError, ValueError):
        return False
