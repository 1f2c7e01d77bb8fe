"""Both ends of gRPC by another hand than ours: grpcio.

grpc_peer.py serve [KEY CERT]   serves on any port of 127.0.0.1, which it prints; not well while the file $PEER_SICK exists
grpc_peer.py ask ADDR [CA]      calls it, all four kinds, and prints what it was told, a line each
"""

import os
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "ring.Peer"


def raw(data):
    return data


class Peer:
    def __init__(self):
        self.lock = threading.Lock()
        self.ended = 0

    def unary(self, request, context):
        fields = dict(context.invocation_metadata())
        context.send_initial_metadata([("x-first", fields.get("x-asked", "none"))])
        context.set_trailing_metadata([("x-last", "end"), ("x-blob-bin", b"\x00\xff")])
        return b"unary:" + request

    def collect(self, requests, context):
        return b"collect:%d" % sum(len(request) for request in requests)

    def spread(self, request, context):
        for nth in range(int(request)):
            yield b"%d:" % nth + b"x" * 20_000

    def chat(self, requests, context):
        for request in requests:
            yield b"chat:" + request

    def fail(self, request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: \u00e4")

    def slow(self, request, context):
        over = threading.Event()
        context.add_callback(over.set)
        over.wait(60)
        with self.lock:
            self.ended += 1
        return b""

    def count(self, request, context):
        with self.lock:
            return b"%d" % self.ended


def serve(key=None, cert=None):
    peer = Peer()
    kinds = {
        "Unary": (grpc.unary_unary_rpc_method_handler, peer.unary),
        "Collect": (grpc.stream_unary_rpc_method_handler, peer.collect),
        "Spread": (grpc.unary_stream_rpc_method_handler, peer.spread),
        "Chat": (grpc.stream_stream_rpc_method_handler, peer.chat),
        "Fail": (grpc.unary_unary_rpc_method_handler, peer.fail),
        "Slow": (grpc.unary_unary_rpc_method_handler, peer.slow),
        "Count": (grpc.unary_unary_rpc_method_handler, peer.count),
    }
    methods = {name: kind(act, raw, raw) for name, (kind, act) in kinds.items()}
    server = grpc.server(futures.ThreadPoolExecutor(32))
    # grpc.health.v1 by hand: a status of one field, 1 for SERVING and 2 for NOT_SERVING.
    def check(request, context):
        if request not in (b"", b"\x0a\x09ring.Peer"):
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return b"\x08\x02" if os.path.exists(os.environ.get("PEER_SICK", "/none")) else b"\x08\x01"

    health = {"Check": grpc.unary_unary_rpc_method_handler(check, raw, raw)}
    for service, handlers in ((SERVICE, methods), ("grpc.health.v1.Health", health)):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    if key:
        read = lambda path: open(path, "rb").read()
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(read(key), read(cert))]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


def ask(addr, ca=None):
    if ca:
        credentials = grpc.ssl_channel_credentials(open(ca, "rb").read())
        channel = grpc.secure_channel(addr, credentials, [("grpc.ssl_target_name_override", "a.test")])
    else:
        channel = grpc.insecure_channel(addr)
    with channel:
        call = lambda kind, name: getattr(channel, kind)(f"/{SERVICE}/{name}", raw, raw)
        unary, slow = call("unary_unary", "Unary"), call("unary_unary", "Slow")

        answer, done = unary.with_call(b"hello", metadata=[("x-asked", "me")], timeout=20)
        first, last = dict(done.initial_metadata()), dict(done.trailing_metadata())
        print(answer.decode(), first["x-first"], last["x-last"], last["x-blob-bin"])
        print(call("stream_unary", "Collect")((b"y" * 1000 for _ in range(500)), timeout=20).decode())
        spread = [len(piece) for piece in call("unary_stream", "Spread")(b"50", timeout=20)]
        print("spread:", len(spread), sum(spread))

        # Each message is sent once the one before has come back.
        back = threading.Semaphore(1)
        def words():
            for word in (b"one", b"two", b"three"):
                back.acquire(timeout=20)
                yield word
        for piece in call("stream_stream", "Chat")(words(), timeout=20):
            print(piece.decode())
            back.release()

        for name, fail in (("Fail", lambda: call("unary_unary", "Fail")(b"", timeout=20)), ("Slow", lambda: slow(b"", timeout=0.5))):
            try:
                fail()
                print(name, "no error")
            except grpc.RpcError as error:
                print(name, error.code().name, error.details() if name == "Fail" else "")
        pending = slow.future(b"", timeout=60)
        threading.Timer(0.3, pending.cancel).start()
        try:
            pending.result()
        except grpc.FutureCancelledError:
            print("cancelled")
        count = call("unary_unary", "Count")
        while int(count(b"", timeout=20)) < 2:
            pass
        print("ended upstream: 2")


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
