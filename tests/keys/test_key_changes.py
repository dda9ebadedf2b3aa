"""The key, the vault, the identity and the mode of a cluster are changed while it serves, and what may be is changed while it is sealed."""
import os
import random
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pymongo.errors
import pytest

import keyservices
from processes import FAST_KEYS, Vault, wait_until
from sealing import INACCESSIBLE, fill, serves

DENIED, CONFLICT, ILLEGAL, UNAUTHORIZED = 9900017, 9900024, 20, 13
SEED = int(os.environ.get("COFFER_SEED") or random.randrange(1 << 32))


def new_key(vault, name, size=2048, **body):
    answer = vault.call("POST", f"/keys/{name}/create", {"kty": "RSA", "key_size": size, **body})
    assert answer.status_code == 200, answer.text
    return f"{vault.url}/keys/{name}"


def op(node, name, **fields):
    return node.admin(name, **{k.replace("_", "-"): v for k, v in fields.items()})


def way_to(vault, identity="node"):
    return {k.replace("-", "_"): v for k, v in vault.node_settings(identity).items() if k != "key-mode"}


PEOPLE = ("node:crypto-service-encryption-user,customer:crypto-officer,second:crypto-service-encryption-user,reader:reader")


@pytest.fixture
def peopled_vault(programs, tmp_path):
    return programs.add(Vault(tmp_path / "vault", {"bootstrap-identities": PEOPLE})).start()


def identity_of(vault, name):
    return {"client_id": vault.client_id(name), "token_secret_file": vault.facts()["identities"][name]["secretFile"]}


@pytest.fixture
def other_vault(programs, tmp_path):
    return programs.add(Vault(tmp_path / "vault2")).start()


def test_to_another_key_of_the_vault(cmk_node, vault):
    fill(cmk_node)
    url = new_key(vault, "second")
    before = op(cmk_node, "keyShow")
    answer = op(cmk_node, "keySet", key_url=url)
    assert answer["ok"], answer
    assert answer["version"] != before["key"]["version"] and answer["generation"] == 1
    vault.disable()  # the key before is needed no more
    shown = op(cmk_node, "keyShow")
    assert shown["configuration"]["key-url"] == url and shown["state"] == "Ready"
    wait_until(lambda: op(cmk_node, "keyShow")["lastProbe"].get("class") == "ok", "the new key is looked at")
    cmk_node.restart()
    assert cmk_node.state() == "Ready" and serves(cmk_node)
    vault.disable(key="second")
    cmk_node.wait_state("Inaccessible")
    vault.enable(key="second")
    wait_until(lambda: serves(cmk_node), "the new key governs the data")
    overridden = {e["setting"] for e in cmk_node.events("keyConfigOverrides")}
    assert overridden == {"key-url"}


def test_to_another_vault_and_identity(cmk_node, vault, other_vault):
    fill(cmk_node)
    answer = op(cmk_node, "keySet", **way_to(other_vault))
    assert answer["ok"], answer
    vault.kill()
    cmk_node.restart()
    assert cmk_node.state() == "Ready" and serves(cmk_node)


def test_a_compromised_key_makes_a_new_generation(cmk_node, vault):
    fill(cmk_node)
    assert op(cmk_node, "keySet", key_url=new_key(vault, "second"), compromised=True)["generation"] == 2
    new_key(vault, "second")
    answer = op(cmk_node, "keyFollow", compromised=True)
    assert answer["generation"] == 3
    cmk_node.restart()
    assert serves(cmk_node)


def test_from_the_service_to_the_customer_and_back(make_node, vault):
    node = make_node(FAST_KEYS)
    fill(node)
    op(node, "rotationPause")
    answer = op(node, "keySwitch", key_mode="cmk", **way_to(vault))
    assert answer["ok"] and answer["mode"] == "cmk" and answer["generation"] == 2
    shown = op(node, "keyShow")
    assert [g["exposed"] for g in shown["generations"]] == [True, False]
    op(node, "rotationPause", paused=False)
    wait_until(lambda: [g["generation"] for g in op(node, "keyShow")["generations"]] == [2], "what was exposed is gone")
    wait_until(lambda: op(node, "keyShow").get("lastProbe", {}).get("class") == "ok", "the key is looked at from now on")
    os.rename(os.path.join(node.state_dir, "service-root.key"), os.path.join(node.dir, "root-key-away"))
    node.restart()
    assert serves(node)
    vault.disable()
    node.wait_state("Inaccessible")
    vault.enable()
    wait_until(lambda: serves(node), "the customer's key governs the data")
    answer = op(node, "keySwitch", key_mode="smk")
    assert answer["ok"] and answer["mode"] == "smk" and answer["generation"] == 3
    vault.kill()
    node.restart()
    assert node.state() == "Ready" and serves(node)
    assert op(node, "revalidate")["code"] == ILLEGAL


def test_preflight_lists_all_that_fails(cmk_node, vault):
    url = new_key(vault, "bad", key_ops=["wrapKey", "sign"], attributes={"exp": 1700000000})
    found = op(cmk_node, "keyCheck", key_url=url)
    assert found["ok"] and not found["usable"]
    failed = {r["rule"]: r["found"] for r in found["rules"] if r["verdict"] == "failed"}
    assert {"wrapKey", "dates", "keyOps"} <= set(failed), failed
    assert "expired" in failed["dates"] and "unwrapKey" in failed["keyOps"]
    before = op(cmk_node, "keyShow")
    refused = op(cmk_node, "keySet", key_url=url)
    assert not refused["ok"] and refused["code"] == DENIED and "dates" in refused["error"] and "keyOps" in refused["error"]
    after = op(cmk_node, "keyShow")
    assert after["configuration"] == before["configuration"] and after["key"] == before["key"]
    assert not os.path.exists(os.path.join(cmk_node.state_dir, "key-config"))
    good = op(cmk_node, "keyCheck")
    assert good["usable"] and {r["verdict"] for r in good["rules"]} <= {"ok", "unknown"}


def test_preflight_lists_all_that_is_wrong_with_a_key_of_another_type(cmk_node, vault):
    fill(cmk_node)
    answer = vault.call("POST", "/keys/curve/create", {"kty": "EC", "crv": "P-256", "attributes": {"exp": 1700000000}})
    assert answer.status_code == 200, answer.text
    found = op(cmk_node, "keyCheck", key_url=f"{vault.url}/keys/curve")
    failed = {r["rule"]: r["found"] for r in found["rules"] if r["verdict"] == "failed"}
    assert set(failed) == {"wrapKey", "type", "dates", "keyOps"} and "EC" in failed["type"], found
    refused = op(cmk_node, "keySet", key_url=f"{vault.url}/keys/curve")
    assert not refused["ok"] and "type" in refused["error"]

    # A newer version of another type, of the very key that is in use, is not followed.
    before = op(cmk_node, "keyShow")["key"]
    assert vault.call("POST", f"/keys/{vault.key}/create", {"kty": "EC", "crv": "P-256"}).status_code == 200
    due = set()  # while a look is under way no next one is told

    def looked():
        due.add(str(op(cmk_node, "keyShow").get("nextFollow")))
        return len(due - {"None"}) > 2
    wait_until(looked, "it was looked for newer versions")
    assert not op(cmk_node, "keyFollow")["ok"]
    assert op(cmk_node, "keyShow")["key"] == before and serves(cmk_node)


def test_preflight_names_a_missing_permission_and_a_missing_key(make_node, peopled_vault):
    vault = peopled_vault
    cmk_node = make_node(FAST_KEYS, vault=vault)
    found = op(cmk_node, "keyCheck", **identity_of(vault, "reader"))
    failed = {r["rule"]: r["found"] for r in found["rules"] if r["verdict"] == "failed"}
    assert set(failed) == {"wrapKey", "keyInUse"}, failed
    assert "Microsoft.KeyVault/vaults/keys/wrap/action" in failed["wrapKey"] and "keys/unwrap/action" in failed["keyInUse"]
    found = op(cmk_node, "keyCheck", key_url=vault.url + "/keys/none")
    assert not found["usable"] and "gone" in next(r["found"] for r in found["rules"] if r["rule"] == "get")


def test_a_new_cluster_takes_no_key_that_breaks_a_rule(make_node, vault):
    url = new_key(vault, "bad", key_ops=["wrapKey", "sign"])
    node = make_node({**FAST_KEYS, "key-url": url}, vault=vault, start=False)
    code, events = node.start_fails()
    assert {e["rule"] for e in events if e["event"] == "keyRuleBroken"} >= {"keyOps"}
    assert os.listdir(node.data_dir) == [] and "pin" not in os.listdir(node.state_dir)


def test_the_identity_is_changed_while_sealed(make_node, peopled_vault):
    vault = peopled_vault
    node = make_node(FAST_KEYS, vault=vault)
    fill(node)
    secret = vault.facts()["identities"]["node"]["secretFile"]
    with open(secret, encoding="ascii") as f:
        kept = f.read()
    with open(secret, "w", encoding="ascii") as f:
        f.write("0" * len(kept))
    node.stop()
    node.env = {"COFFER_FAULTS": "keychange.way-changed=delay1000:0:1"}  # it is back before the change is answered
    node.start()
    node.wait_state("Inaccessible")
    second = identity_of(vault, "second")
    assert not op(node, "keySet", **identity_of(vault, "reader"))["ok"], "an identity that cannot unwrap is no way back"
    assert op(node, "keySet", key_url=new_key(vault, "second"), **second)["code"] == ILLEGAL
    assert op(node, "keySwitch", key_mode="smk")["code"] == INACCESSIBLE
    answer = op(node, "keySet", **second)
    assert answer["ok"], answer
    wait_until(lambda: serves(node), "the data is back")
    node.restart()
    assert serves(node) and op(node, "keyShow")["configuration"]["client-id"] == second["client_id"]


def test_a_backup_tells_which_version_it_needs(cmk_node, vault, tmp_path):
    fill(cmk_node)
    old = op(cmk_node, "keyShow")["key"]["version"]
    assert op(cmk_node, "backup", dir=str(tmp_path / "b"))["ok"]
    new_key(vault, vault.key)
    wait_until(lambda: op(cmk_node, "keyShow")["key"]["version"] != old, "the newer version is followed")
    needed = op(cmk_node, "keyShow")["needed"]
    assert [(n["by"], n["version"] == old) for n in needed] == [("cluster", False), ("backup", True)]
    assert needed[1]["present"] and needed[1]["dir"] == str(tmp_path / "b")
    os.rename(tmp_path / "b", tmp_path / "moved")
    needed = op(cmk_node, "keyShow")["needed"]
    assert needed[1]["version"] == old and not needed[1]["present"]


def test_nobody_else_may(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault)
    url = new_key(vault, "second")
    with node.client() as client:
        client.admin.command("createUser", "monitor", pwd="pw", roles=["clusterMonitor", "readWriteAnyDatabase", "userAdminAnyDatabase"])
        client.admin.command("createUser", "chief", pwd="pw", roles=["clusterAdmin"])
    for name, code in (("monitor", UNAUTHORIZED), ("chief", 0)):
        with pymongo.MongoClient(f"mongodb://{name}:pw@127.0.0.1:{node.port}/?authSource=admin", directConnection=True) as client:
            for op_name, fields in (("keySet", {"key-url": url}), ("keyFollow", {})):
                try:
                    client.admin.command("coffer", op_name, **fields)
                    got = 0
                except pymongo.errors.OperationFailure as e:
                    got = e.code
                assert got == code, (name, op_name)
    done = [e for e in node.events("adminOperation") if e["op"] == "keySet"]
    assert len(done) == 1 and done[0]["via"] == "command" and done[0]["done"] is True


CHANGES = {
    "key": lambda vault: ("keySet", {"key_url": new_key(vault, "second")}),
    "smk": lambda vault: ("keySwitch", {"key_mode": "smk"}),
}


STEPS = ["keychange.intended", *(f"envelope.after-copy-{copy}:{save}" for save in range(3) for copy in (1, 2)), "keychange.committed", "keychange.written"]


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_killed_at_every_durable_step(make_node, vault, change):
    """kill -9 between any two of the steps: afterwards one of the two keys is in force, whole, and a further change gets through."""
    name, fields = CHANGES[change](vault)
    node = make_node(FAST_KEYS, vault=vault)
    fill(node)
    outcomes = []
    for point in STEPS:
        # what is left of the change before is erased first: its saves of the envelope would be counted among this one's
        wait_until(lambda: len(op(node, "keyShow")["generations"]) == 1, "older generations are destroyed")
        node.stop()
        where, _, skip = point.partition(":")
        node.env = {"COFFER_FAULTS": f"{where}=kill:{skip or 0}:1"}
        node.start()
        with pytest.raises((OSError, ValueError)):
            op(node, name, **fields)
        assert node.process.wait(10) == -signal.SIGKILL
        node.env = {}
        node.start()
        shown = op(node, "keyShow")
        assert shown["state"] == "Ready" and serves(node), point
        assert not os.path.exists(os.path.join(node.state_dir, "key-config.next"))
        changed = shown["mode"] == "smk" if change == "smk" else shown["configuration"]["key-url"].endswith("/second")
        outcomes.append(changed)
        if changed:
            back = op(node, "keySwitch", key_mode="cmk", **way_to(vault)) if change == "smk" else op(node, "keySet", **way_to(vault))
            assert back["ok"], (point, back)
    # not before the commit's first copy is durable, and always from then on
    assert outcomes == [False] * STEPS.index("envelope.after-copy-1:2") + [True] * 4, outcomes


@pytest.mark.parametrize("restored", [True, False], ids=["same version", "other version"])
def test_the_same_material_in_another_vault_brings_a_sealed_cluster_back(restored, make_node, tmp_path):
    authority = keyservices.Authority(tmp_path / "pki")
    first = keyservices.AzureVault(authority).start()
    second, stranger = keyservices.AzureVault(authority), keyservices.AzureVault(authority)
    second.take_key_of(first, restored)
    stranger.entra = first.entra
    second.start()
    stranger.start()
    try:
        node = make_node({**FAST_KEYS, **first.node_settings()})
        fill(node)
        node.stop()
        first.deny()  # for good: its tokens still come from the same place
        node.start()
        node.wait_state("Inaccessible")
        refused = op(node, "keySet", key_url=f"{stranger.url}/keys/data")
        assert refused["code"] == ILLEGAL and "not the one that wrapped" in refused["error"], refused
        found = op(node, "keyCheck", key_url=f"{stranger.url}/keys/data")
        assert "not the one that wrapped" in next(r["found"] for r in found["rules"] if r["rule"] == "keyInUse")
        answer = op(node, "keySet", key_url=f"{second.url}/keys/data")
        assert answer["ok"], answer
        wait_until(lambda: serves(node), "the data is back")
        wait_until(lambda: op(node, "keyShow").get("key", {}).get("version") == second.newest, "the SMK is wrapped by the vault's own version")
        wait_until(lambda: "versionInVault" not in op(node, "keyShow")["configuration"], "nothing is translated any more")
        node.restart()
        assert node.state() == "Ready" and serves(node)
    finally:
        for service in (first, second, stranger):
            service.stop()


def test_of_two_changes_at_once_one_is_refused(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault, start=False)
    node.env = {"COFFER_FAULTS": "keychange.intended=delay5000:0:1"}
    node.start()
    node.add_admin()
    fill(node)
    urls = [new_key(vault, name) for name in ("second", "third")]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(op, node, "keySet", key_url=urls[0])
        wait_until(lambda: os.path.exists(os.path.join(node.state_dir, "key-config.next")), "the first change is under way")
        assert op(node, "keySet", key_url=urls[1])["code"] == CONFLICT
        assert op(node, "keyFollow")["code"] == CONFLICT
        assert first.result()["ok"]
    assert op(node, "keyShow")["configuration"]["key-url"] == urls[0] and serves(node)


def test_what_is_asked_for_waits_for_what_the_node_does_by_itself(make_node, vault):
    """The node follows a newer version, and is kept between the two copies of the envelope: its owner's change is no conflict with that."""
    node = make_node({**FAST_KEYS, "probe-timeout": "30s"}, vault=vault)
    fill(node)
    url = new_key(vault, "second")
    node.stop()
    node.env = {"COFFER_FAULTS": "envelope.after-copy-1=delay5000:0:1"}
    node.start()

    def copies():
        return [open(os.path.join(node.data_dir, f"envelope.{i}"), "rb").read() for i in (1, 2)]
    assert len(set(copies())) == 1
    new_key(vault, vault.key)  # a newer version
    wait_until(lambda: len(set(copies())) == 2, "the node follows by itself")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(op, node, "keySet", key_url=url)
        assert len(set(copies())) == 2 and not node.events("keyRewrapped"), "the control: that is under way still"
        answer = asked.result()
    assert answer["ok"], answer
    assert len(node.events("keyRewrapped")) == 1
    assert op(node, "keyShow")["configuration"]["key-url"] == url and serves(node)


class Operators:
    """Several people who do not know of each other, each with whatever comes to mind; and a client that writes all the while."""

    def __init__(self, node, vault, directory):
        self.node, self.directory, self.stopping = node, str(directory), False
        self.wrong, self.done, self.acked, self.backups = [], [], 0, 0
        self.lock = threading.Lock()
        second = new_key(vault, "second")
        self.choices = [
            lambda: ("keySet", {"key_url": second}), lambda: ("keySet", way_to(vault)), lambda: ("keySwitch", {"key_mode": "smk"}),
            lambda: ("keySwitch", {"key_mode": "cmk", **way_to(vault)}), lambda: ("rotateKey", {}), lambda: ("rotateKey", {"compromised": True}),
            lambda: ("keyFollow", {}), lambda: ("keyFollow", {"compromised": True}), lambda: ("rotationPause", {}), lambda: ("rotationPause", {"paused": False}),
            lambda: ("keyShow", {}), lambda: ("keyCheck", {"key_url": second}), lambda: ("backup", {"dir": self.new_place()})]

    def new_place(self):
        with self.lock:
            self.backups += 1
            return os.path.join(self.directory, f"backup{self.backups}")

    def operate(self, rng):
        while not self.stopping:
            name, fields = rng.choice(self.choices)()
            try:
                answer = op(self.node, name, **fields)
            except (OSError, ValueError):  # more connections than the administration socket takes
                assert self.node.alive()
                continue
            if answer["ok"]:
                self.done.append(name)
            elif answer["code"] not in (CONFLICT, ILLEGAL):  # another one was first; the mode is that one already
                self.wrong.append((name, answer))
            if name == "backup":
                shutil.rmtree(fields["dir"], ignore_errors=True)

    def write(self):
        with self.node.client(retryWrites=False) as client:
            while not self.stopping:
                client.load.c.insert_one({"_id": self.acked, "pad": "x" * 200})
                self.acked += 1


@pytest.mark.timeout(180)
def test_everything_at_once(make_node, vault, tmp_path):
    """Whatever came first: one key is in force, every generation that is left has data under it or goes, nothing that was acknowledged is missing."""
    print(f"COFFER_SEED={SEED}")
    node = make_node({**FAST_KEYS, "rotation-rate": "0"}, vault=vault)
    fill(node)
    operators = Operators(node, vault, tmp_path)
    threads = [threading.Thread(target=operators.operate, args=(random.Random(SEED + i),)) for i in range(5)] + [threading.Thread(target=operators.write)]
    for t in threads:
        t.start()
    time.sleep(5)
    enough = {"keySwitch", "keySet", "keyFollow", "rotateKey", "backup"}
    try:
        wait_until(lambda: operators.wrong or enough <= set(operators.done), "each of them got its way once", 90)
    finally:
        operators.stopping = True
    for t in threads:
        t.join()
    assert not operators.wrong, operators.wrong
    assert operators.acked > 0
    assert not node.events("keySealing") and not node.events("keyAlarm")
    backup = str(tmp_path / "last")
    assert op(node, "backup", dir=backup)["ok"]
    assert op(node, "rotationPause", paused=False)["ok"]
    wait_until(lambda: [g["state"] for g in op(node, "keyShow")["generations"]].count("live") == 1, "older generations leave", 90)
    shown = op(node, "keyShow")
    other = make_node({**FAST_KEYS, **shown["configuration"], "restore-from": backup, "service-root-key": os.path.join(node.state_dir, "service-root.key")},
                      start=False)
    other.user, other.password = node.user, node.password
    node.restart()
    other.start()
    for one in (node, other):
        with one.client() as client:
            assert serves(one) and client.load.c.count_documents({}) == operators.acked
            assert client.load.validate_collection("c", full=True)["valid"]
    assert op(node, "keyShow")["mode"] == shown["mode"] and not os.path.exists(os.path.join(node.state_dir, "key-config.next"))
