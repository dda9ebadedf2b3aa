"""The embedded vault's files, opened from docs/formats/vault.md alone: no code of the project is used, every byte is accounted for."""
import base64
import hashlib
import hmac
import json
import os

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def read(path):
    with open(path, "rb") as f:
        return f.read()


def b64u(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Opener:
    def __init__(self, root):
        assert len(root) == 32
        self.root = root

    def derive(self, label, salt, context):
        info = b"cofferdb/1" + label.to_bytes(2, "big") + context
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(self.root)

    def state(self, data):
        header, length = data[:96], int.from_bytes(data[40:48], "big")
        assert header[:8] == b"CFRVAULT" and header[8:12] == b"\0\1\0\1" and header[12:16] == bytes(4)
        assert len(data) == 96 + length + 16
        salt = header[48:80]
        assert self.derive(5, salt, header[:80])[:16] == header[80:96]
        text = AESGCM(self.derive(15, salt, header[:80])).decrypt(bytes(12), data[96:], header)
        return json.loads(text), header[16:32], int.from_bytes(header[32:40], "big")

    def private(self, sealed, *context):
        where = b"".join(part.lower().encode() + b"\0" for part in context)
        sealed = b64u(sealed)
        key = self.derive(14, sealed[:32], where)
        return AESGCM(key).decrypt(bytes(12), sealed[48:] + sealed[32:48], where)

    def backup(self, data):
        header = data[:48]
        assert header[:8] == b"CFRVBKUP" and header[8:12] == b"\0\1\0\1" and header[12:16] == bytes(4)
        return json.loads(AESGCM(self.derive(21, header[16:48], header)).decrypt(bytes(12), data[48:], header))

    def pin(self, data):
        assert len(data) == 64 and data[:8] == b"CFRVPIN1"
        mac = hmac.new(self.derive(13, data[8:24], b"vault"), data[:32], hashlib.sha256).digest()
        assert mac == data[32:]
        return data[8:24], int.from_bytes(data[24:32], "big")

    def audit_pin(self, data):
        assert len(data) == 144 and data[:8] == b"CFRVAPN2"
        mac = hmac.new(self.derive(13, data[8:24], b"vault audit"), data[:112], hashlib.sha256).digest()
        assert mac == data[112:]
        assert data[64:112] == (1).to_bytes(8, "big") + bytes(40), "nothing was taken away"
        return data[8:24], int.from_bytes(data[24:32], "big"), data[32:64]

    def segment(self, data, number, store_id, seq, chain):
        """The records of one segment as (seq, chain, text); every byte is one of them or the header's."""
        header, salt = data[:128], data[80:112]
        assert header[:16] == b"CFRVAUD1" + b"\0\1\0\1" + bytes(4) and header[16:32] == store_id
        assert int.from_bytes(header[32:40], "big") == number and int.from_bytes(header[40:48], "big") == seq and header[48:80] == chain
        assert self.derive(5, salt, header[:112])[:16] == header[112:]
        text_key, length_key = AESGCM(self.derive(20, salt, header[:112])), self.derive(20, salt, header[:112] + b"length")
        records, at, index = [], 128, 0
        while at < len(data):
            length = int.from_bytes(data[at:at + 4], "big")
            assert 1 <= length <= 16384 and at + 12 + length + 16 <= len(data)
            check = hmac.new(length_key, index.to_bytes(8, "big") + data[at:at + 4], hashlib.sha256).digest()
            assert check[:8] == data[at + 4:at + 12]
            text = text_key.decrypt(bytes(4) + index.to_bytes(8, "big"), data[at + 12:at + 28 + length], chain + data[at:at + 12])
            seq, at, index = seq + 1, at + 28 + length, index + 1
            chain = hashlib.sha256(chain + seq.to_bytes(8, "big") + text).digest()
            records.append((seq, chain, text))
        return records


def test_the_files_are_what_the_page_says(vault):
    taken_back = vault.administer("identity", "revoke-tokens", "node")["tokensFrom"]
    wrapped = vault.call("POST", "/keys/data//wrapkey", {"alg": "RSA-OAEP-256", "value": "c2VjcmV0"}, identity="node").json()
    policy = {"lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}], "attributes": {"expiryTime": "P1Y"}}
    assert vault.call("PUT", "/keys/data/rotationpolicy", policy).status_code == 200
    backup = b64u(vault.call("POST", "/keys/data/backup").json()["value"])
    vault.stop()
    root_file, state_dir = vault.settings["root-key-file"], vault.settings["state-dir"]
    opener = Opener(read(root_file))
    state, store_id, counter = opener.state(read(os.path.join(state_dir, "vault.state")))
    assert opener.pin(read(root_file + ".pin")) == (store_id, counter)
    assert sorted(os.listdir(state_dir)) == ["audit", "lock", "vault.state"] and read(os.path.join(state_dir, "lock")) == b""

    assert state["format"] == 6
    assert state["caCertificate"].encode() == read(vault.settings["ca-file"])
    serialization.load_der_private_key(opener.private(state["caKey"], "", "authority", ""), None)
    for signer in state["signers"]:
        serialization.load_der_private_key(opener.private(signer["sealed"], "", "token-signer", signer["kid"]), None)

    main = next(v for v in state["vaults"] if v["name"] == "main")
    assert main["settings"]["properties"]["enablePurgeProtection"] is True and main["settings"]["location"] == "local"
    key = next(k for k in main["keys"] if k["name"] == "data")
    version = next(v for v in key["versions"] if v["id"] == wrapped["kid"].rsplit("/", 1)[1])
    private = serialization.load_der_private_key(opener.private(version["sealed"], "main", "data", version["id"]), None)
    assert private.public_key().public_numbers().n == int.from_bytes(b64u(version["n"]), "big")

    from cryptography.hazmat.primitives.asymmetric import padding
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert private.decrypt(b64u(wrapped["value"]), oaep) == b"secret"

    assert key["rotation"]["lifetimeActions"][0] == policy["lifetimeActions"][0] and key["rotation"]["attributes"]["expiryTime"] == "P1Y"
    copy = opener.backup(backup)
    assert copy == {"format": 6, "vault": "main", "subscription": main["settings"]["subscriptionId"], "geography": main["settings"]["geography"],
                    "key": key}

    for identity in state["identities"]:
        secret = read(os.path.join(vault.settings["credential-dir"], identity["name"]))
        assert hashlib.sha256(secret).digest() == b64u(identity["secretSha256"])
        assert identity["tokensFrom"] == (taken_back if identity["name"] == "node" else 0)


def test_the_audit_log_is_what_the_page_says(vault):
    vault.call("POST", "/keys/data//wrapkey", {"alg": "RSA-OAEP-256", "value": "c2VjcmV0"}, identity="node")
    vault.stop()
    vault.start()
    vault.call("GET", "/keys/data/", identity="node")
    lines = vault.audit(start=True, tokens=True)
    vault.stop()
    root_file, state_dir = vault.settings["root-key-file"], vault.settings["state-dir"]
    opener = Opener(read(root_file))
    _, store_id, _ = opener.state(read(os.path.join(state_dir, "vault.state")))
    names = sorted(os.listdir(os.path.join(state_dir, "audit")))
    assert names == ["00000001.log", "00000002.log"]
    seq, chain, records = 0, bytes(32), []
    for number, name in enumerate(names, 1):
        records += opener.segment(read(os.path.join(state_dir, "audit", name)), number, store_id, seq, chain)
        if records:
            seq, chain, _ = records[-1]
    assert opener.audit_pin(read(root_file + ".pin.audit")) == (store_id, seq, chain)
    assert [{"seq": n, "chain": c.hex(), **json.loads(text)} for n, c, text in records] == lines
    assert [line["operationName"] for line in lines if line["category"] == "AuditEvent"] == ["KeyWrap", "KeyGet"]


def test_nothing_of_a_token_or_a_key_is_logged(vault):
    vault.call("POST", "/keys/data//wrapkey", {"alg": "RSA-OAEP-256", "value": "Y2FuYXJ5LWNhbmFyeQ"}, identity="node")
    token = vault.token("node")
    credential = read(os.path.join(vault.settings["credential-dir"], "node")).decode()
    log = vault.log_text()
    assert "vaultOperation" in log  # the positive control: it does log
    for secret in (token, token.split(".")[2], credential, "Y2FuYXJ5", "canary-canary"):
        assert secret not in log
