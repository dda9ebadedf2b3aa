"""States of the embedded vault that earlier releases wrote, opened by this one."""
import json
import os
import shutil

import pytest

from processes import Vault

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.mark.parametrize("name", sorted(n for n in os.listdir(HERE) if n.startswith("vault-format-")))
def test_an_older_format_is_read_and_goes_on(name, programs, tmp_path):
    old = os.path.join(HERE, name)
    vault = Vault(tmp_path / "vault", {"bootstrap-keys": ""})
    os.makedirs(vault.path("state"))
    os.makedirs(vault.path("keys"))
    shutil.copy(os.path.join(old, "vault.state"), vault.path("state"))
    for name in ("root.key", "root.key.pin"):
        shutil.copyfile(os.path.join(old, name), vault.path("keys", name))
        os.chmod(vault.path("keys", name), 0o600)
    programs.add(vault).start()
    with open(os.path.join(old, "wrapped.json"), encoding="utf-8") as f:
        wrapped = json.load(f)

    def check():
        opened = vault.call("POST", f"/keys/data/{wrapped['kid']}/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped["value"]})
        assert opened.json()["value"] == wrapped["opens"], opened.text
        first = vault.call("GET", f"/keys/data/{wrapped['kid']}").json()
        assert first["tags"] == {"owner": "first release"} and first["attributes"]["exp"] == 4000000000
        assert first["attributes"]["recoveryLevel"] == "Recoverable"
        assert len(vault.call("GET", "/keys/data/versions").json()["value"]) == 2
    check()
    vault.disable("data")  # written in the format of this release
    vault.enable(key="data")
    vault.restart()
    check()
