"""The audit log of the embedded vault: each operation that the SDK's protocol has leaves one record, nothing changes the log unseen, nothing is done
that cannot be put on record."""
import os

import pytest
import requests

from processes import FAST_KEYS, wait_until

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
    assert [r["seq"] for r in records] == list(range(1, len(done) + 2))
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
    assert vault.administer("audit", "--verify") == {"records": len(records), "verdict": "every record is whole and in its place"}


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
