"""The embedded vault's root key wrapped by a key of a PKCS #11 token: SoftHSM's, directly and through a module that misbehaves."""
import hashlib
import hmac
import os
import re
import secrets
import subprocess

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from memory import all_files, files_hold
from processes import Vault, binary
from test_vault_format import Opener, read
from tokens import Shim, Token, modules_in

WRAP = {"alg": "RSA-OAEP-256", "value": "c2VjcmV0"}


@pytest.fixture
def make_token(tmp_path):
    return lambda kind: Token(tmp_path / "token", kind)


def make_vault(programs, tmp_path, settings, start=True):
    v = Vault(tmp_path / "vault", {"root-key-file": None, **settings})
    programs.add(v)
    return v.start() if start else v


def wrapped_file(vault):
    return os.path.join(vault.settings["state-dir"], "root.wrapped")


def write(path, content):
    with open(path, "wb") as f:
        f.write(content)


def refused_output(vault, **changed):
    """All that a start says that must fail."""
    settings = {**vault.settings, "port": "0", "token-port": "0", **{name.replace("_", "-"): value for name, value in changed.items()}}
    done = subprocess.run([binary("coffer-vault"), *(f"--{n}={v}" for n, v in settings.items() if v is not None)], env={**os.environ, **vault.env},
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout + done.stderr


def refusal(vault, **changed):
    """Its verdict."""
    return refused_output(vault, **changed).splitlines()[-1]


def opens(vault, wrapped):
    answer = vault.call("POST", "/keys/data//unwrapkey", {**WRAP, "value": wrapped["value"]}, "node")
    return answer.status_code == 200 and answer.json()["value"] == WRAP["value"]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return f.read().split()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["rsa", "aes"])
def test_the_vault_opens_with_its_token(kind, make_token, programs, tmp_path):
    token = make_token(kind)
    vault = make_vault(programs, tmp_path, {**token.vault_settings(), "log-level": "debug"})
    wrapped = vault.call("POST", "/keys/data//wrapkey", WRAP, "node").json()
    assert modules_in(vault.pid) == [] and children(vault.pid) == [], "something of the token is left in the vault"
    assert os.stat(wrapped_file(vault)).st_mode & 0o777 == 0o600
    assert not os.path.exists(vault.settings["state-dir"] + ".keys/root.key")
    vault.kill()
    vault.start()
    assert opens(vault, wrapped)

    # the token's newer key takes over at the next start, and the older one is needed no more
    token.new_key()
    vault.restart()
    assert [e["version"] for e in vault.events("vaultRootWrapped")] == ["01", "02"]
    token.delete_keys(last=1)
    vault.restart()
    assert opens(vault, wrapped)

    # a token that is away
    vault.stop()
    before = read(wrapped_file(vault))
    token.remove()
    assert "the token is in none of" in refusal(vault)
    token.put_back()
    token.back_up()
    token.delete_keys(first=2)
    assert "the token holds no such key" in refusal(vault)
    token.restore()
    assert read(wrapped_file(vault)) == before
    vault.start()
    assert opens(vault, wrapped)
    for what in ("cmdline", "environ"):
        assert token.pin.encode() not in read(f"/proc/{vault.pid}/{what}"), what
    assert token.pin not in vault.log_text()
    assert not files_hold(all_files(tmp_path / "vault"), {token.pin.encode()}), "the PIN is on the disk"


@pytest.mark.timeout(180)
def test_a_changed_file_is_refused(make_token, programs, tmp_path):
    """Every byte is flipped in src/vault/t/test_root_wrapped.c; here the token itself is asked."""
    token = make_token("rsa")
    vault = make_vault(programs, tmp_path, token.vault_settings())
    vault.stop()
    good = read(wrapped_file(vault))
    for at in (0, 9, 10, 11, 13, 15, 16, 47, 48, 50, 62, 100, len(good) - 48, len(good) - 1):
        bad = bytearray(good)
        bad[at] ^= 1
        write(wrapped_file(vault), bytes(bad))
        assert "root.wrapped" in refusal(vault), at
        if at < len(good) - 48:  # with a checksum that fits, the token or the MAC finds it
            bad[-48:-32] = hashlib.sha256(bytes(bad[:-48])).digest()[:16]
            write(wrapped_file(vault), bytes(bad))
            assert "root.wrapped" in refusal(vault), at
    os.remove(wrapped_file(vault))
    assert "is gone" in refusal(vault) and not os.path.exists(wrapped_file(vault))
    write(wrapped_file(vault), good)
    vault.start()


@pytest.mark.timeout(180)
def test_a_wrong_pin_locks_no_token(make_token, programs, tmp_path):
    token = make_token("rsa")
    shim = Shim(token)
    vault = make_vault(programs, tmp_path, {**token.vault_settings(shim.so, shim.env), "log-level": "debug"}, start=False)
    note = os.path.join(vault.settings["state-dir"], "root.pin-refused")
    right, wrong = token.pin, "xmarkerx" + secrets.token_hex(8)
    # a vault that is not made yet
    token.put_pin(wrong)
    assert "the PIN is wrong" in refusal(vault) and "not tried again" in refusal(vault) and shim.n_logins() == 1
    token.put_pin(right)
    vault.start()
    vault.stop()
    # one that is
    token.put_pin(wrong)
    before = shim.n_logins()
    said = refused_output(vault)
    assert "the PIN is wrong" in said and wrong not in said and shim.n_logins() == before + 1
    for _ in range(3):  # as a service manager would, until it gives up
        said = refused_output(vault)
        assert "not tried again" in said and token.path("pin") in said and wrong not in said
    assert shim.n_logins() == before + 1, "a PIN that was refused is tried again"
    # which file it was, and nothing that a guess at the PIN could be held against
    assert re.fullmatch(rb"dev \d+ ino \d+ changed \d+\.\d{9}\n", read(note)) and os.stat(note).st_mode & 0o777 == 0o600
    assert not files_hold(all_files(tmp_path / "vault"), {wrong.encode(), right.encode()}), "a PIN is on the disk"
    token.put_pin("xmarkerx" + secrets.token_hex(8))
    assert "the PIN is wrong" in refusal(vault) and "not tried again" in refusal(vault)
    assert shim.n_logins() == before + 2
    token.put_pin(right)
    vault.start()
    assert not os.path.exists(note)
    vault.stop()
    # the last try is not ours; a PIN that is locked is not tried
    for mode, why in (("final try", "one more wrong PIN would lock the token"), ("locked by flag", "the PIN is locked")):
        shim.set_mode(mode)
        before = shim.n_logins()
        assert why in refusal(vault) and shim.n_logins() == before
    for mode in ("hang", "crash", "exit", "removed", "lie", "short", "no session left"):
        shim.set_mode(mode)
        assert "root.wrapped" in refusal(vault, root_key_timeout="500ms"), mode
    shim.set_mode("")
    os.chmod(token.path("pin"), 0o640)
    assert "may be read by others" in refusal(vault)
    os.chmod(token.path("pin"), 0o600)
    vault.start()


def test_settings_that_contradict(make_token, programs, tmp_path):
    token = make_token("aes")
    vault = make_vault(programs, tmp_path, token.vault_settings(), start=False)
    credentials = {"root_key_credential": "root-key"}
    vault.env["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    assert "only one of them" in refusal(vault, **credentials)
    assert "no PKCS #11 URI" in refusal(vault, root_key_pkcs11="https://vault/keys/one")
    for prefix in ("", " "):  # a PIN where none belongs is not shown to the log's readers, too
        said = refused_output(vault, root_key_pkcs11=prefix + token.uri() + "&pin-value=xmarkerx1234")
        assert "PIN of a PKCS #11 token" in said or "no PKCS #11 URI" in said
        assert "xmarkerx" not in said
    assert "module-path" in refusal(vault, root_key_pkcs11="pkcs11:token=my%20token;object=cmk")
    assert "needs root-key-pkcs11-pin-file" in refusal(vault, root_key_pkcs11_pin_file="")
    assert "needs root-key-pkcs11" in refusal(vault, root_key_pkcs11="")
    assert not os.path.exists(wrapped_file(vault))


@pytest.mark.timeout(120)
def test_a_root_key_moves_from_its_file(make_token, programs, tmp_path):
    token = make_token("aes")
    vault = programs.add(Vault(tmp_path / "vault")).start()
    wrapped = vault.call("POST", "/keys/data//wrapkey", WRAP, "node").json()
    vault.stop()
    root_file = vault.settings["root-key-file"]
    root = read(root_file)
    assert files_hold(all_files(tmp_path), {root}), "the control: it is found where it is"
    vault.settings.update({**token.vault_settings(), "pin-file": root_file + ".pin"})
    assert "root-key-file too" in refusal(vault, root_key_file=None)
    vault.start()
    assert opens(vault, wrapped) and vault.events("vaultRootFileLeft")
    vault.stop()
    os.remove(root_file)
    vault.settings["root-key-file"] = None
    vault.start()
    assert opens(vault, wrapped)
    vault.administer("audit", "--verify")
    assert [r["operationName"] for r in vault.audit(start=True)].count("RootKeyWrap") == 1  # not again by the later start
    vault.stop()
    assert not files_hold(all_files(tmp_path), {root, root.hex().encode()}), "the root key is on the disk"


@pytest.mark.timeout(120)
def test_the_file_is_what_the_page_says(make_token, programs, tmp_path):
    """docs/formats/vault.md 6: what the token does is done with its key here."""
    token = make_token("rsa")
    token.delete_keys()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write(token.path("key.pem"), key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    token.import_rsa("my token", token.path("key.pem"))
    vault = make_vault(programs, tmp_path, token.vault_settings())
    vault.stop()
    data = read(wrapped_file(vault))
    assert data[:10] == b"CFRVROOT\0\1" and data[14:16] == bytes(2)
    version_len, alg_len, wrapped_len = data[10], data[11], int.from_bytes(data[12:14], "big")
    assert len(data) == 48 + version_len + alg_len + wrapped_len + 48
    version, alg, wrapped = data[48:48 + version_len], data[48 + version_len:][:alg_len], data[48 + version_len + alg_len:][:wrapped_len]
    assert version == b"01"
    hash_of = {b"RSA-OAEP-256": hashes.SHA256(), b"RSA-OAEP": hashes.SHA1()}[alg]
    root = key.decrypt(wrapped, padding.OAEP(padding.MGF1(hash_of), hash_of, None))
    assert data[-48:-32] == hashlib.sha256(data[:-48]).digest()[:16]
    opener = Opener(root)
    assert data[-32:] == hmac.new(opener.derive(22, data[16:48], b""), data[:-32], hashlib.sha256).digest()
    opener.state(read(os.path.join(vault.settings["state-dir"], "vault.state")))
