"""What the memory of a running vault holds: the root key, and nothing that it opened for a request that is over."""
import base64
import os
import re

import pytest

from test_vault_format import Opener, b64u, read

CANARY = bytes(range(200, 232))  # what is wrapped and unwrapped


def memory(pid):
    """Every readable byte of the process. Root may, although it is undumpable."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            start, end, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if not rights.startswith("rw") or "[v" in line:
                continue
            try:
                mem.seek(int(start, 16))
                yield mem.read(int(end, 16) - int(start, 16))
            except (OSError, ValueError):
                continue


def count(pid, needle):
    return sum(chunk.count(needle) for chunk in memory(pid))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read the memory of an undumpable process")
def test_private_keys_are_in_memory_for_one_operation_only(vault):
    opener = Opener(read(vault.settings["root-key-file"]))
    state, _, _ = opener.state(read(os.path.join(vault.settings["state-dir"], "vault.state")))
    version = next(v for v in state["vaults"] if v["name"] == "main")["keys"][0]["versions"][0]
    der = opener.private(version["sealed"], "main", "data", version["id"])
    from cryptography.hazmat.primitives import serialization
    numbers = serialization.load_der_private_key(der, None).private_numbers()
    value = base64.urlsafe_b64encode(CANARY).rstrip(b"=").decode()
    for _ in range(20):
        wrapped = vault.call("POST", "/keys/data//wrapkey", {"alg": "RSA-OAEP-256", "value": value}, identity="node").json()
        opened = vault.call("POST", "/keys/data//unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped["value"]}, identity="node").json()
        assert opened["value"] == value

    # The positive control: what has to be there is found, the root key and a public modulus in its sealed state's text.
    assert count(vault.pid, opener.root) >= 1
    assert count(vault.pid, b64u(version["n"])[:64]) >= 1
    for name, number in (("p", numbers.p), ("q", numbers.q), ("d", numbers.d)):
        size = (number.bit_length() + 7) // 8
        for order in ("big", "little"):  # as DER writes it, and as the library's numbers lie in memory
            assert count(vault.pid, number.to_bytes(size, order)[8:72]) == 0, f"{name} ({order}-endian) stayed in memory"
    assert count(vault.pid, CANARY) == 0 and count(vault.pid, value.encode()) == 0, "what was unwrapped stayed in memory"
