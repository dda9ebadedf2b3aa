"""The token endpoints line by line, over plain HTTP: what clients send, and the very members and types that they read."""
import base64
import json
import uuid

import pytest
import requests

TEXTS = {"access_token", "refresh_token", "expires_in", "expires_on", "not_before", "resource", "token_type", "client_id"}


def part(token, n):
    text = token.split(".")[n]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


@pytest.fixture
def facts(vault):
    return vault.facts()


def imds(facts, headers=None, path="", **params):
    asked = {"api-version": "2018-02-01", "resource": facts["audience"], "client_id": facts["identities"]["node"]["clientId"], **params}
    return requests.get(facts["imdsEndpoint"] + path, headers={"Metadata": "true", **(headers or {})}, timeout=10,
                        params={k: v for k, v in asked.items() if v is not None})


def app_service(facts, header="X-IDENTITY-HEADER", **params):
    with open(facts["identities"]["node"]["secretFile"], encoding="ascii") as f:
        secret = f.read()
    return requests.get(facts["appServiceEndpoint"], headers={header: secret}, timeout=10,
                        params={"api-version": "2019-08-01", "resource": facts["audience"], **params})


def login(vault, path, form=None):
    return requests.request("POST" if form is not None else "GET", f"https://127.0.0.1:{vault.port}{path}", data=form, timeout=10,
                            verify=vault.ca_file, headers={"Host": f"login.localhost:{vault.port}"})


def test_the_answer_of_both_endpoints(facts):
    """All members are texts; what counts is expires_on."""
    for answer in (imds(facts), imds(facts, path="/"), app_service(facts)):
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert set(said) == TEXTS and all(isinstance(v, str) for v in said.values())
        claims = part(said["access_token"], 1)
        assert (said["refresh_token"], said["token_type"], said["resource"]) == ("", "Bearer", facts["audience"])
        assert int(said["expires_on"]) == claims["exp"] and int(said["not_before"]) == claims["nbf"] and said["expires_in"] == "86400"
        assert said["client_id"] == claims["appid"] == facts["identities"]["node"]["clientId"]


def test_what_clients_send_besides_is_let_pass(facts):
    noise = {"x-client-sku": "msal.js.node", "x-client-ver": "5.6.0", "Content-Type": "application/x-www-form-urlencoded"}
    more = {"xms_cc": "cp1", "token_sha256_to_refresh": "0" * 64, "never_heard_of": "x"}
    answer = imds(facts, {**noise, "Metadata": "True"}, **more)
    assert answer.status_code == 200 and part(answer.json()["access_token"], 1)["xms_cc"] == ["cp1"]
    assert imds(facts, resource=facts["audience"] + "/").status_code == 200
    own = str(uuid.uuid4())
    refused = imds(facts, {"x-ms-client-request-id": own}, resource="https://elsewhere")
    assert refused.status_code == 400 and refused.json()["error"] == "invalid_resource" and refused.json()["correlation_id"] == own
    assert imds(facts, {"x-ms-client-request-id": "no id"}, resource="x").json()["correlation_id"] != "no id"


def test_every_selector_names_the_identity(facts):
    node = facts["identities"]["node"]
    selectors = {"client_id": "clientId", "object_id": "objectId", "msi_res_id": "resourceId"}
    for name, member in selectors.items():
        for value in (node[member], node[member].upper()):
            answer = imds(facts, **{"client_id": None, name: value})
            assert answer.status_code == 200 and part(answer.json()["access_token"], 1)["oid"] == node["objectId"], name
    for name, member in {**selectors, "principal_id": "objectId", "mi_res_id": "resourceId"}.items():
        if name != "msi_res_id":
            assert app_service(facts, **{name: node[member]}).status_code == 200, name
    assert imds(facts, client_id=None).json()["error"] == "invalid_request", "there are two"
    assert imds(facts, object_id=node["objectId"]).status_code == 400, "two selectors"
    unknown = imds(facts, client_id=str(uuid.uuid4()))
    assert (unknown.status_code, unknown.json()["error"], unknown.json()["error_description"]) == (400, "invalid_request", "Identity not found")
    assert app_service(facts, client_id=facts["identities"]["customer"]["clientId"]).status_code == 400, "somebody else's"


def test_the_probe_for_an_endpoint_is_answered(facts):
    """DefaultAzureCredential asks without anything, and takes each answer for an endpoint but a 403 that says "unreachable"."""
    answer = requests.get(facts["imdsEndpoint"], timeout=10)
    assert answer.status_code == 400 and answer.json()["error"] == "bad_request_102"
    forwarded = imds(facts, {"X-Forwarded-For": "192.0.2.1"})
    assert forwarded.status_code == 403 and "unreachable" not in forwarded.text


def test_discovery_has_what_clients_need(vault, facts):
    tenant = facts["tenantId"]
    for v in ("v2.0/", ""):
        said = login(vault, f"/{tenant}/{v}.well-known/openid-configuration").json()
        assert said["issuer"] == f"{facts['authority']}/{tenant}/{v.rstrip('/')}"
        assert said["token_endpoint"] == f"{facts['authority']}/{tenant}/oauth2/{v}token" and said["authorization_endpoint"]
        assert said["id_token_signing_alg_values_supported"] == ["RS256"]
        assert said["token_endpoint_auth_methods_supported"] == ["client_secret_post", "private_key_jwt"]
        assert {"response_types_supported", "subject_types_supported", "scopes_supported", "claims_supported"} <= set(said)
        keys = login(vault, said["jwks_uri"][len(facts["authority"]):]).json()["keys"]
        assert all(k["use"] == "sig" and k["kty"] == "RSA" and {"kid", "x5t", "n", "e"} <= set(k) for k in keys)
        header = part(vault.token(), 0)
        assert header["typ"] == "JWT" and header["alg"] == "RS256" and header["kid"] == header["x5t"] in [k["kid"] for k in keys]
    for wrong in ("nobody", "a%2f..%2fb", "x%0d%0aSet-Cookie:%20y", "A" * 2000):
        refused = login(vault, f"/{wrong}/v2.0/.well-known/openid-configuration")
        assert refused.status_code in (400, 404) and "Set-Cookie" not in refused.headers, wrong


def test_an_identity_trusts_twenty_issuers_at_most(vault):
    def federate(n, issuer="https://issuer.example"):
        return vault.administer("identity", "federate", "node", f"--federation=f{n}", "--issuer=" + issuer, "--subject=s", check=False)
    for wrong in ("http://issuer.example", "https://issuer.example?a=b", "file:///etc/passwd", "https://a b"):
        assert "https URL" in federate(0, wrong)
    assert all(federate(n) == {} for n in range(20))
    assert "20 federations" in federate(20)
    trusted = vault.administer("identity", "show", "node")["principals"][0]["federations"]
    assert len(trusted) == 20 and {f["audience"] for f in trusted} == {"api://AzureADTokenExchange"}
