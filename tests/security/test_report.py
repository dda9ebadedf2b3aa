"""coffer cluster report: signed, reproducible, refused when any byte of it is another, and verified by somebody else's code."""
import base64
import json
import os
import subprocess

import pytest
import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from processes import FAST_KEYS, Node, binary, wait_until
from sealing import fill


@pytest.fixture
def cluster(make_node, vault, tmp_path):
    """A cluster "node1" at home in tmp_path, which coffer finds there."""
    node = make_node({**FAST_KEYS, "cluster-name": "node1"}, vault=vault)
    fill(node)
    return node


@pytest.fixture
def coffer(tmp_path):
    def run(*args, check=True):
        done = subprocess.run([binary("coffer"), *args, f"--home={tmp_path}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=180,
                              check=False)
        assert not check or done.returncode == 0, done.stderr
        return done
    return run


def report_json(coffer):
    return json.loads(coffer("cluster", "report", "node1", "-o", "json").stdout.split(b"\n")[0])


def verify_elsewhere(text, pem):
    """What an auditor does without any of our code: the last line signs all bytes before it."""
    body, line, end = text[:-1].rpartition(b"\n")[0] + b"\n", text[:-1].rpartition(b"\n")[2], text[-1:]
    assert end == b"\n"
    signature = json.loads(line)["signature"]
    assert signature["algorithm"] == "Ed25519"
    key = load_pem_public_key(pem)
    assert key.public_bytes_raw() == base64.b64decode(signature["publicKey"], validate=True)
    key.verify(base64.b64decode(signature["value"], validate=True), body)
    return body


def test_it_says_what_is_so(cluster, coffer, vault, tmp_path):
    version = cluster.admin("status")["key"]["version"]
    assert vault.call("POST", f"/keys/{vault.key}/create", {"kty": "RSA", "key_size": 2048}).status_code == 200
    wait_until(lambda: cluster.admin("status")["key"]["version"] != version, "the newer version wraps the SMK")
    newer = cluster.admin("status")["key"]["version"]
    wait_until(lambda: cluster.admin("rotateKey")["ok"], "the change before is over")
    wait_until(lambda: cluster.admin("rotationStatus")["completed"] == 1, "the rotation is over")
    # The newest of the log's entries is written a moment after it is so.
    r = wait_until(lambda: (r := report_json(coffer)) and any(e["event"] == "generationDestroyed" for e in r["keyEvents"]) and r, "it is told")
    assert r["cluster"] == "node1" and r["mode"] == "cmk" and r["state"] == "Ready"
    assert r["algorithms"]["data"] == "AES-256-GCM" and r["algorithms"]["smkWrappedBy"] == "RSA-OAEP-256"
    assert r["key"]["version"] == newer and r["key"]["url"] == vault.node_settings()["key-url"]
    assert r["identity"]["client-id"] == vault.client_id("node")
    assert [g["generation"] for g in r["generations"] if g["current"]] == [2]
    assert {row["generation"] for row in r["census"]} == {2}
    assert r["olderVersionsNeeded"] == []
    assert r["disk"]["totals"]["problems"] == 0 and r["disk"]["problems"] == []
    assert r["plaintext"][0].startswith("on disk: none.")
    assert r["disk"]["totals"]["files"] >= sum(x["files"] for x in r["disk"]["roles"]) > 3
    events = [e["event"] for e in r["keyEvents"]]
    assert events.count("keyRewrapped") == 1 and events.count("rotationBegun") == 1
    assert [(e["op"], e["done"], e["via"]) for e in r["access"] if e["event"] == "adminOperation"][-1] == ("rotateKey", True, "socket")
    sections = {s for q in r["questions"] for s in q["answeredBy"]}
    assert sections <= set(r), "a question is answered by a section that is not there"
    assert {q["framework"] for q in r["questions"]} == {"ISO/IEC 27001:2022", "HIPAA", "GDPR"}
    # No credential and no way to one.
    with open(vault.facts()["identities"]["node"]["secretFile"], encoding="ascii") as f:
        secret = f.read().strip()
    text = json.dumps(r)
    assert secret not in text and "secret-file" not in text and cluster.password not in text


def test_who_used_the_key_is_in_it(cluster, coffer, vault):
    def use(*flags):
        return json.loads(coffer("cluster", "report", "node1", "-o", "json", *flags).stdout.split(b"\n")[0])["keyUse"]
    version = cluster.admin("status")["key"]["version"]
    vault.call("GET", f"/keys/{vault.key}/")  # as the customer
    refused = requests.post(f"https://127.0.0.1:{vault.port}/keys/{vault.key}/{version}/unwrapkey", params={"api-version": "7.4"}, json={}, timeout=10,
                            verify=vault.ca_file)
    assert refused.status_code == 401
    got = use("--until=now")
    assert got["read"] and got["chainVerified"] and (got["vault"], got["key"]) == ("main", vault.key)
    rows = {(r["name"], r["operation"]): r for r in got["users"]}
    assert rows["node", "KeyUnwrap"]["done"] > 0 and rows["node", "KeyWrap"]["done"] > 0 and rows["customer", "KeyGet"]["done"] == 1
    assert rows["", "KeyUnwrap"]["failed"] == 1, rows
    records = [r for r in vault.audit(tokens=True) if r["seq"] <= got["through"]["record"]]
    assert got["through"]["chain"] == records[-1]["chain"]
    about = [r for r in records if r["properties"].get("key") == vault.key]
    assert got["records"] == len(about) == sum(r["done"] + r["failed"] for r in got["users"])
    assert rows["node", "KeyUnwrap"]["last"] == max(r["time"] for r in about if r["operationName"] == "KeyUnwrap" and
                                                     r["identity"]["claim"]["name"] == "node")
    assert {v["version"] for v in got["versions"]} == {version}
    # The same sums again, however much was added since.
    again = use(f"--until={got['until']['$date']}")
    assert again == got
    assert use("--until=2020-01-01T00:00:00Z")["records"] == 0
    assert b"until" in coffer("cluster", "report", "node1", "--until=yesterday", check=False).stderr


def test_a_broken_chain_is_told(cluster, coffer, vault):
    folder = os.path.join(vault.settings["state-dir"], "audit")
    with open(os.path.join(folder, sorted(os.listdir(folder))[0]), "r+b") as f:
        f.seek(150)
        byte = f.read(1)
        f.seek(150)
        f.write(bytes([byte[0] ^ 1]))
    r = json.loads(coffer("cluster", "report", "node1", "-o", "json", "--until=now").stdout.split(b"\n")[0])["keyUse"]
    assert r["read"] and r["chainVerified"] is False and "audit" in r["chainBroken"], r


def test_a_log_that_cannot_be_read_is_told_with_the_reason(cluster, coffer, vault, programs, tmp_path):
    vault.stop()
    r = report_json(coffer)["keyUse"]
    assert r["read"] is False and r["why"], r
    other = programs.add(Node(tmp_path / "other", {"cluster-name": "other"})).start()
    assert other.state() == "Ready"
    r = json.loads(coffer("cluster", "report", "other", "-o", "json").stdout.split(b"\n")[0])["keyUse"]
    assert r == {"read": False, "why": "the service manages the key: no vault has a record of its use"}


def test_drills_are_in_it(cluster, coffer, vault, tmp_path):
    with open(tmp_path / "password", "w", encoding="ascii") as f:
        f.write(cluster.password)
    drill = json.loads(coffer("cluster", "drill", "node1", "--rounds=2", "--yes", "-o", "json", "--drill-pause=100ms",
                              f"--password-file={tmp_path / 'password'}", f"--token-endpoint={vault.facts()['imdsEndpoint']}",
                              f"--client-id={vault.client_id('customer')}").stdout)
    shown, = report_json(coffer)["drills"]
    assert shown["rounds"] == 2 and all(shown[name] == drill[name] for name in ("begun", "keyVersion", "detect_s", "seal_s", "return_s"))
    # A line that a crash cut short is counted, and hides none of the others.
    with open(tmp_path / "node1" / "drills.jsonl", "a", encoding="ascii") as f:
        f.write('{"cluster":"node1","roun')
    again = report_json(coffer)
    assert len(again["drills"]) == 1 and again["unreadableDrills"] == 1


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_same_state_gives_the_same_report(cluster, coffer, form):
    def report():
        body = coffer("cluster", "report", "node1", "-o", form).stdout.split(b"\n")
        return [line for line in body if not line.startswith((b"made:", b'{"signature"'))]

    def without_made(lines):
        if form == "text":
            return lines
        d = json.loads(lines[0])
        assert d.pop("made")
        return json.dumps(d)

    def settled():  # the store may still be writing what fill() left in memory
        one, two = without_made(report()), without_made(report())
        return one == two
    wait_until(settled, "two reports in a row are the same", interval=0.5)


def test_changed_bytes_are_refused(cluster, coffer, tmp_path):
    text = coffer("cluster", "report", "node1", "-o", "json").stdout
    pem = (tmp_path / "report.pub").read_bytes()
    assert json.loads(verify_elsewhere(text, pem))["cluster"] == "node1"
    assert os.stat(tmp_path / "report.key").st_mode & 0o077 == 0
    path = tmp_path / "report.json"
    path.write_bytes(text)
    assert json.loads(coffer("cluster", "report", f"--verify-report={path}", "-o", "json").stdout)["verified"] is True
    for at in range(0, len(text), len(text) // 40):
        path.write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1:])
        done = coffer("cluster", "report", f"--verify-report={path}", check=False)
        assert done.returncode == 1 and b"EvidenceChanged" in done.stderr and not done.stdout, at
    with pytest.raises(InvalidSignature):
        verify_elsewhere(text.replace(b'"node1"', b'"node2"', 1), pem)
    path.write_bytes(text[:-1])
    assert coffer("cluster", "report", f"--verify-report={path}", check=False).returncode == 1


def test_another_installations_signature_is_refused(cluster, coffer, tmp_path):
    first = coffer("cluster", "report", "node1").stdout
    (tmp_path / "report.pub").rename(tmp_path / "trusted.pub")
    (tmp_path / "report.key").unlink()
    second = coffer("cluster", "report", "node1").stdout
    for text, name, good in ((first, "trusted.pub", True), (second, "trusted.pub", False), (first, "report.pub", False), (second, "report.pub", True)):
        (tmp_path / "r").write_bytes(text)
        done = coffer("cluster", "report", f"--verify-report={tmp_path / 'r'}", f"--public-key={tmp_path / name}", check=False)
        assert (done.returncode == 0) is good, (name, done.stderr)
    (tmp_path / "report.key").write_text("no key\n")
    assert b"no key for signing" in coffer("cluster", "report", "node1", check=False).stderr


def test_a_file_in_the_clear_is_named(cluster, coffer):
    with open(cluster.path("data", "notes.txt"), "w", encoding="ascii") as f:
        f.write("somebody left this here\n")
    assert not report_json(coffer)["plaintext"][0].startswith("on disk: none.")
    disk = report_json(coffer)["disk"]
    assert disk["totals"]["problems"] == 1 and disk["problems"][0]["name"] == "notes.txt"


def test_a_sealed_cluster_can_be_reported_on(cluster, coffer, vault):
    vault.disable()
    cluster.wait_state("Inaccessible")
    r = report_json(coffer)
    assert r["state"] == "Inaccessible" and r["cause"] == "denied" and r["disk"]["totals"]["problems"] == 0
    assert any(e["event"] == "keySealed" for e in r["keyEvents"])
