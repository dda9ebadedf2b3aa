"""Strict stand-ins for the key services of clouds, with the places that give an identity its credentials. See keyservices.py.

Signatures are checked by code that shares nothing with the node's; the node's own stands the published test vectors (src/kmsg/t/test_sigv4.c).
"""
import base64
import collections
import datetime
import hashlib
import hmac
import json
import re
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyservices import KeyService, Refused, Service


def now():
    return datetime.datetime.now(datetime.timezone.utc)


# ---- AWS ------------------------------------------------------------------------------------------------------------------


def sigv4(secret, scope, text):
    """AWS Signature Version 4: "Create a signed AWS API request", steps 3 and 4."""
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class AwsIdentities(Service):
    """What gives a node credentials: STS (https, for web identity), and, on a second port, the metadata service and the containers' endpoint."""

    role = "coffer-node"
    role_arn = "arn:aws:iam::111122223333:role/coffer-node"

    def __init__(self, authority, service):
        super().__init__(authority)
        self.service = service
        self.life_s = 3600
        self.gone = False
        self.n_given = 0

    def give(self):
        if self.gone:
            raise Refused(200, {"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role"})
        self.n_given += 1
        return self.service.new_credential(self.life_s)

    def answer(self, q):
        if self.mode == "broken":
            raise Refused(503, b"busy")
        self.expect(q.method == "POST" and q.target == "/", q.target)
        self.expect(q.headers["Content-Type"] == "application/x-www-form-urlencoded", "content type")
        self.expect(q.headers["Accept"] == "application/json", "STS answers in XML otherwise")
        self.expect("Authorization" not in q.headers, "the token is the proof")
        f = q.form()
        self.expect(f.pop("Action") == "AssumeRoleWithWebIdentity" and f.pop("Version") == "2011-06-15", "action")
        self.expect(f.pop("RoleArn") == self.role_arn and re.fullmatch(r"[\w+=,.@-]{2,64}", f.pop("RoleSessionName")), "role and session")
        token = f.pop("WebIdentityToken")
        self.expect(not f, f"fields that nobody asked for: {f}")
        if self.gone or token != self.service.federated:
            raise Refused(403, {"Error": {"Code": "AccessDenied", "Type": "Sender", "Message":
                                          "Not authorized to perform sts:AssumeRoleWithWebIdentity"}, "RequestId": "r"})
        access, secret, session, until = self.give()
        return 200, {"AssumeRoleWithWebIdentityResponse": {"AssumeRoleWithWebIdentityResult": {
            "Credentials": {"AccessKeyId": access, "SecretAccessKey": secret, "SessionToken": session, "Expiration": until.timestamp()},
            "AssumedRoleUser": {"Arn": "arn:aws:sts::111122223333:assumed-role/coffer-node/cofferdb", "AssumedRoleId": "A:cofferdb"}},
            "ResponseMetadata": {"RequestId": "r"}}}


class AwsMetadata(Service):
    tls = False

    def __init__(self, authority, identities):
        super().__init__(authority)
        self.identities = identities
        self.sessions = set()

    def document(self):
        access, secret, session, until = self.identities.give()
        return {"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC", "AccessKeyId": access, "SecretAccessKey": secret,
                "Token": session, "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def answer(self, q):
        if self.identities.mode == "broken":
            raise Refused(503, b"busy")
        if q.path == "/v1/credentials":
            self.expect(q.method == "GET" and q.query == "", q.target)
            if q.headers["Authorization"] != self.identities.service.container_token or self.identities.gone:
                raise Refused(400, {"code": "AccessDeniedException", "message": "Unauthorized"})
            return 200, self.document()
        plain = {"Content-Type": "text/plain"}
        if q.path == "/latest/api/token":
            self.expect(q.method == "PUT" and 1 <= int(q.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21600, "a PUT with a life")
            session = "xmarkerx" + secrets.token_urlsafe(24)
            self.sessions.add(session)
            return 200, session.encode(), plain
        self.expect(q.method == "GET" and q.headers["X-aws-ec2-metadata-token"] in self.sessions, "version 2 alone")
        start = "/latest/meta-data/iam/security-credentials/"
        self.expect(q.path in (start, start + self.identities.role), q.path)
        if q.path == start:
            return 200, self.identities.role.encode(), plain
        return 200, self.document(), plain


class AwsKms(KeyService):
    """DescribeKey, Encrypt and Decrypt of one symmetric key, its material rotating under one ARN."""

    region = "eu-west-1"
    arn = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    context = "orders"

    def __init__(self, authority):
        super().__init__(authority)
        self.materials = []  # (id, AES key)
        self.credentials = {}  # access key -> (secret, session token or "", end or None)
        self.federated = "xmarkerx." + secrets.token_hex(24) + ".sig"
        self.container_token = "xmarkerx" + secrets.token_hex(16)
        self.identities = AwsIdentities(authority, self)
        self.metadata = AwsMetadata(authority, self.identities)
        self.purged = False
        self.clock_off_s = 0
        self.n_decrypted = collections.Counter()  # by the context's value
        self.rotate()

    def start(self):
        for s in (self.identities, self.metadata):
            if s.server is None:
                s.start()
        return super().start()

    def rotate(self):
        self.materials.append((secrets.token_hex(32), secrets.token_bytes(32)))

    def new_credential(self, life_s=None):
        access = "ASIA" + secrets.token_hex(8).upper() if life_s else "AKIA" + secrets.token_hex(8).upper()
        secret, session = self.new_secret(16) + "/+", self.new_secret(40) + "==" if life_s else ""
        self.secrets += [secret] + ([session] if session else [])
        until = now() + datetime.timedelta(seconds=life_s) if life_s else None
        self.credentials[access] = (secret, session, until)
        return access, secret, session, until

    def revoke_tokens(self):
        self.credentials.clear()

    def write_credentials_file(self):
        access, secret, _, _ = self.new_credential()
        text = (f"# of a test\n[default]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = other\n\n[coffer]\n"
                f"aws_access_key_id={access}\naws_secret_access_key = {secret}\nregion = {self.region}")
        return self.secret_file("credentials", text)

    def node_settings(self, source="credentials-file"):
        self.secrets += [self.federated, self.container_token]
        settings = {
            "key-mode": "cmk",
            "key-url": f"aws-kms://127.0.0.1:{self.port}/{self.arn}",
            "key-ca-file": self.authority.ca_file,
            "key-context": self.context,
            "token-source": source,
        }
        if source == "credentials-file":
            settings.update({"token-secret-file": self.write_credentials_file(), "client-id": "coffer"})
        elif source == "web-identity":
            settings.update({"token-secret-file": self.secret_file("federated", self.federated), "client-id": self.identities.role_arn,
                             "token-endpoint": self.identities.url + "/"})
        elif source == "container":
            settings.update({"token-secret-file": self.secret_file("container", self.container_token),
                             "token-endpoint": self.metadata.url + "/v1/credentials"})
        else:
            settings["token-endpoint"] = self.metadata.url
        return settings

    # ---- a request

    def refuse(self, code, message="", status=400):
        body = {"__type": code, "message": message} if message else {"__type": "com.amazonaws.kms#" + code}
        raise Refused(status, body, {"Content-Type": "application/x-amz-json-1.1"})

    def answer(self, q):
        if self.mode == "throttle":
            self.refuse("ThrottlingException", "Rate exceeded")
        if self.mode == "broken":
            self.refuse("KMSInternalException", "internal", 500)
        if self.mode == "garbage":
            raise Refused(403, b"<html>a proxy says no</html>", {"Content-Type": "text/html"})
        self.check_signature(q)
        service, _, operation = q.headers["X-Amz-Target"].partition(".")
        self.expect(service == "TrentService", q.headers["X-Amz-Target"])
        status, body = {"DescribeKey": self.describe, "Encrypt": self.encrypt, "Decrypt": self.decrypt}[operation](q.json(), operation)
        return status, body, {"Content-Type": "application/x-amz-json-1.1"}

    def check_signature(self, q):
        self.expect(q.method == "POST" and q.target == "/", f"{q.method} {q.target}")
        self.expect(q.headers["Content-Type"] == "application/x-amz-json-1.1", "content type")
        self.expect(q.headers["Host"] == f"127.0.0.1:{self.port}", "host")
        m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8}/[a-z0-9-]+/kms/aws4_request), SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
                         q.headers["Authorization"])
        self.expect(m, "the form of Authorization")
        access, scope, names, signature = m.groups()
        if access not in self.credentials:
            self.refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
        secret, session, until = self.credentials[access]
        wanted = ["content-type", "host", "x-amz-date"] + (["x-amz-security-token"] if session else []) + ["x-amz-target"]
        self.expect(names == ";".join(wanted), f"signed headers {names}")
        self.expect(q.headers.get("X-Amz-Security-Token", "") == session, "the session's token")
        for name in wanted:
            self.expect(len(q.headers.get_all(name)) == 1, f"{name} once")
        date = q.headers["X-Amz-Date"]
        self.expect(scope == f"{date[:8]}/{self.region}/kms/aws4_request", f"scope {scope}")
        canonical = "\n".join(["POST", "/", "", *(f"{n}:{q.headers[n].strip()}" for n in wanted), "", names, hashlib.sha256(q.body).hexdigest()])
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        if not hmac.compare_digest(sigv4(secret, scope, text), signature):
            raise AssertionError("the signature is another one")
        sent = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if abs((now() - sent).total_seconds() + self.clock_off_s) > 300:
            self.refuse("InvalidSignatureException", f"Signature expired: {date} is now earlier than what the clock says")
        if until and now() > until:
            self.problems.append("a credential that had expired was used")
            self.refuse("ExpiredTokenException", "The security token included in the request is expired")

    def check_access(self, body, operation, members):
        self.expect(set(body) == members, f"members {set(body)}")
        self.expect(body["KeyId"] == self.arn, body["KeyId"])
        if "EncryptionContext" in members:
            self.expect(list(body["EncryptionContext"]) == ["cofferdb-cluster"], f"context {body['EncryptionContext']}")
            if operation == "Encrypt":
                self.expect(body["EncryptionContext"]["cofferdb-cluster"] == self.context, f"context {body['EncryptionContext']}")
        if self.denied:
            self.refuse("AccessDeniedException", f"User: arn:aws:iam::111122223333:user/node is not authorized to perform: kms:{operation} on "
                                                 f"resource: {self.arn} because no identity-based policy allows the kms:{operation} action")
        if self.purged:
            self.refuse("NotFoundException", f"Key '{self.arn}' does not exist")
        if operation != "DescribeKey":
            if self.deleted:
                self.refuse("KMSInvalidStateException", f"{self.arn} is pending deletion.")
            if self.disabled:
                self.refuse("DisabledException", f"{self.arn} is disabled.")

    def describe(self, body, operation):
        self.check_access(body, operation, {"KeyId"})
        state = "PendingDeletion" if self.deleted else "Disabled" if self.disabled else "Enabled"
        return 200, {"KeyMetadata": {
            "AWSAccountId": "111122223333", "Arn": self.arn, "KeyId": self.arn.rpartition("/")[2], "CreationDate": 1.502910355475E9,
            "CurrentKeyMaterialId": self.materials[-1][0], "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "Description": "",
            "Enabled": state == "Enabled", "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "KeyManager": "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT", "KeyState": state, "KeyUsage": "ENCRYPT_DECRYPT", "MultiRegion": False, "Origin": "AWS_KMS"}}

    @staticmethod
    def aad(body):
        return json.dumps(body["EncryptionContext"], sort_keys=True).encode()

    def encrypt(self, body, operation):
        self.check_access(body, operation, {"KeyId", "EncryptionContext", "Plaintext"})
        plain = base64.b64decode(body["Plaintext"], validate=True)
        self.expect(len(plain) == 32, "what is wrapped has 32 bytes")
        nonce, (material, key) = secrets.token_bytes(12), self.materials[-1]
        blob = bytes.fromhex(material) + nonce + AESGCM(key).encrypt(nonce, plain, self.aad(body))
        return 200, {"CiphertextBlob": base64.b64encode(blob).decode(), "KeyId": self.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def decrypt(self, body, operation):
        self.check_access(body, operation, {"KeyId", "EncryptionContext", "CiphertextBlob"})
        blob = base64.b64decode(body["CiphertextBlob"], validate=True)
        material = blob[:32].hex()
        try:
            plain = AESGCM(dict(self.materials)[material]).decrypt(blob[32:44], blob[44:], self.aad(body))
        except (KeyError, InvalidTag):
            self.refuse("InvalidCiphertextException")
        self.n_decrypted[body["EncryptionContext"]["cofferdb-cluster"]] += 1
        if self.mode == "lie":
            plain = hashlib.sha256(plain).digest()
        return 200, {"KeyId": self.arn, "Plaintext": base64.b64encode(plain).decode(), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                     "KeyMaterialId": material}
