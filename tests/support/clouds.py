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
import urllib.parse

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyservices import KeyService, Refused, Service, pem, un_b64url


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class CloudService(KeyService):
    """A key service with two places that give an identity its credentials, which start with it."""

    identities = metadata = None

    def start(self):
        for s in (self.identities, self.metadata):
            if s.server is None:
                s.start()
        return super().start()


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


class AwsKms(CloudService):
    """DescribeKey, Encrypt, Decrypt, DisableKey and EnableKey of one symmetric key, its material rotating under one ARN."""

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
        self.may_switch = True  # kms:DisableKey, kms:EnableKey
        self.n_switched = 0
        self.may_list_tags = True  # kms:ListResourceTags
        self.tags = {"coffer-other": "x"}
        self.tags_in_pages = False
        self.clock_off_s = 0
        self.n_decrypted = collections.Counter()  # by the context's value
        self.rotate()

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
        status, body = {"DescribeKey": self.describe, "Encrypt": self.encrypt, "Decrypt": self.decrypt, "DisableKey": self.switch, "ListResourceTags": self.list_tags,
                        "EnableKey": self.switch}[operation](q.json(), operation)
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
        if self.denied or (operation in ("DisableKey", "EnableKey") and not self.may_switch):
            self.refuse("AccessDeniedException", f"User: arn:aws:iam::111122223333:user/node is not authorized to perform: kms:{operation} on "
                                                 f"resource: {self.arn} because no identity-based policy allows the kms:{operation} action")
        if self.purged:
            self.refuse("NotFoundException", f"Key '{self.arn}' does not exist")
        if operation not in ("DescribeKey", "ListResourceTags"):
            if self.deleted:
                self.refuse("KMSInvalidStateException", f"{self.arn} is pending deletion.")
            if self.disabled and operation not in ("DisableKey", "EnableKey"):
                self.refuse("DisabledException", f"{self.arn} is disabled.")

    def list_tags(self, body, operation):
        if not self.may_list_tags:
            self.refuse("AccessDeniedException", f"User: arn:aws:iam::111122223333:user/node is not authorized to perform: kms:{operation} on "
                                                 f"resource: {self.arn} because no identity-based policy allows the kms:{operation} action")
        marker = body.pop("Marker", None)
        self.expect(body.pop("Limit") == 50 and marker in (None, "one/two+="), f"body {body}")
        self.check_access(body, operation, {"KeyId"})
        tags = [{"TagKey": k, "TagValue": v} for k, v in sorted(self.tags.items())]
        n = len(tags) // 2 if self.tags_in_pages else len(tags)
        if marker is None and n < len(tags):
            return 200, {"Tags": tags[:n], "Truncated": True, "NextMarker": "one/two+="}
        return 200, {"Tags": tags[n:] if marker else tags, "Truncated": False}

    def switch(self, body, operation):
        self.check_access(body, operation, {"KeyId"})
        self.disabled = operation == "DisableKey"
        self.n_switched += 1
        return 200, b""  # "an HTTP 200 response with an empty HTTP body"

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


# ---- Google Cloud -----------------------------------------------------------------------------------------------------------


def crc32c(data):
    """RFC 3720 B.4, by a table: the node's own goes bit by bit."""
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


class GoogleIdentities(Service):
    """Google's token endpoints: OAuth for service accounts, STS for federations, and what impersonates."""

    scope = "https://www.googleapis.com/auth/cloudkms"
    pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x"

    def __init__(self, authority, service):
        super().__init__(authority)
        self.service = service
        self.email = "node@coffer.iam.gserviceaccount.com"
        self.key_id = secrets.token_hex(20)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.gone = False
        self.life_s = 3599
        self.n_given = 0
        self.federated = set()  # tokens that are good for an impersonation alone

    def give(self):
        self.n_given += 1
        return {"access_token": self.service.new_token(self.life_s), "expires_in": self.life_s, "token_type": "Bearer"}

    def answer(self, q):
        if self.mode == "broken":
            raise Refused(503, b"busy")
        self.expect(q.method == "POST" and q.query == "", q.target)
        answers = {"/token": self.login, "/v1/token": self.exchange,
                   f"/v1/projects/-/serviceAccounts/{self.email}:generateAccessToken": self.impersonate}
        return 200, answers[q.path](q)

    def refuse(self, error, description, status=400):
        raise Refused(status, {"error": error, "error_description": description})

    def form(self, q):
        self.expect(q.headers["Content-Type"] == "application/x-www-form-urlencoded", "content type")
        self.expect("Authorization" not in q.headers, "the form is the proof")
        return q.form()

    def login(self, q):
        f = self.form(q)
        self.expect(set(f) == {"grant_type", "assertion"} and f["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer", f"form {set(f)}")
        head, claims, signature = f["assertion"].split(".")
        h, c = json.loads(un_b64url(head)), json.loads(un_b64url(claims))
        self.expect(h == {"alg": "RS256", "typ": "JWT", "kid": self.key_id}, f"header {h}")
        self.expect(set(c) == {"iss", "scope", "aud", "iat", "exp"} and c["iss"] == self.email and c["scope"] == self.scope, f"claims {c}")
        self.expect(c["aud"] == self.url + "/token", f"audience {c['aud']}")
        t = now().timestamp()
        self.expect(abs(c["iat"] - t) < 60 and t < c["exp"] <= c["iat"] + 3600, "dates")
        self.key.public_key().verify(un_b64url(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        if self.gone:
            self.refuse("invalid_grant", "Invalid grant: account not found")
        return self.give()

    def exchange(self, q):
        f = self.form(q)
        wide = self.service.impersonates
        self.expect(f.pop("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange", "grant type")
        self.expect(f.pop("requested_token_type") == "urn:ietf:params:oauth:token-type:access_token", "requested type")
        self.expect(f.pop("audience") == self.pool and f.pop("subject_token_type") == "urn:ietf:params:oauth:token-type:jwt", "audience, type")
        self.expect(f.pop("scope") == ("https://www.googleapis.com/auth/cloud-platform" if wide else self.scope), "scope")
        token = f.pop("subject_token")
        self.expect(not f, f"fields that nobody asked for: {f}")
        if self.gone or token != self.service.subject:
            self.refuse("invalid_target", "The target service indicated by the \"audience\" parameters is invalid.")
        given = {**self.give(), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        if wide:
            self.service.tokens.pop(given["access_token"])
            self.federated.add(given["access_token"])
        return given

    def impersonate(self, q):
        self.expect(q.headers["Content-Type"] == "application/json", "content type")
        self.expect(q.headers["Authorization"].removeprefix("Bearer ") in self.federated, "the federated token")
        self.expect(q.json() == {"scope": [self.scope], "lifetime": "3600s"}, f"body {q.body}")
        until = now() + datetime.timedelta(seconds=self.life_s)
        return {"accessToken": self.give()["access_token"], "expireTime": until.strftime("%Y-%m-%dT%H:%M:%SZ")}


class GoogleMetadata(Service):
    tls = False

    def __init__(self, authority, identities):
        super().__init__(authority)
        self.identities = identities

    def answer(self, q):
        if self.identities.mode == "broken":
            raise Refused(503, b"busy")
        self.expect(q.method == "GET" and q.headers["Metadata-Flavor"] == "Google", "Metadata-Flavor")
        self.expect(q.path == "/computeMetadata/v1/instance/service-accounts/default/token", q.path)
        self.expect(q.query == "scopes=" + urllib.parse.quote(self.identities.scope, safe=""), q.query)
        return 200, self.identities.give(), {"Metadata-Flavor": "Google"}


class GoogleKms(CloudService):
    """get, encrypt and decrypt of one symmetric key, get and patch of the state of its versions."""

    name_of_key = "projects/orders-1/locations/europe-west1/keyRings/coffer/cryptoKeys/cmk"
    context = "orders"

    def __init__(self, authority):
        super().__init__(authority)
        self.versions = {}
        self.tokens = {}  # token -> its end
        self.subject = "xmarkerx." + secrets.token_hex(24) + ".sig"
        self.impersonates = False
        self.identities = GoogleIdentities(authority, self)
        self.metadata = GoogleMetadata(authority, self.identities)
        self.gone = False
        self.may_switch = True  # cloudkms.cryptoKeyVersions.update
        self.n_switched = 0
        self.off = set()  # versions that were disabled alone
        self.labels = {}
        self.corrupt = None  # what gets a wrong checksum, or is said to have had one
        self.rotate()

    def rotate(self):
        self.versions[len(self.versions) + 1] = secrets.token_bytes(32)

    def new_token(self, life_s):
        token = "ya29." + self.new_secret(40)
        self.secrets.append(token)
        self.tokens[token] = now() + datetime.timedelta(seconds=life_s)
        return token

    def revoke_tokens(self):
        self.tokens.clear()
        self.identities.federated.clear()

    def account_file(self):
        text = pem(self.identities.key).decode()
        self.secrets += text.splitlines()[1:-1]
        return self.secret_file("account.json", json.dumps({
            "type": "service_account", "project_id": "orders-1", "private_key_id": self.identities.key_id, "private_key": text,
            "client_email": self.identities.email, "client_id": "1", "token_uri": self.identities.url + "/token"}))

    def federation_file(self):
        config = {"type": "external_account", "audience": self.identities.pool, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                  "token_url": self.identities.url + "/v1/token", "credential_source": {"file": self.secret_file("subject", self.subject)}}
        if self.impersonates:
            config["service_account_impersonation_url"] = (
                f"{self.identities.url}/v1/projects/-/serviceAccounts/{self.identities.email}:generateAccessToken")
            config["credential_source"] = {"file": self.secret_file("subject.json", json.dumps({"id_token": self.subject})),
                                           "format": {"type": "json", "subject_token_field_name": "id_token"}}
        return self.secret_file("federation.json", json.dumps(config))

    def node_settings(self, source="service-account"):
        self.secrets.append(self.subject)
        settings = {
            "key-mode": "cmk",
            "key-url": f"gcp-kms://127.0.0.1:{self.port}/{self.name_of_key}",
            "key-ca-file": self.authority.ca_file,
            "key-context": self.context,
            "token-source": source.removesuffix(", impersonating"),
        }
        if source == "service-account":
            settings["token-secret-file"] = self.account_file()
        elif source == "imds":
            settings["token-endpoint"] = self.metadata.url
        else:
            self.impersonates = source.endswith("impersonating")
            settings["token-secret-file"] = self.federation_file()
        return settings

    # ---- a request

    def refuse(self, code, status, message, details=()):
        raise Refused(code, {"error": {"code": code, "message": message, "status": status, "details": list(details)}})

    def answer(self, q):
        if self.mode == "throttle":
            self.refuse(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Cryptographic requests'")
        if self.mode == "broken":
            self.refuse(503, "UNAVAILABLE", "The service is currently unavailable.")
        if self.mode == "garbage":
            raise Refused(403, b"<html>a proxy says no</html>", {"Content-Type": "text/html"})
        self.expect(q.query == ("updateMask=state" if q.method == "PATCH" else "") and q.path.startswith("/v1/"), q.target)
        self.expect(q.body == b"" or q.headers["Content-Type"] == "application/json", "content type")
        scheme, _, token = q.headers["Authorization"].partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            self.refuse(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if self.tokens[token] < now():
            self.problems.append("a token that had expired was used")
        name, _, op = q.path[4:].partition(":")
        key, _, version = name.partition("/cryptoKeyVersions/")
        self.expect(key == self.name_of_key, f"key {key}")
        self.expect((q.method, op, bool(version)) in (("GET", "", False), ("GET", "", True), ("PATCH", "", True), ("POST", "encrypt", True),
                                                      ("POST", "decrypt", False)), f"{q.method} {q.path}")
        if self.denied or (q.method == "PATCH" and not self.may_switch):
            permission = {"encrypt": "cloudkms.cryptoKeyVersions.useToEncrypt", "decrypt": "cloudkms.cryptoKeyVersions.useToDecrypt"}.get(
                op, "cloudkms.cryptoKeyVersions.update" if q.method == "PATCH" else "cloudkms.cryptoKeys.get")
            self.refuse(403, "PERMISSION_DENIED", f"Permission '{permission}' denied on resource '{name}' (or it may not exist).", [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED", "domain": "cloudkms.googleapis.com",
                 "metadata": {"permission": permission, "resource": name}}])
        if self.gone:
            self.refuse(404, "NOT_FOUND", f"CryptoKey {name} not found.")
        if op:
            return 200, getattr(self, op)(q.json(), version)
        if q.method == "PATCH":
            self.patch(q.json(), int(version))
        return 200, self.describe_version(int(version)) if version else self.describe()

    def state(self, version):
        return "DESTROY_SCHEDULED" if self.deleted else "DISABLED" if self.disabled or version in self.off else "ENABLED"

    def check_state(self, version):
        if self.state(version) != "ENABLED":
            self.refuse(400, "FAILED_PRECONDITION",
                        f"{self.name_of_key}/cryptoKeyVersions/{version} is not enabled, current state is: {self.state(version)}.")

    def patch(self, body, version):
        self.expect(body in ({"state": "DISABLED"}, {"state": "ENABLED"}) and version in self.versions, f"body {body}")
        if self.deleted:
            self.refuse(400, "FAILED_PRECONDITION", f"{self.name_of_key}/cryptoKeyVersions/{version} has the state DESTROY_SCHEDULED")
        (self.off.add if body["state"] == "DISABLED" else self.off.discard)(version)
        self.n_switched += 1

    def describe_version(self, version):
        self.expect(version in self.versions, f"version {version}")
        return {"name": f"{self.name_of_key}/cryptoKeyVersions/{version}", "state": self.state(version), "createTime": "2026-01-01T00:00:00.5Z",
                "protectionLevel": "SOFTWARE", "algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION", "generateTime": "2026-01-01T00:00:00.5Z"}

    def describe(self):
        return {"name": self.name_of_key, "primary": self.describe_version(max(self.versions)), "purpose": "ENCRYPT_DECRYPT",
                "createTime": "2026-01-01T00:00:00Z", "versionTemplate": {"protectionLevel": "SOFTWARE"}, "labels": self.labels,
                "destroyScheduledDuration": "2592000s"}

    def take(self, body, name):
        value = base64.b64decode(body.pop(name), validate=True)
        crc = body.pop(name + "Crc32c")
        self.expect(isinstance(crc, str) and crc == str(crc32c(value)), f"the checksum of {name}")
        return value

    def aad(self, body):
        aad = self.take(body, "additionalAuthenticatedData")
        self.expect(aad.startswith(b"cofferdb-cluster=") and not body, f"members {set(body)}")
        return aad

    def encrypt(self, body, version):
        plain, aad = self.take(body, "plaintext"), self.aad(body)
        self.expect(len(plain) == 32 and aad == f"cofferdb-cluster={self.context}".encode(), "32 bytes and the context")
        self.check_state(int(version))
        nonce = secrets.token_bytes(12)
        text = int(version).to_bytes(4, "big") + nonce + AESGCM(self.versions[int(version)]).encrypt(nonce, plain, aad)
        return {"name": f"{self.name_of_key}/cryptoKeyVersions/{version}", "ciphertext": base64.b64encode(text).decode(),
                "ciphertextCrc32c": str(crc32c(text) ^ (self.corrupt == "ciphertext")), "protectionLevel": "SOFTWARE",
                **({} if self.corrupt == "sent" else {"verifiedPlaintextCrc32c": True, "verifiedAdditionalAuthenticatedDataCrc32c": True})}

    def decrypt(self, body, _):
        text, aad = self.take(body, "ciphertext"), self.aad(body)
        version = int.from_bytes(text[:4], "big")
        self.check_state(version)
        try:
            plain = AESGCM(self.versions[version]).decrypt(text[4:16], text[16:], aad)
        except InvalidTag:
            self.refuse(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.")
        if self.mode == "lie":
            plain = hashlib.sha256(plain).digest()
        return {"plaintext": base64.b64encode(plain).decode(), "plaintextCrc32c": str(crc32c(plain) ^ (self.corrupt == "plaintext")),
                "usedPrimary": version == max(self.versions), "protectionLevel": "SOFTWARE"}
