"""Programs under test: started in directories of their own, on ports that the system chooses, watched and ended.

The convention for every program: `--port=0` lets the system choose, and `--port-file=PATH` makes the program write the port there,
atomically, once it listens. Logs are JSON lines in a file of their own.
"""
import json
import os
import secrets
import signal
import socket
import subprocess
import time

import pymongo
import pymongo.errors
import requests

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("COFFER_BUILD") or os.path.join(ROOT, "build")
READY_SECONDS = float(os.environ.get("COFFER_READY_SECONDS") or 30)

# Sealing in milliseconds instead of seconds. Tests of the default settings do not use these.
FAST_KEYS = {
    "probe-interval": "100ms",
    "probe-sealed-interval": "100ms",
    "probe-timeout": "2s",
    "confirm-delay": "150ms",
    "key-follow-interval": "500ms",
}


class ProcessFailed(AssertionError):
    """The program ended, or did not do in time what was waited for; carries the end of its log."""


def wait_until(condition, what, seconds=READY_SECONDS, interval=0.02):
    """The first true value of condition(), which is tried until then. A condition that raises is a failed test at once."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(interval)


def binary(name):
    path = os.path.join(BUILD, "bin", name)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is missing: run make first")
    return path


class Program:
    """One process of ours. settings are flags: {"probe-interval": "1s"} is --probe-interval=1s; None leaves a flag out."""

    name = None
    group = None  # the group's id that it runs as, if not ours

    def __init__(self, directory, settings=None, env=None):
        self.dir = str(directory)
        self.settings = dict(settings or {})
        self.env = dict(env or {})
        self.process = None
        self.port = None
        os.makedirs(self.dir, exist_ok=True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    @property
    def log_file(self):
        return self.path("log")

    @property
    def port_file(self):
        return self.path("port")

    def arguments(self):
        flags = {"log-file": self.log_file, "log-format": "json", "port": "0", "port-file": self.port_file, **self.settings}
        return [binary(self.name)] + [f"--{k}={v}" for k, v in flags.items() if v is not None]

    def spawn(self):
        """Start the process and wait for nothing."""
        assert self.process is None or self.process.poll() is not None, "runs already"
        for name in (self.port_file,):
            if os.path.exists(name):
                os.unlink(name)
        with open(self.path("output"), "ab") as out:
            self.process = subprocess.Popen(self.arguments(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.dir,
                                            env={**os.environ, **self.env}, start_new_session=True, group=self.group)
        return self

    def start(self):
        """Start the process and wait until it answers."""
        self.spawn()
        self.port = self.wait_port()
        self.wait_answer()
        return self

    def wait_port(self):
        def port():
            self.check_alive()
            return self.read_port()
        try:
            return wait_until(port, f"{self.name} listens")
        except AssertionError as e:
            raise ProcessFailed(f"{e}\n{self.tail()}") from None

    def read_port(self):
        try:
            with open(self.port_file, encoding="ascii") as f:
                return int(f.read())
        except (FileNotFoundError, ValueError):
            return None

    def wait_answer(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=READY_SECONDS):
            pass

    def check_alive(self):
        if self.process.poll() is not None:
            raise ProcessFailed(f"{self.name} ended with {self.process.returncode}\n{self.tail()}")

    def start_fails(self, seconds=READY_SECONDS):
        """For a start that must be refused: the exit status, which is never 0, and the events of the log."""
        self.spawn()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessFailed(f"{self.name} was to refuse to start, and did not\n{self.tail()}") from None
        assert code != 0, self.tail()
        return code, self.events()

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, and wait for the end. What has ended already is fine."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self, seconds=30):
        """Ask it to end in order; its exit status."""
        if self.alive():
            os.kill(self.pid, signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessFailed(f"{self.name} does not end when asked to\n{self.tail()}") from None

    def restart(self):
        self.stop()
        return self.start()

    def log_text(self):
        try:
            with open(self.log_file, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def events(self, name=None):
        """The events of the log as dictionaries, or those of one name. A line that is no JSON fails the test."""
        found = [json.loads(line) for line in self.log_text().split("\n") if line.strip()]
        return [e for e in found if name is None or e.get("event") == name]

    def wait_event(self, name, seconds=READY_SECONDS, after=0):
        """The first event of that name past the first `after` ones of that name."""
        def found():
            return self.events(name)[after:]
        return wait_until(found, f"{self.name} logs {name}", seconds)[0]

    def tail(self, lines=40):
        text = self.log_text().split("\n")[-lines:]
        try:
            with open(self.path("output"), encoding="utf-8", errors="replace") as f:
                text += ["-- output:"] + f.read().split("\n")[-lines:]
        except FileNotFoundError:
            pass
        return "\n".join([f"-- log of {self.name} in {self.dir}:"] + text)


class Node(Program):
    """A cofferd. With a vault it is a CMK node of that vault's key; else the service manages the key."""

    name = "cofferd"

    def __init__(self, directory, settings=None, vault=None, env=None):
        super().__init__(directory, env=env)
        self.vault = vault
        self.user = None
        self.password = None
        self.settings = {"data-dir": self.data_dir, "state-dir": self.state_dir, "cache-size": "64MB", "memtable-size": "16MB"}
        if vault is not None:
            self.settings.update(vault.node_settings())
        self.settings.update(settings or {})

    @property
    def data_dir(self):
        return self.path("data")

    @property
    def state_dir(self):
        return self.path("state")

    @property
    def admin_socket(self):
        return os.path.join(self.state_dir, "admin.sock")

    def wait_answer(self):
        with self.client(auth=False) as client:
            client.admin.command("hello")

    def uri(self, auth=True):
        who = f"{self.user}:{self.password}@" if auth and self.user else ""
        return f"mongodb://{who}127.0.0.1:{self.port}/" + ("?authSource=admin" if who else "")

    def client(self, auth=True, **options):
        options.setdefault("serverSelectionTimeoutMS", 10000)
        options.setdefault("directConnection", True)
        return pymongo.MongoClient(self.uri(auth), **options)

    def add_admin(self, user="admin"):
        """The first user, through the localhost exception."""
        password = secrets.token_hex(12)
        with self.client(auth=False) as client:
            client.admin.command("createUser", user, pwd=password, roles=["root"])
        self.user, self.password = user, password
        return self

    def admin(self, op, **fields):
        """One request over the administration socket."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(self.admin_socket)
            s.sendall(json.dumps({"op": op, **fields}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                more = s.recv(65536)
                if not more:
                    break
                answer += more
        return json.loads(answer)

    def state(self):
        return self.admin("status").get("state")

    def wait_state(self, state, seconds=READY_SECONDS):
        def reached():
            self.check_alive()
            try:
                status = self.admin("status")
                return status.get("state") == state and not status.get("sealing")
            except (OSError, ValueError):  # between two images of the process its socket is closed
                return False
        wait_until(reached, f"node is {state}", seconds)

    def files(self):
        """Every regular file of the data directory."""
        return sorted(os.path.join(folder, name) for folder, _, names in os.walk(self.data_dir) for name in names)


class Vault(Program):
    """A coffer-vault with one vault "main", a key "data", an identity "node" that may wrap and unwrap with it, and one, "customer",
    that may enable and disable it."""

    name = "coffer-vault"
    key = "data"

    def __init__(self, directory, settings=None, env=None):
        super().__init__(directory, env=env)
        self.settings = {
            "state-dir": self.path("state"),
            "root-key-file": self.path("keys", "root.key"),
            "ca-file": self.path("ca.pem"),
            "credential-dir": self.path("credentials"),
            "facts-file": self.path("facts.json"),
            "token-port": "0",
            "vault-name": "main",
            "bootstrap-keys": f"{self.key}:2048",
            "bootstrap-identities": "node:crypto-service-encryption-user,customer:crypto-officer",
            **(settings or {}),
        }

    def start(self):
        super().start()
        # A vault that comes back must be found where it was: its port is in every key's name.
        self.settings["port"] = str(self.port)
        self.settings["token-port"] = str(self.facts()["tokenPort"])
        return self

    def facts(self):
        with open(self.path("facts.json"), encoding="utf-8") as f:
            return json.load(f)

    @property
    def url(self):
        return self.facts()["vaults"]["main"]["url"]

    @property
    def ca_file(self):
        return self.facts()["caFile"]

    def client_id(self, identity):
        return self.facts()["identities"][identity]["clientId"]

    def node_settings(self, identity="node"):
        """What makes a cofferd a CMK node of this vault's key."""
        facts = self.facts()
        return {
            "key-mode": "cmk",
            "key-url": facts["vaults"]["main"]["keys"][self.key]["url"],
            "key-ca-file": facts["caFile"],
            "key-audience": facts["audience"],
            "token-source": "app-service",
            "token-endpoint": facts["appServiceEndpoint"],
            "token-secret-file": facts["identities"][identity]["secretFile"],
            "client-id": facts["identities"][identity]["clientId"],
        }

    def token(self, identity="customer"):
        facts = self.facts()
        answer = requests.get(facts["imdsEndpoint"], headers={"Metadata": "true"}, timeout=10, params={
            "api-version": "2018-02-01", "resource": facts["audience"], "client_id": self.client_id(identity)})
        answer.raise_for_status()
        return answer.json()["access_token"]

    def call(self, method, path, body=None, identity="customer", token=None):
        """One request as that identity, or with that token; path begins behind the vault's address."""
        # By number, so that these tests do not hang on how names resolve; the SDK tests use the name.
        return requests.request(method, f"https://127.0.0.1:{self.port}{path}", params={"api-version": "7.4"}, json=body, timeout=10,
                                headers={"Authorization": "Bearer " + (token or self.token(identity))}, verify=self.ca_file)

    def enable(self, enabled=True, key=None):
        answer = self.call("PATCH", f"/keys/{key or self.key}/", {"attributes": {"enabled": enabled}})
        assert answer.status_code == 200, answer.text

    def disable(self, key=None):
        self.enable(False, key)

    def administer(self, *args, check=True):
        """`coffer vault ...` as the vault's owner: its answer, or what it says when it fails and may."""
        done = subprocess.run([binary("coffer"), "vault", *args, "--admin-socket=" + self.path("state", "admin.sock"), "-o", "json"],
                              capture_output=True, text=True, timeout=60, check=False, cwd=self.dir)
        assert not check or done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def audit(self, start=False, tokens=False):
        """The records of the audit log; with start also of what the start itself made, with tokens of requests for tokens."""
        done = subprocess.run([binary("coffer"), "vault", "audit", "--admin-socket=" + self.path("state", "admin.sock")],
                              capture_output=True, text=True, timeout=60, check=True, cwd=self.dir)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        return [r for r in records if (start or r.get("identity", {}).get("claim", {}).get("by") != "start")
                and (tokens or not r["category"].endswith("SignInLogs"))]


def node_error(client, database="admin", command="ping"):
    """The code that a command is answered with; 0 when it succeeds."""
    try:
        client[database].command(command)
        return 0
    except pymongo.errors.OperationFailure as e:
        return e.code
