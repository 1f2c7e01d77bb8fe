"""What policies cost: configurations of Ringway and Envoy with none, with six, with tokens, with a limit in Redis, and with
refusals; and what is asked of each."""

import base64
import json
import time

import peers

MANY = peers.MANY
KEY = "key-of-the-load-test-0001"
ORIGIN = "https://app.load.test"
TOKENS = 10_000

# name: (what it is, header lines, arguments of wrk.lua, is every answer a refusal?)
KEYED = [f"apikey: {KEY}", f"Origin: {ORIGIN}"]
CASES = {
    "none": ("no plugin", [], ["get"], False),
    "six": ("key-auth, acl, rate-limiting local, cors, correlation-id, request-transformer", KEYED, ["get"], False),
    "jwt-hot": ("jwt RS256, one token", None, ["get"], False),
    "jwt-many": (f"jwt RS256, {TOKENS:,} tokens in turn", [], ["tokens"], False),
    "redis": ("rate-limiting redis, strict", [], ["get"], False),
    "refused-429": ("refused by its limit", [], ["get"], True),
    "refused-401": ("refused for want of a key", [], ["get"], True),
}


class Keys:
    """An RSA pair, and tokens that it signed; good for a day."""

    def __init__(self):
        # From PyPI or Debian (python3-cryptography): 10,000 signatures by a command each would take minutes.
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.sign = lambda data: self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        self.pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def token(self, n):
        head = part(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "load"}).encode())
        claims = part(json.dumps({"iss": "load", "sub": f"user-{n}", "exp": int(time.time()) + 86400}).encode())
        return f"{head}.{claims}.{part(self.sign(f'{head}.{claims}'.encode()))}"

    def jwks(self):
        public = self.key.public_key().public_numbers()

        def number(n):
            return part(n.to_bytes((n.bit_length() + 7) // 8, "big"))

        return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "load", "n": number(public.n),
                          "e": number(public.e)}]}


def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def plugins(case, keys, redis_port):
    """The plugins of a case, as Ringway reads them; with the consumers they need."""
    consumers = [{"username": "load", "keyauth_credentials": [{"key": KEY}], "acls": [{"group": "staff"}]}]
    if case == "six":
        return [
            {"name": "key-auth"},
            {"name": "acl", "config": {"allow": ["staff"]}},
            {"name": "rate-limiting", "config": {"minute": MANY, "policy": "local"}},
            {"name": "cors", "config": {"origins": [ORIGIN], "credentials": True}},
            {"name": "correlation-id", "config": {"header_name": "X-Correlation-Id", "generator": "uuid#counter"}},
            {"name": "request-transformer",
             "config": {"add": {"headers": ["X-Gateway: load"]}, "remove": {"headers": ["X-Internal"]}}},
        ], consumers
    if case in ("jwt-hot", "jwt-many"):
        secret = {"key": "load", "algorithm": "RS256", "rsa_public_key": keys.pem}
        return [{"name": "jwt", "config": {"claims_to_verify": ["exp"]}}], \
            [{"username": "load", "jwt_secrets": [secret]}]
    if case == "redis":
        redis = {"host": "127.0.0.1", "port": redis_port}
        return [{"name": "rate-limiting", "config": {"minute": MANY, "policy": "redis", "redis": redis}}], []
    if case == "refused-429":
        return [{"name": "rate-limiting", "config": {"year": 1, "policy": "local"}}], []
    if case == "refused-401":
        return [{"name": "key-auth"}], consumers
    return [], []


def ringway(case, job, tools, keys, redis_port):
    """argv; the configuration is JSON, which every reader of YAML reads."""
    used, consumers = plugins(case, keys, redis_port)
    route = {"name": "all", "paths": ["/"], "strip_path": False, "plugins": used}
    service = {"name": "origin", "url": f"http://127.0.0.1:{job.origin_port}", "routes": [route]}
    kong = json.dumps({"_format_version": "3.0", "services": [service], "consumers": consumers})
    node = f"""
runtime: {{shards: 1, driver: uring, connections_max: 30000}}
listeners: ["127.0.0.1:{job.port} backlog=4096"]
admin: ["127.0.0.1:{job.port + 1000}"]
access_log: {{path: "off"}}
error_log: {job.folder}/ringway.err
log_level: warn
"""
    return [tools / "ringway", "run", "-c", job.write("policies.json", kong), "-c", job.write("node.yaml", node)]


def typed(kind, **fields):
    return {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{kind}", **fields}


def envoy_filters(case, keys):
    """The filters that do the same in Envoy; `None` where it has none of its own (a limit in Redis is another service)."""
    always = {"default_value": {"numerator": 100}}

    def limit(tokens, interval):
        return {"name": "envoy.filters.http.local_ratelimit", "typed_config": typed(
            "local_ratelimit.v3.LocalRateLimit", stat_prefix="limit",
            token_bucket={"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": interval},
            filter_enabled=always, filter_enforced=always, enable_x_ratelimit_headers="DRAFT_VERSION_03")}

    keyed = {"name": "envoy.filters.http.rbac", "typed_config": typed("rbac.v3.RBAC", rules={"policies": {"staff": {
        "permissions": [{"any": True}],
        "principals": [{"header": {"name": "apikey", "string_match": {"exact": KEY}}}]}}})}
    if case == "none":
        return []
    if case == "six":
        changes = {"request_mutations": [
            {"append": {"header": {"key": "x-gateway", "value": "load"}, "append_action": "ADD_IF_ABSENT"}},
            {"remove": "x-internal"},
            {"append": {"header": {"key": "x-correlation-id", "value": "%REQ(X-REQUEST-ID)%"}}}]}
        return [{"name": "envoy.filters.http.cors", "typed_config": typed("cors.v3.Cors")}, keyed,
                limit(MANY, "60s"),
                {"name": "envoy.filters.http.header_mutation",
                 "typed_config": typed("header_mutation.v3.HeaderMutation", mutations=changes)}]
    if case in ("jwt-hot", "jwt-many"):
        provider = {"issuer": "load", "forward": True, "local_jwks": {"inline_string": json.dumps(keys.jwks())},
                    "jwt_cache_config": {"jwt_cache_size": TOKENS}}
        return [{"name": "envoy.filters.http.jwt_authn", "typed_config": typed(
            "jwt_authn.v3.JwtAuthentication", providers={"load": provider},
            rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "load"}}])}]
    if case == "refused-429":
        return [limit(1, "86400s")]
    if case == "refused-401":
        return [keyed]
    return None


def envoy(case, job, tools, keys, _redis_port):
    """argv, or `None`: Envoy's plain configuration with the filters of the case before its router."""
    filters = envoy_filters(case, keys)
    if filters is None:
        return None
    argv = peers.envoy(job, tools)
    path = job.folder / "envoy.json"
    conf = json.loads(path.read_text())
    chain = conf["static_resources"]["listeners"][0]["filter_chains"][0]
    manager = chain["filters"][0]["typed_config"]
    manager["http_filters"][:0] = filters
    if case == "six":
        policy = {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
                  "allow_origin_string_match": [{"exact": ORIGIN}], "allow_credentials": True}
        manager["route_config"]["virtual_hosts"][0]["typed_per_filter_config"] = {"envoy.filters.http.cors": policy}
    path.write_text(json.dumps(conf))
    return argv


PEERS = {"envoy": envoy, "ringway": ringway}
