"""The key's version switched off, and on, in the owner's name: by an erasing and by a drill, in each kind of key service; and what has no such verb."""
import json
import os
import subprocess

import pytest

import clouds
import keyservices
import kmipservice
from processes import FAST_KEYS, binary
from sealing import fill, serves
from tokens import Token


@pytest.fixture
def authority(tmp_path):
    return keyservices.Authority(tmp_path / "pki")


@pytest.fixture
def run_service(authority):
    """run_service(kind): started, and ended behind the test, which fails if a request was malformed."""
    running = []

    def run(kind):
        running.append(kind(authority))
        return running[-1].start()
    yield run
    for service in running:
        service.stop()
        assert not service.problems, service.problems[:5]


def key_row(node):
    assert node.admin("erase", confirm="coffer")["ok"]
    assert node.process.wait(60) == 0, node.tail()
    with open(os.path.join(node.state_dir, "erased"), encoding="utf-8") as f:
        report = json.load(f)
    assert report["state"] == "erased"
    return next(r for r in report["rows"] if r["what"] == "keyVersion")


def is_off(service):
    if isinstance(service, clouds.GoogleKms):
        return service.off == {1} and service.state(1) == "DISABLED"
    if isinstance(service, keyservices.Transit):
        return (service.least, len(service.versions)) == (2, 2)
    return service.disabled


@pytest.mark.parametrize("kind, note", [(clouds.AwsKms, "whole key"), (clouds.GoogleKms, ""), (keyservices.Transit, "min_decryption_version")],
                         ids=["aws", "google", "transit"])
def test_an_erasing_switches_the_version_off(kind, note, run_service, make_node):
    service = run_service(kind)
    node = make_node({**FAST_KEYS, **service.node_settings()})
    fill(node, 10)
    row = key_row(node)
    assert row["outcome"] == "disabled" and note in row.get("why", ""), row
    assert is_off(service)


def test_a_transit_version_that_is_not_the_newest_needs_no_rotation(run_service, make_node):
    service = run_service(keyservices.Transit)
    node = make_node({**FAST_KEYS, "key-follow-interval": "1h", **service.node_settings()})
    fill(node, 10)
    service.rotate()
    service.rotate()
    assert key_row(node)["outcome"] == "disabled"
    assert (service.least, len(service.versions)) == (2, 3)


@pytest.mark.parametrize("kind, words", [(clouds.AwsKms, "kms:DisableKey"), (clouds.GoogleKms, "cloudkms.cryptoKeyVersions.update"),
                                         (keyservices.Transit, "lack the permission")], ids=["aws", "google", "transit"])
def test_who_may_not_is_told_so_and_the_erasing_goes_on(kind, words, run_service, make_node):
    service = run_service(kind)
    service.may_switch = False
    node = make_node({**FAST_KEYS, **service.node_settings()})
    fill(node, 10)
    row = key_row(node)
    assert row["outcome"] == "failed" and words in row["why"], row
    assert not is_off(service)


def test_a_service_without_the_verb_says_what_its_owner_does(run_service, make_node):
    service = run_service(kmipservice.Kmip)
    node = make_node({**FAST_KEYS, **service.node_settings()})
    fill(node, 10)
    row = key_row(node)
    assert row["outcome"] == "kept" and "revokes or destroys" in row["why"], row


def test_a_token_has_no_such_verb_either(make_node, tmp_path):
    token = Token(tmp_path / "token", "aes")
    node = make_node({**FAST_KEYS, "probe-timeout": "4s", **token.node_settings()})
    fill(node, 10)
    row = key_row(node)
    assert row["outcome"] == "kept" and "deletes the object with the token's tools" in row["why"], row


@pytest.fixture
def drill(make_node, tmp_path):
    """drill(service, *flags): of a cluster "node1" whose key is there; its owner proves himself as the node does."""
    def run(service, *flags):
        settings = service.node_settings()
        node = make_node({**FAST_KEYS, **settings})
        fill(node, 50)
        with open(tmp_path / "password", "w", encoding="ascii") as f:
            f.write(node.password + "\n")
        owner = [f"--{name}={settings[name]}" for name in ("token-source", "token-secret-file", "client-id") if name in settings]
        done = subprocess.run([binary("coffer"), "cluster", "drill", "node1", f"--home={tmp_path}", f"--password-file={tmp_path / 'password'}",
                               "--drill-pause=100ms", "--yes", "-o", "json", *owner, *flags],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False)
        return node, done
    return run


@pytest.mark.parametrize("kind", [clouds.AwsKms, clouds.GoogleKms], ids=["aws", "google"])
def test_a_drill_takes_the_key_and_gives_it_back(kind, drill, run_service):
    service = run_service(kind)
    node, done = drill(service, "--rounds=2")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["rounds"]) == 2 and report["keyVersion"] == node.admin("status")["key"]["version"]
    assert service.n_switched == 4 and not is_off(service)
    assert len(node.events("keySealed")) == 2 and serves(node, 50)


@pytest.mark.parametrize("kind", [clouds.AwsKms, clouds.GoogleKms], ids=["aws", "google"])
def test_a_drill_of_who_may_not_takes_nothing(kind, drill, run_service):
    service = run_service(kind)
    service.may_switch = False
    node, done = drill(service)
    assert done.returncode == 1 and "lacks the permission" in done.stderr, done.stderr
    assert service.n_switched == 0 and not node.events("keySealing")


@pytest.mark.parametrize("kind, words", [(keyservices.Transit, "shuts older ones too"), (kmipservice.Kmip, "for ever only")], ids=["transit", "kmip"])
def test_no_drill_where_nothing_can_be_given_back(kind, words, drill, run_service):
    service = run_service(kind)
    node, done = drill(service)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert not is_off(service) and not node.events("keySealing")
