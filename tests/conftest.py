"""Fixtures of the whole-process tests; tests/README.md says how to use them."""
import json
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "support"))

from nonces import Ledger  # noqa: E402
from processes import FAST_KEYS, Node, Vault  # noqa: E402

LEDGER = Ledger()  # of this worker's whole run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of the log of each program that it started."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for program in getattr(item, "coffer_programs", []):
            report.sections.append((f"{program.name} in {program.dir}", program.tail()))


class Programs:
    """What a test started; all of it is ended behind the test, and none may have panicked."""

    def __init__(self):
        self.all = []

    def add(self, program):
        self.all.append(program)
        return program

    def end(self):
        panics = [p.tail() for p in self.all if '"event":"panic"' in p.log_text().replace(" ", "")]
        for program in reversed(self.all):
            if program.process is not None:
                program.kill()
        assert not panics, "\n".join(panics)
        for program in self.all:
            if isinstance(program, Node):
                LEDGER.note_all(program.data_dir)


@pytest.fixture
def programs(request):
    p = Programs()
    request.node.coffer_programs = p.all
    yield p
    p.end()


@pytest.fixture
def make_node(programs, tmp_path):
    """make_node(settings, vault=None, start=True, admin=True): a node of this test alone."""
    count = 0

    def make(settings=None, vault=None, start=True, admin=True):
        nonlocal count
        count += 1
        node = programs.add(Node(tmp_path / f"node{count}", settings, vault))
        if start:
            node.start()
            if admin:
                node.add_admin()
        return node
    return make


@pytest.fixture
def node(make_node):
    """A running node of this test alone, with an administrator."""
    return make_node()


@pytest.fixture
def vault(programs, tmp_path):
    """A running key vault of this test alone."""
    return programs.add(Vault(tmp_path / "vault")).start()


@pytest.fixture
def two_vaults(programs, tmp_path):
    """A running key vault process with another vault in it, "second", whose deleted keys may be purged; the customer administers both."""
    others = tmp_path / "vaults.json"
    others.write_text(json.dumps({"main": {"properties": {"throttling": {"createPer10Seconds": 0}}},
                                  "second": {"properties": {"enablePurgeProtection": False}}}))
    v = programs.add(Vault(tmp_path / "vault", settings={"vaults-file": str(others), "rotation-check": "100ms"})).start()
    v.administer("role", "assign", "crypto-officer", "--vault=second", "--principal=customer")
    return v


@pytest.fixture
def cmk_node(make_node, vault):
    """A running node whose key is wrapped by the key of `vault`, its intervals in milliseconds."""
    return make_node(FAST_KEYS, vault=vault)


@pytest.fixture(scope="session")
def shared_node(tmp_path_factory):
    """One node for all tests of a worker that only read and write databases of their own; see `db`."""
    n = Node(tmp_path_factory.mktemp("shared") / "node").start().add_admin()
    yield n
    n.kill()


@pytest.fixture(scope="session")
def shared_client(shared_node):
    with shared_node.client() as client:
        yield client


@pytest.fixture
def db(shared_client, request):
    """An empty database of the shared node, dropped behind the test."""
    name = "t_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[:40] + f"_{os.getpid()}"
    shared_client.drop_database(name)
    yield shared_client[name]
    shared_client.drop_database(name)
