"""The service of config/greeter.proto by grpcio, over TLS where it is given a key and a certificate; its port is the first line
it prints. Messages are one field of text, so that
no generated code is needed.

What a name asks for: `missing` ends with NOT_FOUND, `late` with UNAVAILABLE after one message, `held` is greeted a second time
only when somebody calls SayHello("go"), `slow` waits until it is cancelled, anything else is greeted.
"""
import sys
import threading
from concurrent import futures

import grpc

GO = threading.Event()


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def reply(text):
    raw = text.encode()
    return b"\x0a" + varint(len(raw)) + raw


def fields(raw):
    """Of a message: its first field as text, its second as number."""
    name, times, at = "", 0, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(raw):
        tag = number()
        if tag == 0x0A:
            length = number()
            name, at = raw[at : at + length].decode(), at + length
        elif tag == 0x10:
            times = number()
        else:
            raise ValueError(tag)
    return name, times


def greet(name, context):
    if name == "missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such name: \u00e9 100%")
    if name == "slow":
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(30)
    if name == "go":
        GO.set()
    if name == "metadata":
        sent = dict(context.invocation_metadata())
        return reply(sent.get("x-large", "")[:10] + str(len(sent.get("x-large", ""))))
    return reply("hello " + name)


def say_hello(request, context):
    context.send_initial_metadata((("x-initial", "begun"),))
    context.set_trailing_metadata((("x-trailing", "done"),))
    return greet(fields(request)[0], context)


def say_hellos(request, context):
    name, times = fields(request)
    if name == "missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such name")
    for at in range(times or 3):
        if at == 1 and name == "late":
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        if at == 1 and name == "held":
            GO.wait(30)
        yield reply(f"hello {name} {at}")


def gather(requests, context):
    return reply("hello " + " ".join(fields(request)[0] for request in requests))


def chat(requests, context):
    for request in requests:
        yield greet(fields(request)[0], context)


KINDS = {
    "SayHello": grpc.unary_unary_rpc_method_handler(say_hello),
    "SayHellos": grpc.unary_stream_rpc_method_handler(say_hellos),
    "Gather": grpc.stream_unary_rpc_method_handler(gather),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}
SIZES = [("grpc.max_metadata_size", 64 * 1024), ("grpc.max_receive_message_length", 64 << 20)]
server = grpc.server(futures.ThreadPoolExecutor(16), options=SIZES)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("helloworld.Greeter", KINDS),))
if len(sys.argv) > 2:
    key, chain = (open(path, "rb").read() for path in sys.argv[1:3])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
print(port, flush=True)
server.start()
# Ends with whoever has started it.
sys.stdin.read()
