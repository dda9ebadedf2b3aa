"""An OpenID Connect issuer for tests, such as a Kubernetes cluster is for its projected tokens: https, a discovery document, a key set."""
import base64
import datetime
import http.server
import json
import os
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

AUDIENCE = "api://AzureADTokenExchange"


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n):
    return b64u(n.to_bytes((n.bit_length() + 7) // 8, "big"))


def certificate(subject, key, issuer=None, issuer_key=None, names=(), days=(-1, 30)):
    """A certificate of key; of its own making when no issuer is named."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(issuer.subject if issuer else name)
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(now + datetime.timedelta(days=days[0])).not_valid_after(now + datetime.timedelta(days=days[1]))
               .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256())


def pem(thing):
    if hasattr(thing, "public_bytes"):
        return thing.public_bytes(serialization.Encoding.PEM)
    return thing.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def signed(key, header, claims, pss=False):
    """A JWT, by RS256 or PS256."""
    text = ".".join(b64u(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "PS256" if pss else "RS256", **header}, claims))
    pad = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else padding.PKCS1v15()
    return text + "." + b64u(key.sign(text.encode(), pad, hashes.SHA256()))


class Issuer:
    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        ca_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca = certificate("issuer authority", ca_key)
        leaf = certificate("issuer.localhost", leaf_key, ca, ca_key, ["issuer.localhost"])
        self.ca_file, own = os.path.join(directory, "issuer-ca.pem"), os.path.join(directory, "issuer.pem")
        for path, content in ((self.ca_file, pem(ca)), (own, pem(leaf) + pem(leaf_key))):
            with open(path, "wb") as f:
                f.write(content)
        self.keys = {}
        self.asked = []
        self.new_key("first")
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                body = json.dumps(issuer.document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://issuer.localhost:{self.server.server_address[1]}"
        self.says = self.url  # what the discovery document calls itself
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def new_key(self, kid, keep=False):
        self.keys = {**(self.keys if keep else {}), kid: rsa.generate_private_key(65537, 2048)}
        self.kid = kid

    def document(self, path):
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.says, "jwks_uri": self.url + "/keys"}
        numbers = {kid: key.public_key().public_numbers() for kid, key in self.keys.items()}
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": number(n.n), "e": number(n.e)} for kid, n in numbers.items()]}

    def token(self, subject, audience=AUDIENCE, life=600, kid=None, key=None, **more):
        now = int(time.time())
        claims = {"iss": self.url, "sub": subject, "aud": [audience], "iat": now, "nbf": now, "exp": now + life, **more}
        return signed(key or self.keys[kid or self.kid], {"kid": kid or self.kid}, claims)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
