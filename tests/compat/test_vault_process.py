"""The embedded vault as a process: what it leaves on disk, how it comes back, who may do what."""
import os

import requests


def test_a_key_is_disabled_and_enabled(vault):
    vault.disable()
    # As the reference service: a disabled key cannot even be read.
    assert vault.call("GET", "/keys/data/").status_code == 403
    refused = vault.call("POST", "/keys/data//wrapkey", {"alg": "RSA-OAEP-256", "value": "AAAA"}, identity="node")
    assert refused.status_code == 403
    vault.enable()
    assert vault.call("GET", "/keys/data/").json()["attributes"]["enabled"] is True
    assert vault.call("POST", "/keys/data//wrapkey", {"alg": "RSA-OAEP-256", "value": "AAAA"}, identity="node").status_code == 200


def test_what_was_wrapped_before_a_kill_is_unwrapped_after_it(vault):
    wrapped = vault.call("POST", "/keys/data//wrapkey", {"alg": "RSA-OAEP-256", "value": "c2VjcmV0"}, identity="node").json()
    kid = wrapped["kid"].rsplit("/", 1)[1]
    vault.kill()
    vault.start()
    opened = vault.call("POST", f"/keys/data/{kid}/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped["value"]}, identity="node")
    assert opened.json()["value"] == "c2VjcmV0"


def test_a_node_may_not_change_the_key(vault):
    assert vault.call("PATCH", "/keys/data/", {"attributes": {"enabled": False}}, identity="node").status_code == 403


def test_without_a_token_there_is_a_challenge(vault):
    answer = requests.get(f"https://127.0.0.1:{vault.port}/keys/data/", params={"api-version": "7.4"}, verify=vault.ca_file, timeout=10)
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_what_is_secret_is_readable_by_nobody_else(vault):
    facts = vault.facts()
    secret_files = [vault.settings["root-key-file"], facts["identities"]["node"]["secretFile"]]
    for folder, _, names in os.walk(vault.settings["state-dir"]):
        secret_files += [os.path.join(folder, n) for n in names]
    assert len(secret_files) > 2
    for path in secret_files:
        assert os.stat(path).st_mode & 0o077 == 0, path
