"""The official Node driver, Azure SDK and mongosh, each in a process of its own, against programs started here."""
import json
import os
import re
import subprocess

import pytest

from processes import ROOT

NODE_DIR = os.path.join(ROOT, "tests/compat/node")
NODE = os.path.join(ROOT, ".venv/bin/node")


def run_node_tests(name, env):
    done = subprocess.run([NODE, "--test", "--test-reporter=spec", os.path.join(NODE_DIR, name)], capture_output=True, text=True,
                          env={**os.environ, **env}, timeout=240, check=False)
    counts = dict(re.findall(r"^ℹ (tests|pass|fail|skipped|todo) (\d+)$", done.stdout, re.M))
    assert done.returncode == 0, done.stdout + done.stderr
    # A file that ran no test has shown nothing.
    assert int(counts["pass"]) > 0 and counts["tests"] == counts["pass"], done.stdout


def test_node_driver(shared_node):
    run_node_tests("driver.test.mjs", {"MONGODB_URI": shared_node.uri()})


def test_azure_sdk(two_vaults):
    vault = two_vaults
    facts = vault.facts()
    vault.administer("role", "define", "Uses only", "--actions=Microsoft.KeyVault/vaults/keys/*", "--except=Microsoft.KeyVault/vaults/keys/read")
    vault.administer("role", "assign", "Uses only", "--vault=second", "--principal=node")
    run_node_tests("keyvault.test.mjs", {
        "VAULT_URL": vault.url,
        "SECOND_URL": facts["vaults"]["second"]["url"],
        "CLIENT_ID": vault.client_id("customer"),
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": facts["tokenAuthority"],
        "NODE_EXTRA_CA_CERTS": vault.ca_file,
        "APP_SERVICE_ENDPOINT": facts["appServiceEndpoint"],
        "APP_SERVICE_SECRET": open(facts["identities"]["node"]["secretFile"], encoding="ascii").read(),
        "NODE_CLIENT_ID": vault.client_id("node"),
    })


class Shell:
    def __init__(self, node, home):
        self.node, self.home = node, str(home)

    def __call__(self, script, check=True):
        """What the script's last expression is, through mongosh --json."""
        done = subprocess.run([os.path.join(ROOT, ".venv/bin/mongosh"), self.node.uri(), "--quiet", "--norc", "--json=relaxed", "--eval", script],
                              capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
                              env={**os.environ, "HOME": self.home, "MONGOSH_FORCE_DISABLE_TELEMETRY_FOR_TESTING": "1"})
        if not check:
            return done
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shell(shared_node, tmp_path):
    return Shell(shared_node, tmp_path)


def test_shell_writes_and_reads(shell):
    assert shell("""
        const d = db.getSiblingDB('shell_rw');
        d.dropDatabase();
        d.a.insertMany([{_id: 1, n: 5}, {_id: 2, n: 7}]);
        d.a.updateOne({_id: 1}, {$inc: {n: 1}});
        d.a.createIndex({n: 1});
        ({found: d.a.find({n: {$gt: 5}}).sort({_id: 1}).toArray(),
          sum: d.a.aggregate([{$group: {_id: null, n: {$sum: '$n'}}}]).toArray()[0].n,
          indexes: d.a.getIndexes().map(i => i.name)})
    """) == {"found": [{"_id": 1, "n": 6}, {"_id": 2, "n": 7}], "sum": 13, "indexes": ["_id_", "n_1"]}


def test_shell_shows_databases_and_collections(shell):
    result = shell("""
        const d = db.getSiblingDB('shell_show');
        d.first.insertOne({a: 1});
        const r = {dbs: db.adminCommand({listDatabases: 1}).databases.map(x => x.name), collections: d.getCollectionNames()};
        d.dropDatabase();
        r
    """)
    assert "shell_show" in result["dbs"] and result["collections"] == ["first"]


def test_shell_makes_a_user_that_may_only_read(shell, shared_node):
    shell("db.getSiblingDB('admin').createUser({user: 'reader', pwd: 'reads only', roles: [{role: 'read', db: 'shell_users'}]}).ok")
    try:
        done = subprocess.run([os.path.join(ROOT, ".venv/bin/mongosh"),
                               f"mongodb://reader:reads%20only@127.0.0.1:{shared_node.port}/shell_users?authSource=admin",
                               "--quiet", "--norc", "--eval",
                               "print(db.a.countDocuments()); try { db.a.insertOne({a: 1}); print('written') } catch (e) { print(e.code) }"],
                              capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
                              env={**os.environ, "HOME": shell.home})
        assert done.stdout.split() == ["0", "13"], done.stdout + done.stderr
    finally:
        shell("db.getSiblingDB('admin').dropUser('reader').ok")
