"""Where the bytes of keys are, the SMK's, those of files, and what AES makes of them: in the memory of a Ready node, and nowhere once it is sealed. The test
gets them as the node does: the wrapped key out of the envelope (docs/formats/envelope.md), unwrapped by the vault; the others derived from it (store.md)."""
import base64
import importlib.machinery
import importlib.util
import os
import shutil
import struct
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "security"))

from memory import all_files, core_memory_holds, files_hold, memory_holds  # noqa: E402


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


def sub_word(word):
    return bytes(SBOX[b] for b in word)


def make_sbox():
    """FIPS 197, 5.1.1: the inverse in GF(2^8), then an affine map."""
    p = q = 1
    box = [0] * 256
    while True:
        p = p ^ (p << 1) & 0xff ^ (0x1b if p & 0x80 else 0)
        for shift in (1, 2, 4):
            q ^= q << shift & 0xff
        q ^= 0x09 if q & 0x80 else 0
        x = q
        for turn in range(1, 5):
            x ^= (q << turn | q >> (8 - turn)) & 0xff
        box[p] = x ^ 0x63
        if p == 1:
            break
    box[0] = 0x63
    return box


SBOX = make_sbox()


def schedule(key):
    """FIPS 197, 5.2: the fifteen round keys of AES-256."""
    words, rcon = [key[i:i + 4] for i in range(0, 32, 4)], 1
    for i in range(8, 60):
        t = words[-1]
        if i % 8 == 0:
            t = sub_word(t[1:] + t[:1])
            t, rcon = bytes([t[0] ^ rcon]) + t[1:], rcon << 1
        elif i % 8 == 4:
            t = sub_word(t)
        words.append(bytes(a ^ b for a, b in zip(words[i - 8], t)))
    return b"".join(words)


def test_the_schedule_is_that_of_the_standard():
    """FIPS 197, A.3."""
    s = schedule(bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"))
    assert s[32:36].hex() == "9ba35411" and s[-4:].hex() == "706c631e" and len(s) == 240


def file_keys(node, smk):
    """The keys under which the texts of the files lie, as tools/decrypt-store derives them."""
    tool, found = reader(), set()
    for path in node.files():
        with open(path, "rb") as f:
            head = f.read(tool.HEADER)
        if head[:8] == b"COFFERDB":
            label = {tool.TABLE: 1, tool.ANCHOR: 8}.get(head[11], 2)
            found.add(tool.derive(smk, label, head[48:80], head[:96]))
    return found


def test_no_key_of_a_file_and_no_schedule_is_left(cmk_node, vault):
    with cmk_node.client() as client:
        client.t.c.insert_many([{"_id": i, "pad": "p" * 500} for i in range(5000)])
        assert cmk_node.admin("backup", dir=cmk_node.path("backup"))["ok"]  # flushes: there are tables
        assert client.t.c.count_documents({}) == 5000
    smk = smk_of(cmk_node, vault)
    keys = file_keys(cmk_node, smk)
    # from the second round key on: the first two are the key itself
    expanded = {schedule(k)[32:64] for k in keys | {smk}}
    assert memory_holds(cmk_node.pid, keys), "the search does not find what is there: it proves nothing"
    assert memory_holds(cmk_node.pid, expanded), "the search for schedules proves nothing"
    core = cmk_node.path("core")
    gcore = subprocess.run([shutil.which("gcore"), "-o", core, str(cmk_node.pid)], capture_output=True, text=True, timeout=240, check=False)
    assert os.path.exists(f"{core}.{cmk_node.pid}"), gcore.stderr
    assert core_memory_holds(f"{core}.{cmk_node.pid}", keys | expanded | {smk}) == set()
    vault.disable()
    cmk_node.wait_state("Inaccessible")
    assert memory_holds(cmk_node.pid, keys | expanded | {smk}) == set()


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
