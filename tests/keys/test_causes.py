"""Every cause of losing a key, made to happen: the state, the cause and the exact missing permission, the driver's error, and the way back.

And everything that looks like one and is none: the node serves on.
"""
import os
import shutil
import time

import pytest

import keyservices
from processes import FAST_KEYS, Vault, wait_until
from sealing import INACCESSIBLE, fill, sealed_error, serves, wait_class

N = 50
CREDENTIAL = 9900030


class Owner:
    """What the owner of the embedded vault does to a key or an identity, and takes back."""

    def __init__(self, vault):
        self.vault = vault

    def patch(self, body):
        answer = self.vault.call("PATCH", f"/keys/{self.vault.key}/", body)
        assert answer.status_code == 200, answer.text

    def request(self, method, path, *statuses):
        answer = self.vault.call(method, path)
        assert answer.status_code in statuses, answer.text


def now():
    return int(time.time())


def role(owner, verb):
    owner.vault.administer("role", verb, "crypto-service-encryption-user", "--vault=main", "--principal=node")


def lacking(owner, permissions):
    """A vault of access policies in place of roles."""
    owner.vault.administer("access", "mode", "policies", "--vault=main")
    owner.vault.administer("policy", "set", "node", "--vault=main", f"--permissions={permissions}")


# cause -> (take, give back, what the node says of it)
CAUSES = {
    "disabled": (lambda o: o.patch({"attributes": {"enabled": False}}), lambda o: o.patch({"attributes": {"enabled": True}}), "disabled"),
    "expired": (lambda o: o.patch({"attributes": {"exp": now() - 5}}), lambda o: o.patch({"attributes": {"exp": now() + 86400}}), "has expired"),
    "not yet valid": (lambda o: o.patch({"attributes": {"nbf": now() + 86400}}), lambda o: o.patch({"attributes": {"nbf": now() - 5}}), "not valid yet"),
    "key operations": (lambda o: o.patch({"key_ops": ["wrapKey", "sign"]}), lambda o: o.patch({"key_ops": ["wrapKey", "unwrapKey"]}),
                       "operations leave this one out"),
    "deleted": (lambda o: o.request("DELETE", f"/keys/{o.vault.key}", 200),
                lambda o: o.request("POST", f"/deletedkeys/{o.vault.key}/recover", 200), "the key or its version is gone"),
    "access policy": (lambda o: lacking(o, "get,list,wrapKey"), lambda o: lacking(o, "get,list,wrapKey,unwrapKey"), "keys unwrapKey"),
    "access policy, get": (lambda o: lacking(o, "list,wrapKey,unwrapKey"), lambda o: lacking(o, "get,list,wrapKey,unwrapKey"), "keys get"),
    "firewall": (lambda o: o.vault.administer("firewall", "default", "deny", "--vault=main"),
                 lambda o: o.vault.administer("firewall", "default", "allow", "--vault=main"), "firewall"),
    "role removed": (lambda o: role(o, "remove"), lambda o: role(o, "assign"), "Microsoft.KeyVault/vaults/keys/unwrap/action"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_seals_is_named_and_is_undone(cause, cmk_node, vault):
    take, give, says = CAUSES[cause]
    owner = Owner(vault)
    fill(cmk_node, N)
    take(owner)
    cmk_node.wait_event("keySealed")
    cmk_node.wait_state("Inaccessible")
    probe = wait_until(lambda: (p := cmk_node.admin("keyShow").get("lastProbe", {})).get("class") == "denied" and p, "a probe is denied")
    assert says in probe["error"], probe
    error = wait_until(lambda: sealed_error(cmk_node), "the sealed node answers")
    assert error.code == INACCESSIBLE and error.details["codeName"] == "ClusterInaccessible"
    assert says not in str(error), "a client may be anybody: the cause is not for it"
    assert says in cmk_node.events("keySealed")[0]["cause"]
    give(owner)
    wait_until(lambda: serves(cmk_node, N), "the data is back")
    assert cmk_node.state() == "Ready"


def test_an_expired_key_is_extended_before_it_is_rotated(cmk_node, vault):
    """What the documentation asks for; a newer valid version is the other way back, which is not waited for by anybody."""
    owner = Owner(vault)
    fill(cmk_node, N)
    owner.patch({"attributes": {"exp": now() - 5}})
    cmk_node.wait_event("keySealed")
    answer = vault.call("POST", f"/keys/{vault.key}/create", {"kty": "RSA", "key_size": 2048})
    assert answer.status_code == 200
    wait_until(lambda: serves(cmk_node, N), "a valid newer version is there, and the old one still unwraps")
    newest = answer.json()["key"]["kid"].rsplit("/", 1)[1]
    wait_until(lambda: cmk_node.admin("keyShow").get("key", {}).get("version") == newest, "the newer version wraps the SMK")


def test_an_identity_made_again_is_another_one(programs, make_node, tmp_path):
    vault = programs.add(Vault(tmp_path / "vault")).start()
    owner = Owner(vault)
    own_copy = str(tmp_path / "credential")  # the vault removes its own copy together with the identity
    shutil.copy(vault.node_settings()["token-secret-file"], own_copy)
    node = make_node({**FAST_KEYS, "token-secret-file": own_copy}, vault=vault)
    fill(node, N)
    vault.administer("identity", "delete", "node")
    node.wait_event("keySealed")
    made = vault.administer("identity", "create", "node")
    node.wait_state("Inaccessible")
    time.sleep(1)
    assert node.state() == "Inaccessible", "the name alone gives nothing back"
    role(owner, "assign")
    vault.restart()  # writes where everything is
    fresh = {k: v for k, v in vault.node_settings().items() if k in ("client-id", "token-secret-file")}
    assert fresh["client-id"] not in node.settings["client-id"], made
    wait_until(lambda: node.admin("keySet", **fresh).get("ok"), "the node takes the new identity while it is sealed")
    wait_until(lambda: serves(node, N), "the data is back")


def test_a_node_whose_tokens_are_taken_back_goes_on(programs, make_node, tmp_path):
    """Its credential is good: it comes with a new token, and nothing is revoked. When the credential is replaced too, it is denied, and seals."""
    vault = programs.add(Vault(tmp_path / "vault")).start()
    own_copy = str(tmp_path / "credential")
    shutil.copy(vault.node_settings()["token-secret-file"], own_copy)
    node = make_node({**FAST_KEYS, "token-secret-file": own_copy}, vault=vault)
    fill(node, N)
    # the prober has a token of its own: else its first one may come after those that are taken back
    wait_until(lambda: sum(r["operationName"] == "KeyUnwrap" for r in vault.audit()) > 3, "it probes")
    vault.administer("identity", "revoke-tokens", "node")

    def refused_and_served():
        used = [r["resultSignature"] for r in vault.audit() if r["operationName"] in ("KeyUnwrap", "KeyGet")]
        return "401" in used and used[-1] == "200" and used.index("401") < len(used) - 2
    wait_until(refused_and_served, "its old token was refused, and its new one is taken")
    assert serves(node, N) and not node.events("keySealed")
    vault.administer("identity", "credential", "node")
    vault.administer("identity", "revoke-tokens", "node")
    node.wait_event("keySealed")
    node.wait_state("Inaccessible")
    shutil.copy(vault.node_settings()["token-secret-file"], own_copy)
    wait_until(lambda: serves(node, N), "the data is back")


@pytest.mark.parametrize("broken", ["gone", "empty", "unreadable"])
def test_a_credential_that_is_gone_is_told_as_that(broken, make_node, vault, tmp_path):
    credential = str(tmp_path / "credential")
    shutil.copy(vault.node_settings()["token-secret-file"], credential)
    node = make_node({**FAST_KEYS, "token-secret-file": credential}, vault=vault)
    fill(node, N)
    node.stop()
    os.rename(credential, credential + ".away")
    if broken == "empty":
        open(credential, "wb").close()
    if broken == "unreadable":
        os.mkdir(credential)
    node.start()  # it waits, as for a vault that does not answer
    wait_until(lambda: node.admin("status").get("lastProbe", {}).get("class") == "credential", "the cause is named")
    status = node.admin("status")
    assert status["state"] == "Inaccessible" and credential in status["lastProbe"]["error"], status
    assert node.events("keySealed")[0]["code"] == CREDENTIAL and not node.events("keyAlarm")
    if broken != "gone":
        (os.rmdir if broken == "unreadable" else os.unlink)(credential)
    os.rename(credential + ".away", credential)
    wait_until(lambda: serves(node, N), "it goes on by itself")


class ScriptedVault(keyservices.AzureVault):
    """A vault that refuses, or lies, in a given way."""

    script = None

    def operate(self, q, version, op):
        if self.script:
            kind, *rest = self.script
            if kind == "refuse":
                self.refuse(*rest)
            if kind == "raw":
                raise keyservices.Refused(*rest)
            answer = super().operate(q, version, op)
            return rest[0](self, answer, op)
        return super().operate(q, version, op)


@pytest.fixture
def scripted(tmp_path):
    one = ScriptedVault(keyservices.Authority(tmp_path / "pki")).start()
    yield one
    one.stop()


POLICY = "The user, group or application 'x' does not have keys unwrapKey permission on key vault 'main'."
REFUSALS = {
    "firewall": ((403, "Forbidden", "ForbiddenByFirewall", "Client address is not authorized and caller is not a trusted service."), "firewall"),
    "network rules": ((403, "Forbidden", "ForbiddenByConnection", "Public network access is disabled."), "network rules"),
    "access policy": ((403, "Forbidden", "AccessDenied", POLICY), "access policy lacks the permission keys unwrapKey"),
    "vault deleted": ((404, "VaultNotFound"), "the vault is gone"),
    "key purged": ((404, "KeyNotFound"), "the key or its version is gone"),
}


@pytest.mark.parametrize("cause", REFUSALS)
def test_a_refusal_in_the_vaults_words_seals(cause, scripted, make_node):
    refusal, says = REFUSALS[cause]
    node = make_node({**FAST_KEYS, **scripted.node_settings()})
    fill(node, N)
    scripted.script = ("refuse", *refusal)
    node.wait_event("keySealed")
    node.wait_state("Inaccessible")
    assert says in node.events("keySealed")[0]["cause"]
    scripted.script = None
    wait_until(lambda: serves(node, N), "the data is back")


def with_kid(change):
    return lambda service, answer, op: (200, {**answer[1], "kid": change(answer[1]["kid"])} if op else answer[1])


def with_value(change):
    return lambda service, answer, op: (200, {**answer[1], "value": change(answer[1]["value"])} if op == "unwrapkey" else answer[1])


HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json"}
NO_VERDICT = {
    "a proxy's 403": (("raw", 403, b"<html>no</html>", HTML), "bad"),
    "an unknown code": (("refuse", 403, "SomethingElse"), "bad"),
    "truncated JSON": (("raw", 200, b'{"kid": "https://', JSON), "bad"),
    "empty": (("raw", 200, b"", JSON), "bad"),
    "nested JSON": (("raw", 200, b"[" * 50000, JSON), "bad"),
    "invalid UTF-8": (("raw", 200, b'{"kid": "\xff\xfe"}', JSON), "bad"),
    "ten megabytes": (("raw", 200, b" " * (10 << 20), JSON), "bad"),
    "another vault's kid": (("alter", with_kid(lambda kid: kid.replace("127.0.0.1", "127.0.0.2"))), "bad"),
    "another version's kid": (("alter", with_kid(lambda kid: kid.rsplit("/", 1)[0] + "/" + "0" * 32)), "bad"),
    "31 bytes": (("alter", with_value(lambda v: v[:42])), "bad"),
    "zeroes": (("alter", with_value(lambda v: "A" * 43)), "bad"),
    "another key's bytes": (("alter", with_value(lambda v: ("B" if v[0] == "A" else "A") + v[1:])), "bad"),
    "a redirect": (("raw", 302, b"", {"Location": "https://127.0.0.1:1/", **HTML}), "bad"),
    "401 for ever: another tenant": (("raw", 401, b'{"error": {"code": "Unauthorized", "message": "AKV10032: Invalid issuer."}}', JSON), "bad"),
    "429": (("raw", 429, b'{"error": {"code": "Throttled", "message": "slow down"}}', {"Retry-After": "1", **JSON}), "throttled"),
    "500": (("raw", 500, b'{"error": {"code": "InternalError", "message": "x"}}', JSON), "unreachable"),
    "503": (("raw", 503, b"busy", HTML), "unreachable"),
}


@pytest.mark.timeout(180)
def test_what_is_no_verdict_seals_nothing(scripted, make_node):
    """One node through all of them, each long enough for many confirmations; then a true denial, in the midst of it, still seals."""
    node = make_node({**FAST_KEYS, **scripted.node_settings()})
    fill(node, N)
    before = node.admin("keyShow")
    for name, (script, expected) in NO_VERDICT.items():
        scripted.script = script
        wait_until(lambda: node.admin("keyShow")["lastProbe"].get("class") == expected, f"{name}: a probe is {expected}")
        time.sleep(0.5)
        status = node.admin("keyShow")
        assert status["state"] == "Ready" and serves(node, N), name
        assert status["gracePeriod"]["leftMillis"] < status["gracePeriod"]["totalMillis"], name
        scripted.script = None
        wait_until(lambda: node.admin("keyShow")["lastProbe"].get("class") == "ok", f"after {name}: a probe is ok")
    after = node.admin("keyShow")
    assert after["key"] == before["key"], "nothing replaced a key"
    assert not node.events("keySealed")
    alarms = len(node.events("keyAlarm"))
    bad = sum(expected == "bad" for _, expected in NO_VERDICT.values())
    assert bad <= alarms <= 2 * bad, "an alarm each, not one a probe"


@pytest.mark.parametrize("years", [10, -10])
def test_clocks_that_disagree_are_told_and_seal_nothing(years, scripted, make_node):
    node = make_node({**FAST_KEYS, **scripted.node_settings()})
    fill(node, N)
    wait_class(node, "ok")
    assert not node.events("keyClockDisagrees") and "vaultClockAheadSeconds" not in node.admin("status"), "the control: they agree"
    off = years * 365 * 86400
    scripted.clock_ahead = off
    wait_until(lambda: abs(node.admin("status").get("vaultClockAheadSeconds", 0) - off) < 60, "it is told in the status")
    time.sleep(0.5)
    events = node.events("keyClockDisagrees")
    assert len(events) == 1 and abs(events[0]["vaultAheadSeconds"] - off) < 60, "once, not at every probe"
    scripted.clock_ahead = 0
    wait_until(lambda: "vaultClockAheadSeconds" not in node.admin("status"), "they agree again")
    assert node.state() == "Ready" and serves(node, N) and not node.events("keySealing")


def test_a_storm_of_429_is_answered_by_patience(scripted, make_node):
    node = make_node({**FAST_KEYS, **scripted.node_settings()})
    fill(node, N)
    scripted.script = ("raw", 429, b'{"error": {"code": "Throttled", "message": "x"}}', {"Retry-After": "2", **JSON})
    wait_until(lambda: node.admin("keyShow")["lastProbe"].get("class") == "throttled", "throttled")
    before, began = scripted.n_requests, time.monotonic()
    time.sleep(4)
    elapsed = time.monotonic() - began
    # 40 probes would have been made meanwhile
    assert scripted.n_requests - before <= elapsed / 2 + 2, "Retry-After is kept to"
    assert serves(node, N)


@pytest.mark.parametrize("wrong", ["its time is over", "signed by itself"])
def test_a_certificate_that_does_not_hold_is_an_outage(wrong, scripted, make_node, tmp_path):
    node = make_node({**FAST_KEYS, **scripted.node_settings()})
    fill(node, N)
    good = scripted.pem_file
    if wrong == "signed by itself":
        _, bad = keyservices.Authority(tmp_path / "nobody").issue(scripted.name)
    else:
        scripted.authority.dir = str(tmp_path)  # beside the one that is good
        _, bad = scripted.authority.issue(scripted.name, over=True)
    for pem, expected in ((bad, "unreachable"), (good, "ok")):
        scripted.stop()
        scripted.pem_file = pem
        scripted.start()
        probe = wait_until(lambda: (p := node.admin("keyShow")["lastProbe"]).get("class") == expected and ("TLS" in p.get("error", "TLS")) and p, expected)
        time.sleep(0.5)
        assert node.state() == "Ready" and serves(node, N), probe
    assert not node.events("keySealing")


def test_a_flapping_vault_does_not_flap_the_node(scripted, make_node):
    node = make_node({**FAST_KEYS, "grace-period": "20s", **scripted.node_settings()})
    fill(node, N)
    for _ in range(8):
        scripted.script = ("raw", 503, b"busy", HTML)
        wait_until(lambda: node.admin("keyShow")["lastProbe"].get("class") == "unreachable", "a probe is unreachable")
        scripted.script = None
        wait_until(lambda: node.admin("keyShow")["lastProbe"].get("class") == "ok", "a probe is ok")
    assert node.state() == "Ready" and not node.events("keySealing")


def test_a_denial_seals_although_the_network_is_bad(scripted, make_node):
    """Answers without a verdict between two denials do not put the revocation off."""
    node = make_node({**FAST_KEYS, **scripted.node_settings()})
    fill(node, N)
    denial, noise = ("refuse", 403, "Forbidden", "ForbiddenByRbac", "Action: 'Microsoft.KeyVault/vaults/keys/unwrap/action'"), ("raw", 503, b"x", HTML)
    deadline = time.monotonic() + 20
    while not node.events("keySealed") and time.monotonic() < deadline:
        for script in (denial, noise):
            scripted.script = script
            time.sleep(0.15)
    assert node.events("keySealed")
    scripted.script = None
    wait_until(lambda: serves(node, N), "the data is back")


def test_one_denial_is_no_revocation(scripted, make_node):
    node = make_node({**FAST_KEYS, "confirm-delay": "1500ms", **scripted.node_settings()})
    fill(node, N)
    scripted.script = ("refuse", 403, "Forbidden", "ForbiddenByRbac", "x")
    wait_until(lambda: node.admin("keyShow")["lastProbe"].get("class") == "denied", "denied")
    scripted.script = None
    wait_until(lambda: node.admin("keyShow")["lastProbe"].get("class") == "ok", "ok again")
    assert node.state() == "Ready" and not node.events("keySealing")


def test_a_token_endpoint_that_is_away_at_the_start_is_waited_for(scripted, make_node):
    node = make_node({**FAST_KEYS, **scripted.node_settings()})
    fill(node, N)
    node.stop()
    scripted.entra.mode = "broken"  # 503, as a metadata service that is still starting
    node.start()
    wait_class(node, "unreachable")
    assert node.state() == "Inaccessible" and sealed_error(node).code == INACCESSIBLE
    scripted.entra.mode = None
    wait_until(lambda: serves(node, N), "it goes on by itself")


@pytest.mark.parametrize("tag, total, malformed, source", [
    ("3s", 3000, False, "tag"), ("2h", 60000, False, "setting"), ("soon", 60000, True, "setting"), ("", 60000, True, "setting"), ("-5", 60000, True, "setting")])
def test_the_customers_tag_lowers_the_grace_period(tag, total, malformed, source, scripted, make_node):
    scripted.tags = {"coffer-grace-period": tag}
    node = make_node({**FAST_KEYS, "grace-period": "60s", **scripted.node_settings()})
    with node.client() as client:
        wait_until(lambda: client.admin.command("serverStatus")["metrics"]["key.probesOk"] > 0, "looked at")
    grace = node.admin("keyShow")["gracePeriod"]
    assert (grace["totalMillis"], grace["tagMalformed"], grace["from"]) == (total, malformed, source)
    assert len(node.events("keyTagMalformed")) == malformed
    with node.client() as client:
        shown = client.admin.command("serverStatus")
        assert shown["coffer"]["gracePeriod"]["totalMillis"] == total
        assert 0 < shown["metrics"]["key.graceLeftMillis"] <= total


def test_without_a_vault_no_grace_is_counted(make_node):
    with make_node().client() as client:
        assert client.admin.command("serverStatus")["metrics"]["key.graceLeftMillis"] == 0


def test_a_restart_is_no_way_around_the_tag(scripted, make_node):
    """An operator who restarts the node in an outage gains nothing: it waits, sealed; and one who raises the setting is held to the tag."""
    scripted.tags = {"coffer-grace-period": "4s"}
    node = make_node({**FAST_KEYS, "probe-interval": "60s", "grace-period": "60s", **scripted.node_settings()})
    fill(node, N)
    assert node.admin("keyShow")["gracePeriod"]["totalMillis"] == 4000, "known before the first probe"
    node.stop()
    scripted.script = ("raw", 503, b"busy", HTML)
    node.start()
    node.wait_state("Inaccessible")
    scripted.script = None
    wait_until(lambda: serves(node, N), "the data is back")
    assert node.admin("keyShow")["gracePeriod"]["totalMillis"] == 4000
