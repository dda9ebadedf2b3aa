"""The audit log of the embedded vault: each operation that the SDK's protocol has leaves one record, nothing changes the log unseen, nothing is done
that cannot be put on record."""
import os

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from processes import FAST_KEYS, Vault, wait_until

WRAP = {"alg": "RSA-OAEP-256", "value": "c2VjcmV0"}


def segments(vault):
    folder = os.path.join(vault.settings["state-dir"], "audit")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def test_each_operation_leaves_one_record(vault):
    """Who, what, which key and version, the outcome, and the id under which the caller got it."""
    done = []

    def call(operation, method, path, body=None, identity="customer", status=200):
        answer = vault.call(method, path, body, identity)
        assert answer.status_code == status, answer.text
        done.append((operation, identity, status, answer.headers["x-ms-request-id"]))
        return answer.json() if answer.content else {}

    key = call("KeyCreate", "POST", "/keys/own/create", {"kty": "RSA"})["key"]["kid"].rsplit("/", 1)[1]
    call("KeyGet", "GET", "/keys/own/")
    call("KeyUpdate", "PATCH", "/keys/own/", {"tags": {"a": "b"}})
    call("KeyList", "GET", "/keys")
    call("KeyListVersions", "GET", "/keys/own/versions")
    wrapped = call("KeyWrap", "POST", "/keys/own//wrapkey", WRAP, "node")["value"]
    call("KeyUnwrap", "POST", f"/keys/own/{key}/unwrapkey", {**WRAP, "value": wrapped}, "node")
    call("KeyEncrypt", "POST", "/keys/own//encrypt", WRAP, "node", 403)
    call("KeySign", "POST", "/keys/own//sign", {"alg": "RS256", "value": "A" * 43})
    backup = call("KeyBackup", "POST", "/keys/own/backup")
    call("KeyRestore", "POST", "/keys/restore", backup, status=409)
    call("KeyRotationPolicyGet", "GET", "/keys/own/rotationpolicy")
    call("KeyDelete", "DELETE", "/keys/own")
    call("KeyGetDeleted", "GET", "/deletedkeys/own")
    call("KeyListDeleted", "GET", "/deletedkeys")
    call("KeyGet", "GET", "/keys/own/", status=404)
    call("KeyPurge", "DELETE", "/deletedkeys/own", status=403)
    call("KeyRecover", "POST", "/deletedkeys/own/recover")
    assert requests.get(f"https://127.0.0.1:{vault.port}/keys/own/", params={"api-version": "7.4"}, verify=vault.ca_file,
                        timeout=10).status_code == 401

    records = vault.audit()
    first = records[0]["seq"]  # behind what the start made
    assert [r["seq"] for r in records] == list(range(first, first + len(done) + 1))
    objects = {name: vault.facts()["identities"][name]["objectId"] for name in ("customer", "node")}
    for record, (operation, who, status, request_id) in zip(records, done):
        claim, what = record["identity"]["claim"], record["properties"]
        assert (record["operationName"], record["resultSignature"], record["correlationId"]) == (operation, str(status), request_id)
        assert (claim["name"], claim["oid"], what["vault"]) == (who, objects[who], "main")
        assert record["resultType"] == ("Success" if status < 400 else "Failed") and bool(record["resultDescription"]) == (status >= 400)
        assert what["key"] == ("" if operation in ("KeyList", "KeyListDeleted") else "own")
        if operation in ("KeyCreate", "KeyUpdate", "KeyWrap", "KeyUnwrap", "KeySign") and status == 200:
            assert what["version"] == key
    assert records[-1]["resultDescription"] == "Unauthorized" and records[-1]["identity"]["claim"]["oid"] == ""
    assert "c2VjcmV0" not in str(records)
    assert vault.administer("audit", "--verify") == {"records": records[-1]["seq"], "first": 1, "since": vault.audit(start=True)[0]["time"],
                                                     "verdict": "every record is whole and in its place"}


def test_what_the_owner_changes_is_on_record(vault, tmp_path):
    """Who (the socket's peer), what, on what, and what came of it."""
    pem = tmp_path / "key.pem"
    pem.write_bytes(rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    vault.administer("identity", "create", "second")
    vault.administer("role", "assign", "crypto-user", "--vault=main", "--principal=second")
    vault.administer("role", "remove", "crypto-user", "--vault=main", "--principal=second")
    assert "no identity" in vault.administer("role", "assign", "crypto-user", "--vault=main", "--principal=nobody", check=False)
    vault.administer("access", "mode", "policies", "--vault=main")
    vault.administer("firewall", "default", "deny", "--vault=main")
    vault.administer("app", "create", "tool")
    secret = vault.administer("app", "secret", "tool", "--label=one")
    vault.administer("key", "import", "mine", "--vault=main", f"--pem={pem}")
    vault.administer("identity", "delete", "second")
    vault.administer("identity", "list")  # looking is no change
    records = vault.audit()
    assert [r["operationName"] for r in records] == ["IdentityCreate", "RoleAssign", "RoleRemove", "RoleAssign", "AccessMode", "FirewallDefault",
                                                     "AppCreate", "AppSecret", "KeyImport", "PrincipalDelete"]
    assert {r["identity"]["claim"]["by"] for r in records} == {f"uid {os.geteuid()}"}
    assert {r["category"] for r in records if r["operationName"] != "KeyImport"} == {"Administration"}
    assert [r["resultType"] for r in records] == ["Success"] * 3 + ["Failed"] + ["Success"] * 6
    assert records[1]["properties"] == {"role": "crypto-user", "vault": "main", "principal": "second"}
    assert records[1]["resourceId"] == "/vaults/main" and records[3]["resultDescription"]
    with open(secret["file"], encoding="ascii") as f:
        assert f.read().strip() not in str(records)
    vault.administer("audit", "--verify")


def test_what_a_start_makes_is_on_record(vault):
    records = vault.audit(start=True)
    assert [(r["operationName"], r["properties"]) for r in records] == [
        ("VaultPut", {"vault": "main"}), ("KeyCreate", {"vault": "main", "name": "data"}),
        ("IdentityCreate", {"vault": "", "name": "node"}),
        ("RoleAssign", {"vault": "main", "name": "node", "role": "crypto-service-encryption-user"}),
        ("IdentityCreate", {"vault": "", "name": "customer"}), ("RoleAssign", {"vault": "main", "name": "customer", "role": "crypto-officer"})]
    assert all(r["category"] == "Administration" and r["resultType"] == "Success" for r in records)
    vault.restart()
    assert vault.audit(start=True) == records  # there was nothing to make
    vault.stop()
    vault.settings["bootstrap-identities"] += ",customer:administrator"
    os.remove(os.path.join(vault.settings["credential-dir"], "node"))
    vault.start()
    assert [r["operationName"] for r in vault.audit(start=True)][len(records):] == ["IdentityCredential", "RoleAssign"]
    vault.administer("audit", "--verify")


def test_a_state_that_is_adopted_is_on_record(vault):
    vault.stop()
    os.remove(vault.settings["root-key-file"] + ".pin")
    vault.settings["adopt"] = "true"
    vault.start()

    def adopted():
        return [(r["category"], r["identity"]["claim"]) for r in vault.audit(start=True) if r["operationName"] == "StateAdopt"]
    assert adopted() == [("Administration", {"by": "start"})]
    del vault.settings["adopt"]
    vault.restart()
    assert len(adopted()) == 1


def test_the_turn_of_a_signing_key_is_on_record(vault):
    vault.settings["signing-key-lifetime"] = "1s"
    vault.restart()

    def turned():
        vault.token("node")
        return [r for r in vault.audit() if r["operationName"] == "SigningKeyRotate"]
    assert wait_until(turned, "another key signs")[0]["identity"]["claim"] == {"by": "signing-key-lifetime"}


def test_a_change_that_cannot_be_recorded_is_refused(vault):
    vault.stop()
    vault.env["COFFER_FAULTS"] = "audit.room=ENOSPC:0:1"
    vault.start()
    assert isinstance(vault.administer("identity", "create", "second", check=False), str)
    assert "second" not in str(vault.administer("identity", "list"))
    vault.administer("identity", "create", "second")
    assert [r["operationName"] for r in vault.audit()] == ["IdentityCreate"]


def test_refusals_are_on_record(vault):
    for method, path, status in (("GET", "/nothing", 404), ("PUT", "/keys", 405)):
        answer = vault.call(method, path)
        assert answer.status_code == status
        assert vault.audit()[-1]["correlationId"] == answer.headers["x-ms-request-id"]
    assert requests.post(f"https://127.0.0.1:{vault.port}/keys/data/create", params={"api-version": "7.4"}, data="x" * 100000,
                         headers={"Content-Type": "application/json"}, verify=vault.ca_file, timeout=10).status_code == 413
    vault.administer("firewall", "default", "deny", "--vault=main")
    assert vault.call("GET", "/keys/data/").json()["error"]["innererror"]["code"] == "ForbiddenByFirewall"
    assert [(r["operationName"], r["resultSignature"], r["resultDescription"]) for r in vault.audit() if "resultSignature" in r] == [
        ("RequestRefused", "404", "NotFound"), ("RequestRefused", "405", "MethodNotAllowed"),
        ("RequestRefused", "413", "RequestEntityTooLarge"), ("KeyGet", "403", "ForbiddenByFirewall")]


def test_strangers_cannot_fill_the_disk(programs, tmp_path):
    vault = programs.add(Vault(tmp_path / "vault", {"rotation-check": "100ms"})).start()
    with requests.Session() as session:
        for _ in range(600):
            answer = session.get(f"https://127.0.0.1:{vault.port}/keys/data/", params={"api-version": "7.4"}, verify=vault.ca_file, timeout=10)
            assert answer.status_code == 401
    bytes_before = sum(os.path.getsize(name) for name in segments(vault))

    def counted():
        return sum(r["properties"]["count"] for r in vault.audit() if r["operationName"] == "RequestsRefused")

    def single():
        return sum(r["operationName"] == "KeyGet" for r in vault.audit())
    wait_until(lambda: counted() + single() == 600, "each refusal is on record, or in a sum")
    assert 200 <= single() < 500 and bytes_before < 600 * 700
    assert vault.events("vaultRefusals")
    assert vault.call("GET", "/keys/data/").status_code == 200
    vault.administer("audit", "--verify")


def test_old_records_go_and_the_rest_proves_itself(programs, tmp_path):
    vault = programs.add(Vault(tmp_path / "vault", {"rotation-check": "100ms"})).start()
    for _ in range(5):
        assert vault.call("GET", "/keys/data/", identity="node").status_code == 200
    kept = vault.audit()[-1]  # what a careful owner keeps elsewhere
    vault.settings["audit-keep"] = "1s"
    vault.restart()
    wait_until(lambda: vault.administer("audit", "--verify")["first"] > 5, "the old records have gone")
    vault.settings["audit-keep"] = "0"
    vault.restart()
    assert vault.call("GET", "/keys/data/", identity="node").status_code == 200
    said, records = vault.administer("audit", "--verify"), vault.audit()
    assert said["first"] == records[0]["seq"] and said["since"] == records[0]["time"] and said["records"] == records[-1]["seq"]
    assert f"from number {said['first']} on" in said["verdict"]
    if said["first"] == kept["seq"] + 1:
        assert said["chainBefore"] == kept["chain"]
    assert any(r["operationName"] == "AuditRetired" for r in records)
    assert not os.path.exists(os.path.join(vault.settings["state-dir"], "audit", "00000001.log"))
    # somebody else's taking is found
    first = segments(vault)[0]
    os.rename(first, first + ".away")
    assert isinstance(vault.administer("audit", "--verify", check=False), str)
    os.rename(first + ".away", first)
    vault.administer("audit", "--verify")


def test_a_kill_loses_no_record(vault):
    for _ in range(20):
        assert vault.call("GET", "/keys/data/", identity="node").status_code == 200
    vault.kill()
    vault.start()
    assert len([r for r in vault.audit() if r["operationName"] == "KeyGet"]) == 20
    vault.administer("audit", "--verify")


@pytest.mark.parametrize("harm", ["flip", "cut", "swap", "gone"])
def test_what_is_done_to_the_log_is_found(vault, harm):
    for _ in range(2):
        for _ in range(3):
            assert vault.call("GET", "/keys/data/", identity="node").status_code == 200
        vault.stop()
        vault.start()
    vault.administer("audit", "--verify")
    first, second = segments(vault)[:2]
    if harm == "flip":
        with open(first, "r+b") as f:
            f.seek(300)
            byte = f.read(1)[0]
            f.seek(300)
            f.write(bytes([byte ^ 1]))
    elif harm == "cut":
        os.truncate(first, os.path.getsize(first) - 1)
    elif harm == "swap":
        os.rename(first, first + ".away")
        os.rename(second, first)
        os.rename(first + ".away", second)
    else:
        os.remove(second)
    said = vault.administer("audit", "--verify", check=False)
    assert isinstance(said, str) and "audit" in said and ("segment" in said or "record" in said), said
    assert vault.call("GET", "/keys/data/", identity="node").status_code == 200  # the vault serves all the same


def test_a_full_disk_refuses_operations_until_there_is_room(vault):
    vault.stop()
    vault.env["COFFER_FAULTS"] = "audit.room=ENOSPC:0:3"
    vault.start()
    for method, path in (("DELETE", "/keys/data"), ("GET", "/keys/data/"), ("POST", "/keys/data//wrapkey")):
        refused = vault.call(method, path, WRAP if method == "POST" else None)
        assert refused.status_code == 500 and refused.json()["error"]["innererror"]["code"] == "AuditLogUnavailable"
        assert "audit" in refused.json()["error"]["message"]
    assert vault.call("GET", "/keys/data/").status_code == 200  # it was not deleted, and is served again
    assert [r["operationName"] for r in vault.audit()] == ["KeyGet"]
    assert "vaultUnrecorded" in vault.log_text()
    vault.administer("audit", "--verify")


def test_a_node_rides_a_full_audit_disk_out(make_node, vault):
    """To a node it is a vault that cannot be reached: the grace period runs, nothing is revoked, and the end of it is noticed."""
    node = make_node(FAST_KEYS, vault=vault)

    def probed():
        return node.admin("status")["lastProbe"]["class"].lower()

    with node.client() as client:
        client.d.c.insert_one({"_id": 1})
        vault.stop()
        vault.env["COFFER_FAULTS"] = "audit.room=ENOSPC:0:-1"
        vault.start()
        wait_until(lambda: probed() == "unreachable", "the probe notices")
        assert client.d.c.find_one() == {"_id": 1}
        vault.stop()
        del vault.env["COFFER_FAULTS"]
        vault.start()
        wait_until(lambda: probed() == "ok", "the probe is content again")
        assert client.d.c.find_one() == {"_id": 1}
