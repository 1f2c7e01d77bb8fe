"""A client by the `h2` library (hyper-h2): `h2_client.py HOST:PORT [CA]`. Prints a line for each thing that went as it must.

The upstream answers a request with its own request line.
"""
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events


class Client:
    def __init__(self, address, ca):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=20)
        if ca:
            context = ssl.create_default_context(cafile=ca)
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock, server_hostname="a.test")
            assert self.sock.selected_alpn_protocol() == "h2"
        self.scheme = "https" if ca else "http"
        self.conn = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.conn.initiate_connection()
        self.fields, self.bodies, self.ended, self.reset, self.pongs, self.away = {}, {}, set(), {}, [], None
        self.flush()

    def flush(self):
        self.sock.sendall(self.conn.data_to_send())

    def turn(self):
        """Takes what comes, once."""
        data = self.sock.recv(65536)
        if not data:
            raise SystemExit("the connection was closed")
        for event in self.conn.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.fields[event.stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.reset[event.stream_id] = event.error_code
            elif isinstance(event, h2.events.PingAckReceived):
                self.pongs.append(event.ping_data)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.away = event.error_code
        self.flush()

    def ask(self, method, path, end=True, more=()):
        stream = self.conn.get_next_available_stream_id()
        head = [(":method", method), (":scheme", self.scheme), (":authority", "a.test"), (":path", path), *more]
        self.conn.send_headers(stream, head, end_stream=end)
        self.flush()
        return stream

    def answer(self, stream):
        while stream not in self.ended:
            assert stream not in self.reset, self.reset
            self.turn()
        return self.fields[stream][":status"], self.bodies.get(stream, b"")


client = Client(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)

assert client.answer(client.ask("GET", "/one")) == ("200", b"GET /one")
print("request")

streams = [client.ask("GET", f"/many/{n}") for n in range(100)]
for n, stream in enumerate(streams):
    assert client.answer(stream) == ("200", f"GET /many/{n}".encode()), n
print("streams")

status, body = client.answer(client.ask("HEAD", "/head"))
assert (status, body) == ("200", b""), (status, body)
print("HEAD")

large = b"z" * 400_000
stream = client.ask("POST", "/large", end=False, more=[("content-length", str(len(large)))])
left = large
while left:
    room = min(client.conn.local_flow_control_window(stream), client.conn.max_outbound_frame_size, len(left))
    if room == 0:
        client.turn()
        continue
    client.conn.send_data(stream, left[:room])
    client.flush()
    left = left[room:]
client.conn.end_stream(stream)
client.flush()
assert client.answer(stream) == ("200", b"POST /large")
print("large body")

stream = client.ask("POST", "/trailers", end=False, more=[("trailer", "x-sum")])
client.conn.send_data(stream, b"abc")
client.conn.send_headers(stream, [("x-sum", "6")], end_stream=True)
client.flush()
assert client.answer(stream) == ("200", b"POST /trailers")
print("trailers")

stream = client.ask("POST", "/given-up", end=False)
client.conn.reset_stream(stream, 8)
client.flush()
assert client.answer(client.ask("GET", "/after")) == ("200", b"GET /after")
print("reset")

client.conn.ping(b"12345678")
client.flush()
while not client.pongs:
    client.turn()
assert client.pongs == [b"12345678"], client.pongs
print("ping")

cookies = [("cookie", "a=1"), ("cookie", "b=2")]
assert client.answer(client.ask("GET", "/cookies", more=cookies)) == ("200", b"GET /cookies")
print("cookies")

client.conn.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0})
client.flush()
assert client.answer(client.ask("GET", "/settings")) == ("200", b"GET /settings")
print("settings")

client.conn.close_connection()
client.flush()
while client.sock.recv(65536):
    pass
print("end")
