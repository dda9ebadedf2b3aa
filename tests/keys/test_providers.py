"""Every key provider, held to the same: one story of a node whose key is there, refused, gone, out of reach, throttled, and lied about.

The services are those of support/keyservices.py: strict, so that a request with one wrong byte fails the test.
"""

import os
import subprocess

import pytest

import clouds
import keyservices
import kmipservice
from processes import FAST_KEYS, binary, wait_until
from sealing import fill, last_probe, serves, wait_class


@pytest.fixture
def authority(tmp_path):
    return keyservices.Authority(tmp_path / "pki")


@pytest.fixture
def run_service():
    """run_service(service): started, and ended behind the test, which fails if a request was malformed."""
    running = []

    def run(service):
        running.append(service)
        return service.start()
    yield run
    for service in running:
        if service.server is not None:
            service.stop()
    for service in running:
        for s in (service, *(getattr(service, name, service) for name in ("entra", "identities", "metadata"))):
            assert not s.problems, s.problems[:5]


def azure(authority):
    return keyservices.AzureVault(authority)


def transit(authority):
    return keyservices.Transit(authority)


def kmip(authority):
    return kmipservice.Kmip(authority)


def kmip_cbc(authority):
    return kmipservice.Kmip(authority, "cbc")


def aws(authority):
    return clouds.AwsKms(authority)


def google(authority):
    return clouds.GoogleKms(authority)


PROVIDERS = [azure, transit, kmip, kmip_cbc, aws, google]


def check_no_secrets(node, service):
    """Nothing that opens anything stands in the log, at its most talkative, on a command line, or in an environment."""
    log = node.log_text()
    with open(f"/proc/{node.pid}/cmdline", "rb") as f:
        line = f.read()
    with open(f"/proc/{node.pid}/environ", "rb") as f:
        environment = f.read()
    assert service.secrets, "there is nothing to look for"
    for secret in service.secrets:
        assert secret not in log and secret.encode() not in line and secret.encode() not in environment
    assert "xmarkerx" not in log, "a token or secret is in the log"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("make", PROVIDERS, ids=lambda f: f.__name__)
def test_the_same_for_each(make, authority, run_service, make_node):
    service = run_service(make(authority))
    node = make_node({**FAST_KEYS, "log-level": "debug", **service.node_settings()})
    fill(node, 50)
    wait_class(node, "ok")

    # no verdict on the key: the node serves on
    for mode, name in service.verdicts:
        service.mode = mode
        wait_class(node, name)
        service.mode = None
        wait_class(node, "ok")
    service.stop()
    wait_class(node, "unreachable")
    assert node.state() == "Ready" and serves(node, 50)
    service.start()
    wait_class(node, "ok")

    # a newer version is followed
    old = node.admin("status")["key"]["version"]
    service.rotate()
    wait_until(lambda: node.admin("status")["key"]["version"] != old, "the newer version wraps the SMK")
    node.restart()
    assert serves(node, 50)

    # refused, switched off, gone: sealed, and back with it
    for take, give in ((service.deny, service.allow), (service.disable, service.enable), (service.delete, service.recover)):
        take()
        node.wait_state("Inaccessible")
        wait_class(node, "denied")
        give()
        node.wait_state("Ready")
        wait_until(lambda: serves(node, 50), "the data is back")
    check_no_secrets(node, service)


def talkative_node(make_node, service, source):
    node = make_node({**FAST_KEYS, "log-level": "debug", **service.node_settings(source)})
    fill(node, 10)
    wait_class(node, "ok")
    return node


def wait_words(node, words):
    wait_until(lambda: words in str(last_probe(node)), f"\"{words}\" is said")


def take_and_give_back(node, service, **ways):
    """The key is taken away in each way, which the last probe says in these words, and given back."""
    for way, words in ways.items():
        setattr(service, way, True)
        node.wait_state("Inaccessible")
        wait_words(node, words)
        setattr(service, way, False)
        node.wait_state("Ready")
        wait_until(lambda: serves(node, 10), "the data is back")


def wait_probes(node, service):
    """A few more, after which all is well."""
    asked = service.n_requests
    wait_until(lambda: service.n_requests > asked + 6, "more probes")
    wait_class(node, "ok")
    assert node.state() == "Ready"


@pytest.mark.parametrize("source", ["client-secret", "workload", "client-certificate", "arc"])
def test_azure_credentials(source, authority, run_service, make_node):
    service = run_service(keyservices.AzureVault(authority))
    node = talkative_node(make_node, service, source)
    service.entra.revoke_tokens()  # one new token is asked for, and nothing is lost
    wait_probes(node, service)
    service.entra.revoke_tokens()
    service.entra.mode = "broken"
    wait_class(node, "unreachable")
    service.entra.mode = None
    wait_class(node, "ok")
    service.entra.revoke_tokens()
    service.entra.gone = True
    node.wait_state("Inaccessible")
    service.entra.gone = False
    wait_until(lambda: serves(node, 10), "the data is back")
    check_no_secrets(node, service)


@pytest.mark.parametrize("source", ["token-file", "kubernetes", "jwt", "cert"])
def test_vault_logins(source, authority, run_service, make_node):
    service = run_service(keyservices.Transit(authority))
    node = talkative_node(make_node, service, source)
    if source == "token-file":  # what Vault's agent does
        service.secret_file("token", service.new_token())
        service.tokens.intersection_update(service.secrets[-1:])
    else:
        service.revoke_tokens()
    wait_probes(node, service)
    service.revoke_tokens()
    service.role_gone = True
    node.wait_state("Inaccessible")
    service.role_gone = False
    if source == "token-file":
        service.secret_file("token", service.new_token())
    wait_until(lambda: serves(node, 10), "the data is back")
    check_no_secrets(node, service)


def test_a_lying_kmip_server(authority, run_service, make_node):
    service = run_service(kmipservice.Kmip(authority))
    node = make_node({**FAST_KEYS, "probe-timeout": "500ms", **service.node_settings()})
    fill(node, 10)
    wait_class(node, "ok")
    for mode, name in kmipservice.LIES:
        service.mode = mode
        wait_class(node, name, when=f" when the server answers with {mode}")
        service.mode = None
        wait_class(node, "ok")
    assert node.state() == "Ready" and serves(node, 10)


def test_the_certificate_for_a_kmip_server(authority, run_service, make_node, tmp_path):
    service = run_service(kmipservice.Kmip(authority))
    with open(service.client_pem, "rb") as f:
        good = f.read()
    _, stranger = keyservices.Authority(tmp_path / "other pki").issue("node")
    with open(stranger, "rb") as f:
        foreign = f.read()
    node = make_node({**FAST_KEYS, **service.node_settings()})
    fill(node, 10)
    wait_class(node, "ok")
    for pem, name in ((b"no certificate\n", "credential"), (good.split(b"-----BEGIN PRIVATE")[0], "credential"), (foreign, "unreachable"),
                      (None, "credential")):
        if pem is None:
            os.unlink(service.client_pem)
        else:
            authority.put("node.pem", pem)
        wait_class(node, name)
        authority.put("node.pem", good)
        wait_class(node, "ok")
    assert node.state() == "Ready" and serves(node, 10)


def test_another_kmip_server_with_the_same_objects(authority, run_service, make_node):
    first, second, stranger = (run_service(kmipservice.Kmip(authority)) for _ in range(3))
    second.objects, second.links = first.objects, first.links
    stranger.objects[first.first] = os.urandom(32)  # another key under the same identifier
    node = make_node({**FAST_KEYS, **first.node_settings()})
    fill(node, 10)
    node.stop()
    first.deny()
    node.start()
    node.wait_state("Inaccessible")
    url = "kmip://127.0.0.1:{}/" + first.first
    answer = node.admin("keySet", **{"key-url": url.format(stranger.port)})
    assert answer["codeName"] == "KeyBadAnswer" and "keyInUse" in answer["error"], answer
    assert node.state() == "Inaccessible"
    answer = node.admin("keySet", **{"key-url": url.format(second.port)})
    assert answer.get("ok"), answer
    wait_until(lambda: serves(node, 10), "the data is back")


@pytest.mark.parametrize("source", ["credentials-file", "imds", "container", "web-identity"])
def test_aws_credentials(source, authority, run_service, make_node):
    service = run_service(clouds.AwsKms(authority))
    node = talkative_node(make_node, service, source)
    service.revoke_tokens()  # one new credential is asked for, and nothing is lost
    if source == "credentials-file":
        service.write_credentials_file()
    wait_probes(node, service)
    service.clock_off_s = 900  # a clock that is wrong takes no key away
    wait_class(node, "bad")
    service.clock_off_s = 0
    wait_class(node, "ok")
    if source != "credentials-file":
        service.revoke_tokens()
        service.identities.mode = "broken"
        wait_class(node, "unreachable")
        service.identities.mode = None
        wait_class(node, "ok")
        service.identities.gone = True
    service.revoke_tokens()
    node.wait_state("Inaccessible")
    service.identities.gone = False
    if source == "credentials-file":
        service.write_credentials_file()
    wait_until(lambda: serves(node, 10), "the data is back")
    check_no_secrets(node, service)


@pytest.mark.parametrize("make", [aws, google])
def test_credentials_are_renewed_before_they_expire(make, authority, run_service, make_node):
    service = run_service(make(authority))
    service.identities.life_s = 10  # the service notes when an expired one is used
    node = talkative_node(make_node, service, "imds")
    given = service.identities.n_given
    wait_until(lambda: service.identities.n_given > given + 1, "new credentials")
    wait_class(node, "ok")


def test_aws_credentials_file_of_others_is_refused(authority, run_service, make_node):
    service = run_service(clouds.AwsKms(authority))
    settings = service.node_settings()
    os.chmod(settings["token-secret-file"], 0o640)
    node = make_node({**FAST_KEYS, **settings}, start=False)
    _, events = node.start_fails()
    assert any("may be read by others" in str(e) for e in events)


def test_aws_key_that_is_gone(authority, run_service, make_node):
    service = run_service(clouds.AwsKms(authority))
    node = talkative_node(make_node, service, "credentials-file")
    take_and_give_back(node, service, purged="the key is gone", deleted="pending deletion", denied="lacks the permission kms:Decrypt",
                       disabled="the key is disabled")


def grace_of(node):
    g = node.admin("keyShow")["gracePeriod"]
    return g["totalMillis"], g["tagMalformed"], g["from"]


@pytest.mark.parametrize("make, tags", [(aws, "tags"), (google, "labels")], ids=["aws", "google"])
def test_the_customers_tag_lowers_the_grace_period(make, tags, authority, run_service, make_node):
    service = run_service(make(authority))
    setattr(service, tags, {"coffer-grace-period": "9s", "other": "x"})
    node = make_node({**FAST_KEYS, "grace-period": "60s", **service.node_settings()})
    assert grace_of(node) == (9000, False, "tag"), "known before the first probe"
    for tag, wanted in (("2h", (60000, False, "setting")), ("soon", (60000, True, "setting")), ("4s", (4000, False, "tag"))):
        setattr(service, tags, {"coffer-grace-period": tag})
        wait_until(lambda wanted=wanted: grace_of(node) == wanted, f"the tag is {tag}")
    node.restart()
    assert grace_of(node) == (4000, False, "tag")
    setattr(service, tags, {})
    wait_until(lambda: grace_of(node) == (60000, False, "setting"), "the tag is gone")


def test_tags_that_may_not_be_read_are_a_note(authority, run_service, make_node):
    service = run_service(clouds.AwsKms(authority))
    service.may_list_tags = False
    service.tags = {"a": "x", "coffer-grace-period": "9s", "d": "y"}
    node = make_node({**FAST_KEYS, "grace-period": "60s", **service.node_settings()})
    assert grace_of(node) == (60000, False, "setting")

    def note():
        return next(r for r in node.admin("keyCheck")["rules"] if r["rule"] == "gracePeriodTag")
    assert note()["verdict"] == "warning" and "lacks the permission kms:ListResourceTags" in note()["found"], note()
    assert node.admin("keyCheck")["usable"]
    service.may_list_tags, service.tags_in_pages = True, True
    wait_until(lambda: grace_of(node) == (9000, False, "tag"), "the tag is read")
    assert note()["verdict"] == "ok"
    # who takes the permission away does not lift what the owner said
    service.may_list_tags = False
    assert note()["verdict"] == "warning"
    wait_probes(node, service)
    assert grace_of(node) == (9000, False, "tag")
    node.restart()
    wait_probes(node, service)
    assert grace_of(node) == (9000, False, "tag")


def test_aws_context_belongs_to_the_key(authority, run_service, make_node):
    service = run_service(clouds.AwsKms(authority))
    node = talkative_node(make_node, service, "credentials-file")
    service.context = "invoices"
    answer = node.admin("keySet", **{"key-context": "invoices"})  # wraps anew
    assert answer["ok"], answer
    assert service.n_decrypted["invoices"], "the SMK was wrapped under the other text"
    orders = service.n_decrypted["orders"]
    wait_probes(node, service)
    node.restart()
    assert serves(node, 10)
    assert service.n_decrypted["orders"] <= orders + 1, "one probe that was under way at the most"
    service.context = "orders"  # and back, from the command line
    done = subprocess.run([binary("coffer"), "cluster", "key", "set", "--key-context=orders", "--admin-socket=" + node.admin_socket],
                          capture_output=True, text=True, timeout=60, check=False, cwd=node.dir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert node.admin("keyShow")["configuration"]["key-context"] == "orders"
    wait_probes(node, service)


@pytest.mark.parametrize("source", ["service-account", "imds", "external-account", "external-account, impersonating"])
def test_google_credentials(source, authority, run_service, make_node):
    service = run_service(clouds.GoogleKms(authority))
    node = talkative_node(make_node, service, source)
    service.revoke_tokens()  # one new token is asked for, and nothing is lost
    wait_probes(node, service)
    service.revoke_tokens()
    service.identities.mode = "broken"
    wait_class(node, "unreachable")
    service.identities.mode = None
    wait_class(node, "ok")
    if source != "imds":  # whose 404 is no signed word
        service.revoke_tokens()
        service.identities.gone = True
        node.wait_state("Inaccessible")
        service.identities.gone = False
        wait_until(lambda: serves(node, 10), "the data is back")
    check_no_secrets(node, service)


def test_google_key_that_is_gone_or_damaged_on_the_way(authority, run_service, make_node):
    service = run_service(clouds.GoogleKms(authority))
    node = talkative_node(make_node, service, "service-account")
    service.corrupt = "plaintext"
    wait_words(node, "was changed on its way")
    service.corrupt = None
    wait_class(node, "ok")
    service.context = "invoices"
    for corrupt, words in (("sent", "had arrived whole"), ("ciphertext", "was changed on its way")):
        service.corrupt = corrupt
        answer = node.admin("keyCheck", **{"key-context": "invoices"})
        assert words in str([r for r in answer["rules"] if r["rule"] == "wrapKey"]), answer
    service.corrupt = None
    take_and_give_back(node, service, gone="the key is gone", deleted="scheduled for destruction",
                       denied="lacks the permission cloudkms.cryptoKeyVersions.useToDecrypt", disabled="version is disabled")


def test_azure_through_a_proxy(authority, run_service, make_node):
    proxy = keyservices.ConnectProxy(authority).start()
    service = run_service(keyservices.AzureVault(authority))
    node = make_node({**FAST_KEYS, **service.node_settings(), "key-proxy": f"http://127.0.0.1:{proxy.port}"})
    fill(node, 10)
    wait_class(node, "ok")
    assert {f"127.0.0.1:{service.port}", f"127.0.0.1:{service.entra.port}"} <= set(proxy.tunnels)
    assert not proxy.problems
    proxy.stop()
    node.kill()


@pytest.mark.parametrize("restored", [True, False], ids=["same version", "other version"])
def test_a_second_vault_is_for_outages(restored, authority, run_service, make_node):
    first = run_service(keyservices.AzureVault(authority))
    second = keyservices.AzureVault(authority)
    second.take_key_of(first, restored)
    run_service(second)
    settings = first.node_settings()
    settings["key-url"] += f", {second.url}/keys/{second.key}"
    node = make_node({**FAST_KEYS, "grace-period": "6s", **settings})
    fill(node, 10)
    version = node.admin("status")["key"]["version"]
    asked = second.n_requests
    assert asked == 0, "the second vault is not asked while the first answers"
    first.stop()
    wait_until(lambda: second.n_requests > asked + 3, "the second vault is asked")
    wait_class(node, "ok")
    node.restart()
    assert serves(node, 10) and node.admin("status")["key"]["version"] == version
    first.start()
    wait_class(node, "ok")
    # a denial is a denial, whatever the next one would say
    first.deny()
    node.wait_state("Inaccessible")
    first.allow()
    node.wait_state("Ready")


def test_urls_that_no_provider_takes(make_node):
    node = make_node({"key-mode": "cmk", "key-url": "gopher://v/keys/x"}, start=False)
    _, events = node.start_fails()
    assert any("no provider takes its scheme" in str(e) for e in events)
