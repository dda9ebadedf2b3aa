"""The key goes and comes back, again and again, in milliseconds: nothing of a round stays behind. COFFER_ROUNDS makes it longer (`make rounds`)."""
import os

from processes import FAST_KEYS, wait_until
from sealing import fill, serves

ROUNDS = int(os.environ.get("COFFER_ROUNDS") or 12)
WARM = 3  # rounds after which all that is made once is there


def resident_kb(node):
    with open(f"/proc/{node.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def descriptors(node):
    """What is open and stays open: what clients and files of the store come and go with is not counted."""
    found = []
    for name in os.listdir(f"/proc/{node.pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{node.pid}/fd/{name}").split(":")[0])
        except FileNotFoundError:
            pass
    return len([f for f in found if f != "socket" and not f.startswith(os.path.join(node.data_dir, "store"))])


def test_nothing_stays_behind_of_many_rounds(make_node, vault):
    node = make_node(FAST_KEYS, vault=vault)
    fill(node, 200)
    pid, open_then, kb_then, sealed_then = node.pid, {}, {}, {}
    for i in range(ROUNDS):
        vault.disable()
        node.wait_state("Inaccessible")
        sealed_then[i] = descriptors(node)
        vault.enable()
        node.wait_state("Ready")
        wait_until(lambda: node.check_alive() or serves(node, 200), "the data is back")
        open_then[i], kb_then[i] = descriptors(node), resident_kb(node)
    assert node.pid == pid
    # a leak would add one a round at least
    assert min(open_then[i] for i in range(ROUNDS - WARM, ROUNDS)) <= max(open_then[i] for i in range(WARM)), open_then
    assert min(sealed_then[i] for i in range(ROUNDS - WARM, ROUNDS)) <= max(sealed_then[i] for i in range(WARM)), sealed_then
    assert min(kb_then[i] for i in range(ROUNDS - WARM, ROUNDS)) <= max(kb_then[i] for i in range(WARM)) + 20000, kb_then
    assert len(node.events("keySealed")) == len(node.events("keyReturning")) == ROUNDS
