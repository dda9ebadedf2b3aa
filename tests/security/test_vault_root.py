"""The embedded vault's root key as a credential of the service manager: passed as systemd passes it, a directory that only the service sees, named by
its environment."""
import os
import secrets
import subprocess

import pytest

from processes import Vault, binary

WRAP = {"alg": "RSA-OAEP-256", "value": "c2VjcmV0"}


class Manager:
    """What systemd does for LoadCredential=root-key: a directory for one start of the service, with files of mode 0400."""

    def __init__(self, directory):
        self.directory = str(directory)
        self.key = secrets.token_bytes(32)
        os.makedirs(self.directory, mode=0o700)
        self.passes(self.key)

    def passes(self, content, mode=0o400):
        path = os.path.join(self.directory, "root-key")
        if os.path.exists(path):
            os.remove(path)
        if content is not None:
            with open(path, "wb") as f:
                f.write(content)
            os.chmod(path, mode)


@pytest.fixture
def manager(tmp_path):
    return Manager(tmp_path / "credentials-of-the-service")


@pytest.fixture
def vault(programs, tmp_path, manager):
    v = Vault(tmp_path / "vault", {"root-key-credential": "root-key", "pin-file": str(tmp_path / "pins" / "vault.pin")},
              env={"CREDENTIALS_DIRECTORY": manager.directory})
    del v.settings["root-key-file"]
    return programs.add(v).start()


def test_the_vault_opens_with_what_the_service_manager_passes(vault, tmp_path):
    wrapped = vault.call("POST", "/keys/data//wrapkey", WRAP, "node").json()
    vault.kill()
    vault.start()
    opened = vault.call("POST", "/keys/data//unwrapkey", {**WRAP, "value": wrapped["value"]}, "node")
    assert opened.json()["value"] == "c2VjcmV0"
    assert sorted(os.listdir(tmp_path / "pins")) == ["vault.pin", "vault.pin.audit"]
    assert not vault.events("vaultSameDevice")  # a key on no disk lies on none with the state
    # nothing of the key is written anywhere
    with open(os.path.join(vault.env["CREDENTIALS_DIRECTORY"], "root-key"), "rb") as f:
        key = f.read()
    for folder, _, names in os.walk(tmp_path / "vault"):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    content = f.read()
                assert key not in content and key.hex().encode() not in content, path


def refusal(vault, **changed):
    settings = {**vault.settings, "port": "0", "token-port": "0", **{name.replace("_", "-"): value for name, value in changed.items()}}
    done = subprocess.run([binary("coffer-vault"), *(f"--{n}={v}" for n, v in settings.items())], env={**os.environ, **vault.env},
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_without_its_credential_it_does_not_start(vault, manager, tmp_path):
    vault.stop()
    manager.passes(None)
    assert "no credential" in refusal(vault)
    manager.passes(secrets.token_bytes(32))
    assert "another root key" in refusal(vault)
    manager.passes(manager.key[:31])
    assert "32 bytes" in refusal(vault)
    manager.passes(manager.key, 0o404)
    assert "open to other users" in refusal(vault)
    manager.passes(manager.key)
    assert "only one of them" in refusal(vault, root_key_file=str(tmp_path / "root.key"))
    assert "not a credential's name" in refusal(vault, root_key_credential="../root-key")
    assert "must not lie" in refusal(vault, pin_file=os.path.join(vault.settings["state-dir"], "pin"))
    there = vault.env.pop("CREDENTIALS_DIRECTORY")
    assert "CREDENTIALS_DIRECTORY" in refusal(vault)
    vault.env["CREDENTIALS_DIRECTORY"] = there
    assert not os.path.exists(tmp_path / "root.key") and manager.key == open(os.path.join(there, "root-key"), "rb").read()
    vault.start()
    assert vault.call("GET", "/keys/data/", identity="node").status_code == 200


def test_a_file_becomes_a_credential(programs, tmp_path, manager):
    """The same 32 bytes, in another place; the pins stay where they are."""
    vault = programs.add(Vault(tmp_path / "vault")).start()
    wrapped = vault.call("POST", "/keys/data//wrapkey", WRAP, "node").json()
    vault.stop()
    root_file = vault.settings.pop("root-key-file")
    with open(root_file, "rb") as f:
        manager.passes(f.read())
    os.remove(root_file)
    vault.settings.update({"root-key-credential": "root-key", "pin-file": root_file + ".pin"})
    vault.env["CREDENTIALS_DIRECTORY"] = manager.directory
    vault.start()
    opened = vault.call("POST", "/keys/data//unwrapkey", {**WRAP, "value": wrapped["value"]}, "node")
    assert opened.json()["value"] == "c2VjcmV0"
    vault.administer("audit", "--verify")
