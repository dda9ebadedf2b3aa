"""A node whose key is in a PKCS #11 token: SoftHSM's, administered with OpenSC's tool, directly and through a module that misbehaves."""
import os
import secrets

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from processes import FAST_KEYS, wait_until
from sealing import fill, last_probe, serves, wait_class
from tokens import Shim, Token, modules_in


@pytest.fixture
def make_token(tmp_path):
    return lambda kind: Token(tmp_path / "token", kind)


def wait_probes(node, n):
    seen = set()

    def probed():
        seen.add(str(last_probe(node).get("at")))
        return len(seen) > n
    wait_until(probed, f"{n} more probes")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["rsa", "aes"])
def test_a_key_in_a_token(kind, make_token, make_node):
    token = make_token(kind)
    node = make_node({**FAST_KEYS, "probe-timeout": "4s", "log-level": "debug", **token.node_settings()})
    fill(node, 50)
    wait_class(node, "ok")
    assert node.admin("status")["key"]["version"] == "01"
    assert modules_in(node.pid) == [], "a module of somebody else's is in the server"

    token.new_key()
    wait_until(lambda: node.admin("status")["key"]["version"] == "02", "the newer key wraps the SMK", 60)
    node.restart()
    assert serves(node, 50)

    token.remove()
    wait_class(node, "unreachable")
    assert node.state() == "Ready" and serves(node, 50)
    token.put_back()
    wait_class(node, "ok")

    token.back_up()
    token.delete_keys()
    node.wait_state("Inaccessible", 60)
    wait_class(node, "denied")
    wait_until(lambda: "the token holds no such key" in node.log_text(), "the log says that the key is gone")
    token.restore()
    node.wait_state("Ready")
    wait_until(lambda: serves(node, 50), "the data is back")

    old = token.pin
    token.change_pin("xmarkerx" + secrets.token_hex(8))
    node.wait_state("Inaccessible", 60)
    wait_class(node, "denied")
    wait_until(lambda: "the PIN is wrong" in node.log_text(), "the log says that the PIN is wrong")
    token.put_pin(token.pin)
    node.wait_state("Ready")
    wait_until(lambda: serves(node, 50), "the data is back")

    with open(f"/proc/{node.pid}/cmdline", "rb") as f:
        line = f.read()
    for pin in (old, token.pin):
        assert pin not in node.log_text() and pin.encode() not in line


def test_a_second_token_is_for_outages(make_token, make_node):
    token = make_token("rsa")
    first = os.listdir(token.store)
    token.delete_keys()
    pem = token.path("key.pem")
    with open(pem, "wb") as f:
        f.write(rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    token.import_rsa("my token", pem)
    token.add_token("second")
    token.import_rsa("second", pem)
    settings = token.node_settings()
    settings["key-url"] += ", " + settings["key-url"].replace("my%20token", "second")
    node = make_node({**FAST_KEYS, "probe-timeout": "4s", "grace-period": "6s", **settings})
    fill(node, 10)
    wait_class(node, "ok")
    os.rename(os.path.join(token.store, first[0]), token.path("away"))
    wait_probes(node, 10)
    wait_class(node, "ok")
    node.restart()
    assert serves(node, 10) and last_probe(node)["class"] == "ok"
    # the other way about: there is none left, then the first again
    second = os.listdir(token.store)
    os.rename(os.path.join(token.store, second[0]), token.path("away too"))
    wait_class(node, "unreachable")
    os.rename(token.path("away"), os.path.join(token.store, first[0]))
    wait_class(node, "ok")
    assert node.state() == "Ready" and serves(node, 10)


# what the module does, and what the node is to make of it
OUTAGES = ("crash", "exit", "hang", "removed", "device fails")
LIES = ("lie", "short", "long", "vendor's code", "too many", "long attribute")
DENIALS = (("locked", "the PIN is locked"), ("locked by flag", "the PIN is locked"), ("not permitted", "the key does not allow it"))


@pytest.mark.timeout(240)
def test_a_module_that_misbehaves(make_token, make_node):
    token = make_token("rsa")
    shim = Shim(token)
    node = make_node({**FAST_KEYS, "probe-timeout": "1s", **token.node_settings(shim.so, shim.env)})
    fill(node, 50)
    wait_class(node, "ok")
    for modes, name in ((OUTAGES, "unreachable"), (LIES, "bad"), (("no session left",), "throttled")):
        for mode in modes:
            shim.set_mode(mode)
            wait_class(node, name, when=f" when the module does: {mode}")
            shim.set_mode("")
            wait_class(node, "ok")
    assert node.state() == "Ready" and serves(node, 50) and modules_in(node.pid) == []
    for mode, why in DENIALS:
        shim.set_mode(mode)
        node.wait_state("Inaccessible")
        wait_until(lambda: why in node.log_text(), f"the log says: {why}")
        shim.set_mode("")
        node.wait_state("Ready")
        wait_until(lambda: serves(node, 50), "the data is back")


@pytest.mark.timeout(180)
def test_a_wrong_pin_locks_no_token(make_token, make_node):
    token = make_token("rsa")
    shim = Shim(token)
    node = make_node({**FAST_KEYS, "probe-timeout": "4s", **token.node_settings(shim.so, shim.env)})
    fill(node, 10)
    wait_class(node, "ok")
    before = shim.n_logins()
    wait_until(lambda: shim.n_logins() > before + 5, "the prober has logged in")
    # known to be right: the last try is no risk
    shim.set_mode("final try")
    before = shim.n_logins()
    wait_until(lambda: shim.n_logins() > before + 5, "probes go on")
    assert last_probe(node)["class"] == "ok"
    # one try by the process that finds out, and one by its successor, however often they probe
    shim.set_mode("wrong pin")
    node.wait_state("Inaccessible")
    wait_until(lambda: "the PIN is wrong" in node.log_text(), "the log says that the PIN is wrong")
    wait_probes(node, 5)
    before = shim.n_logins()
    wait_probes(node, 5)
    assert shim.n_logins() == before, "a PIN that was refused is tried again"
    # whoever has changed nothing but the PIN gets the data back: the same text does not count as a new one
    shim.set_mode("")
    token.change_pin("xmarkerx" + secrets.token_hex(8))
    token.put_pin(token.pin)
    node.wait_state("Ready")
    wait_until(lambda: serves(node, 10), "the data is back")
    # a process that does not know whether its PIN is right does not risk the token
    shim.set_mode("final try")
    node.kill()
    before = shim.n_logins()
    node.start()
    node.wait_state("Inaccessible")
    wait_class(node, "throttled")
    assert shim.n_logins() == before
    shim.set_mode("")
    node.wait_state("Ready")


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_pin_that_others_may_read(mode, make_token, make_node):
    token = make_token("rsa")
    token.put_pin(token.pin, mode)
    node = make_node({**FAST_KEYS, **token.node_settings()}, start=False)
    _, events = node.start_fails()
    assert any("may be read by others" in str(e) for e in events)
