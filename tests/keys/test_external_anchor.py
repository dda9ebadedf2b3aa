"""The anchor kept outside: an older state of the whole cluster, its state directory with it, is refused; a restore that is meant is not."""
import os
import shutil
import signal
import subprocess
import time

import pymongo.errors
import pytest

from processes import FAST_KEYS, binary, wait_until
from sealing import fill, serves

STALE, FOREIGN, CONFIG = 9900004, 9900005, 9900023


def outside_of(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir(exist_ok=True)
    return str(folder / "anchor")


@pytest.fixture
def watched(make_node, tmp_path):
    """A node whose anchor is kept outside."""
    return make_node({"external-anchor": outside_of(tmp_path), "external-anchor-interval": "20ms", "anchor-interval": "20ms"})


def kept(node):
    return node.admin("status")["externalAnchor"]


def wait_followed(node):
    """What is on disk now is remembered outside."""
    counter = kept(node)["storeCounter"]
    wait_until(lambda: kept(node)["counter"] >= counter, "the copy outside follows")
    return counter


def save(node, name):
    """An image of data and state directory, of a node that does not run."""
    place = node.path(name)
    for folder in ("data", "state"):
        shutil.copytree(node.path(folder), os.path.join(place, folder), ignore=shutil.ignore_patterns("admin.sock"))
    return place


def put_back(node, place):
    for folder in ("data", "state"):
        shutil.rmtree(node.path(folder))
        shutil.copytree(os.path.join(place, folder), node.path(folder))


def write(node, n):
    with node.client() as client:
        client.t.more.insert_one({"_id": n})


def failure(node):
    _, events = node.start_fails()
    return [e for e in events if e["event"] == "startFailed"][-1]


def refused(node):
    why = failure(node)
    assert why["code"] == STALE, why
    return why["error"]


def write_until_killed(node):
    """From its start on, whether it ever listens or not."""
    n = 1000
    while node.process.poll() is None:
        n += 1
        port = node.read_port()
        if not port:
            time.sleep(0.02)
            continue
        node.port = port
        try:
            with node.client(serverSelectionTimeoutMS=500) as client:
                client.t.killed.insert_one({"n": n})
        except pymongo.errors.PyMongoError:
            time.sleep(0.02)
    assert node.process.returncode == -signal.SIGKILL, node.tail()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_older_image_of_everything_is_refused(end, watched):
    node = watched
    fill(node)
    node.stop()
    image = save(node, "older")
    node.start()  # opening is enough: the image is of before
    wait_followed(node)
    getattr(node, end)()
    newest = save(node, "newest")
    put_back(node, image)
    assert "older state" in refused(node)
    assert "older state" in refused(node), "and stays refused"
    put_back(node, newest)
    node.start()
    assert serves(node) and not node.events("externalAnchorLost")


def test_without_it_the_same_image_is_taken(make_node):
    node = make_node()
    fill(node)
    node.stop()
    image = save(node, "older")
    node.start()
    write(node, 1)
    node.stop()
    put_back(node, image)
    node.start()
    assert serves(node), "the control: nothing else would notice"


def test_a_store_that_is_gone_is_refused(watched):
    node = watched
    fill(node)
    wait_followed(node)
    node.stop()
    shutil.rmtree(os.path.join(node.data_dir, "store"))
    os.mkdir(os.path.join(node.data_dir, "store"))
    node.start_fails()
    shutil.rmtree(node.data_dir)
    shutil.rmtree(node.state_dir)
    assert failure(node)["code"] == FOREIGN, "a new cluster does not take the place of the one that is remembered"


@pytest.mark.parametrize("point", ["outside.before", "outside.after", "fs.rename.anchor", "fs.sync.anchor"])
def test_killed_at_each_step_nothing_is_refused_that_should_not_be(point, watched):
    node = watched
    fill(node)
    wait_followed(node)
    for skip in (0, 1, 3):
        node.stop()
        node.env = {"COFFER_FAULTS": f"{point}=kill:{skip}:1"}
        node.spawn()
        write_until_killed(node)
        node.env = {}
        node.start()
        assert serves(node), (point, skip)
        wait_followed(node)


def test_one_that_cannot_be_written_is_told_and_costs_no_service(watched, tmp_path):
    node = watched
    fill(node)
    wait_followed(node)
    folder = os.path.dirname(outside_of(tmp_path))
    os.rename(folder, folder + ".away")
    write(node, 1)
    node.wait_event("externalAnchorFailed")
    wait_until(lambda: kept(node).get("error"), "the status tells")
    assert serves(node)
    node.restart()
    assert serves(node) and kept(node)["lostAtStart"] and node.events("externalAnchorLost")
    os.rename(folder + ".away", folder)
    write(node, 2)
    wait_until(lambda: "error" not in kept(node), "it is written again")
    wait_followed(node)
    node.restart()
    assert not kept(node)["lostAtStart"]


@pytest.mark.parametrize("damage", ["gone", "cut", "bit"])
def test_one_that_is_lost_is_told_and_made_anew(damage, watched, tmp_path):
    node, path = watched, outside_of(tmp_path)
    fill(node)
    wait_followed(node)
    node.stop()
    with open(path, "rb") as f:
        content = bytearray(f.read())
    os.unlink(path)
    if damage != "gone":
        content = content[:40] if damage == "cut" else content[:14] + bytes([content[14] ^ 1]) + content[15:]
        with open(path, "wb") as f:
            f.write(content)
    node.start()
    assert serves(node) and kept(node)["lostAtStart"] and len(node.events("externalAnchorLost")) == 1
    wait_followed(node)
    node.restart()
    assert not kept(node)["lostAtStart"] and len(node.events("externalAnchorLost")) == 1


def test_a_restore_that_is_meant(watched, tmp_path):
    node = watched
    fill(node)
    backup = str(tmp_path / "backup")
    assert node.admin("backup", dir=backup)["ok"]
    write(node, 1)
    remembered = wait_followed(node)
    node.stop()
    later = save(node, "later")
    shutil.rmtree(node.data_dir)
    node.settings["restore-from"] = backup
    node.start()
    assert serves(node) and node.events("restoreTicketUsed")
    with node.client() as client:
        assert client.t.more.count_documents({}) == 0
    assert not os.path.exists(os.path.join(node.state_dir, "restore-ticket")), "once"
    assert wait_followed(node) > remembered, "it counts on from what was remembered"
    node.restart()
    assert serves(node) and len(node.events("restoreTicketUsed")) == 1
    node.stop()
    put_back(node, later)
    assert "older state" in refused(node), "nothing between the backup and the restore can be put back"


@pytest.mark.parametrize("point", ["ticket.written", "ticket.used"])
def test_a_restore_killed_in_between(point, watched, tmp_path):
    node = watched
    fill(node)
    backup = str(tmp_path / "backup")
    assert node.admin("backup", dir=backup)["ok"]
    write(node, 1)
    wait_followed(node)
    node.stop()
    shutil.rmtree(node.data_dir)
    node.settings["restore-from"] = backup
    node.env = {"COFFER_FAULTS": f"{point}=kill"}
    node.spawn()
    assert node.process.wait(60) == -signal.SIGKILL, node.tail()
    node.env = {}
    if point == "ticket.written":  # the copy was not finished: the operator clears it away, as after any restore that was cut short
        shutil.rmtree(node.data_dir)
    node.start()
    assert serves(node) and not os.path.exists(os.path.join(node.state_dir, "restore-ticket"))


def accept_older(node, *flags):
    settings = {k: v for k, v in node.settings.items() if k not in ("port", "port-file")}
    args = [f"--{k}={v}" for k, v in {**settings, "log-file": node.log_file, "log-format": "json"}.items()]
    return subprocess.run([binary("cofferd"), *args, *flags, "accept-older"], capture_output=True, text=True, timeout=60, check=False)


def test_an_image_put_back_on_purpose_needs_a_ticket_for_it_and_for_no_other(watched):
    node = watched
    fill(node)
    images = []
    for i in range(2):
        write(node, i)
        node.stop()
        images.append(save(node, f"image{i}"))
        node.start()
    wait_followed(node)
    node.stop()
    put_back(node, images[0])
    assert accept_older(node).returncode != 0, "not without the cluster's name"
    refused(node)
    assert accept_older(node, "--confirm=coffer").returncode == 0
    ticket = os.path.join(node.state_dir, "restore-ticket")
    with open(ticket, "rb") as f:
        permission = f.read()
    put_back(node, images[1])
    with open(ticket, "wb") as f:
        f.write(permission)
    refused(node)
    assert node.events("restoreTicketRefused")
    put_back(node, images[0])
    with open(ticket, "wb") as f:
        f.write(permission)
    node.start()
    assert serves(node)
    wait_followed(node)
    node.stop()
    put_back(node, images[0])
    with open(ticket, "wb") as f:
        f.write(permission[:-1])
    refused(node)


def test_where_it_may_not_be(make_node):
    for place in ("data/store/anchor", "state/anchor", "relative"):
        node = make_node(start=False)
        node.settings["external-anchor"] = node.path(place) if "/" in place else place
        assert failure(node)["code"] == CONFIG


def test_it_follows_over_sealing(make_node, vault, tmp_path):
    node = make_node({**FAST_KEYS, "external-anchor": outside_of(tmp_path), "external-anchor-interval": "20ms"}, vault=vault)
    fill(node)
    wait_followed(node)
    for _ in range(2):
        vault.disable()
        node.wait_state("Inaccessible")
        vault.enable()
        wait_until(lambda: serves(node), "the data is back")
    wait_followed(node)
    assert not node.events("externalAnchorLost")
