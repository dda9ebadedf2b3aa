"""coffer up, status, down: a whole installation of its own, on ports that the system chooses."""
import json
import os
import random
import re
import signal
import socket
import subprocess

import pymongo
import pytest

from processes import binary, wait_until

PORTS = ("--smk-port=0", "--cmk-port=0", "--vault-port=0", "--token-port=0", "--cache-size=32MB")


class Installation:
    def __init__(self, home):
        self.home = str(home)

    def coffer(self, *args, check=True):
        done = subprocess.run([binary("coffer"), *args, f"--home={self.home}"] if args[0].startswith("-")
                              else [binary("coffer"), args[0], f"--home={self.home}", *args[1:]],
                              capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def path(self, *parts):
        return os.path.join(self.home, *parts)

    def env(self):
        with open(self.path("run.env"), encoding="utf-8") as f:
            return dict(line.rstrip("\n").split("=", 1) for line in f)

    def pid(self, program):
        with open(self.path(program, "pid"), encoding="utf-8") as f:
            return int(f.read().split()[0])


def runs(pid):
    """Whether the process runs: one that has ended and that nobody has waited for does not, one of which threads are still ending does."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
            return fields[0] != "Z" or int(fields[17]) > 1
    except FileNotFoundError:
        return False


@pytest.fixture
def installation(tmp_path):
    one = Installation(tmp_path / "var")
    yield one
    one.coffer("down", "--down-timeout=10s")


def test_up_says_how_to_reach_everything(installation):
    installation.coffer("up", *PORTS)
    env = installation.env()
    assert set(env) == {"MONGODB_URI", "SMK_MONGODB_URI", "VAULT_URL", "KEY_ID", "TOKEN_ENDPOINT", "CLIENT_ID", "CA_FILE",
                        "DATA_DIR", "LOG_FILE", "COFFERD_PID"}
    for name, mode in (("MONGODB_URI", "cmk"), ("SMK_MONGODB_URI", "smk")):
        with pymongo.MongoClient(env[name], serverSelectionTimeoutMS=10000) as client:
            client.first.notes.insert_one({"node": mode})
            assert client.first.notes.count_documents({"node": mode}) == 1
    assert env["KEY_ID"].startswith(env["VAULT_URL"] + "/keys/")
    assert os.path.isdir(env["DATA_DIR"]) and os.path.isfile(env["LOG_FILE"]) and os.path.isfile(env["CA_FILE"])
    assert os.readlink(f"/proc/{env['COFFERD_PID']}/exe") == binary("cofferd")
    for secret in ("run.env", "admin.password"):
        assert os.stat(installation.path(secret)).st_mode & 0o077 == 0


def test_a_second_up_changes_nothing(installation):
    installation.coffer("up", *PORTS)
    before = installation.env()
    with pymongo.MongoClient(before["MONGODB_URI"]) as client:
        client.first.notes.insert_one({"_id": 1})
    out = installation.coffer("up", *PORTS).stdout
    assert out.count("runs already") == 3
    assert installation.env() == before
    with pymongo.MongoClient(before["MONGODB_URI"]) as client:
        assert client.first.notes.count_documents({}) == 1


def lasting_port():
    """A free port outside of the range from which the system takes ports by itself: nobody else gets it in between."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        low = int(f.read().split()[0])
    while True:
        port = random.randrange(10240, low)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def test_what_was_killed_comes_back_with_its_data(installation):
    # The vault's port is part of the key's name: it has to be the same after the restart.
    ports = (*PORTS[:2], f"--vault-port={lasting_port()}", *PORTS[3:])
    installation.coffer("up", *ports)
    with pymongo.MongoClient(installation.env()["MONGODB_URI"]) as client:
        client.first.notes.insert_one({"_id": 1})
    killed = [installation.pid(program) for program in ("cmk", "vault")]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(runs(pid) for pid in killed), "the killed programs are gone")
    installation.coffer("up", *ports)
    with pymongo.MongoClient(installation.env()["MONGODB_URI"], serverSelectionTimeoutMS=20000) as client:
        assert client.first.notes.count_documents({"_id": 1}) == 1


def test_down_ends_everything_and_is_harmless_twice(installation):
    installation.coffer("up", *PORTS)
    pids = [installation.pid(p) for p in ("vault", "smk", "cmk")]
    assert installation.coffer("down").stdout.count("stopped") == 3
    assert not any(runs(pid) for pid in pids)
    assert installation.coffer("down").stdout.count("does not run") == 3


@pytest.mark.parametrize("program", ["cofferd", "coffer", "coffer-vault", "coffer-bench"])
def test_help_lists_every_setting(program):
    told = subprocess.run([binary(program), "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    flags = re.findall(r"^  --([a-z-]+) \(.+; default .+\)$", told, re.M)
    assert len(flags) > 5 and len(set(flags)) == len(flags) and "--config FILE" in told
    version = subprocess.run([binary(program), "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.fullmatch(rf"{program} \d+\.\d+\.\d+\n", version)
    wrong = subprocess.run([binary(program), "--no-such-setting=1"], capture_output=True, text=True, timeout=60, check=False)
    assert wrong.returncode != 0 and "no-such-setting" in wrong.stderr
    if program == "cofferd":
        table = subprocess.run([binary(program), "settings-doc"], capture_output=True, text=True, timeout=60, check=True).stdout
        assert re.findall(r"^\| `([a-z-]+)` \|", table, re.M) == flags


def test_help_of_a_command_is_about_that_command():
    def told(*words):
        out = subprocess.run([binary("coffer"), *words], capture_output=True, text=True, timeout=60, check=True).stdout
        commands = re.findall(r"^  (\S+(?: [a-z-]+)*)  ", out.split("settings:")[0].split("commands:")[1], re.M)
        return commands, re.findall(r"^  --([a-z-]+) \(.+; default .+\)$", out, re.M)

    commands, flags = told("cluster", "drill", "--help")
    assert commands == ["cluster drill"] and {"rounds", "user", "home", "output", "token-source"} <= set(flags) and "confirm" not in flags
    assert told("help", "cluster", "drill") == (commands, flags) == told("cluster", "drill", "NAME", "--help")
    commands, flags = told("cluster", "key", "--help")
    assert commands == ["cluster key show", "cluster key check", "cluster key set", "cluster key switch", "cluster key follow"] and not flags
    commands, everything = told("help")
    assert len(commands) > 20
    # every setting is taken by some command, and each command's help says which
    taken = {flag for name in commands for flag in told(*name.split(), "--help")[1]}
    assert taken == set(everything), set(everything) ^ taken


@pytest.mark.parametrize("setting", ["smk-port", "cmk-port", "vault-port", "token-port"])
def test_a_busy_port_is_named_with_its_setting(installation, setting):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        done = installation.coffer("up", *PORTS, f"--{setting}={port}", check=False)
    assert done.returncode == 1
    assert str(port) in done.stderr and setting in done.stderr


def test_a_pid_of_somebody_else_is_left_alone(installation):
    os.makedirs(installation.path("cmk"))
    other = subprocess.Popen(["sleep", "60"])
    try:
        with open(installation.path("cmk", "pid"), "w", encoding="utf-8") as f:
            f.write(f"{other.pid} 1\n")
        assert "cmk    does not run" in installation.coffer("down").stdout
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_status_shows_the_state_of_each_node(installation):
    installation.coffer("up", *PORTS)
    out = installation.coffer("status").stdout
    assert len(re.findall(r"runs: process \d+, port \d+", out)) == 3
    assert out.count("Ready") == 2


@pytest.mark.parametrize("args, message", [
    (("fly",), "no command"),
    (("up", "--no-such-flag"), "no flag"),
    (("up", "operand"), "takes no operand"),
    (("backup",), "takes DIRECTORY"),
    (("status", "--node=other", "--admin-socket="), None),
    (("cluster",), "see coffer cluster --help"),
    (("cluster", "rotation", "begin"), 'no command "cluster rotation begin"'),
    (("cluster", "list", "--rounds=3"), "coffer cluster list takes no --rounds"),
    (("cluster", "erase", "cmk", "--compromised"), "takes no --compromised"),
    (("cluster", "key", "fly", "--help"), 'no command "cluster key fly"'),
    (("up", "--help", "--no-such-flag"), "no flag"),
])
def test_mistakes_are_named(installation, args, message):
    done = installation.coffer(*args, check=False)
    if message is None:
        assert done.returncode == 0
    else:
        assert done.returncode == 1 and message in done.stderr


def test_backup_and_restore(installation, tmp_path):
    installation.coffer("up", *PORTS)
    with pymongo.MongoClient(installation.env()["MONGODB_URI"]) as client:
        client.first.notes.insert_many([{"_id": i} for i in range(1000)])
        client.first.notes.create_index("a")
        installation.coffer("backup", str(tmp_path / "backup"))
        client.first.notes.insert_one({"_id": "behind the backup"})
    vault_port = re.search(r":(\d+)$", installation.env()["VAULT_URL"]).group(1)
    ports = (*PORTS[:2], f"--vault-port={vault_port}", *PORTS[3:])
    assert "runs; end it first" in installation.coffer("restore", *ports, str(tmp_path / "backup"), check=False).stderr
    installation.coffer("down")
    os.rename(installation.path("cmk", "data"), installation.path("cmk", "data.old"))
    installation.coffer("restore", *ports, str(tmp_path / "backup"))
    with pymongo.MongoClient(installation.env()["MONGODB_URI"], serverSelectionTimeoutMS=10000) as client:
        assert client.first.notes.count_documents({}) == 1000
        assert client.first.notes.count_documents({"_id": "behind the backup"}) == 0
        assert set(client.first.notes.index_information()) == {"_id_", "a_1"}


def test_clusters_are_listed_and_their_keys_shown(installation):
    assert installation.coffer("cluster", "list", "-o", "json").stdout == "[]\n"
    installation.coffer("up", *PORTS)
    listed = json.loads(installation.coffer("cluster", "list", "-o", "json").stdout)
    assert [(c["name"], c["mode"], c["state"]) for c in listed] == [("cmk", "cmk", "Ready"), ("smk", "smk", "Ready")]
    shown = json.loads(installation.coffer("cluster", "key", "show", "cmk", "-o", "json").stdout)
    assert shown["configuration"]["key-url"] in installation.env()["KEY_ID"] and shown["key"]["version"]
    assert "version: " in installation.coffer("cluster", "key", "show", "--node=smk").stdout
    assert "no cluster" in installation.coffer("cluster", "key", "show", "other", check=False).stderr
    installation.coffer("down")
    assert json.loads(installation.coffer("cluster", "list", "-o", "json").stdout)[0] == {"name": "cmk", "state": "Stopped"}
