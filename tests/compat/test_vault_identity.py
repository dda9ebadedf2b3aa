"""Who may ask the embedded vault: identities made by the command line, tokens by the official SDKs in every way that they know, and by
hand where it has to be wrong."""
import base64
import calendar
import json
import os
import subprocess
import sys
import textwrap
import time
import uuid

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from issuer import Issuer, b64u, certificate, pem, signed
from processes import FAST_KEYS, Vault, binary, wait_until
from sealing import INACCESSIBLE, fill, sealed_error, serves
from test_node_driver import run_node_tests

SUBJECT = "system:serviceaccount:db:node"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture
def issuer(tmp_path):
    one = Issuer(str(tmp_path / "issuer"))
    yield one
    one.close()


@pytest.fixture
def vault(programs, tmp_path, issuer):
    return programs.add(Vault(tmp_path / "vault", {"federation-ca-file": issuer.ca_file,
                                                   "bootstrap-identities": "node:crypto-officer,customer:crypto-officer,"
                                                                           "tool:crypto-officer"})).start()


@pytest.fixture
def owner(vault):
    """What the vault's owner does with `coffer vault`."""
    return vault.administer


def show(owner, name):
    return owner("identity", "show", name)["principals"][0]


def token_endpoint(vault):
    return f"https://localhost:{vault.port}/{vault.facts()['tenantId']}/oauth2/v2.0/token"


def ask(vault, client_id, **fields):
    """The answer of the token endpoint; it is served for its own name only."""
    body = {"grant_type": "client_credentials", "client_id": client_id, "scope": vault.facts()["audience"] + "/.default", **fields}
    return requests.post(token_endpoint(vault), data=body, headers={"Host": f"login.localhost:{vault.port}"}, verify=vault.ca_file, timeout=20)


def code_of(answer):
    return (answer.json().get("error_codes") or [0])[0]


# ---- the SDKs ----

class Setup:
    """Everything that a user's environment holds: an application with a secret and a certificate, an identity that trusts an issuer."""

    def __init__(self, vault, owner, issuer, directory):
        facts = vault.facts()
        app = owner("app", "create", "backup-tool")["principals"][0]
        secret = owner("app", "secret", "backup-tool", "--label=test")
        key = rsa.generate_private_key(65537, 2048)
        cert = certificate("backup-tool", key)
        os.makedirs(directory, exist_ok=True)
        self.pem_file, cert_file, self.token_file = (os.path.join(directory, n) for n in ("both.pem", "cert.pem", "token"))
        for path, content in ((self.pem_file, pem(key) + pem(cert)), (cert_file, pem(cert)), (self.token_file, issuer.token(SUBJECT).encode())):
            with open(path, "wb") as f:
                f.write(content)
        owner("app", "certificate", "backup-tool", "--file=" + cert_file)
        owner("identity", "federate", "node", "--federation=k8s", "--issuer=" + issuer.url, "--subject=" + SUBJECT)
        owner("role", "assign", "crypto-officer", "--vault=main", "--principal=backup-tool")
        with open(secret["file"], encoding="ascii") as f:
            self.secret = f.read()
        with open(facts["identities"]["node"]["secretFile"], encoding="ascii") as f:
            header = f.read()
        self.env = {
            "VAULT_URL": vault.url,
            "AUTHORITY": facts["authority"],
            "TENANT": facts["tenantId"],
            "APP_CLIENT_ID": app["clientId"],
            "APP_SECRET": self.secret,
            "APP_CERTIFICATE": self.pem_file,
            "NODE_CLIENT_ID": facts["identities"]["node"]["clientId"],
            "NODE_RESOURCE_ID": facts["identities"]["node"]["resourceId"],
            "NODE_OBJECT_ID": facts["identities"]["node"]["objectId"],
            "FEDERATED_FILE": self.token_file,
            "IMDS": facts["tokenAuthority"],
            "APP_SERVICE_ENDPOINT": facts["appServiceEndpoint"],
            "APP_SERVICE_HEADER": header,
            "REQUESTS_CA_BUNDLE": vault.ca_file,
            "NODE_EXTRA_CA_CERTS": vault.ca_file,
        }


@pytest.fixture
def ways(vault, owner, issuer, tmp_path):
    return Setup(vault, owner, issuer, str(tmp_path / "user"))


PYTHON = textwrap.dedent("""
    import os
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import CertificateCredential, ClientSecretCredential, ManagedIdentityCredential, WorkloadIdentityCredential
    from azure.keyvault.keys import KeyClient
    from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

    e = os.environ
    private = {"authority": e["AUTHORITY"], "disable_instance_discovery": True}

    def use(name, credential):
        keys = KeyClient(e["VAULT_URL"], credential)
        crypto = CryptographyClient(keys.get_key("data"), credential)
        wrapped = crypto.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"k" * 32)
        assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key == b"k" * 32
        print("ok", name)

    use("secret", ClientSecretCredential(e["TENANT"], e["APP_CLIENT_ID"], e["APP_SECRET"], **private))
    use("certificate", CertificateCredential(e["TENANT"], e["APP_CLIENT_ID"], e["APP_CERTIFICATE"], **private))
    use("workload", WorkloadIdentityCredential(tenant_id=e["TENANT"], client_id=e["NODE_CLIENT_ID"], token_file_path=e["FEDERATED_FILE"],
                                               **private))
    e["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = e["IMDS"]
    use("imds by client", ManagedIdentityCredential(client_id=e["NODE_CLIENT_ID"]))
    use("imds by resource", ManagedIdentityCredential(identity_config={"resource_id": e["NODE_RESOURCE_ID"]}))
    use("imds by object", ManagedIdentityCredential(identity_config={"object_id": e["NODE_OBJECT_ID"]}))
    del e["AZURE_POD_IDENTITY_AUTHORITY_HOST"]
    e["IDENTITY_ENDPOINT"], e["IDENTITY_HEADER"] = e["APP_SERVICE_ENDPOINT"], e["APP_SERVICE_HEADER"]
    use("app service", ManagedIdentityCredential(client_id=e["NODE_CLIENT_ID"]))
    try:
        use("guess", ClientSecretCredential(e["TENANT"], e["APP_CLIENT_ID"], "guess", **private))
        raise SystemExit("a guessed secret opens the vault")
    except ClientAuthenticationError as error:
        assert "AADSTS7000215" in str(error), error
    print("all done")
""")


def test_every_credential_of_the_python_sdk(ways):
    done = subprocess.run([sys.executable, "-c", PYTHON], env={**os.environ, **ways.env}, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0 and "all done" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 7


def test_every_credential_of_the_node_sdk(ways):
    run_node_tests("identity.test.mjs", ways.env)


REVOKED = textwrap.dedent("""
    import os, shlex, subprocess
    from azure.identity import ClientSecretCredential, ManagedIdentityCredential, WorkloadIdentityCredential
    from azure.keyvault.keys import KeyClient

    e = os.environ

    private = {"authority": e["AUTHORITY"], "disable_instance_discovery": True}

    def credentials():  # one after the other: a managed identity's reads its surroundings at each request
        yield ClientSecretCredential(e["TENANT"], e["APP_CLIENT_ID"], e["APP_SECRET"], **private)
        yield WorkloadIdentityCredential(tenant_id=e["TENANT"], client_id=e["NODE_CLIENT_ID"], token_file_path=e["FEDERATED_FILE"], **private)
        e["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = e["IMDS"]
        yield ManagedIdentityCredential(client_id=e["NODE_CLIENT_ID"])
        e["IDENTITY_ENDPOINT"], e["IDENTITY_HEADER"] = e["APP_SERVICE_ENDPOINT"], e["APP_SERVICE_HEADER"]
        yield ManagedIdentityCredential(client_id=e["NODE_CLIENT_ID"])
    for credential in credentials():
        keys = KeyClient(e["VAULT_URL"], credential)
        keys.get_key("data")
        subprocess.run(shlex.split(e["ROTATE"]), check=True, capture_output=True)
        keys.get_key("data")
        KeyClient(e["VAULT_URL"], credential).get_key("data")
    print("all done")
""")


@pytest.mark.parametrize("how", ["signing key", "principals"])
def test_clients_go_on_when_their_tokens_are_taken_back(vault, owner, ways, tmp_path, how):
    """The signing key is compromised, or a credential had leaked: every token that it signed, or that the principal was given, is worthless, and the
    SDKs, which keep them, are told so by a claims challenge."""
    verbs = ["signing-key rotate --compromised"] if how == "signing key" else ["identity revoke-tokens node", "app revoke-tokens backup-tool"]
    script = tmp_path / "take-back"
    script.write_text("set -e\n" + "".join(f"{binary('coffer')} vault {verb} --admin-socket={vault.path('state', 'admin.sock')}\n" for verb in verbs))
    rotate = f"sh {script}"
    done = subprocess.run([sys.executable, "-c", REVOKED], env={**os.environ, **ways.env, "ROTATE": rotate}, capture_output=True, text=True,
                          timeout=180, check=False)
    assert done.returncode == 0 and "all done" in done.stdout, done.stdout + done.stderr
    run_node_tests("revoked.test.mjs", {**ways.env, "ROTATE": rotate})


def test_tokens_of_one_principal_are_taken_back(vault, owner):
    """All that it was given until then, at any endpoint, and nobody else's; over restarts; and a token that comes after is good at once."""
    app = owner("app", "create", "leaky")["principals"][0]
    with open(owner("app", "secret", "leaky")["file"], encoding="ascii") as f:
        secret = f.read()
    owner("role", "assign", "crypto-user", "--vault=main", "--principal=leaky")

    def fresh():
        return ask(vault, app["clientId"], client_secret=secret).json()["access_token"]

    def status(token):
        answer = vault.call("GET", "/keys/data/", token=token)
        return answer.status_code, answer.json().get("error", {}).get("message", "")[:8]
    mine, theirs = [fresh(), fresh()], vault.token("customer")
    assert [status(t) for t in (*mine, theirs)] == [(200, "")] * 3
    assert "tokensFrom" not in show(owner, "leaky")
    said = owner("app", "revoke-tokens", "leaky")["tokensFrom"]
    assert show(owner, "leaky")["tokensFrom"] == said
    after = fresh()
    assert [status(t) for t in mine] == [(401, "AKV10048")] * 2 and status(after) == status(theirs) == (200, "")
    vault.restart()
    assert [status(t) for t in mine] == [(401, "AKV10048")] * 2 and status(after) == status(theirs) == (200, "")
    owner("identity", "revoke-tokens", "customer")
    assert status(theirs) == (401, "AKV10048") and status(after) == (200, "") and status(vault.token("customer")) == (200, "")
    owner("app", "delete", "leaky")
    assert status(after) == (401, "AKV10045"), "of somebody who is no more"
    owner("app", "create", "leaky")
    assert status(after) == (401, "AKV10045"), "the name alone is not him"
    assert "no principal" in owner("app", "revoke-tokens", "nobody", check=False)
    # managed identities' clients declare nothing, and are told all the same
    answer = requests.get(f"https://127.0.0.1:{vault.port}/keys/data/", params={"api-version": "7.4"}, verify=vault.ca_file, timeout=10,
                          headers={"Authorization": "Bearer " + theirs})
    assert answer.status_code == 401 and 'error="insufficient_claims"' in answer.headers["WWW-Authenticate"]
    records = [(r["operationName"], r["resultType"], r["properties"]) for r in vault.audit() if r["operationName"] == "TokensRevoke"]
    assert records == [("TokensRevoke", "Success", {"name": "leaky"}), ("TokensRevoke", "Success", {"name": "customer"}),
                       ("TokensRevoke", "Failed", {"name": "nobody"})]


def test_the_claims_challenge(vault, owner):
    """Only whose client says that it understands it gets it, and only where a new token would do."""
    app = owner("app", "create", "cautious")["principals"][0]
    secret_file = owner("app", "secret", "cautious")["file"]
    owner("role", "assign", "crypto-user", "--vault=main", "--principal=cautious")
    with open(secret_file, encoding="ascii") as f:
        secret = f.read()
    able = ask(vault, app["clientId"], client_secret=secret, claims='{"access_token":{"xms_cc":{"values":["cp1"]}}}').json()["access_token"]
    plain = ask(vault, app["clientId"], client_secret=secret).json()["access_token"]

    def challenge(token):
        answer = requests.get(f"https://127.0.0.1:{vault.port}/keys/data/", params={"api-version": "7.4"}, verify=vault.ca_file, timeout=10,
                              headers={"Authorization": "Bearer " + token} if token else {})
        assert answer.status_code in (200, 401)
        return answer.headers.get("WWW-Authenticate", "")
    assert challenge(able) == "" and challenge(plain) == "" and "claims" not in challenge(None)
    assert "claims" not in challenge(able[:-8] + "AAAAAAAA"), "a forged signature of a key that signs"
    owner("app", "revoke-tokens", "cautious")
    assert "claims" not in challenge(plain) and "insufficient_claims" in challenge(able)
    able, plain = (ask(vault, app["clientId"], client_secret=secret, **more).json()["access_token"] for more in (
        {"claims": '{"access_token":{"xms_cc":{"values":["cp1"]}}}'}, {}))
    assert challenge(able) == "" and challenge(plain) == ""
    owner("signing-key", "rotate", "--compromised")
    assert "claims" not in challenge(plain)
    header = challenge(able)
    fields = dict(part.split("=", 1) for part in header[len("Bearer "):].split(", "))
    assert fields["error"] == '"insufficient_claims"' and fields["resource"]
    encoded = fields["claims"].strip('"')
    nbf = json.loads(base64.b64decode(encoded))["access_token"]["nbf"]
    assert nbf["essential"] is True and abs(int(nbf["value"]) - time.time()) < 600
    assert base64.urlsafe_b64decode(encoded) == base64.b64decode(encoded) and not set(encoded) & set("+/-_")


# ---- by hand, and wrong ----

def own_assertion(vault, client_id, key, thumbprint, pss=False, header=None, **changed):
    now = int(time.time())
    facts = vault.facts()
    claims = {"iss": client_id, "sub": client_id, "aud": f"{facts['authority']}/{facts['tenantId']}/oauth2/v2.0/token", "nbf": now, "exp": now + 600,
              "jti": str(uuid.uuid4()), **changed}
    return signed(key, header or {"x5t#S256": thumbprint}, claims, pss)


def test_what_an_assertion_of_a_certificate_must_say(vault, owner, tmp_path):
    app = owner("app", "create", "signer")["principals"][0]
    client_id = app["clientId"]
    key, other = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
    cert = certificate("signer", key)
    path = tmp_path / "cert.pem"
    path.write_bytes(pem(cert))
    owner("app", "certificate", "signer", f"--file={path}", "--label=first")
    assert "has this certificate" in owner("app", "certificate", "signer", f"--file={path}", check=False)
    path.write_bytes(pem(certificate("old", other, days=(-30, -1))))
    assert "expired" in owner("app", "certificate", "signer", f"--file={path}", check=False)
    print_256, print_1 = b64u(cert.fingerprint(hashes.SHA256())), b64u(cert.fingerprint(hashes.SHA1()))
    now = int(time.time())

    def code(assertion, **fields):
        answer = ask(vault, client_id, client_assertion=assertion, client_assertion_type=ASSERTION, **fields)
        return 200 if answer.status_code == 200 else code_of(answer)

    def made(**changed):
        return own_assertion(vault, client_id, key, print_256, **changed)
    facts = vault.facts()
    assert code(made()) == 200
    assert code(own_assertion(vault, client_id, key, print_256, pss=True)) == 200
    assert code(own_assertion(vault, client_id, key, "", header={"x5t": print_1})) == 200
    assert code(own_assertion(vault, client_id, key, print_256 + "=")) == 200
    assert code(made(aud=f"{facts['authority']}/{facts['tenantId']}/v2.0")) == 200
    wrong = {
        "by another key": (own_assertion(vault, client_id, other, print_256), 700027),
        "of no certificate": (own_assertion(vault, client_id, key, b64u(b"x" * 32)), 700027),
        "without a thumbprint": (own_assertion(vault, client_id, key, "", header={"kid": "1"}), 700027),
        "unsigned": (made().rsplit(".", 1)[0] + ".", 700027),
        "alg none": (b64u(b'{"alg":"none","x5t#S256":"%s"}' % print_256.encode()) + "." + made().split(".")[1] + ".", 700027),
        "of somebody else": (made(sub=str(uuid.uuid4())), 700021),
        "for somebody else": (made(aud="https://login.elsewhere.example/token"), 700023),
        "expired": (made(exp=now - 3600), 700024),
        "not yet": (made(nbf=now + 3600), 700024),
        "for years": (made(exp=now + 10 ** 9), 700024),
        "without an end": (made(exp="soon"), 700024),
        "no token": ("rubbish", 700027),
        "two parts": ("e30.e30", 700027),
        "too long": ("e30." + "A" * 9000 + ".x", 700027),
    }
    assert {name: code(a) for name, (a, _) in wrong.items()} == {name: n for name, (_, n) in wrong.items()}
    # An algorithm with a shared key, for which the public key was taken: the classic.
    import hmac
    text = b64u(json.dumps({"alg": "HS256", "x5t#S256": print_256}).encode()) + "." + made().split(".")[1]
    assert code(text + "." + b64u(hmac.digest(pem(cert), text.encode(), "sha256"))) == 700027
    cred = show(owner, "signer")["certificates"][0]
    owner("credential", "remove", "signer", cred["id"])
    assert code(made()) == 700027


def test_what_another_issuers_token_must_say(vault, owner, issuer):
    client_id = vault.client_id("node")
    owner("identity", "federate", "node", "--federation=k8s", "--issuer=" + issuer.url, "--subject=" + SUBJECT)
    stranger = rsa.generate_private_key(65537, 2048)

    def code(token):
        answer = ask(vault, client_id, client_assertion=token, client_assertion_type=ASSERTION)
        return 200 if answer.status_code == 200 else code_of(answer)
    # What does not fit is refused before anybody is asked.
    assert code(issuer.token("system:serviceaccount:db:other")) == 70021
    assert code(issuer.token(SUBJECT, audience="api://Somebody")) == 70021
    assert code(issuer.token(SUBJECT, iss="https://elsewhere.example")) == 70021
    assert code(issuer.token(SUBJECT, iss=issuer.url + "/")) == 70021
    assert not issuer.asked
    assert code(issuer.token(SUBJECT)) == 200
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    assert code(issuer.token(SUBJECT, life=-3600)) == 700024
    assert code(issuer.token(SUBJECT, key=stranger)) == 700027
    assert code(issuer.token(SUBJECT, kid="first", key=stranger)) == 700027
    # An unknown key id makes it ask again, but not for each token that somebody makes up.
    issuer.new_key("second", keep=True)
    made_up = [signed(stranger, {"kid": f"made-up-{n}"}, {"iss": issuer.url, "sub": SUBJECT, "aud": "api://AzureADTokenExchange",
                                                         "exp": int(time.time()) + 60}) for n in range(10)]
    assert {code(t) for t in made_up} == {700027}
    assert len(issuer.asked) <= 4
    # Another identity does not trust it.
    answer = ask(vault, vault.client_id("customer"), client_assertion=issuer.token(SUBJECT), client_assertion_type=ASSERTION)
    assert code_of(answer) == 70021
    owner("credential", "remove", "node", "k8s")
    assert code(issuer.token(SUBJECT)) == 70021


def test_an_issuer_that_is_silent_or_lies(vault, owner, issuer):
    owner("identity", "federate", "node", "--federation=k8s", "--issuer=" + issuer.url, "--subject=" + SUBJECT)
    issuer.says = "https://somebody-else.example"
    answer = ask(vault, vault.client_id("node"), client_assertion=issuer.token(SUBJECT), client_assertion_type=ASSERTION)
    assert answer.status_code == 503 and answer.json()["error"] == "temporarily_unavailable" and answer.headers["Retry-After"]
    assert vault.events("vaultIssuerSilent")[-1]["issuer"] == issuer.url


def test_an_identity_made_again_is_another(vault, owner):
    facts = vault.facts()
    before = show(owner, "tool")
    with open(facts["identities"]["tool"]["secretFile"], encoding="ascii") as f:
        old = f.read()

    def enter(secret):
        answer = requests.get(facts["appServiceEndpoint"], headers={"X-IDENTITY-HEADER": secret}, timeout=10,
                              params={"api-version": "2019-08-01", "resource": facts["audience"]})
        if answer.status_code != 200:
            return answer.status_code
        used = requests.get(f"https://127.0.0.1:{vault.port}/keys", params={"api-version": "7.4"}, verify=vault.ca_file, timeout=10,
                            headers={"Authorization": "Bearer " + answer.json()["access_token"]})
        return used.status_code
    assert enter(old) == 200
    owner("identity", "delete", "tool")
    assert not os.path.exists(facts["identities"]["tool"]["secretFile"])
    assert enter(old) == 401
    again = owner("identity", "create", "tool")
    assert again["file"] == facts["identities"]["tool"]["secretFile"]
    assert os.stat(again["file"]).st_mode & 0o777 == 0o600
    after = show(owner, "tool")
    assert before["name"] == after["name"] and before["resourceId"] == after["resourceId"]
    assert before["objectId"] != after["objectId"] and before["clientId"] != after["clientId"]
    with open(again["file"], encoding="ascii") as f:
        new = f.read()
    # It is known, and may nothing of what the old one might.
    assert (enter(old), enter(new)) == (401, 403)
    vault.restart()
    facts = vault.facts()
    assert (enter(old), enter(new)) == (401, 200)  # the owner's settings give the new one a role by its name


def test_a_credential_is_one_nodes_own(vault):
    """What one identity's file holds opens that identity alone, and no other local user can read it."""
    facts = vault.facts()
    with open(facts["identities"]["node"]["secretFile"], encoding="ascii") as f:
        secret = f.read()
    for who in ("node", "customer", "tool"):
        answer = requests.get(facts["appServiceEndpoint"], headers={"X-IDENTITY-HEADER": secret}, timeout=10, params={
            "api-version": "2019-08-01", "resource": facts["audience"], "client_id": facts["identities"][who]["clientId"]})
        assert answer.status_code == (200 if who == "node" else 400), who
    for who in facts["identities"].values():
        st = os.stat(who["secretFile"])
        assert st.st_mode & 0o777 == 0o600 and st.st_uid == os.geteuid()
    assert os.stat(os.path.dirname(facts["identities"]["node"]["secretFile"])).st_mode & 0o777 == 0o700


def test_administration_is_the_owners(vault, owner):
    assert os.stat(vault.path("state", "admin.sock")).st_mode & 0o777 == 0o600
    assert "no credential" in owner("credential", "remove", "node", "nothing", check=False)
    assert "there is no tenant" in owner("identity", "create", "x", "--tenant=nobody", check=False)
    assert "needs name" in owner("identity", "create", check=False)
    assert "no command" in owner("identity", "make", "x", check=False)
    owner("tenant", "create", "second")
    made = owner("app", "create", "tool", "--tenant=second")  # a name is one in its tenant
    assert made["principals"][0]["tenant"] == "second"
    secret = owner("app", "secret", "tool", "--tenant=second", "--days=1")
    assert os.path.basename(secret["file"]) == f"tool@second.{secret['id']}"
    # one identity has one file, however it and its tenant are spelled
    facts = owner("identity", "create", "robot")
    tenant = facts["tenants"][0]["id"]
    file = facts["file"]
    assert os.path.basename(file) == "robot" and os.path.exists(file)
    assert {owner("identity", "credential", name, f"--tenant={spelled}")["file"] for name in ("robot", "ROBOT") for spelled in
            (tenant, tenant.upper(), facts["tenants"][0]["name"])} == {file}
    assert owner("app", "secret", "TOOL", "--tenant=SECOND")["file"].startswith(os.path.dirname(file) + "/tool@second.")
    assert owner("credential", "remove", "TOOL", secret["id"], "--tenant=Second") == {} and not os.path.exists(secret["file"])
    secret = owner("app", "secret", "tool", "--tenant=second", "--days=1")
    assert owner("identity", "delete", "Robot", f"--tenant={tenant}") == {} and not os.path.exists(file)
    assert owner("app", "delete", "tool", "--tenant=second") == {}
    assert "there is no principal" in owner("app", "delete", "tool", "--tenant=second", check=False)
    # nothing of a secret crossed the socket or reached the log
    with open(secret["file"], encoding="ascii") as f:
        text = f.read()
    assert text not in vault.log_text() and text not in json.dumps(secret)


def test_access_by_the_command_line(vault, owner):
    """Roles on a key, access policies and address rules, made and taken back while the vault runs."""
    def get(key="data", source=None):
        session = requests.Session()
        if source:
            session.mount("https://", requests.adapters.HTTPAdapter())
            session.get_adapter("https://").poolmanager.connection_pool_kw["source_address"] = (source, 0)
        answer = session.get(f"https://127.0.0.1:{vault.port}/keys/{key}", params={"api-version": "7.4"}, verify=vault.ca_file, timeout=10,
                             headers={"Authorization": "Bearer " + vault.token("tool")})
        return (answer.json().get("error") or {}).get("innererror", {}).get("code", answer.status_code)
    assert vault.call("POST", "/keys/other/create", {"kty": "RSA"}).status_code == 200
    assert get() == 200
    owner("role", "remove", "crypto-officer", "--vault=main", "--principal=tool")
    assert get() == "ForbiddenByRbac"
    owner("role", "assign", "reader", "--vault=main", "--principal=tool", "--key=data")
    assert (get(), get("other")) == (200, "ForbiddenByRbac")
    owner("access", "mode", "policies", "--vault=main")
    assert get() == "AccessDenied"
    owner("policy", "set", "tool", "--vault=main", "--permissions=get,list")
    assert (get(), get("other")) == (200, 200)
    owner("policy", "delete", "tool", "--vault=main")
    assert get() == "AccessDenied"
    owner("access", "mode", "rbac", "--vault=main")
    owner("firewall", "add", "127.0.0.2", "--vault=main")
    owner("firewall", "default", "deny", "--vault=main")
    assert (get(source="127.0.0.2"), get(source="127.0.0.3"), get()) == (200, "ForbiddenByFirewall", "ForbiddenByFirewall")
    vault.restart()
    assert (get(source="127.0.0.2"), get()) == (200, "ForbiddenByFirewall")
    shown = owner("access", "show", "main")
    assert shown["mode"] == "rbac" and shown["firewall"] == {"defaultAction": "Deny", "ipRules": ["127.0.0.2"]}
    assert {"principal": "tool", "objectId": show(owner, "tool")["objectId"], "role": "Key Vault Reader", "key": "data"} in shown["roleAssignments"]
    owner("firewall", "default", "allow", "--vault=main")
    owner("firewall", "remove", "127.0.0.2", "--vault=main")
    assert get() == 200
    for wrong in (("role", "assign", "emperor", "--vault=main", "--principal=tool"), ("access", "mode", "none", "--vault=main"),
                  ("access", "mode", "rbac", "--vault=made-up"), ("policy", "set", "tool", "--vault=main", "--permissions=fly"),
                  ("firewall", "add", "10.0.0.1/8", "--vault=main"), ("firewall", "default", "maybe", "--vault=main"),
                  ("role", "assign", "reader", "--vault=main")):
        assert owner(*wrong, check=False).startswith("coffer: "), wrong


KEYS = "Microsoft.KeyVault/vaults/keys/"


def test_roles_of_the_owners_own(vault, owner, make_node):
    """Data actions and no more: enough for a node, which is cut off when the role is narrowed and comes back when it is widened."""
    owner("role", "remove", "crypto-officer", "--vault=main", "--principal=node")
    owner("role", "define", "Wrapping only", f"--actions={KEYS}*", f"--except={KEYS}delete,{KEYS}create/action,{KEYS}decrypt/action")
    owner("role", "assign", "wrapping only", "--vault=main", "--principal=node", "--key=data")
    mine = next(r for r in owner("role", "list")["roles"] if r["name"] == "Wrapping only")
    assert mine["type"] == "CustomRole" and KEYS + "wrap/action" in mine["allows"] and KEYS + "delete" not in mine["allows"]
    assert vault.call("DELETE", "/keys/data", identity="node").status_code == 403
    assert vault.call("POST", "/keys/other/create", {"kty": "RSA"}, identity="node").status_code == 403
    node = make_node(FAST_KEYS, vault=vault)
    fill(node, 10)
    owner("role", "define", "Wrapping only", f"--actions={KEYS}read")
    refused = vault.call("POST", "/keys/data//wrapkey", {"alg": "RSA-OAEP-256", "value": "AAAA"}, identity="node")
    assert refused.json()["error"]["innererror"]["code"] == "ForbiddenByRbac" and KEYS + "wrap/action" in refused.json()["error"]["message"]
    wait_until(lambda: (e := sealed_error(node)) and e.code == INACCESSIBLE, "the node seals")
    assert "assigned in the vault" in owner("role", "delete", "Wrapping only", check=False)
    vault.restart()
    owner("role", "define", "Wrapping only", f"--actions={KEYS}read,{KEYS}wrap/action,{KEYS}unwrap/action")
    wait_until(lambda: serves(node, 10), "the node is back")
    owner("role", "remove", "Wrapping only", "--vault=main", "--principal=node", "--key=data")
    owner("role", "delete", "Wrapping only")
    for wrong in (("role", "define", "typo", f"--actions={KEYS}wrap"), ("role", "define", "reader", f"--actions={KEYS}read"),
                  ("role", "define", "empty", f"--actions={KEYS}read", "--except=*"), ("role", "delete", "nobody's")):
        assert owner(*wrong, check=False).startswith("coffer: "), wrong


def test_the_dates_of_the_older_app_service(vault):
    """api-version 2017-09-01: its own header and selector, and the end of the token as a date."""
    facts = vault.facts()
    node = facts["identities"]["node"]
    with open(node["secretFile"], encoding="ascii") as f:
        secret = f.read()

    def end(version, header, selector):
        answer = requests.get(facts["appServiceEndpoint"], headers={header: secret}, timeout=10, params={
            "api-version": version, "resource": facts["audience"], selector: node["clientId"]})
        assert answer.status_code == 200, answer.text
        return answer.json()["expires_on"]
    old = end("2017-09-01", "Secret", "clientid")
    assert old.endswith(" +00:00")
    seconds = calendar.timegm(time.strptime(old[:-len(" +00:00")], "%m/%d/%Y %H:%M:%S"))
    assert abs(seconds - int(end("2019-08-01", "X-IDENTITY-HEADER", "client_id"))) < 60


def test_discovery_is_what_a_checker_needs(vault):
    """A token, checked by somebody who knows nothing but its issuer."""
    import jwt
    facts = vault.facts()
    token = vault.token("customer")
    issuer_named = jwt.decode(token, options={"verify_signature": False})["iss"]

    def get(url):
        assert url.startswith(facts["authority"] + "/")
        return requests.get(url.replace(facts["authority"], f"https://localhost:{vault.port}"), verify=vault.ca_file, timeout=10,
                            headers={"Host": f"login.localhost:{vault.port}"}).json()
    about = get(issuer_named + ".well-known/openid-configuration")
    assert about["issuer"] == issuer_named
    keys = {k["kid"]: k for k in get(about["jwks_uri"])["keys"]}
    key = jwt.PyJWK(keys[jwt.get_unverified_header(token)["kid"]])
    claims = jwt.decode(token, key.key, algorithms=["RS256"], audience=facts["audience"], issuer=issuer_named)
    assert claims["oid"] == facts["identities"]["customer"]["objectId"] == claims["sub"]
    assert claims["xms_mirid"] == facts["identities"]["customer"]["resourceId"]
    assert {"aio", "rh", "uti", "appid", "appidacr", "idp", "idtyp", "tid", "ver", "iat", "nbf", "exp"} <= set(claims)
    about_2 = get(f"{facts['authority']}/{facts['tenantId']}/v2.0/.well-known/openid-configuration")
    assert about_2["issuer"] == f"{facts['authority']}/{facts['tenantId']}/v2.0"
    assert about_2["token_endpoint"] == f"{facts['authority']}/{facts['tenantId']}/oauth2/v2.0/token"
