"""A client by grpcio: calls of every kind to the address it is given, and how they can end. Prints a line for each that went as
it must; ends with an error at the first that did not."""
import sys
import threading

import grpc


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def message(text):
    raw = text.encode()
    return b"\x0a" + varint(len(raw)) + raw


def text(raw):
    assert raw[:1] == b"\x0a", raw[:20]
    at = 1
    while raw[at] > 127:
        at += 1
    return raw[at + 1 :].decode()


SIZES = [("grpc.max_metadata_size", 64 * 1024), ("grpc.max_receive_message_length", 64 << 20)]
channel = grpc.insecure_channel(sys.argv[1], options=SIZES)
PATH = "/helloworld.Greeter/"
unary = channel.unary_unary(PATH + "SayHello")
down = channel.unary_stream(PATH + "SayHellos")
up = channel.stream_unary(PATH + "Gather")
both = channel.stream_stream(PATH + "Chat")

answer, call = unary.with_call(message("Al"), timeout=20)
assert text(answer) == "hello Al", answer
assert ("x-initial", "begun") in [tuple(pair) for pair in call.initial_metadata()], call.initial_metadata()
assert ("x-trailing", "done") in [tuple(pair) for pair in call.trailing_metadata()], call.trailing_metadata()
print("unary")

answers = [text(raw) for raw in down(message("Al") + b"\x10" + varint(1000), timeout=20)]
assert len(answers) == 1000 and answers[-1] == "hello Al 999", answers[-1:]
print("server streaming")

answer = up((message(str(at)) for at in range(1000)), timeout=20)
assert text(answer) == "hello " + " ".join(str(at) for at in range(1000)), answer[:50]
print("client streaming")

turn = threading.Semaphore(1)


def asked():
    for at in range(50):
        turn.acquire()
        yield message(str(at))


for at, raw in enumerate(both(asked(), timeout=20)):
    assert text(raw) == f"hello {at}", raw
    turn.release()
assert at == 49, at
print("both ways, in turn")

try:
    unary(message("missing"), timeout=20)
    raise SystemExit("a call that fails did not")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND, error
    assert error.details() == "no such name: \u00e9 100%", error
print("failure")

try:
    unary(message("slow"), timeout=0.5)
    raise SystemExit("a call without end has ended")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
print("deadline")

stream = down(message("held") + b"\x10" + varint(2), timeout=20)
assert text(next(stream)) == "hello held 0"
stream.cancel()
try:
    next(stream)
    raise SystemExit("a cancelled call goes on")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.CANCELLED, error
assert text(unary(message("Al"), timeout=20)) == "hello Al"
print("cancellation")

large = "x" * 7000
answer = unary(message("metadata"), metadata=(("x-large", large),), timeout=20)
assert text(answer) == "xxxxxxxxxx7000", answer
print("large metadata")

large = "y" * (3 << 20)
assert text(unary(message(large), timeout=20)) == "hello " + large
print("large message")
