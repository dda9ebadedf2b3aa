"""Where the SMK's bytes are: in the memory of a Ready node, and nowhere once it is sealed. The test gets them as the node does: the wrapped key
out of the envelope (docs/formats/envelope.md), unwrapped by the vault."""
import base64
import importlib.machinery
import importlib.util
import os
import struct
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "security"))

from memory import all_files, files_hold, memory_holds  # noqa: E402


def reader():
    """tools/decrypt-store as a module: it knows how an envelope's fields are read."""
    loader = importlib.machinery.SourceFileLoader("decrypt_store", os.path.join(ROOT, "tools", "decrypt-store"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("decrypt_store", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


def b64url(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unwrap(vault, wrap):
    version, algorithm, sealed = wrap
    answer = vault.call("POST", f"/keys/{vault.key}/{version}/unwrapkey", {"alg": algorithm, "value": b64url(sealed)}, identity="node")
    assert answer.status_code == 200, answer.text
    value = answer.json()["value"]
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


def smk_of(node, vault):
    tool = reader()
    with open(os.path.join(node.data_dir, "envelope.1"), "rb") as f:
        raw = f.read()
    f = tool.Fields(raw)
    f.take(24)
    lineage = f.take(16)
    f.take(124)
    assert f.num(2) == 1, "one generation"
    f.wrap(), f.take(32), f.wrap(), f.take(32)  # the canaries
    number, state = f.num(4), f.num(1)
    assert (number, state) == (1, 2)
    f.take(9)
    commitment = f.take(32)
    smk = unwrap(vault, f.wrap())
    assert tool.derive(smk, 7, lineage, struct.pack(">I", number)) == commitment
    return smk


def test_the_smk_is_gone_when_the_node_is_sealed(cmk_node, vault):
    needles = {smk_of(cmk_node, vault)}
    with cmk_node.client() as client:
        client.t.c.insert_many([{"_id": i} for i in range(1000)])
    assert memory_holds(cmk_node.pid, needles) == needles, "the search does not find what is there: it proves nothing"
    vault.disable()
    cmk_node.wait_state("Inaccessible")
    assert memory_holds(cmk_node.pid, needles) == set()
    vault.enable()
    cmk_node.wait_state("Ready")
    assert memory_holds(cmk_node.pid, needles) == needles
    for half in (16, 32):
        key = next(iter(needles))
        assert files_hold([p for p in all_files(cmk_node.dir) if not p.endswith(".sock")], {key[:half], key[-half:]}) == {}
