"""Many nodes at one vault that takes few requests: all of them start, and none asks more often than it was told to."""
import threading
import time

import pytest

import keyservices
from processes import FAST_KEYS, wait_until
from sealing import fill, serves

NODES, WINDOW, LIMIT = 8, 2, 16  # so many requests in so many seconds: a start needs six


class LimitedVault(keyservices.AzureVault):
    """Refuses what is past its limit, and says when to come back."""

    limit = None

    def __init__(self, authority):
        super().__init__(authority)
        self.window, self.taken, self.refused = 0, 0, 0
        self.hold = threading.Lock()

    def operate(self, q, version, op):
        with self.hold:
            now = time.monotonic()
            if self.limit is not None:
                if self.refused and now - self.window >= WINDOW:
                    self.window, self.taken = now, 0
                if self.taken >= self.limit:
                    if not self.refused:  # the first window is as long as that takes, however slowly nodes start
                        self.window = now
                    self.refused += 1
                    raise keyservices.Refused(429, {"error": {"code": "Throttled", "message": "slow down"}}, {"Retry-After": str(WINDOW)})
                self.taken += 1
        return super().operate(q, version, op)


@pytest.mark.timeout(240)
def test_a_restart_of_all_nodes_at_once_does_not_storm_the_vault(make_node, tmp_path):
    vault = LimitedVault(keyservices.Authority(tmp_path / "pki")).start()
    try:
        settings = {**FAST_KEYS, "probe-interval": "5s", "probe-sealed-interval": "500ms", "cache-size": "8MB", "memtable-size": "1MB", **vault.node_settings()}
        nodes = [make_node(settings) for _ in range(NODES)]
        for node in nodes:
            fill(node, 5)
            node.stop()
        vault.limit = LIMIT
        began = time.monotonic()
        for node in nodes:
            node.spawn()
        for node in nodes:
            node.port = node.wait_port()
        wait_until(lambda: all(serves(node, 5) for node in nodes), "every node is Ready", 150, interval=0.2)
        took = time.monotonic() - began
        print(f"{NODES} nodes in {took:.1f} s; {vault.refused} requests refused")
        assert vault.refused, "the control: they were too many at first"
        # Each image of a process is refused once or twice before it knows, and no more in a window.
        assert vault.refused <= 3 * NODES * (took / WINDOW + 1)
        assert not [e for node in nodes for e in node.events("keyAlarm")]
    finally:
        vault.stop()
