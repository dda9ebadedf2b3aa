"""The embedded vault as a process: what it leaves on disk, how it comes back, who may do what."""
import base64
import hashlib
import json
import os
import subprocess
import time

import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from processes import binary, wait_until


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


def flags(vault, **changed):
    settings = {**vault.settings, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return [f"--{name}={value}" for name, value in settings.items()]


def run_vault(*args):
    return subprocess.run([binary("coffer-vault"), *args], capture_output=True, text=True, timeout=60, check=False)


def test_a_second_process_is_refused_before_it_touches_anything(vault):
    done = run_vault(*flags(vault, port="0", token_port="0"))
    assert done.returncode == 1 and "another process holds" in done.stderr, done.stderr
    assert vault.call("GET", "/keys/data/").status_code == 200


def test_a_busy_port_is_named(vault, tmp_path):
    done = run_vault(*flags(vault, state_dir=tmp_path / "other", root_key_file=tmp_path / "keys/root.key", port=vault.port, token_port="0",
                            bootstrap_keys=""))
    assert done.returncode == 1 and f"port {vault.port}" in done.stderr, done.stderr


def test_settings_that_make_no_sense_are_named(vault):
    for name, value in (("port", "70000"), ("tenant-id", "me"), ("log-level", "loud"), ("bootstrap-identities", "x:emperor"),
                        ("token-uids", "root"), ("signing-key-lifetime", "999ms"), ("no-such-flag", "1"), ("bootstrap-keys", "data_1")):
        vault.stop()
        done = run_vault(*flags(vault, port="0", token_port="0"), f"--{name}={value}")
        assert done.returncode == 1 and done.stderr.count("\n") >= 1, (name, done.stderr)
        assert value in done.stderr or name in done.stderr, (name, done.stderr)


def test_a_second_start_keeps_everything(vault):
    before, secret = vault.facts(), open(vault.facts()["identities"]["node"]["secretFile"], encoding="ascii").read()
    vault.restart()
    assert vault.facts() == before
    assert open(before["identities"]["node"]["secretFile"], encoding="ascii").read() == secret


def test_a_lost_credential_is_replaced_and_the_old_one_is_worthless(vault):
    facts = vault.facts()
    path = facts["identities"]["node"]["secretFile"]
    old = open(path, encoding="ascii").read()
    os.unlink(path)
    vault.restart()
    new = open(path, encoding="ascii").read()
    assert new != old

    def ask(secret):
        return requests.get(facts["appServiceEndpoint"], params={"api-version": "2019-08-01", "resource": facts["audience"]},
                            headers={"X-IDENTITY-HEADER": secret}, timeout=10).status_code
    assert (ask(old), ask(new)) == (401, 200)


def test_an_old_copy_of_the_state_is_refused(vault):
    state = os.path.join(vault.settings["state-dir"], "vault.state")
    with open(state, "rb") as f:
        old = f.read()
    vault.disable()
    vault.stop()
    with open(state, "wb") as f:
        f.write(old)  # the key would be enabled again
    done = run_vault(*flags(vault))
    assert done.returncode == 1 and "old copy" in done.stderr, done.stderr


def test_several_vaults_each_with_its_settings(vault, tmp_path):
    path = tmp_path / "vaults.json"
    path.write_text(json.dumps({
        "archive": {"location": "westeurope", "properties": {"enablePurgeProtection": False, "softDeleteRetentionInDays": 7}},
        "main": {"properties": {"throttling": {"otherPer10Seconds": 3}}}}))
    vault.settings["vaults-file"] = path
    vault.settings["bootstrap-keys"] += ",archive/old:2048"
    vault.settings["bootstrap-identities"] += ",customer:crypto-officer@archive,customer:reader@main"
    vault.restart()
    facts = vault.facts()["vaults"]
    assert facts["archive"]["region"] == "westeurope" and facts["main"]["region"] == "local"
    assert list(facts["archive"]["keys"]) == ["old"] and list(facts["main"]["keys"]) == ["data"]

    def archive(method, where):
        return requests.request(method, f"https://127.0.0.1:{vault.port}{where}", params={"api-version": "7.4"}, verify=vault.ca_file, timeout=10,
                                headers={"Authorization": "Bearer " + token, "Host": f"archive.vault.localhost:{vault.port}"})
    token = vault.token("customer")
    got = archive("GET", "/keys/old/")
    assert got.headers["x-ms-keyvault-region"] == "westeurope", got.headers
    assert got.json()["attributes"]["recoveryLevel"] == "CustomizedRecoverable+Purgeable"
    assert archive("DELETE", "/keys/old").status_code == 200
    assert archive("DELETE", "/deletedkeys/old").status_code == 204
    assert archive("GET", "/deletedkeys/old").status_code == 404
    # "main" answers where no vault is named, and at the rate that the file gave it.
    answers = [vault.call("GET", "/keys/data/") for _ in range(5)]
    assert [a.status_code for a in answers][:3] == [200] * 3 and answers[4].status_code == 429
    assert 1 <= int(answers[4].headers["Retry-After"]) <= 11

    path.write_text(json.dumps({"archive": {"location": "elsewhere"}}))
    vault.stop()
    done = run_vault(*flags(vault))
    assert done.returncode == 1 and "archive" in done.stderr and "location" in done.stderr, done.stderr


def test_a_policy_rotates_a_key_and_its_end_is_told(two_vaults):
    vault = two_vaults
    policy = {"lifetimeActions": [{"trigger": {"timeBeforeExpiry": "P7D"}, "action": {"type": "Rotate"}}], "attributes": {"expiryTime": "P28D"}}
    assert vault.call("PUT", "/keys/data/rotationpolicy", policy).status_code == 200
    first = vault.call("GET", "/keys/data/").json()["key"]["kid"].rsplit("/", 1)[1]
    soon = int(time.time()) + 3600
    assert vault.call("PATCH", f"/keys/data/{first}", {"attributes": {"exp": soon}}).status_code == 200
    wait_until(lambda: len(vault.call("GET", "/keys/data/versions").json()["value"]) == 2, "the key rotates")
    second = vault.call("GET", "/keys/data/").json()
    assert second["key"]["kid"].rsplit("/", 1)[1] != first and 27 * 86400 < second["attributes"]["exp"] - time.time() <= 28 * 86400

    def told(event, key):
        lines = [json.loads(line) for line in vault.log_text().splitlines() if line.startswith("{")]
        return [x["version"] for x in lines if x["event"] == event and x["key"] == key]

    assert told("vaultKeyNearExpiry", "data")[0] == first  # the next one follows: its 28 days are fewer than the 30 of the default
    assert second["key"]["kid"].rsplit("/", 1)[1] in told("vaultKeyNewVersion", "data")
    assert vault.call("POST", "/keys/short/create", {"kty": "EC", "attributes": {"exp": int(time.time()) - 5}}).status_code == 200
    wait_until(lambda: told("vaultKeyExpired", "short"), "the end is told")
    vault.stop()
    vault.start()  # looks at all keys at once, and tells nothing again
    assert vault.call("POST", "/keys/later/create", {"kty": "EC", "attributes": {"exp": int(time.time()) - 5}}).status_code == 200
    wait_until(lambda: told("vaultKeyExpired", "later"), "the end is told")
    assert len(told("vaultKeyExpired", "short")) == 1
    assert len(vault.call("GET", "/keys/data/versions").json()["value"]) == 2


def pem_of(private, form="PKCS8", password=None):
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), hidden)


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_private_keys_are_imported_from_pem_files(vault, tmp_path):
    file = tmp_path / "key.pem"

    def take(name, pem, check=True):
        file.write_bytes(pem)
        return vault.administer("key", "import", name, "--vault=main", f"--pem={file}", check=check)

    def signs(name, alg, hash_):
        digest = hashlib.new(hash_.name, b"words").digest()
        answer = vault.call("POST", f"/keys/{name}//sign", {"alg": alg, "value": b64u(digest)})
        assert answer.status_code == 200, answer.text
        return unb64u(answer.json()["value"]), digest

    mine = rsa.generate_private_key(65537, 3072)
    versions = []
    for form in ("PKCS8", "TraditionalOpenSSL"):
        versions.append(take("brought", pem_of(mine, form))["version"])
        signature, digest = signs("brought", "RS256", hashes.SHA256())
        mine.public_key().verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    listed = [v["kid"].rsplit("/", 1)[1] for v in vault.call("GET", "/keys/brought/versions").json()["value"]]
    assert sorted(listed) == sorted(versions)  # the same name: a new version

    curves = ((ec.SECP256R1(), "ES256", hashes.SHA256()), (ec.SECP384R1(), "ES384", hashes.SHA384()),
              (ec.SECP521R1(), "ES512", hashes.SHA512()), (ec.SECP256K1(), "ES256K", hashes.SHA256()))
    for curve, alg, hash_ in curves:
        mine = ec.generate_private_key(curve)
        for form in ("PKCS8", "TraditionalOpenSSL"):
            take(f"brought-{alg}", pem_of(mine, form))
            signature, digest = signs(f"brought-{alg}", alg, hash_)
            half = len(signature) // 2
            der = utils.encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
            mine.public_key().verify(der, digest, ec.ECDSA(utils.Prehashed(hash_)))

    public = mine.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    refused = (b"", b"words", public, pem_of(ec.generate_private_key(ec.SECP224R1())), pem_of(rsa.generate_private_key(65537, 1024)),
               pem_of(rsa.generate_private_key(65537, 2056)), pem_of(ed25519.Ed25519PrivateKey.generate()), pem_of(mine, password=b"secret"),
               pem_of(mine)[:100])
    for pem in refused:
        said = take("refused", pem, check=False)
        assert isinstance(said, str) and ("PEM" in said or "RSA key" in said), (pem, said)
    assert vault.call("GET", "/keys/refused/").status_code == 404
    for args in (("bad_name", "--vault=main"), ("k", "--vault=nowhere"), ("k",)):
        assert isinstance(vault.administer("key", "import", *args, f"--pem={file}", check=False), str)
    assert "none" in vault.administer("key", "import", "k", "--vault=main", f"--pem={tmp_path}/none", check=False)
    assert vault.call("DELETE", "/keys/brought").status_code == 200
    said = take("brought", pem_of(mine), check=False)  # what its owner deleted stays deleted
    assert "is deleted" in said
    records = [r for r in vault.audit() if r["operationName"] == "KeyImport" and r["properties"]["key"] == "brought"]
    assert [(r["resultType"], r["resultDescription"]) for r in records] == [("Success", "")] * 2 + [("Failed", "Conflict")]
    assert [r["properties"]["version"] for r in records[:2]] == versions and records[0]["resourceId"] == "/vaults/main"
    vault.administer("audit", "--verify")
