"""`coffer cluster drill`: the key is taken away and given back, measured from outside, and given back whatever ends the drill."""
import json
import os
import pty
import signal
import subprocess

import pytest

import keyservices
from processes import FAST_KEYS, binary, wait_until
from sealing import fill, sealed_error, serves


@pytest.fixture
def drill(make_node, vault, tmp_path):
    """A cluster "node1" that coffer finds under its home, and what runs a drill of it; Popen's when wait is False."""
    node = make_node(FAST_KEYS, vault=vault)
    fill(node, 50)
    with open(tmp_path / "password", "w", encoding="ascii") as f:
        f.write(node.password + "\n")

    def run(*args, wait=True, stdin=subprocess.DEVNULL):
        command = [binary("coffer"), "cluster", "drill", "node1", f"--home={tmp_path}", f"--password-file={tmp_path / 'password'}",
                   f"--token-endpoint={vault.facts()['imdsEndpoint']}", f"--client-id={vault.client_id('customer')}", "--drill-pause=100ms",
                   *args]
        if wait:
            return subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=180, check=False)
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run.node = node
    run.history = tmp_path / "node1" / "drills.jsonl"
    return run


def enabled(vault):
    """A disabled key refuses to be read, even by its owner."""
    answer = vault.call("GET", f"/keys/{vault.key}/")
    if answer.status_code == 403:
        assert answer.json()["error"]["innererror"]["code"] == "KeyDisabled", answer.text
        return False
    assert answer.status_code == 200, answer.text
    return answer.json()["attributes"]["enabled"]


def test_rounds_are_measured_from_outside(drill, vault):
    done = drill("--rounds", "3", "-o", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["rounds"]) == 3
    for name in ("detect_s", "seal_s", "return_s"):
        values = sorted(r[name] for r in report["rounds"])
        assert all(v > 0 for v in values)
        assert report[name] == {"median": values[1], "p99": values[2]}
    # What the command says happened is what the node's own log says.
    names = [e["event"] for e in drill.node.events()]
    assert names.count("keySealed") == 3 and names.count("keyReturning") == 3
    assert all(r["detect_s"] >= 0.15 for r in report["rounds"]), "sealed without waiting for the second refusal"
    assert enabled(vault) and serves(drill.node, 50)
    with drill.node.client() as client:
        assert "coffer_drill" not in client.list_database_names()
    # The history has it, and a second drill is added to it.
    again = drill("--yes")
    assert again.returncode == 0 and "median" in again.stdout and "round 1 of 1" in again.stderr
    with open(drill.history, encoding="utf-8") as f:
        history = [json.loads(line) for line in f]
    assert [len(h["rounds"]) for h in history] == [3, 1]
    assert history[0]["detect_s"] == report["detect_s"]
    assert os.stat(drill.history).st_mode & 0o077 == 0


def test_it_asks_at_a_terminal_before_it_makes_a_cluster_inaccessible(drill):
    """In a script, whoever names the cluster means it: the other tests."""
    person, terminal = pty.openpty()
    try:
        os.write(person, b"another\n")
        done = drill(stdin=terminal)
    finally:
        os.close(person)
        os.close(terminal)
    assert done.returncode == 1 and 'the cluster "node1" inaccessible' in done.stderr and "nothing was done" in done.stderr
    assert not drill.node.events("keySealing") and not drill.history.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_drill_that_is_ended_gives_the_key_back(drill, vault, how):
    process = drill("--rounds=1000", "--yes", wait=False)
    try:
        wait_until(lambda: sealed_error(drill.node), "the key is away")
        process.send_signal(how)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 1), err
    assert how == signal.SIGKILL or f"signal {int(how)}" in err
    wait_until(lambda: enabled(vault), "the key is back")
    wait_until(lambda: serves(drill.node, 50), "the data is back")
    assert out == ""


def stopped_with_the_key_away(process, vault):
    """Hold the drill where it has taken the key; let it go on when it has not, or has given it back."""
    process.send_signal(signal.SIGSTOP)
    if not enabled(vault):
        return True
    process.send_signal(signal.SIGCONT)
    return False


def test_a_key_that_cannot_be_given_back_is_left_to_the_guard(drill, vault):
    version = drill.node.admin("status")["key"]["version"]
    process = drill("--rounds=1000", "--yes", "--drill-limit=20s", wait=False)
    try:
        wait_until(lambda: stopped_with_the_key_away(process, vault), "the key is away", interval=0.2)
        vault.kill()
        process.terminate()
        process.send_signal(signal.SIGCONT)
        process.wait(timeout=120)
        vault.start()
        _, err = process.communicate(timeout=120)  # the guard has it open until the key is back
    finally:
        process.kill()
    assert process.returncode == 1, err
    assert f"az keyvault key set-attributes --enabled true --id {vault.node_settings()['key-url']}/{version}" in err
    assert "the key is back" in err
    assert enabled(vault)
    wait_until(lambda: serves(drill.node, 50), "the data is back")


def test_who_may_not_disable_the_key_is_told_so(drill, vault):
    done = drill("--yes", f"--client-id={vault.client_id('node')}")
    assert done.returncode == 1 and "KeyDenied" in done.stderr, done.stderr
    assert enabled(vault) and serves(drill.node, 50)


def test_a_wrong_password_is_found_before_anything_is_taken_away(drill, tmp_path):
    with open(tmp_path / "password", "w", encoding="ascii") as f:
        f.write("another\n")
    done = drill("--yes")
    assert done.returncode == 1 and "AuthenticationFailed" in done.stderr
    assert not drill.node.events("keySealing")


def test_a_cluster_without_a_customers_key_has_none_to_take(make_node, tmp_path):
    make_node()
    done = subprocess.run([binary("coffer"), "cluster", "drill", "node1", f"--home={tmp_path}", "--yes"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 1 and "no customer's key" in done.stderr


def start_with_tls(node):
    """Its own client speaks none: what the node says over its socket has to do."""
    node.spawn()
    node.port = node.wait_port()
    node.wait_state("Ready")


def test_a_cluster_that_speaks_tls_alone(drill, vault, tmp_path):
    authority = keyservices.Authority(tmp_path / "pki")
    (_, server), (_, client) = authority.issue("localhost"), authority.issue("auditor")
    _, strangers = keyservices.Authority(tmp_path / "other pki").issue("auditor")
    node = drill.node
    node.stop()
    node.settings.update({"tls-cert-file": server, "tls-ca-file": authority.ca_file, "tls-client-certificates": "required"})
    start_with_tls(node)
    trusted, ours = f"--tls-ca-file={authority.ca_file}", f"--tls-cert-file={client}"
    other_ca = f"--tls-ca-file={tmp_path / 'other pki' / 'ca.pem'}"
    # nothing is taken away before the way to the cluster is known to be good
    for flags in ((), (trusted,), (other_ca, ours), (trusted, f"--tls-cert-file={strangers}"), (trusted, f"--tls-cert-file={tmp_path / 'none'}"),
                  ("--tls", ours), (trusted, ours, "--host=localhost:1"), (trusted, ours, "--host=no-such-host.invalid"),
                  (trusted, ours, "--host=[::1"), (trusted, ours, "--host=localhost:http")):
        done = drill("--yes", *flags)
        assert done.returncode == 1 and done.stderr.startswith("coffer: "), (flags, done)
    assert "does not hold" in drill("--yes", other_ca, ours).stderr
    assert not node.events("keySealing")
    done = drill("--yes", trusted, ours, f"--host=localhost:{node.port}", "-o", "json")
    assert done.returncode == 0, done.stderr
    measured, = json.loads(done.stdout)["rounds"]
    assert measured["reads"] > 0 and measured["detect_s"] > 0 and enabled(vault)
    assert len(node.events("keySealed")) == 1
    assert drill("--yes", trusted, ours).returncode == 0, "by its address, at the port that it wrote down"


def test_a_certificate_for_another_host_is_refused(drill, tmp_path):
    authority = keyservices.Authority(tmp_path / "pki")
    _, server = authority.issue("localhost")
    drill.node.stop()
    drill.node.settings.update({"tls-cert-file": server})
    start_with_tls(drill.node)
    done = drill("--yes", f"--tls-ca-file={authority.ca_file}", f"--host=127.0.0.2:{drill.node.port}")
    assert done.returncode == 1 and not drill.node.events("keySealing"), done
