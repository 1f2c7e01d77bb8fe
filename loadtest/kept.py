"""What idle connections over TLS hold: HTTP/1.1 (idle-tls) and HTTP/2 (idle-h2), TLS 1.3, one P-256 certificate for all."""

import socket
import ssl
import struct
import time

import meter
import peers
import secure

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# GET https://load.test/ by HPACK's static table, the authority spelled out (RFC 7541 §6.1, §6.2.2).
FIELDS = b"\x82\x87\x84\x01\x09load.test"
SETTINGS, HEADERS, END_STREAM, END_HEADERS, ACK = 4, 1, 1, 4, 1
COUNTS = (2000, 4000)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Http2:
    """One connection that asks and reads as little as keeps a server content."""

    def __init__(self, sock):
        self.sock, self.got, self.stream = sock, b"", 1
        sock.sendall(PREFACE + frame(SETTINGS, 0, 0))

    def read(self, size):
        while len(self.got) < size:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("closed")
            self.got += more
        part, self.got = self.got[:size], self.got[size:]
        return part

    def get(self):
        self.sock.sendall(frame(HEADERS, END_STREAM | END_HEADERS, self.stream, FIELDS))
        while True:
            head = self.read(9)
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:], "big")
            self.read(size)
            if kind == SETTINGS and not flags & ACK:
                self.sock.sendall(frame(SETTINGS, ACK, 0))
            if kind == 7:
                raise ConnectionError("GOAWAY")
            if stream == self.stream and kind in (0, HEADERS) and flags & END_STREAM:
                break
        self.stream += 2


def connect(context, port, http2):
    """A connection after its handshake, and what asks over it."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock = context.wrap_socket(raw, server_hostname="load.test")
    if sock.version() != "TLSv1.3" or (sock.selected_alpn_protocol() == "h2") != http2:
        raise RuntimeError(f"{sock.version()} with {sock.selected_alpn_protocol()}")
    return sock, Http2(sock) if http2 else None


def run(compare, options, http2):
    """Every connection asks once and is kept; between the two counts nothing differs but the connections."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"] if http2 else ["http/1.1"])
    few, many = COUNTS
    rows = [["", f"{few:,}, KiB in all", f"{many:,}, KiB in all", "just answered, B each", "idle, B each"]]
    for peer in secure.ABLE:
        if not compare.can(options, peer, secure.ABLE):
            continue
        with compare.Bench(options) as bench:
            pair = secure.certificate(bench.folder)
            folder = bench.folder / "peer"
            folder.mkdir()
            job = peers.Job(folder, compare.FIRST_PORT, compare.ORIGIN_PORT)
            argv = secure.PEERS[peer](job, options.tools, pair, False)
            if peer == "ringway":
                argv[0] = options.ringway
            clients = []
            try:
                process, _ = bench.start(argv, options.peer_cpu, job.port)
                at = {}
                # The first round warms up: what the first connections ever leave behind is not the idle ones' fault.
                for count in (500, few, many):
                    while len(clients) < count:
                        sock, h2 = connect(context, job.port, http2)
                        clients.append((sock, h2))
                        h2.get() if h2 else compare.get(sock, "/")
                    answered = meter.memory_kb(process.pid)[1]
                    time.sleep(options.idle_seconds)
                    at[count] = answered, meter.memory_kb(process.pid)[1]
                for sock, h2 in clients[:: many // 20]:
                    h2.get() if h2 else compare.get(sock, "/")
                each = [(at[many][state] - at[few][state]) * 1024 / (many - few) for state in (0, 1)]
                rows.append([peer, f"{at[few][1]:,}", f"{at[many][1]:,}", *[f"{size:,.0f}" for size in each]])
            except (OSError, RuntimeError) as error:
                rows.append([peer, f"{error} after {len(clients)}", "", "", ""])
            finally:
                for sock, _ in clients:
                    sock.close()
    return compare.OTHERS["idle-h2" if http2 else "idle-tls"], rows, {}
