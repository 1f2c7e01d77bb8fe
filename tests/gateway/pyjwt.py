"""Keys, and tokens that PyJWT makes of them, good and bad; prints them as one JSON document for pyjwt.rs."""
import base64, hashlib, hmac, json, time
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

now = int(time.time())
secret = "0123456789abcdef" * 4
rsa_key = rsa.generate_private_key(65537, 2048)
curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
private = {alg: ec.generate_private_key(curve) for alg, curve in curves.items()}
private |= {alg: rsa_key for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")}
private["EdDSA"] = ed25519.Ed25519PrivateKey.generate()


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(alg, **more):
    return {"iss": alg, "sub": "u-1", "iat": now, "nbf": now, "exp": now + 300, **more}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header, of, key):
    text = b64(json.dumps(header).encode()) + "." + b64(json.dumps(of).encode())
    return text + "." + b64(hmac.new(key, text.encode(), hashlib.sha256).digest())


keys = {alg: secret for alg in ("HS256", "HS384", "HS512")} | private
rows = [(alg, jwt.encode(claims(alg), key, algorithm=alg), 200) for alg, key in keys.items()]
good = dict((name, token) for name, token, _ in rows)


def bad(name, token):
    rows.append((name, token, 401))


for alg, key in keys.items():
    bad(f"{alg} expired by 1 s", jwt.encode(claims(alg, exp=now - 1), key, algorithm=alg))
    head, body, signature = good[alg].split(".")
    for cut in (1, 2, len(signature) // 2, len(signature)):
        bad(f"{alg} signature shorter by {cut}", f"{head}.{body}.{signature[:-cut]}")
    bad(f"{alg} without its last part", f"{head}.{body}")
    bad(f"{alg} with another's claims", f"{head}.{b64(json.dumps(claims(alg, sub='root')).encode())}.{signature}")
    bad(f"{alg} none", jwt.encode(claims(alg), None, algorithm=None))
    for none in ("None", "NONE", "nOnE", " none", ""):
        bad(f"{alg} {none!r}", f"{b64(json.dumps({'typ': 'JWT', 'alg': none}).encode())}.{body}.{signature}")
    bad(f"{alg} by a blank secret", by_hand({"alg": "HS256"}, claims(alg), b""))

# The public key as a shared secret, as it may be written; and keys that a header brings or points to.
for alg, key in private.items():
    text = pem(key).encode()
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for name, held in (("PEM", text), ("PEM without its last line's end", text.rstrip()), ("DER", der)):
        bad(f"{alg} confused by {name}", by_hand({"alg": "HS256", "typ": "JWT"}, claims(alg), held))
        bad(f"{alg} said, HS256 done by {name}", by_hand({"alg": alg, "typ": "JWT"}, claims(alg), held))
other = rsa.generate_private_key(65537, 2048)
own = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(other.public_key()))
for header in ({"jwk": own}, {"jku": "http://127.0.0.1:1/keys"}, {"x5u": "http://127.0.0.1:1/cert"}, {"x5c": ["AA=="]}):
    bad(f"by another key, with {list(header)[0]}", jwt.encode(claims("RS256"), other, algorithm="RS256", headers=header))
# Other algorithms of the same key than the one that the credential names.
for said, named in (("RS256", "PS256"), ("PS256", "RS256"), ("RS512", "RS256"), ("RS256", "RS512"), ("HS384", "HS256")):
    bad(f"{said} for {named}", jwt.encode(claims(named), keys[said], algorithm=said))
for kid in ("../../../../dev/null", "x' OR '1'='1", "HS256\u0000", "k" * 4000):
    unnamed = {name: value for name, value in claims("x").items() if name != "iss"}
    bad(f"kid {kid[:12]!r}", jwt.encode(unnamed, secret, algorithm="HS256", headers={"kid": kid}))
bad("ES256, r = s = 0", ".".join(good["ES256"].split(".")[:2] + [b64(bytes(64))]))
bad("deep", by_hand({"alg": "HS256"}, {}, b"x").replace(b64(b"{}"), b64(b'{"iss":' + b"[" * 2500 + b"]" * 2500 + b"}")))
# Signed well, and larger than any header may be.
rows.append(("huge", jwt.encode(claims("HS256", pad="p" * 1_000_000), secret, algorithm="HS256"), 400))

print(json.dumps({
    "secret": secret,
    "public": {alg: pem(key) for alg, key in private.items()},
    "ed448": pem(ed448.Ed448PrivateKey.generate()),
    "rows": rows,
}))
