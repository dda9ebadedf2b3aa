"""The anchor kept outside as a tag of a key in the vault: an older image of everything is refused; that it cannot be kept is told and stops nothing."""
import os
import shutil

import pytest

from processes import FAST_KEYS, wait_until
from sealing import fill, serves
from test_external_anchor import CONFIG, failure, put_back, refused, save, write, write_until_killed

KEY = "anchors"
WHERE = "externalAnchorKey"


def may(vault, verb="assign"):
    vault.administer("role", verb, "anchor", "--vault=main", "--principal=node", f"--key={KEY}")


@pytest.fixture
def owned(vault):
    """A vault with a key that is there for nothing else, whose tags the node may write."""
    assert vault.call("POST", f"/keys/{KEY}/create", {"kty": "RSA", "tags": {"coffer-grace-period": "7min", "owner": "Ann"}}).status_code == 200
    vault.administer("role", "define", "anchor", "--actions=Microsoft.KeyVault/vaults/keys/read,Microsoft.KeyVault/vaults/keys/update/action")
    may(vault)
    return vault


def with_tag(vault, key=KEY):
    return {**FAST_KEYS, "external-anchor-key": f"{vault.url}/keys/{key}", "external-anchor-key-interval": "20ms", "anchor-interval": "20ms"}


@pytest.fixture
def watched(make_node, owned):
    return make_node(with_tag(owned), vault=owned)


def kept(node):
    return node.admin("status")[WHERE]


def tags(vault, key=KEY):
    return vault.call("GET", f"/keys/{key}/").json()["tags"]


def wait_followed(node):
    counter = kept(node)["storeCounter"]
    wait_until(lambda: kept(node)["counter"] >= counter, "the tag follows")
    return counter


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_older_image_of_everything_is_refused(end, watched):
    node = watched
    fill(node)
    node.stop()
    image = save(node, "older")
    node.start()
    wait_followed(node)
    getattr(node, end)()
    newest = save(node, "newest")
    put_back(node, image)
    assert "older state" in refused(node)
    put_back(node, newest)
    node.start()
    assert serves(node) and not node.events("externalAnchorLost")


@pytest.mark.parametrize("point", ["outside.before", "outside.after"])
def test_killed_around_a_write(point, watched):
    node = watched
    fill(node)
    wait_followed(node)
    for skip in (0, 2):
        node.stop()
        node.env = {"COFFER_FAULTS": f"{point}=kill:{skip}:1"}
        node.spawn()
        write_until_killed(node)
        node.env = {}
        node.start()
        assert serves(node), (point, skip)
        wait_followed(node)


def test_the_owners_tags_stay_and_clusters_share_a_key(watched, make_node, owned):
    other = make_node(with_tag(owned), vault=owned)
    for node in (watched, other):
        fill(node)
        wait_followed(node)
    shown = tags(owned)
    assert shown.pop("coffer-grace-period") == "7min" and shown.pop("owner") == "Ann"
    assert len(shown) == 2 and all(name.startswith("coffer-anchor-") and int(value) > 0 for name, value in shown.items())


def test_without_the_permission_it_is_told_and_costs_no_service(watched, owned):
    node = watched
    fill(node)
    wait_followed(node)
    may(owned, "remove")
    write(node, 1)
    wait_until(lambda: "keys/" in kept(node).get("error", ""), "the status names the missing permission")
    node.wait_event("externalAnchorFailed")
    node.restart()
    assert serves(node) and node.state() == "Ready" and not kept(node)["lostAtStart"], "it may be read still"
    with node.client() as client:
        wait_until(lambda: client.admin.command("serverStatus")["metrics"]["externalAnchorKey.failing"] == 1, "a metric says so")
    assert owned.call("DELETE", f"/keys/{KEY}").status_code == 200
    node.restart()
    assert serves(node) and node.state() == "Ready" and kept(node)["lostAtStart"] and node.events("externalAnchorLost")
    assert owned.call("POST", f"/deletedkeys/{KEY}/recover").status_code == 200
    may(owned)
    write(node, 2)
    wait_until(lambda: "error" not in kept(node), "it is written again")
    wait_followed(node)
    node.restart()
    assert not kept(node)["lostAtStart"]


@pytest.mark.parametrize("what", ["gone", "no number"])
def test_a_tag_that_is_lost_is_told_and_made_anew(what, watched, owned):
    node = watched
    fill(node)
    wait_followed(node)
    node.stop()
    name = next(n for n in tags(owned) if n.startswith("coffer-anchor-"))
    left = {} if what == "gone" else {name: "12x"}
    assert owned.call("PATCH", f"/keys/{KEY}/", {"tags": left}).status_code == 200
    node.start()
    assert serves(node) and kept(node)["lostAtStart"] and len(node.events("externalAnchorLost")) == 1
    wait_followed(node)
    assert int(tags(owned)[name]) > 0


def test_it_may_be_the_key_that_wraps_and_goes_on_with_its_versions(make_node, vault):
    vault.administer("role", "assign", "crypto-officer", "--vault=main", "--principal=node")
    node = make_node(with_tag(vault, vault.key), vault=vault)
    fill(node)
    wait_followed(node)
    assert vault.call("POST", f"/keys/{vault.key}/rotate").status_code == 200
    new = vault.call("GET", f"/keys/{vault.key}/").json()["key"]["kid"].rsplit("/", 1)[1]
    wait_until(lambda: node.admin("keyShow")["key"]["version"] == new, "the newer version is followed")
    write(node, 1)
    remembered = wait_followed(node)
    assert max(int(v) for n, v in tags(vault, vault.key).items() if n.startswith("coffer-anchor-")) >= remembered
    node.restart()
    assert serves(node) and not kept(node)["lostAtStart"]


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
    assert not os.path.exists(os.path.join(node.state_dir, "restore-ticket"))
    assert wait_followed(node) > remembered
    node.stop()
    put_back(node, later)
    assert "older state" in refused(node)


def test_of_two_copies_the_one_that_got_further_counts(make_node, owned, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    node = make_node({**with_tag(owned), "external-anchor": str(folder / "anchor"), "external-anchor-interval": "20ms"}, vault=owned)
    fill(node)
    node.stop()
    image = save(node, "older")
    node.start()
    wait_followed(node)
    node.stop()
    put_back(node, image)
    (folder / "anchor").unlink()  # whoever put the image back could reach this one
    assert "older state" in refused(node)


def test_what_is_no_such_key(make_node, vault):
    for url in ("kmip://hsm.example:5696/1", f"{vault.url}/keys/a,{vault.url}/keys/b", "anchors"):
        node = make_node({**FAST_KEYS, "external-anchor-key": url}, vault=vault, start=False)
        assert failure(node)["code"] == CONFIG


def test_without_a_customers_key_it_is_told(make_node, vault):
    node = make_node({"external-anchor-key": f"{vault.url}/keys/{KEY}", "external-anchor-key-interval": "20ms"})
    fill(node)
    wait_until(lambda: "cmk mode only" in kept(node).get("error", ""), "the status tells")
    assert serves(node)
