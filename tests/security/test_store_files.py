"""What the store leaves on disk: an independent decryptor accounts for every byte, and nothing readable is there."""
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("COFFER_BUILD", "build"))
MAKER = os.path.join(BUILD, "src/store/store_test_crash")
DECRYPT = os.path.join(ROOT, "tools/decrypt-store")
SMK = "1:" + "03" * 32
CANARIES = [b"QXZJKV", b"canary", b"records", b"indexes", b"oplog", b"rocksdb", b"leveldb", b"MANIFEST-0"]


def make(path, how):
    done = subprocess.run([MAKER, "make", str(path), how], capture_output=True, text=True, check=False)
    assert done.returncode == (0 if how == "clean" else -9), done.stderr
    return path


def decrypt(path, *args, smk=SMK):
    return subprocess.run([sys.executable, DECRYPT, "--smk", smk, *args, str(path)], capture_output=True, text=True, check=False)


def files(path):
    return sorted(os.path.join(d, f) for d, _, fs in os.walk(path) for f in fs)


@pytest.mark.parametrize("how", ["clean", "dirty"])
def test_the_decryptor_accounts_for_every_byte(tmp_path, how):
    store = make(tmp_path / "store", how)
    done = decrypt(store, "--out", str(tmp_path / "plain"))
    assert done.returncode == 0, done.stdout
    assert ", 0 unaccounted for" in done.stdout.splitlines()[-1]
    names = {os.path.basename(f) for f in files(store)}
    assert {"ANCHOR", "CURRENT", "IDENTITY", "LOCK"} <= names
    assert any(n.endswith(".sst") for n in names) and any(n.endswith(".log") for n in names)
    assert any(n.startswith("MANIFEST-") for n in names) and any(n.startswith("OPTIONS-") for n in names)
    assert os.path.isdir(store / "archive") and os.listdir(store / "archive")
    # The positive control of the search below: the texts are there once they are decrypted.
    plain = b"".join(open(f, "rb").read() for f in files(tmp_path / "plain"))
    for canary in (b"canary-key-QXZJKV", b"canary-value-QXZJKV", b"records", b"indexes"):
        assert canary in plain


@pytest.mark.parametrize("how", ["clean", "dirty"])
def test_nothing_readable_is_on_disk(tmp_path, how):
    store = make(tmp_path / "store", how)
    for path in files(store):
        content = open(path, "rb").read()
        for canary in CANARIES:
            assert canary.lower() not in content.lower(), f"{canary!r} in {path}"


def test_the_decryptor_refuses_what_is_not_right(tmp_path):
    """The tool that says "nothing unaccounted for" must be able to say otherwise."""
    store = make(tmp_path / "store", "clean")
    assert decrypt(store, smk="1:" + "04" * 32).returncode == 1
    assert decrypt(store, smk="2:" + "03" * 32).returncode == 1
    for path in files(store):
        size = os.path.getsize(path)
        if size == 0:
            continue
        for at in (0, 11, 60, 100, 128, size // 2, size - 1):
            with open(path, "r+b") as f:
                f.seek(at)
                old = f.read(1)
                f.seek(at)
                f.write(bytes([old[0] ^ 0x20]))
            assert decrypt(store).returncode == 1, f"byte {at} of {path}"
            with open(path, "r+b") as f:
                f.seek(at)
                f.write(old)
    (store / "stray.txt").write_text("plaintext")
    assert decrypt(store).returncode == 1
    (store / "stray.txt").unlink()
    assert decrypt(store).returncode == 0
