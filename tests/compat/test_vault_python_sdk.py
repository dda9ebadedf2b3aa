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
    from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

    credential = ManagedIdentityCredential(client_id=os.environ["CLIENT_ID"])
    keys = KeyClient(os.environ["VAULT_URL"], credential)
    key = keys.create_rsa_key("python", size=2048, tags={"made": "by a test"})
    crypto = CryptographyClient(key, credential)
    wrapped = crypto.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"k" * 32)
    assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key == b"k" * 32
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
    print("all done")
""")


def test_python_sdk(vault):
    env = {
        **os.environ,
        "VAULT_URL": vault.url,
        "CLIENT_ID": vault.client_id("customer"),
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": vault.facts()["tokenAuthority"],
        "REQUESTS_CA_BUNDLE": vault.ca_file,
    }
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "all done" in done.stdout, done.stdout + done.stderr
