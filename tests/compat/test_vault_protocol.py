"""The keys protocol, request by request: what stands on the wire, beyond what the SDKs show. One vault for all of them."""
import base64
import http.client
import json
import ssl
import time

import pytest
import requests

from processes import Vault

VERSIONS = ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6-preview.2", "7.6", "2025-06-01-preview", "2025-07-01", "2026-01-01-preview",
            "2026-03-01-preview", "2026-04-01", "2026-05-01-preview", "2026-07-01-preview"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("protocol")
    others = directory / "vaults.json"
    others.write_text(json.dumps({"main": {"properties": {"throttling": {"createPer10Seconds": 0}}},
                                  "slow": {"properties": {"throttling": {"createPer10Seconds": 1}}},
                                  "policies": {"properties": {"enableRbacAuthorization": False}}}))
    v = Vault(directory / "vault", settings={"vaults-file": str(others)}).start()
    v.administer("role", "assign", "crypto-officer", "--vault=slow", "--principal=customer")
    v.administer("policy", "set", "node", "--vault=policies", "--permissions=get,list,wrapKey,unwrapKey")
    yield v
    v.kill()


def ask(vault, method, path, body=None, identity="customer", version="7.4", host=None, **headers):
    if identity:
        headers["Authorization"] = "Bearer " + vault.token(identity)
    if host:
        headers["Host"] = f"{host}.vault.localhost:{vault.port}"
    mark = "&" if "?" in path else "?"
    query = f"{mark}api-version={version}" if version is not None else ""
    return requests.request(method, f"https://127.0.0.1:{vault.port}{path}{query}", json=body, headers=headers, timeout=20, verify=vault.ca_file)


def done(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def refused(answer, status, code, inner=None):
    error = done(answer, status)["error"]
    assert error["code"] == code and error.get("innererror", {}).get("code") == inner and error["message"], error
    return error["message"]


def create(vault, name, **body):
    return done(ask(vault, "POST", f"/keys/{name}/create", {"kty": "EC", **body}))


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_client_that_goes_on_sending_reads_why_it_was_refused(served):
    """10 MB against a limit of 64 KiB, or to nothing: refused on its headers alone, while the client has just begun to send."""
    context = ssl.create_default_context(cafile=served.ca_file)
    for path, status in (("/keys/data/create", 413), ("/nothing", 404)):
        connection = http.client.HTTPSConnection("localhost", served.port, timeout=60, context=context)
        connection.putrequest("POST", f"{path}?api-version=7.4")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(10 << 20))
        connection.endheaders()
        for _ in range(160):
            connection.send(b"x" * 65536)
            time.sleep(0.01)  # slowly: the answer is there long before the end
        answer = connection.getresponse()
        assert answer.status == status and json.load(answer)["error"]["message"]
        connection.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_is_taken(served, version):
    key = done(ask(served, "GET", "/keys/data/", version=version))
    assert ("key_size" in key["attributes"]) == version.startswith("20")


def test_other_versions_are_refused(served):
    for version in (None, "", "6.9", "7.7", "7", "latest", "2019-01-01", "7.4;drop"):
        refused(ask(served, "GET", "/keys", version=version), 400, "BadParameter")


def test_the_oddities_of_clients_are_borne(served):
    token = {"Authorization": "Bearer " + served.token()}
    for path in ("/keys/data/?api%2Dversion=7.4", "/keys/data?api-version=7.4", "/keys?api%2Dversion=7.4", "/keys/?api-version=7.4",
                 "/keys/data/versions/?api-version=7.4", "/deletedkeys/?api-version=7.4", "/keys/DATA/?api-version=7.4"):
        answer = requests.get(f"https://127.0.0.1:{served.port}{path}", headers=token, timeout=20, verify=served.ca_file)
        assert answer.status_code == 200, (path, answer.text)
    wrapped = done(ask(served, "POST", "/keys/data//wrapkey", {"alg": "RSA-OAEP-256", "value": "AAAA"}))
    assert len(wrapped["kid"].rsplit("/", 1)[1]) == 32  # the version, named


def test_the_challenge_comes_first_and_the_connection_stays(served):
    context = ssl.create_default_context(cafile=served.ca_file)
    conn = http.client.HTTPSConnection("127.0.0.1", served.port, context=context, timeout=20)
    conn.request("POST", "/keys/asked/create?api-version=7.4", headers={"Content-Length": "0"})
    first = conn.getresponse()
    assert first.status == 401 and json.loads(first.read())["error"]["message"].startswith("AKV10000: Request is missing a Bearer")
    tenant = served.facts()["tenantId"]
    challenge = first.getheader("WWW-Authenticate")
    assert challenge == (f'Bearer authorization="{served.facts()["authority"]}/{tenant}", resource="https://vault.localhost:{served.port}"'), challenge
    sock = conn.sock
    assert sock is not None
    conn.request("POST", "/keys/asked/create?api-version=7.4", body=json.dumps({"kty": "EC"}),
                 headers={"Content-Type": "application/json", "Authorization": "Bearer " + served.token(), "x-ms-client-request-id": "mine"})
    second = conn.getresponse()
    assert second.status == 200 and conn.sock is sock
    second.read()
    assert second.getheader("x-ms-client-request-id") == "mine" and second.getheader("x-ms-request-id")
    assert second.getheader("x-ms-keyvault-region") == "local" and second.getheader("x-ms-keyvault-service-version")
    assert second.getheader("x-ms-keyvault-network-info") == "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;"
    conn.close()
    refused(ask(served, "GET", "/keys", identity=None, Authorization="Bearer no.token.this"), 401, "Unauthorized")


def test_what_a_new_key_is_like(served):
    key = done(ask(served, "POST", "/keys/defaults/create", {"kty": "RSA"}, version="2025-07-01"))
    assert set(key) <= {"key", "attributes", "tags", "managed"}
    jwk = key["key"]
    assert jwk["kid"].startswith(served.url.replace("main.vault.localhost", "")[:8]) and len(jwk["kid"].rsplit("/", 1)[1]) == 32
    assert jwk["kty"] == "RSA" and set(jwk) == {"kid", "kty", "key_ops", "n", "e"} and jwk["e"] == "AQAB" and "=" not in jwk["n"]
    assert jwk["key_ops"] == ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"]
    a = key["attributes"]
    assert a["enabled"] is True and a["recoveryLevel"] == "Recoverable" and a["recoverableDays"] == 90 and a["exportable"] is False
    assert a["hsmPlatform"] == "0" and a["key_size"] == 2048 and abs(a["created"] - time.time()) < 600 and "nbf" not in a and "exp" not in a
    item = next(i for i in done(ask(served, "GET", "/keys?maxresults=25"))["value"] if i["kid"].endswith("/keys/defaults"))
    assert set(item) <= {"kid", "attributes", "tags", "managed"}  # without version
    versions = done(ask(served, "GET", "/keys/defaults/versions"))
    assert versions["value"][0]["kid"] == jwk["kid"] and versions["nextLink"] is None


def test_names_and_tags_have_limits(served):
    create(served, "n" * 127)
    refused(ask(served, "POST", f"/keys/{'n' * 128}/create", {"kty": "EC"}), 400, "BadParameter")
    tags = {f"{i}" + "x" * (256 - len(str(i))): "ü" * 256 for i in range(15)}
    assert create(served, "tagged", tags=tags)["tags"] == tags
    for bad in ({**tags, "16": ""}, {"x" * 257: ""}, {"x": "y" * 257}, {"": "x"}, {"x": 1}):
        refused(ask(served, "POST", "/keys/tagged/create", {"kty": "EC", "tags": bad}), 400, "BadParameter")


@pytest.mark.parametrize("bits,largest", [(2048, 190), (3072, 318), (4096, 446)])
def test_the_largest_value_that_can_be_wrapped(served, bits, largest):
    done(ask(served, "POST", f"/keys/rsa-{bits}/create", {"kty": "RSA", "key_size": bits}))
    limits = {"RSA-OAEP-256": largest, "RSA-OAEP": bits // 8 - 42, "RSA1_5": bits // 8 - 11}
    for close, opening in (("wrapkey", "unwrapkey"), ("encrypt", "decrypt")):
        for alg, most in limits.items():
            value = b64u(b"\x5a" * most)
            closed = done(ask(served, "POST", f"/keys/rsa-{bits}//{close}", {"alg": alg, "value": value}))
            version = closed["kid"].rsplit("/", 1)[1]
            assert done(ask(served, "POST", f"/keys/rsa-{bits}/{version}/{opening}", {"alg": alg, "value": closed["value"]}))["value"] == value
            refused(ask(served, "POST", f"/keys/rsa-{bits}//{close}", {"alg": alg, "value": b64u(b"\x5a" * (most + 1))}), 400, "BadParameter")


def test_algorithms_of_other_keys_are_refused(served):
    create(served, "curve")
    for alg in ("A128KW", "A192KW", "A256KW", "CKM_AES_KEY_WRAP", "CKM_AES_KEY_WRAP_PAD", "A256GCM", "A128CBC", "A256CBCPAD", "RSA-OAEP-512", "none"):
        for op in ("wrapkey", "unwrapkey", "encrypt", "decrypt"):
            refused(ask(served, "POST", f"/keys/data//{op}", {"alg": alg, "value": "AAAA"}), 400, "BadParameter")
    for kty in ("oct", "oct-HSM", "RSA-HSM", "EC-HSM", "OKP"):
        refused(ask(served, "POST", "/keys/never/create", {"kty": kty}), 400, "BadParameter")
    for op in ("wrapkey", "decrypt"):  # a curve's key does not have them among its operations
        refused(ask(served, "POST", f"/keys/curve//{op}", {"alg": "RSA-OAEP", "value": "AAAA"}), 403, "Forbidden", "KeyOperationForbidden")
    refused(ask(served, "POST", "/keys/curve//sign", {"alg": "RS256", "value": b64u(bytes(32))}), 400, "BadParameter")


def test_what_each_state_of_a_version_allows(served):
    """Section 5's table: closing operations, opening ones, get; and that lists and PATCH go on."""
    done(ask(served, "POST", "/keys/states/create", {"kty": "RSA"}))
    digest = {"alg": "RS256", "value": b64u(bytes(32))}
    wrapped = done(ask(served, "POST", "/keys/states//wrapkey", {"alg": "RSA-OAEP", "value": "AAAA"}))["value"]
    signature = done(ask(served, "POST", "/keys/states//sign", digest))["value"]
    close = [("wrapkey", {"alg": "RSA-OAEP", "value": "AAAA"}), ("encrypt", {"alg": "RSA-OAEP", "value": "AAAA"}), ("sign", digest)]
    opening = [("unwrapkey", {"alg": "RSA-OAEP", "value": wrapped}), ("decrypt", {"alg": "RSA-OAEP", "value": wrapped}),
               ("verify", {"alg": "RS256", "digest": digest["value"], "value": signature})]
    now = int(time.time())
    for attributes, closes, opens, got in (({"nbf": now - 100, "exp": now + 1000}, None, None, None),
                                           ({"nbf": now + 900}, "KeyNotYetValidOrExpired", None, None),
                                           ({"nbf": None, "exp": now - 10}, "KeyNotYetValidOrExpired", None, None),
                                           ({"exp": None, "enabled": False}, "KeyDisabled", "KeyDisabled", "KeyDisabled"),
                                           ({"enabled": True}, None, None, None)):
        done(ask(served, "PATCH", "/keys/states/", {"attributes": attributes}))
        for calls, inner in ((close, closes), (opening, opens)):
            for op, body in calls:
                answer = ask(served, "POST", f"/keys/states//{op}", body)
                if inner:
                    assert op.rstrip("key") in refused(answer, 403, "Forbidden", inner).lower()
                else:
                    done(answer)
        answer = ask(served, "GET", "/keys/states/")
        done(answer) if not got else refused(answer, 403, "Forbidden", got)
        assert any(i["kid"].endswith("/keys/states") for i in walk(served, "/keys"))
        assert len(walk(served, "/keys/states/versions")) == 1
    for op, ops, body in [(op, [o for o in ("wrapKey", "unwrapKey", "encrypt", "decrypt", "sign", "verify") if o.lower() != op], body)
                          for op, body in close + opening]:
        done(ask(served, "PATCH", "/keys/states/", {"key_ops": ops}))
        refused(ask(served, "POST", f"/keys/states//{op}", body), 403, "Forbidden", "KeyOperationForbidden")


def walk(vault, path):
    items, link = [], path + "?maxresults=25&api-version=7.4"
    while link:
        page = done(ask(vault, "GET", link, version=None))
        items += page["value"]
        link = page["nextLink"] and "/" + page["nextLink"].split("/", 3)[3]
    return items


def test_the_lists_are_paged_to_their_end(served):
    for i in range(28):
        create(served, f"page-{i:02}")
    mine = [i["kid"].rsplit("/", 1)[1] for i in walk(served, "/keys") if "/keys/page-" in i["kid"]]
    assert mine == [f"page-{i:02}" for i in range(28)]
    first = done(ask(served, "GET", "/keys"))
    assert len(first["value"]) == 25 and first["nextLink"].startswith("https://main.vault.localhost:")
    for wrong in ("0", "26", "-1", "x"):
        refused(ask(served, "GET", f"/keys?maxresults={wrong}"), 400, "BadParameter")


def test_deletion_from_end_to_end(served):
    key = create(served, "gone")
    deleted = done(ask(served, "DELETE", "/keys/gone"))
    assert deleted["recoveryId"].endswith("/deletedkeys/gone") and deleted["scheduledPurgeDate"] - deleted["deletedDate"] == 90 * 86400
    for method, path, body in (("GET", "/keys/gone/", None), ("PATCH", "/keys/gone/", {}), ("POST", "/keys/gone/rotate", None),
                               ("POST", "/keys/gone/backup", None), ("GET", "/keys/gone/rotationpolicy", None), ("DELETE", "/keys/gone", None),
                               ("POST", "/keys/gone//sign", {"alg": "ES256", "value": b64u(bytes(32))}),
                               ("POST", "/keys/gone//release", {"target": "a.b.c"})):
        message = refused(ask(served, method, path, body), 404, "KeyNotFound")
        assert "gone" in message
    refused(ask(served, "POST", "/keys/gone/create", {"kty": "EC"}), 409, "Conflict", "ObjectIsDeletedButRecoverable")
    assert done(ask(served, "GET", "/deletedkeys/gone"))["key"]["kid"] == key["key"]["kid"]
    item = next(i for i in walk(served, "/deletedkeys") if i["kid"].endswith("/keys/gone"))
    assert {"recoveryId", "deletedDate", "scheduledPurgeDate"} <= set(item)
    refused(ask(served, "DELETE", "/deletedkeys/gone"), 403, "Forbidden", "ForbiddenByPolicy")  # purge protection
    assert done(ask(served, "POST", "/deletedkeys/gone/recover"))["key"]["kid"] == key["key"]["kid"]
    done(ask(served, "GET", "/keys/gone/"))
    refused(ask(served, "POST", "/deletedkeys/gone/recover"), 404, "KeyNotFound")


def test_refusals_name_what_is_missing(served):
    text = refused(ask(served, "POST", "/keys/data//sign", {"alg": "RS256", "value": "AAAA"}, identity="node"), 403, "Forbidden", "ForbiddenByRbac")
    for line in ("Caller: appid=", "Action: 'Microsoft.KeyVault/vaults/keys/sign/action'", "Resource: '", "Assignment: ", "DecisionReason: ", "Vault: "):
        assert line in text, text
    text = refused(ask(served, "POST", "/keys/k/create", {"kty": "EC"}, identity="node", host="policies"), 403, "Forbidden", "AccessDenied")
    for part in ("appid=", "oid=", "iss=", "keys create permission", "policies;location="):
        assert part in text, text
    assert done(ask(served, "GET", "/keys", identity="node", host="policies"))["value"] == []


def test_past_its_rate_a_vault_says_when_to_come_back(served):
    done(ask(served, "POST", "/keys/one/create", {"kty": "EC"}, host="slow"))
    for path in ("/keys/two/create", "/keys/one/rotate", "/keys/one//release"):  # one bucket
        answer = ask(served, "POST", path, {"kty": "EC", "target": "a.b.c"}, host="slow")
        assert "VaultRequestTypeLimitReached" in refused(answer, 429, "Throttled")
        assert 1 <= int(answer.headers["Retry-After"]) <= 11
    done(ask(served, "GET", "/keys/one/", host="slow"))


def test_only_managed_hsms_offer_these(served):
    for method, path in (("POST", "/rng"), ("GET", "/keys/data//attestation"), ("GET", "/keys/data/" + "0" * 32 + "/attestation")):
        refused(ask(served, method, path, {"count": 1} if method == "POST" else None), 404, "NotFound")


def test_bodies_that_are_none_are_refused(served):
    headers = {"Authorization": "Bearer " + served.token(), "Content-Type": "application/json"}
    for path in ("/keys/x/create", "/keys/data//wrapkey", "/keys/data//sign", "/keys/data//verify", "/keys/restore", "/keys/data//release"):
        for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"a":1,"a":2}', b"[" * 5000):
            answer = requests.post(f"https://127.0.0.1:{served.port}{path}?api-version=7.4", data=body, headers=headers, timeout=20, verify=served.ca_file)
            refused(answer, 400, "BadParameter")


@pytest.mark.parametrize("header", ["X-HTTP-Method", "X-HTTP-Method-Override"])
def test_a_verb_may_stand_in_a_header(served, header):
    """For clients behind something that lets only GET and POST through."""
    path = f"/keys/{header.lower()}"
    create(served, header.lower())
    assert done(ask(served, "POST", path + "/", {"tags": {"a": "b"}}, **{header: "PATCH"}))["tags"] == {"a": "b"}
    assert done(ask(served, "POST", path + "/", **{header: "GET"}))["tags"] == {"a": "b"}
    # the verb that is meant decides what is needed; it is a POST's alone, and one that there is
    refused(ask(served, "POST", path, identity="node", **{header: "DELETE"}), 403, "Forbidden", "ForbiddenByRbac")
    assert "recoveryId" not in done(ask(served, "GET", path + "/", **{header: "DELETE"}))
    refused(ask(served, "POST", path + "/", **{header: "TRACE"}), 405, "MethodNotAllowed")
    assert "recoveryId" in done(ask(served, "POST", path, **{header: "DELETE"}))
    # there is no such thing for tokens
    assert requests.post(served.facts()["imdsEndpoint"], headers={"Metadata": "true", header: "GET"}, timeout=10).status_code == 405
