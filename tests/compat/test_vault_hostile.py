"""The keys protocol against who means it ill or does it wrong: bodies, keys and signatures that are almost right, and everybody at once."""
import base64
import concurrent.futures
import json
import socket
import ssl
import time
from collections import Counter

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from processes import Vault

ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hostile")
    others = directory / "vaults.json"
    free = {"createPer10Seconds": 0, "otherPer10Seconds": 0}
    others.write_text(json.dumps({"main": {"properties": {"throttling": free}},
                                  "second": {"properties": {"enablePurgeProtection": False, "throttling": free}}}))
    v = Vault(directory / "vault", settings={"vaults-file": str(others)}).start()
    v.administer("role", "assign", "crypto-officer", "--vault=second", "--principal=customer")
    v.bearer = v.token()
    yield v
    v.kill()


def ask(vault, method, path, body=None, data=None, host="main"):
    headers = {"Authorization": "Bearer " + vault.bearer, "Host": f"{host}.vault.localhost:{vault.port}"}
    if data is not None:
        headers["Content-Type"] = "application/json"
    mark = "&" if "?" in path else "?"
    return requests.request(method, f"https://127.0.0.1:{vault.port}{path}{mark}api-version=7.4", json=body, data=data, headers=headers, timeout=60,
                            verify=vault.ca_file)


def done(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer, status=400, code="BadParameter"):
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    return answer.json()["error"]["message"]


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n, length=None):
    return b64u(n.to_bytes(length or max(1, (n.bit_length() + 7) // 8), "big"))


def everybody(call, n):
    """call(0) to call(n - 1), all at once: their answers."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(pool.map(call, range(n)))


@pytest.mark.parametrize("body", [
    b'{"kty":"EC","kty":"RSA"}', b'{"kty":"EC","tags":{"a":"1","a":"2"}}', b'{"kty":"EC","tags":{"a":"x\\u0000y"}}', b'{"kty":"EC\0"}',
    b'{"kty":"EC","tags":{"a":"\xff"}}', b'{"kty":"EC","tags":{"a":"\\ud800"}}', b'{"kty":"EC","x":' + b"[" * 200 + b"]" * 200 + b"}",
    b'{"kty":"EC"} x', b'{"kty":1}', b'{"kty":null}', b'{"kty":"ec"}', b'{"kty":"RSA","key_size":2048.5}', b'{"kty":"RSA","key_size":99999999999999999999}',
    b'{"kty":"RSA","public_exponent":0}', b'{"kty":"EC","attributes":[]}', b'{"kty":"EC","attributes":{"enabled":"true"}}',
    b'{"kty":"EC","attributes":{"exportable":"true"}}', b'{"kty":"EC","key_ops":"sign"}', b'{"kty":"EC","key_ops":[1]}', b'{"kty":"EC","key_ops":["Sign"]}',
    b'{"kty":"EC","tags":[]}', b'{"kty":"EC","tags":{"a":null}}', b'{"kty":"EC","release_policy":{"data":"e30"}}', '{"kty":"EC"}'.encode("utf-16"),
    *(b'{"kty":"EC","attributes":{"exp":%s}}' % exp for exp in (b"9007199254740993", b"-1", b"0", b"1999999999.5", b'"1999999999"', b"1e400")),
    b'{"kty":"EC","attributes":{"nbf":2000000000,"exp":2000000000}}'])
def test_bodies_that_are_almost_right(served, body):
    refused(ask(served, "POST", "/keys/almost/create", data=body))
    refused(ask(served, "GET", "/keys/almost/"), 404, "KeyNotFound")


def test_what_clients_may_leave_empty(served):
    key = done(ask(served, "POST", "/keys/sparse/create", {
        "kty": "EC", "crv": None, "key_size": None, "key_ops": [], "tags": {}, "release_policy": None, "unknown": 1,
        "attributes": {"enabled": None, "nbf": None, "exp": 1000, "created": 1, "recoveryLevel": "Purgeable"}}))
    assert key["key"]["key_ops"] == [] and key["key"]["crv"] == "P-256" and key["tags"] == {}
    a = key["attributes"]
    assert a["enabled"] and a["exp"] == 1000 and "nbf" not in a and abs(a["created"] - time.time()) < 600 and a["recoveryLevel"] == "Recoverable"
    refused(ask(served, "POST", "/keys/sparse//sign", {"alg": "ES256", "value": b64u(bytes(32))}), 403, "Forbidden")


def rsa_jwk(bits=2048, exponent=65537):
    k = rsa.generate_private_key(exponent, bits).private_numbers()
    return k, {"kty": "RSA", "n": number(k.public_numbers.n), "e": number(exponent), "d": number(k.d), "p": number(k.p), "q": number(k.q),
               "dp": number(k.dmp1), "dq": number(k.dmq1), "qi": number(k.iqmp)}


def composite_prime():
    """Numbers that go together, but for p being a product."""
    k, jwk = rsa_jwk()
    while True:
        half = rsa.generate_private_key(65537, 1024).private_numbers()
        p, n = half.p * half.q, half.p * half.q * k.q
        if n.bit_length() == 2048:
            order = (half.p - 1) * (half.q - 1)
            d = pow(65537, -1, order * (k.q - 1))
            return {**jwk, "n": number(n), "d": number(d), "p": number(p), "dp": number(d % order), "dq": number(d % (k.q - 1)), "qi": number(pow(k.q, -1, p))}


def test_rsa_keys_that_are_none_are_not_taken(served):
    k, good = rsa_jwk()
    bad = [{**good, **change} for change in (
        {"e": "AQ", "d": "AQ", "dp": "AQ", "dq": "AQ"}, {"e": "AQ"}, {"e": "Ag"}, {"e": number(65536)}, {"e": number(65539)}, {"e": b64u(b"\1" * 200)},
        {"d": number(k.d - 2)}, {"d": b64u(b"\1" * 600)}, {"p": good["q"], "q": good["p"]}, {"p": "AQ", "q": good["n"]}, {"p": "AA"},
        {"dp": good["dq"]}, {"qi": "AQ"}, {"d": None}, {"d": 5}, {"d": ""}, {"d": "*!"}, {"n": ""}, {"kty": "RSA-HSM"}, {"kty": "EC"})]
    bad += [{m: v for m, v in good.items() if m != left_out} for left_out in good]
    bad += [composite_prime(), *(rsa_jwk(bits)[1] for bits in (1024, 2056))]
    for jwk in bad:
        refused(ask(served, "PUT", "/keys/no-rsa", {"key": jwk}))
    refused(ask(served, "GET", "/keys/no-rsa/"), 404, "KeyNotFound")
    assert done(ask(served, "PUT", "/keys/rsa", {"key": {**good, "kid": "https://elsewhere/keys/x/y"}}))["key"]["kid"].startswith("https://main.")


@pytest.mark.parametrize("crv,curve", [("P-256", ec.SECP256R1()), ("P-384", ec.SECP384R1()), ("P-521", ec.SECP521R1()), ("P-256K", ec.SECP256K1())])
def test_ec_keys_that_are_none_are_not_taken(served, crv, curve):
    k, size = ec.generate_private_key(curve).private_numbers(), (curve.key_size + 7) // 8
    x, y, d = k.public_numbers.x, k.public_numbers.y, k.private_value
    good = {"kty": "EC", "crv": crv, "x": number(x, size), "y": number(y, size), "d": number(d, size)}
    for change in ({"y": number(y ^ 1, size)}, {"d": b64u(bytes(size))}, {"d": number(d ^ 1, size)}, {"d": b64u(b"\xff" * size)}, {"d": None},
                   {"x": b64u(bytes(size))}, {"crv": crv.lower()}, {"crv": "P-384" if crv != "P-384" else "P-256"}, {"d": number(d + ORDER_P256, size + 1)}):
        refused(ask(served, "PUT", "/keys/no-ec", {"key": {**good, **change}}))
    refused(ask(served, "GET", "/keys/no-ec/"), 404, "KeyNotFound")
    assert "d" not in done(ask(served, "PUT", f"/keys/ec-{crv}", {"key": {**good, "x": number(x)}}))["key"]  # zeros before it may be left out


def test_signatures_that_are_none_do_not_hold(served):
    k, jwk = rsa_jwk()
    done(ask(served, "PUT", "/keys/signs", {"key": jwk}))
    done(ask(served, "POST", "/keys/signs-ec/create", {"kty": "EC"}))
    digest, n = b"\x5a" * 32, k.public_numbers.n

    def holds(key, alg, signature, over=digest):
        return done(ask(served, "POST", f"/keys/{key}//verify", {"alg": alg, "digest": b64u(over), "value": b64u(signature)}))["value"]

    for alg, other in (("RS256", "PS256"), ("PS256", "RS256")):
        s = base64.urlsafe_b64decode(done(ask(served, "POST", "/keys/signs//sign", {"alg": alg, "value": b64u(digest)}))["value"] + "==")
        assert holds("signs", alg, s) and not holds("signs", alg, s, bytes(32)) and not holds("signs", other, s)
        s_more = int.from_bytes(s, "big") + n
        for bad in (bytes(256), b"\0" * 255 + b"\1", n.to_bytes(256, "big"), s_more.to_bytes(257, "big"), s[1:], b"\0" + s, b"\1" * 20000):
            assert not holds("signs", alg, bad)
    s = base64.urlsafe_b64decode(done(ask(served, "POST", "/keys/signs-ec//sign", {"alg": "ES256", "value": b64u(digest)}))["value"] + "==")
    r, rest = s[:32], s[32:]
    assert holds("signs-ec", "ES256", s)
    for bad in (bytes(64), bytes(32) + rest, r + bytes(32), b"\xff" * 64, r + ORDER_P256.to_bytes(32, "big"), s[:-1], s + b"\0",
                utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(rest, "big"))):
        assert not holds("signs-ec", "ES256", bad)
    for length in (1, 31, 33, 64):
        refused(ask(served, "POST", "/keys/signs-ec//sign", {"alg": "ES256", "value": b64u(bytes(length))}))
        refused(ask(served, "POST", "/keys/signs//verify", {"alg": "PS256", "digest": b64u(bytes(length)), "value": b64u(bytes(256))}))


@pytest.mark.parametrize("alg,pad", [("RSA-OAEP", padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)),
                                     ("RSA-OAEP-256", padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)), ("RSA1_5", padding.PKCS1v15())])
def test_what_does_not_open_tells_nothing(served, alg, pad):
    k, jwk = rsa_jwk()
    done(ask(served, "PUT", f"/keys/opens-{len(alg)}", {"key": jwk}))
    public, n = k.public_numbers.public_key(), k.public_numbers.n

    def opened(ciphertext, op="decrypt"):
        return ask(served, "POST", f"/keys/opens-{len(alg)}//{op}", {"alg": alg, "value": b64u(ciphertext)})

    for text in (b"", b"\0\0\0", b"words"):
        for op in ("decrypt", "unwrapkey"):
            assert done(opened(public.encrypt(text, pad), op))["value"] == b64u(text)
    blocks = [b"\0\2" + b"\xff" * 254, b"\0\2" + b"\xff" * 7 + b"\0" + b"x" * 246, b"\0\1" + b"\xff" * 253 + b"\0", b"\1" + bytes(255), bytes(256)]
    answers = [opened(pow(int.from_bytes(b, "big"), 65537, n).to_bytes(256, "big")) for b in blocks]
    answers += [opened(c.to_bytes(256, "big")) for c in (0, 1, n - 1, n, 2**2048 - 1)]
    if alg == "RSA1_5":  # OpenSSL from 3.2 on opens it to bytes that mean nothing: neither tells what was wrong with the padding
        answers = [a for a in answers if a.status_code != 200]
    assert len({(a.status_code, a.text) for a in answers}) <= 1 and all(a.status_code == 400 for a in answers), [a.text for a in answers]


def test_lists_go_on_while_keys_come_and_go(served):
    for i in range(12):
        done(ask(served, "POST", f"/keys/page-{i:02}/create", {"kty": "EC"}, host="second"))
    names, link, pages = [], "/keys?maxresults=3", 0
    while link:
        page = done(ask(served, "GET", link, host="second"))
        names += [item["kid"].rsplit("/", 1)[1] for item in page["value"]]
        link = page["nextLink"] and "/" + page["nextLink"].split("/", 3)[3].replace("api-version=7.4&", "")
        pages += 1
        if pages == 2:  # the last one that was seen, one that was not, and new ones before and behind
            for name in (names[-1], "page-09"):
                done(ask(served, "DELETE", f"/keys/{name}", host="second"))
            for name in ("page-00a", "page-10a"):
                done(ask(served, "POST", f"/keys/{name}/create", {"kty": "EC"}, host="second"))
    assert names == [f"page-{i:02}" for i in range(11) if i != 9] + ["page-10a", "page-11"]
    for token in (b"a\0b", b"a_b", b"\xff", b"x" * 5000):
        refused(ask(served, "GET", "/keys?$skiptoken=" + b64u(token)))
    assert done(ask(served, "GET", "/keys/page-00/versions?$skiptoken=" + b64u(b"0" * 32), host="second"))["value"] == []


def test_one_name_by_many_at_once(served):
    def create(i):
        return ask(served, "POST", f"/keys/{('busy', 'BUSY')[i % 2]}/create", {"kty": "EC"}, host="second")

    answers = everybody(create, 503)
    assert Counter(a.status_code for a in answers) == {200: 500, 403: 3}  # 500 versions and no more
    assert {a.json()["error"]["innererror"]["code"] for a in answers if a.status_code == 403} == {"LimitReached"}
    ids = {a.json()["key"]["kid"] for a in answers if a.status_code == 200}
    assert len(ids) == 500 and len({i.split("/")[4] for i in ids}) == 1  # one key, under its first name
    backup = done(ask(served, "POST", "/keys/busy/backup", host="second"))["value"]
    done(ask(served, "DELETE", "/keys/busy", host="second"))
    assert ask(served, "DELETE", "/deletedkeys/busy", host="second").status_code == 204
    assert done(ask(served, "POST", "/keys/restore", {"value": backup}, host="second"))["key"]["kid"] in ids


def test_deleted_recovered_purged_and_made_at_once(served):
    calls = [("DELETE", "/keys/torn", None, {200, 404}), ("POST", "/deletedkeys/torn/recover", None, {200, 404}),
             ("DELETE", "/deletedkeys/torn", None, {204, 404}), ("POST", "/keys/torn/create", {"kty": "EC"}, {200, 409}),
             ("POST", "/keys/torn/rotate", None, {200, 404, 409}), ("PATCH", "/keys/torn/", {"tags": {"a": "b"}}, {200, 404})]

    def one(i):
        method, path, body, may = calls[i % len(calls)]
        answer = ask(served, method, path, body, host="second")
        return None if answer.status_code in may else (method, path, answer.text)

    assert not [wrong for wrong in everybody(one, 180) if wrong]
    served.check_alive()
    there = [ask(served, "GET", path, host="second").status_code for path in ("/keys/torn/", "/deletedkeys/torn")]
    assert there in ([200, 404], [404, 200], [404, 404])
    assert not [e for e in served.events() if e["event"] == "panic"]


def test_a_body_without_a_length_is_answered_where_it_is_too_large(served):
    context = ssl.create_default_context(cafile=served.ca_file)
    for path, total in (("/keys/data/create", 1 << 20), ("/keys/restore", 12 << 20)):
        with context.wrap_socket(socket.create_connection(("127.0.0.1", served.port), timeout=60), server_hostname="main.vault.localhost") as s:
            s.sendall(f"POST {path}?api-version=7.4 HTTP/1.1\r\nHost: main.vault.localhost\r\nAuthorization: Bearer {served.bearer}\r\n"
                      "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n".encode())
            for _ in range(total // 65536):
                s.sendall(b"x" * 65536)
            answer = b""
            while more := s.recv(65536):
                answer += more
        head, body = answer.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 413 ") and json.loads(body)["error"]["code"] == "RequestEntityTooLarge"
