"""The audit log of the embedded vault: each operation that the SDK's protocol has leaves one record, nothing changes the log unseen, nothing is done
that cannot be put on record."""
import base64
import json
import os
import uuid

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
    whole = [r["seq"] for r in vault.audit(start=True, tokens=True)]
    assert whole == list(range(1, len(whole) + 1)) and len(records) == len(done) + 1
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
    assert vault.administer("audit", "--verify") == {"records": whole[-1], "first": 1, "since": vault.audit(start=True)[0]["time"],
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


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def login(vault, form, **options):
    tenant = vault.facts()["tenantId"]
    return requests.post(f"https://127.0.0.1:{vault.port}/{tenant}/oauth2/v2.0/token", data=form, timeout=10, verify=vault.ca_file,
                         headers={"Host": f"login.localhost:{vault.port}"}, **options)


def test_each_token_is_on_record(vault):
    """Who got it, by what, from where; and each use of it names it."""
    facts, own = vault.facts(), str(uuid.uuid4())
    with open(facts["identities"]["node"]["secretFile"], encoding="ascii") as f:
        header = f.read()
    vault.administer("app", "create", "tool")
    made = vault.administer("app", "secret", "tool", "--label=one")
    with open(made["file"], encoding="ascii") as f:
        secret = f.read().strip()
    tool = vault.administer("identity", "show", "tool")["principals"][0]
    asked = {"api-version": "2019-08-01", "resource": facts["audience"]}
    form = {"grant_type": "client_credentials", "client_id": tool["clientId"], "client_secret": secret, "scope": facts["audience"] + "/.default"}
    tokens = [vault.token("customer"),
              requests.get(facts["appServiceEndpoint"], params=asked, headers={"X-IDENTITY-HEADER": header}, timeout=10).json()["access_token"],
              login(vault, form, params={"client-request-id": own}).json()["access_token"]]
    assert vault.call("GET", "/keys/data/", token=tokens[1]).status_code == 200
    got = vault.audit(tokens=True)
    records = [r for r in got if r["category"].endswith("SignInLogs")]
    assert [(r["category"], r["properties"]["endpoint"], r["properties"]["proof"], r["properties"]["credential"], r["identity"]["claim"]["name"])
            for r in records] == [("ManagedIdentitySignInLogs", "imds", "local-user", "", "customer"),
                                  ("ManagedIdentitySignInLogs", "app-service", "identity-header", "", "node"),
                                  ("ServicePrincipalSignInLogs", "token", "client-secret", made["id"], "tool")]
    for token, record in zip(tokens, records):
        claims, claim = claims_of(token), record["identity"]["claim"]
        assert (claim["oid"], claim["appid"], claim["tid"]) == (claims["oid"], claims["appid"], claims["tid"])
        assert record["properties"]["id"] == claims["uti"] and record["properties"]["resourceId"] == claims["aud"]
        assert (record["operationName"], record["resultType"], record["resultSignature"], record["resultDescription"]) == (
            "Sign-in activity", "Success", "200", "")
        assert record["callerIpAddress"] == "127.0.0.1" and record["properties"]["errorCode"] == 0
        assert token not in str(got) and token.split(".")[2] not in str(got)
    assert records[0]["properties"]["uid"] == os.geteuid() and records[2]["correlationId"] == own
    assert got[-1]["operationName"] == "KeyGet" and got[-1]["identity"]["claim"]["uti"] == claims_of(tokens[1])["uti"]
    assert secret not in str(got) and header not in str(got)
    vault.administer("audit", "--verify")


def test_each_refused_request_for_a_token_is_on_record(vault):
    facts = vault.facts()
    vault.administer("app", "create", "tool")
    tool = vault.administer("identity", "show", "tool")["principals"][0]
    asked = {"api-version": "2018-02-01", "resource": facts["audience"]}
    form = {"grant_type": "client_credentials", "client_id": tool["clientId"], "client_secret": "my-canary", "scope": facts["audience"] + "/.default"}
    metadata, nobody = {"Metadata": "true"}, str(uuid.uuid4())
    cases = [  # endpoint, what is sent, status, error, number, who
        ("imds", {"params": asked}, 400, "bad_request_102", 0, ""),
        ("imds", {"params": {"resource": "x"}, "headers": metadata}, 400, "invalid_request", 0, ""),
        ("imds", {"params": {**asked, "resource": "https://my-canary"}, "headers": metadata}, 400, "invalid_resource", 0, ""),
        ("imds", {"params": {**asked, "client_id": nobody}, "headers": metadata}, 400, "invalid_request", 0, ""),
        ("imds", {"params": asked, "headers": {**metadata, "Forwarded": "for=1"}}, 403, "forbidden", 0, ""),
        ("app-service", {"params": asked}, 401, "unauthorized_client", 0, ""),
        ("app-service", {"params": asked, "headers": {"X-IDENTITY-HEADER": "my-canary"}}, 401, "unauthorized_client", 0, ""),
        ("token", {}, 400, "invalid_request", 900144, ""),
        ("token", {**form, "client_id": nobody}, 400, "unauthorized_client", 700016, ""),
        ("token", form, 401, "invalid_client", 7000215, "tool"),
    ]
    ids = []
    for endpoint, sent, status, *_ in cases:
        if endpoint == "token":
            answer = login(vault, sent)
            ids.append(answer.json()["correlation_id"])
        else:
            answer = requests.get(facts["imdsEndpoint" if endpoint == "imds" else "appServiceEndpoint"], timeout=10, **sent)
            ids.append(answer.json()["correlation_id"])
            assert answer.headers["x-ms-request-id"] == ids[-1]
        assert answer.status_code == status, answer.text
    records = [r for r in vault.audit(tokens=True) if r["category"].endswith("SignInLogs")]
    assert [(r["properties"]["endpoint"], r["properties"]["httpStatusCode"], r["resultDescription"], r["properties"]["errorCode"],
             r["identity"]["claim"]["name"]) for r in records] == [(case[0], *case[2:]) for case in cases]
    assert [r["correlationId"] for r in records] == ids and {r["resultType"] for r in records} == {"Failed"}
    assert "my-canary" not in str(records)
    for path, status in (("/nothing", 404), ("/x/.well-known/openid-configuration", 400)):
        answer = requests.get(f"https://127.0.0.1:{vault.port}{path}", headers={"Host": f"login.localhost:{vault.port}"}, timeout=10,
                              verify=vault.ca_file)
        assert answer.status_code == status
        stray = vault.audit()[-1]
        assert (stray["operationName"], stray["correlationId"]) == ("RequestRefused", answer.headers["x-ms-request-id"])
    # the SDKs' probe for an endpoint is on record, and no event that anybody has to look at
    events = vault.events("vaultTokenRefused")
    assert [e["correlationId"] for e in events] == ids[1:]
    vault.administer("audit", "--verify")


def test_refused_requests_for_tokens_cannot_fill_the_disk(programs, tmp_path):
    vault = programs.add(Vault(tmp_path / "vault", {"rotation-check": "100ms"})).start()
    endpoint = vault.facts()["appServiceEndpoint"]
    with requests.Session() as session:
        for _ in range(600):
            assert session.get(endpoint, timeout=10).status_code == 401
        # who floods that endpoint hides nothing of the other
        assert requests.get(f"https://127.0.0.1:{vault.port}/keys/data/", params={"api-version": "7.4"}, verify=vault.ca_file,
                            timeout=10).status_code == 401
    assert any(r["operationName"] == "KeyGet" for r in vault.audit())

    def single():
        return sum(r["category"].endswith("SignInLogs") for r in vault.audit(tokens=True))

    def counted():
        return sum(r["properties"]["count"] for r in vault.audit() if r["operationName"] == "RequestsRefused")
    wait_until(lambda: counted() + single() == 600, "each refusal is on record, or in a sum")
    assert 200 <= single() < 500
    vault.administer("audit", "--verify")


@pytest.mark.parametrize("fault", ["audit.room", "audit.write"])
def test_no_token_is_given_without_a_record(vault, fault):
    facts = vault.facts()
    vault.administer("app", "create", "tool")
    with open(vault.administer("app", "secret", "tool")["file"], encoding="ascii") as f:
        secret = f.read().strip()
    client_id = vault.administer("identity", "show", "tool")["principals"][0]["clientId"]
    vault.stop()
    vault.env["COFFER_FAULTS"] = f"{fault}=ENOSPC:0:2"
    vault.start()
    refused = requests.get(facts["imdsEndpoint"], headers={"Metadata": "true"}, timeout=10, params={
        "api-version": "2018-02-01", "resource": facts["audience"], "client_id": vault.client_id("node")})
    assert refused.status_code == 500 and refused.json()["error"] == "server_error" and "access_token" not in refused.text
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "scope": facts["audience"] + "/.default"}
    refused = login(vault, form)
    assert refused.status_code == 503 and refused.headers["Retry-After"] and "access_token" not in refused.text
    assert refused.json()["error"] == "temporarily_unavailable"
    assert login(vault, form).status_code == 200
    assert [r["resultType"] for r in vault.audit(tokens=True) if r["category"].endswith("SignInLogs")] == ["Success"]
    vault.administer("audit", "--verify")


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
    kept = vault.audit(tokens=True)[-1]  # what a careful owner keeps elsewhere
    vault.settings["audit-keep"] = "1s"
    vault.restart()
    wait_until(lambda: vault.administer("audit", "--verify")["first"] > 5, "the old records have gone")
    vault.settings["audit-keep"] = "0"
    vault.restart()
    assert vault.call("GET", "/keys/data/", identity="node").status_code == 200
    said, records = vault.administer("audit", "--verify"), vault.audit(start=True, tokens=True)
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
    token = vault.token()
    vault.stop()
    vault.env["COFFER_FAULTS"] = "audit.room=ENOSPC:0:3"
    vault.start()
    for method, path in (("DELETE", "/keys/data"), ("GET", "/keys/data/"), ("POST", "/keys/data//wrapkey")):
        refused = vault.call(method, path, WRAP if method == "POST" else None, token=token)
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
