"""The official Python SDKs, as a user would write it, against the embedded vault. In a process of its own: the credential reads its
surroundings from the environment, and the SDK remembers them."""
import os
import subprocess
import sys
import textwrap

SCRIPT = textwrap.dedent("""
    import datetime, os
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
    from azure.identity import ManagedIdentityCredential
    from azure.keyvault.keys import KeyClient
    from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm

    credential = ManagedIdentityCredential(client_id=os.environ["CLIENT_ID"])
    keys = KeyClient(os.environ["VAULT_URL"], credential)
    key = keys.create_rsa_key("python", size=2048, tags={"made": "by a test"})
    crypto = CryptographyClient(key, credential)
    wrapped = crypto.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"k" * 32)
    assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key == b"k" * 32
    for algorithm in EncryptionAlgorithm.rsa_oaep, EncryptionAlgorithm.rsa_oaep_256, EncryptionAlgorithm.rsa1_5:
        for text in b"", b"words":  # the SDK encrypts by itself
            assert crypto.decrypt(algorithm, crypto.encrypt(algorithm, text).ciphertext).plaintext == text
    keys.update_key_properties("python", enabled=False)
    try:
        crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key)
        raise SystemExit("a disabled key unwraps")
    except HttpResponseError as e:
        assert e.status_code == 403, e
    until = datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)
    keys.update_key_properties("python", enabled=True, expires_on=until)
    assert keys.get_key("python").properties.expires_on == until
    assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key == b"k" * 32
    assert "python" in [p.name for p in keys.list_properties_of_keys()]
    assert len(list(keys.list_properties_of_key_versions("python"))) == 1
    try:
        keys.get_key("never-made")
        raise SystemExit("a key out of nothing")
    except ResourceNotFoundError as e:
        assert e.error.code == "KeyNotFound", e
    from azure.keyvault.keys import KeyCurveName
    from azure.keyvault.keys.crypto import SignatureAlgorithm
    import hashlib
    digest = hashlib.sha256(b"words").digest()
    curve = keys.create_ec_key("python-ec", curve=KeyCurveName.p_256)
    for made, algorithm in ((curve, SignatureAlgorithm.es256), (key, SignatureAlgorithm.rs256), (key, SignatureAlgorithm.ps256)):
        signer = CryptographyClient(made, credential)
        signed = signer.sign(algorithm, digest)
        assert signer.verify(algorithm, digest, signed.signature).is_valid
        assert not signer.verify(algorithm, hashlib.sha256(b"others").digest(), signed.signature).is_valid

    from azure.keyvault.keys import KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction, JsonWebKey
    policy = keys.get_key_rotation_policy("python")
    assert [(a.action, a.time_before_expiry) for a in policy.lifetime_actions] == [(KeyRotationPolicyAction.notify, "P30D")]
    action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_before_expiry="P30D")
    policy = keys.update_key_rotation_policy("python", KeyRotationPolicy(), lifetime_actions=[action], expires_in="P90D")
    assert policy.expires_in == "P90D" and policy.created_on and policy.updated_on
    assert {a.action for a in policy.lifetime_actions} == {KeyRotationPolicyAction.rotate, KeyRotationPolicyAction.notify}
    policy = keys.update_key_rotation_policy("python", keys.get_key_rotation_policy("python"))  # as it is, given back
    assert policy.expires_in == "P90D" and len(policy.lifetime_actions) == 2
    rotated = keys.rotate_key("python")
    assert rotated.properties.version != key.properties.version and rotated.properties.tags == {"made": "by a test"}
    left = rotated.properties.expires_on - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(days=89) < left <= datetime.timedelta(days=90), left
    # what the older version wrapped, it unwraps
    assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key == b"k" * 32

    backup = keys.backup_key("python")
    assert len(backup) > 1000
    try:
        keys.restore_key_backup(backup)
        raise SystemExit("restored over the key")
    except HttpResponseError as e:
        assert e.status_code == 409, e
    second = KeyClient(os.environ["SECOND_URL"], credential)
    restored = second.restore_key_backup(backup)
    assert restored.id.startswith(os.environ["SECOND_URL"]) and restored.properties.version == rotated.properties.version
    assert second.begin_delete_key("python").result().recovery_id
    second.purge_deleted_key("python")
    assert second.restore_key_backup(backup).properties.version == rotated.properties.version
    older = CryptographyClient(second.get_key("python", key.properties.version), credential)
    assert older.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key == b"k" * 32
    try:
        keys.release_key("python", "a.b.c")
        raise SystemExit("a key that is not exportable is released")
    except HttpResponseError as e:
        assert e.status_code == 403, e

    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    mine = rsa.generate_private_key(65537, 2048)
    numbers, as_bytes = mine.private_numbers(), lambda n: n.to_bytes((n.bit_length() + 7) // 8, "big")
    jwk = JsonWebKey(kty="RSA", key_ops=["sign", "verify"], n=as_bytes(numbers.public_numbers.n), e=as_bytes(numbers.public_numbers.e),
                     d=as_bytes(numbers.d), p=as_bytes(numbers.p), q=as_bytes(numbers.q), dp=as_bytes(numbers.dmp1), dq=as_bytes(numbers.dmq1),
                     qi=as_bytes(numbers.iqmp))
    taken = keys.import_key("python-brought", jwk, tags={"from": "outside"})
    assert taken.key.n == jwk.n and taken.key.d is None and taken.key_operations == ["sign", "verify"]
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, utils
    signature = CryptographyClient(taken, credential).sign(SignatureAlgorithm.rs256, digest).signature
    mine.public_key().verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))

    mine = ec.generate_private_key(ec.SECP521R1()).private_numbers()
    parts = {"x": mine.public_numbers.x, "y": mine.public_numbers.y, "d": mine.private_value}
    taken = keys.import_key("python-brought-ec", JsonWebKey(kty="EC", crv="P-521", **{m: n.to_bytes(66, "big") for m, n in parts.items()}))
    signer = keys.get_cryptography_client("python-brought-ec")
    signed = signer.sign(SignatureAlgorithm.es512, hashlib.sha512(b"words").digest())
    assert signed.key_id == taken.id and signer.verify(SignatureAlgorithm.es512, hashlib.sha512(b"words").digest(), signed.signature).is_valid

    # who may use a key and not read it: by an id without a version
    used = CryptographyClient(f"{os.environ['SECOND_URL']}/keys/python", ManagedIdentityCredential(client_id=os.environ["NODE_CLIENT_ID"]))
    closed = used.wrap_key(KeyWrapAlgorithm.rsa_oaep, b"k" * 32)
    assert used.unwrap_key(KeyWrapAlgorithm.rsa_oaep, closed.encrypted_key).key == b"k" * 32
    signed = used.sign(SignatureAlgorithm.rs256, digest)
    assert used.verify(SignatureAlgorithm.rs256, digest, signed.signature).is_valid

    # as other libraries take a key: what they do with it, the vault does
    from cryptography.hazmat.primitives.asymmetric import padding as pads
    crypto = CryptographyClient(keys.get_key("python"), credential)
    oaep = pads.OAEP(pads.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    private = crypto.create_rsa_private_key()
    assert private.decrypt(crypto.create_rsa_public_key().encrypt(b"words", oaep), oaep) == b"words"

    names = {p.name for p in keys.list_properties_of_keys(max_page_size=1)}
    assert {"python", "python-ec", "python-brought"} <= names, names
    keys.begin_delete_key("python-ec").wait()
    assert "python-ec" in {d.name for d in keys.list_deleted_keys()}
    assert keys.get_deleted_key("python-ec").recovery_id.endswith("/deletedkeys/python-ec")
    keys.begin_recover_deleted_key("python-ec").wait()
    assert keys.get_key("python-ec").key.crv == "P-256"
    print("all done")
""")


def test_python_sdk(two_vaults):
    vault = two_vaults
    vault.administer("role", "define", "Uses only", "--actions=Microsoft.KeyVault/vaults/keys/*", "--except=Microsoft.KeyVault/vaults/keys/read")
    vault.administer("role", "assign", "Uses only", "--vault=second", "--principal=node")
    env = {
        **os.environ,
        "VAULT_URL": vault.url,
        "SECOND_URL": vault.facts()["vaults"]["second"]["url"],
        "CLIENT_ID": vault.client_id("customer"),
        "NODE_CLIENT_ID": vault.client_id("node"),
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": vault.facts()["tokenAuthority"],
        "REQUESTS_CA_BUNDLE": vault.ca_file,
    }
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "all done" in done.stdout, done.stdout + done.stderr
