"""A node whose key is in a KMIP server that others wrote: PyKMIP's, as a process, administered by its own client."""
import json
import os
import signal
import subprocess
import sys

import pytest
from kmip.core import enums
from kmip.pie import client as pie

import keyservices
from processes import FAST_KEYS, wait_until
from sealing import fill, serves, wait_class

SUPPORT = os.path.join(os.path.dirname(__file__), "..", "support")


class Server:
    def __init__(self, directory):
        self.dir = str(directory)
        self.authority = keyservices.Authority(os.path.join(self.dir, "pki"))
        _, self.server_pem = self.authority.issue("localhost")
        _, self.node_pem = self.authority.issue("node")
        os.makedirs(os.path.join(self.dir, "policies"))
        self.port, self.process = 0, None
        self.allow()

    def start(self):
        path = os.path.join(self.dir, "port")
        if os.path.exists(path):
            os.unlink(path)
        with open(os.path.join(self.dir, "output"), "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, os.path.join(SUPPORT, "pykmip_server.py"), self.dir, str(self.port), self.server_pem, self.authority.ca_file],
                stdout=output, stderr=output, start_new_session=True)
        wait_until(lambda: os.path.exists(path) or self.process.poll() is not None, "PyKMIP listens", 60)
        assert self.process.poll() is None, self.text("output")
        with open(path, encoding="ascii") as f:
            self.port = int(f.read())

    def stop(self):
        """It has children, and takes its time over SIGTERM."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def text(self, name):
        with open(os.path.join(self.dir, name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def policy(self, word):
        operations = ("GET", "GET_ATTRIBUTES", "ACTIVATE", "REVOKE", "DESTROY")
        rules = {"coffer": {"preset": {"SYMMETRIC_KEY": {o: word if o.startswith("GET") else "ALLOW_ALL" for o in operations}}}}
        part = os.path.join(self.dir, "part")
        with open(part, "w", encoding="ascii") as f:
            json.dump(rules, f)
        os.rename(part, os.path.join(self.dir, "policies", "coffer.json"))

    def allow(self):
        self.policy("ALLOW_OWNER")

    def deny(self):
        self.policy("DISALLOW_ALL")

    def client(self):
        return pie.ProxyKmipClient(hostname="127.0.0.1", port=self.port, cert=self.node_pem, key=self.node_pem, ca=self.authority.ca_file,
                                   ssl_version="PROTOCOL_TLSv1_2")

    def new_key(self):
        usage = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]
        with self.client() as c:
            name = c.create(enums.CryptographicAlgorithm.AES, 256, operation_policy_name="coffer", cryptographic_usage_mask=usage)
            c.activate(name)
        return name


@pytest.fixture
def server(tmp_path):
    s = Server(tmp_path)
    s.start()
    yield s
    s.stop()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mode", ["gcm", "cbc"])
def test_a_key_in_pykmip(mode, server, make_node):
    name = server.new_key()
    node = make_node({**FAST_KEYS, "probe-timeout": "4s", "log-level": "debug", "key-mode": "cmk", "key-ca-file": server.authority.ca_file,
                      "key-url": f"kmip://127.0.0.1:{server.port}/{name}?mode={mode}", "token-source": "cert", "token-secret-file": server.node_pem})
    fill(node, 50)
    wait_class(node, "ok")
    assert node.admin("status")["key"]["version"] == name

    server.stop()
    wait_class(node, "unreachable")
    assert node.state() == "Ready" and serves(node, 50)
    server.start()
    wait_class(node, "ok")

    # the server's policy no longer lets the node use the key, and lets it again
    server.deny()
    node.wait_state("Inaccessible")
    wait_class(node, "denied")
    server.allow()
    node.wait_state("Ready")
    wait_until(lambda: serves(node, 50), "the data is back")

    # KMIP has no way back from these two
    with server.client() as c:
        c.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, name)
        node.wait_state("Inaccessible")
        wait_class(node, "denied")
        c.destroy(name)
    wait_until(lambda: "Item Not Found" in node.log_text(), "the node says that the key is gone", 60)
    assert node.state() == "Inaccessible"

    # what PyKMIP logs at its most talkative is its own matter; the node's log names neither key nor certificate
    with open(server.node_pem, encoding="ascii") as f:
        private = f.read().split("PRIVATE KEY-----")[1].split("\n")[1]
    assert private not in node.log_text()
