"""Many clients at once: logging in, and making users, while others do the same."""
from concurrent.futures import ThreadPoolExecutor

import pymongo.errors


def test_logins_do_not_disturb_each_other(node):
    def login(_):
        with node.client() as client:
            return client.admin.command("ping")["ok"]

    with ThreadPoolExecutor(24) as pool:
        assert set(pool.map(login, range(300))) == {1.0}


def test_users_are_made_at_once_and_once(node):
    def make(i):
        with node.client() as client:
            try:
                client.admin.command("createUser", f"u{i % 10}", pwd="secret", roles=["read"])
                return True
            except pymongo.errors.OperationFailure as e:
                assert e.code == 51003, e
                return False

    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(make, range(60)))
    assert made.count(True) == 10
