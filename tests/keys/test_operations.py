"""The administrative operations: one table, offered on the administration socket and as the database command `coffer`."""
import contextlib
import os
import shutil

import pymongo.errors
import pytest

from processes import FAST_KEYS, ProcessFailed, wait_until
from sealing import fill

UNAUTHORIZED, NO_SUCH, ILLEGAL, BAD_VALUE = 13, 59, 20, 2


def code_of(client, name, **fields):
    try:
        client.admin.command("coffer", name, **fields)
        return 0
    except pymongo.errors.OperationFailure as e:
        return e.code


def test_both_transports_tell_the_same(cmk_node):
    with cmk_node.client() as client:
        by_command = client.admin.command("coffer", "keyShow")
        names = {op["name"] for op in client.admin.command("coffer", 1)["operations"]}
    by_socket = cmk_node.admin("keyShow")
    assert by_command["mode"] == by_socket["mode"] == "cmk" and by_command["state"] == "Ready"
    assert by_command["key"]["version"] == by_socket["key"]["version"] and len(by_socket["key"]["version"]) == 32
    assert by_socket["generations"][0]["wrappedBy"][-1]["version"] == by_socket["key"]["version"]
    assert {"status", "revalidate", "keyShow"} <= names
    assert not names & {"stop", "backup"}, "what names files of the machine stays on it"


def test_who_may(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault)
    with node.client() as client:
        for name, roles in (("reader", ["readWriteAnyDatabase"]), ("monitor", ["clusterMonitor"]), ("chief", ["clusterAdmin"])):
            client.admin.command("createUser", name, pwd="pw", roles=roles)
    expected = {"reader": UNAUTHORIZED, "monitor": 0, "chief": 0}
    for name, code in expected.items():
        with pymongo.MongoClient(f"mongodb://{name}:pw@127.0.0.1:{node.port}/?authSource=admin", directConnection=True) as client:
            assert code_of(client, "keyShow") == code, name
            assert code_of(client, "stop") in (UNAUTHORIZED, ILLEGAL)
    with node.client(auth=False) as client:
        assert code_of(client, "keyShow") == UNAUTHORIZED


def test_the_localhost_exception_is_no_way_in(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault, admin=False)
    with node.client(auth=False) as client:
        assert code_of(client, "keyShow") == UNAUTHORIZED
        assert code_of(client, "stop") in (UNAUTHORIZED, ILLEGAL)


@pytest.mark.parametrize("name, fields, code", [("fly", {}, NO_SUCH), ("keyShow", {"versoin": 1}, BAD_VALUE), ("stop", {}, ILLEGAL)])
def test_mistakes_are_named(cmk_node, name, fields, code):
    with cmk_node.client() as client:
        assert code_of(client, name, **fields) == code


@pytest.mark.parametrize("mode", ["smk", "cmk"])
def test_the_envelope_heals_while_the_node_runs(make_node, vault, mode):
    """A copy that is damaged or gone, and a pin that is gone, are written anew before anybody needs them."""
    node = make_node({**FAST_KEYS, "probe-interval": "100ms"}, vault=vault if mode == "cmk" else None)
    files = [os.path.join(node.data_dir, "envelope.1"), os.path.join(node.data_dir, "envelope.2"), os.path.join(node.state_dir, "pin")]
    want = {f: open(f, "rb").read() for f in files}
    for n, file in enumerate(files):
        for n_repair in range(2):
            if n_repair == 0:
                os.unlink(file)
            else:
                with open(file, "r+b") as f:
                    f.seek(40)
                    f.write(b"damaged!")
            wait_until(lambda: os.path.exists(file) and open(file, "rb").read() == want[file], f"{file} is made good")
            wait_until(lambda: len(node.events("envelopeRepaired")) > n * 2 + n_repair, "and it is told")
    node.restart()
    assert not [e for e in node.events("envelopeRepaired")][6:]


def test_the_envelope_heals_while_a_rotation_is_paused(make_node):
    node = make_node({"probe-interval": "100ms", "rotation-rate": "1KB"})
    fill(node)
    assert node.admin("rotateKey")["ok"] and node.admin("rotationPause", paused=True)["ok"]
    assert node.admin("rotationStatus")["state"] == "paused"
    for file in (os.path.join(node.data_dir, "envelope.2"), os.path.join(node.state_dir, "pin")):
        want = open(file, "rb").read()
        os.unlink(file)
        wait_until(lambda: os.path.exists(file) and open(file, "rb").read() == want, f"{file} is made good")
    shown = node.admin("keyShow")
    assert [g["generation"] for g in shown["generations"]] == [1, 2], f"the control: it is paused still: {shown}"


def test_what_needs_keys_is_refused_while_sealed(cmk_node, vault, tmp_path):
    vault.disable()
    cmk_node.wait_event("keySealed")  # the image with the keys says Inaccessible already while it goes
    cmk_node.wait_state("Inaccessible")
    assert cmk_node.admin("backup", dir=str(tmp_path / "b"))["code"] == 9900021
    wait_until(lambda: cmk_node.admin("keyShow")["lastProbe"]["class"] == "denied", "the sealed node has asked for itself")
    shown = cmk_node.admin("keyShow")
    assert shown["ok"] and shown["state"] == "Inaccessible"


def temporary(directory):
    return [name for name in os.listdir(directory) if ".writing-" in name]


def test_what_killed_writes_left_in_the_state_directory_goes(make_node):
    node = make_node({"rotation-rate": "0"})
    left, step = set(), 0
    while not left:  # the first atomic writes are those of the port's file and of the envelope's copies; the pin follows them
        assert step < 8, "no kill left anything in the state directory"
        node.stop()
        node.env = {"COFFER_FAULTS": f"file.rename=kill:{step}:1"}
        node.spawn()
        with contextlib.suppress(OSError, ValueError, ProcessFailed):
            node.wait_port()
            node.admin("rotateKey")
        wait_until(lambda: not node.alive(), "the node is dead", 60)
        left = {name.split(".writing-")[0] for name in temporary(node.state_dir)}
        step += 1
        node.env = {}
        node.start()
        # what goes on in the background writes too
        wait_until(lambda: temporary(node.state_dir) == temporary(node.data_dir) == [], "what the kill left is gone")
    assert len(left) == 1 and [e["files"] for e in node.events("stateLeftovers")] == [1]
    node.stop()
    others = {"pin.backup": None, "service-root.key.backup": None, "link.writing-abc123": "pin", "pin.writing-abc123": None}
    for name, target in others.items():
        path = os.path.join(node.state_dir, name)
        os.symlink(target, path) if target else shutil.copy(os.path.join(node.state_dir, "pin"), path)
    node.start()
    assert {name: os.path.lexists(os.path.join(node.state_dir, name)) for name in others} == {name: name != "pin.writing-abc123" for name in others}
