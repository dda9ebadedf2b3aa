"""What the commands of the CLI print for people: the same content as JSON has, without JSON's signs."""
import base64
import datetime
import json
import os
import re
import socket
import subprocess
import threading

import pytest

from processes import FAST_KEYS, binary
from sealing import fill

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def coffer(make_node, vault, tmp_path):
    node = make_node({**FAST_KEYS, "probe-interval": "10min", "key-follow-interval": "1h"}, vault=vault)
    fill(node, 50)

    def run(*args, socket=None):
        where = f"--admin-socket={socket}" if socket else f"--home={tmp_path}"
        return subprocess.run([binary("coffer"), *args, where], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True).stdout
    run.socket = os.path.join(node.state_dir, "admin.sock")
    run.vault_socket = vault.path("state", "admin.sock")
    return run


def leaves(value):
    """Every value of an answer as text has it."""
    if isinstance(value, dict) and set(value) == {"$date"}:
        date = value["$date"]
        yield date if "." in date else date.removesuffix("Z") + ".000Z"
    elif isinstance(value, dict) and set(value) == {"$binary"}:
        yield base64.b64decode(value["$binary"]["base64"]).hex()
    elif isinstance(value, dict):
        for v in value.values():
            yield from leaves(v)
    elif isinstance(value, list):
        for v in value:
            yield from leaves(v)
    else:
        yield str(value).lower() if isinstance(value, bool) else str(value)


COMMANDS = [("cluster", "list"), ("cluster", "status", "node1"), ("cluster", "key", "show", "node1"), ("cluster", "key", "check", "node1"),
            ("cluster", "rotation", "status", "node1")]
VAULT_COMMANDS = [("vault", "status"), ("vault", "access", "show", "main"), ("vault", "role", "list"), ("vault", "identity", "list")]
# what another look at the same thing gives anew
MOVING = {"leftMillis", "nextProbe", "lastProbe"}


def without_moving(value):
    if isinstance(value, dict):
        return {k: without_moving(v) for k, v in value.items() if k not in MOVING}
    return [without_moving(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("command", COMMANDS + VAULT_COMMANDS, ids=" ".join)
def test_all_that_json_has_is_there_without_its_signs(command, coffer):
    socket = coffer.vault_socket if command in VAULT_COMMANDS else None
    told, text = json.loads(coffer(*command, "-o", "json", socket=socket)), coffer(*command, socket=socket)
    assert not re.search(r'\{"|\[\]|\$date|\$binary', text), text
    assert not re.search(r"^\s*-\s*$", text, re.M), "a dash stands alone"
    assert not re.search(r":$(?!\n\s)", text, re.M), "a name without anything below it"
    for leaf in leaves(without_moving(told)):
        assert leaf in text or datetime.datetime.fromtimestamp(int(leaf), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z") in text, leaf
    if command[0] == "cluster" and command[1] != "rotation":
        assert ISO.search(text) or command[2] == "check", text


def test_a_list_of_like_things_is_a_table(coffer):
    lines = coffer("cluster", "list").splitlines()
    assert re.fullmatch(r"name +mode +state +since", lines[0]) and re.fullmatch(r"node1 +cmk +Ready +" + ISO.pattern, lines[1]), lines
    check = coffer("cluster", "key", "check", "node1")
    at = check.index("  rule ")
    columns = [check[at:].splitlines()[0].index(name) for name in ("rule", "verdict", "found")]
    for line in check[at:].splitlines()[1:]:
        assert all(line[c - 2:c] == "  " and line[c] != " " for c in columns[1:]), line


def test_operations_print_as_the_setting_says(coffer, tmp_path):
    assert coffer("revalidate", socket=coffer.socket) == "done\n"
    assert json.loads(coffer("revalidate", "-o", "json", socket=coffer.socket)) == {}
    place = str(tmp_path / "b")
    assert f"dir: {place}\n" in coffer("backup", place, socket=coffer.socket)
    told = coffer("backup", "verify", place, socket=coffer.socket)
    assert ISO.search(told) and "{" not in told, told


def test_what_runs(tmp_path):
    done = subprocess.run([binary("coffer"), "status", f"--home={tmp_path}"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "vault  does not run\nsmk    does not run\ncmk    does not run\n"
    done = subprocess.run([binary("coffer"), "status", f"--home={tmp_path}", "-o", "json"], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [{"program": p, "runs": False} for p in ("vault", "smk", "cmk")]


def test_nothing_that_somebody_else_wrote_moves_the_cursor(tmp_path):
    """Names and texts in an answer may be those of whoever made a file or a backup."""
    evil, shown = "\u00e9\x1b[2Jb\nok: true\u009b2J", "\u00e9\\x1b[2Jb\\x0aok: true\\x9b2J"
    answer = {"ok": True, "text": evil, evil: "name", "table": [{"a": evil, "b": 1}, {"a": "x", "b": 2}], "list": [evil]}
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)

        def serve():
            peer, _ = listener.accept()
            with peer, peer.makefile("rwb") as f:
                f.readline()
                f.write(json.dumps(answer).encode() + b"\n")
        server = threading.Thread(target=serve)
        server.start()
        done = subprocess.run([binary("coffer"), "cluster", "status", f"--admin-socket={path}"], capture_output=True, text=True, timeout=60, check=False)
        listener.shutdown(socket.SHUT_RDWR)  # were it not asked at all
        server.join()
    assert done.stdout.count(shown) == 4, done
    assert not {"\x1b", "\x9b"} & set(done.stdout)
