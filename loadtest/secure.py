"""What TLS and HTTP/2 cost: handshakes, requests over kept connections, large bodies, streams; one P-256 certificate for all."""

import json
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import time

import meter
import peers

H2C_PORT = 18082
ABLE = ["nginx", "haproxy", "envoy", "ringway"]

# name: (what it is, how it is driven, path, least of a unit's peers)
CASES = {
    "handshake": ("full TLS 1.3 handshake, then closed; openssl s_time", "new"),
    "resumed": ("resumed TLS 1.3 handshake and one request", "resumed"),
    "https-64": ("HTTPS, 200 B, 64 connections", "wrk"),
    "https-1m": ("HTTPS, 1 MiB answers, 16 connections", "wrk-large"),
    "h2": ("HTTP/2 over TLS, 200 B, 10 connections × 32 streams; h2load", "h2load"),
    "grpc": ("gRPC's shape: HTTP/2 over TLS to HTTP/2 in the clear, 10 connections × 32 streams", "grpc"),
}
GOALS = [
    ("handshake", "nginx", 0.60), ("handshake", "haproxy", 0.60), ("handshake", "envoy", 0.80), ("resumed", "nginx", 0.80),
    ("https-64", "nginx", 0.92), ("https-64", "haproxy", 0.80), ("https-64", "envoy", 0.40), ("https-1m", "nginx", 1.0),
    ("h2", "nginx", 0.75), ("h2", "haproxy", 1.0), ("h2", "envoy", 0.35), ("grpc", "envoy", 0.45),
]


def certificate(folder):
    """A pair for `load.test` by openssl: paths of certificate, key, and both in one."""
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "30", "-subj", "/CN=load.test", "-addext", "subjectAltName=DNS:load.test,IP:127.0.0.1", "-keyout",
                    key, "-out", cert], check=True, capture_output=True)
    both.write_text(cert.read_text() + key.read_text())
    return cert, key, both


def nginx(job, tools, pair, _h2c):
    argv = peers.nginx(job, tools)
    path = job.folder / "nginx.conf"
    tls = (f"listen 127.0.0.1:{job.port} ssl http2 backlog=4096; ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]}; "
           "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:all:10m; ssl_session_timeout 1h; "
           "http2_max_concurrent_streams 256;")
    path.write_text(path.read_text().replace(f"listen 127.0.0.1:{job.port} backlog=4096;", tls))
    return argv


def haproxy(job, tools, pair, _h2c):
    argv = peers.haproxy(job, tools)
    path = job.folder / "haproxy.cfg"
    bind = f"bind 127.0.0.1:{job.port} backlog 4096"
    text = path.read_text().replace(bind, f"{bind} ssl crt {pair[2]} alpn h2,http/1.1")
    path.write_text(text.replace("maxconn 12000", "maxconn 12000\n  ssl-default-bind-options ssl-min-ver TLSv1.2"))
    return argv


def envoy(job, tools, pair, h2c):
    argv = peers.envoy(job, tools)
    path = job.folder / "envoy.json"
    conf = json.loads(path.read_text())
    chain = conf["static_resources"]["listeners"][0]["filter_chains"][0]
    chain["filters"][0]["typed_config"]["codec_type"] = "AUTO"
    chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [
            {"certificate_chain": {"filename": str(pair[0])}, "private_key": {"filename": str(pair[1])}}]}}}
    if h2c:
        cluster = conf["static_resources"]["clusters"][0]
        cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}}
    path.write_text(json.dumps(conf))
    return argv


def ringway(job, tools, pair, h2c):
    protocols = {"protocol": "grpc"} if h2c else {}
    route = {"name": "all", "paths": ["/"], "strip_path": False}
    if h2c:
        del route["strip_path"]
        route["protocols"] = ["grpc", "grpcs"]
    service = {"name": "origin", "host": "127.0.0.1", "port": job.origin_port, **protocols, "routes": [route]}
    kong = json.dumps({"_format_version": "3.0", "services": [service], "certificates": [
        {"cert": pair[0].read_text(), "key": pair[1].read_text(), "snis": [{"name": "load.test"}, {"name": "*.load.test"}]}]})
    node = f"""
runtime: {{shards: 1, driver: uring, connections_max: 30000}}
listeners: ["127.0.0.1:{job.port} ssl http2 backlog=4096"]
admin: ["127.0.0.1:{job.port + 1000}"]
access_log: {{path: "off"}}
error_log: {job.folder}/ringway.err
log_level: warn
"""
    return [tools / "ringway", "run", "-c", job.write("origin.json", kong), "-c", job.write("node.yaml", node)]


PEERS = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "ringway": ringway}


def counted(text, pattern):
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(text[-500:])
    return int(found.group(1))


def new_handshakes(bench, options, port):
    ran = subprocess.run(["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-tls1_3", "-time",
                          str(options.seconds)], capture_output=True, text=True, preexec_fn=bench.on_client_cpu)
    return counted(ran.stdout, r"(\d+) connections in \d+ real seconds")


def resumed_handshakes(_bench, options, port):
    """A client of Python's ssl; it is slow, which does not matter to the peer's CPU time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    session, done, until = None, 0, time.monotonic() + options.seconds
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            with context.wrap_socket(raw, server_hostname="load.test", session=session) as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: load.test\r\nConnection: close\r\n\r\n")
                while tls.recv(65536):
                    pass
                if session is not None and not tls.session_reused:
                    raise RuntimeError("the session was not resumed")
                session = tls.session
                done += 1
    return done


def h2load(bench, options, port, more=()):
    ran = subprocess.run(["h2load", "-t1", "-c10", "-m32", f"-D{options.seconds}", *more, f"https://127.0.0.1:{port}/"],
                         capture_output=True, text=True, timeout=options.seconds + 30, preexec_fn=bench.on_client_cpu)
    done = counted(ran.stdout, r"status codes: (\d+) 2xx")
    bad = counted(ran.stdout, r"(\d+) failed")
    # Requests that were on their way when the time was up are counted as failed by some versions of h2load.
    if bad > 10 * 32 or "protocol: h2" not in ran.stdout:
        raise RuntimeError(ran.stdout[-800:])
    return done


def run(compare, options):
    """Each case on each peer that can, in turns; CPU per unit."""
    cases = list(CASES)
    turns, rows = {}, [["", "what", "CPU µs each", "lowest–highest", "each/s", "Ringway ÷ it", "others %"]]
    with compare.Bench(options) as bench:
        bench.on_client_cpu = lambda: compare.settle(options.client_cpu)
        pair = certificate(bench.folder)
        body = bench.folder / "unary"
        body.write_bytes(b"\0\0\0\0\5hello")
        if shutil.which("nghttpd"):
            (bench.folder / "h2c").mkdir()
            (bench.folder / "h2c" / "index.html").write_bytes(b"\0\0\0\0\5hello")
            bench.start(["nghttpd", "--no-tls", "-n1", "--max-concurrent-streams=1000", "--trailer", "grpc-status: 0", "-d",
                         bench.folder / "h2c", H2C_PORT], options.client_cpu, H2C_PORT)
        else:
            compare.say("  nghttpd is not here: grpc left out")
            cases.remove("grpc")
        here, port = {}, compare.FIRST_PORT
        for peer in ABLE:
            for h2c in (False, True):
                if not compare.can(options, peer, ABLE) or h2c and (peer not in ("envoy", "ringway") or "grpc" not in cases):
                    continue
                folder = bench.folder / f"{peer}-{port}"
                folder.mkdir()
                job = peers.Job(folder, port, H2C_PORT if h2c else compare.ORIGIN_PORT)
                argv = PEERS[peer](job, options.tools, pair, h2c)
                if peer == "ringway":
                    argv[0] = options.ringway
                try:
                    here[peer, h2c] = (bench.start(argv, options.peer_cpu, port)[0], port)
                except RuntimeError as error:
                    compare.say(f"  {peer}: {error}")
                port += 1
        drive = {
            "new": lambda port: new_handshakes(bench, options, port),
            "resumed": lambda port: resumed_handshakes(bench, options, port),
            "wrk": lambda port: compare.wrk(options, port, "/", ["get"], 64, options.seconds, tls=True)["requests"],
            "wrk-large": lambda port: compare.wrk(options, port, "/1m", ["get"], 16, options.seconds, tls=True)["requests"],
            "h2load": lambda port: h2load(bench, options, port),
            "grpc": lambda port: h2load(bench, options, port, ["-d", body, "-H", "content-type: application/grpc", "-H",
                                                               "te: trailers"]),
        }
        for case in cases:
            what, how = CASES[case]
            for turn in range(options.turns + 1):
                for (peer, h2c), (process, port) in here.items():
                    if h2c != (case == "grpc"):
                        continue
                    cpu, busy, began = meter.cpu_ns(process.pid), meter.busy_ns(options.peer_cpu), time.monotonic()
                    try:
                        done = drive[how](port)
                    except (RuntimeError, OSError) as error:
                        compare.say(f"  {peer} {case}: {error}")
                        continue
                    wall = time.monotonic() - began
                    cpu, busy = meter.cpu_ns(process.pid) - cpu, meter.busy_ns(options.peer_cpu) - busy
                    # The first turn warms up.
                    if turn and done:
                        turns.setdefault((peer, case), []).append({
                            "cpu": cpu / 1000 / done, "rate": done / wall, "others": max(0, busy - cpu) / wall / 1e7})
    for (peer, case), seen in turns.items():
        cpus = [row["cpu"] for row in seen]
        ours = ("ringway", case)
        beside = f"{compare.ratio(turns, ours, (peer, case)):.2f}" if ours in turns and peer != "ringway" else ""
        rows.append([f"{case}: {peer}", CASES[case][0], f"{statistics.median(cpus):.2f}", f"{min(cpus):.2f}–{max(cpus):.2f}",
                     f"{compare.median(seen, 'rate'):,.0f}", beside, f"{compare.median(seen, 'others'):.0f}"])
    return compare.OTHERS["secure"], rows, {f"{case} {peer}": seen for (peer, case), seen in turns.items()}
