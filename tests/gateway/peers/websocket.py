"""Both ends of WebSockets by the `websockets` library.

`serve`: prints its port; sends back what comes, and closes with 4001 when it is told `close`. `ask URL [CA]`: says what such a
server must understand, and prints a line for each that came back as it must.
"""
import asyncio
import ssl
import sys

import websockets


async def echo(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4001, "as you wish")
            return
        await socket.send(message)


async def serve():
    async with websockets.serve(echo, "127.0.0.1", 0, subprotocols=["chat"], max_size=1 << 22) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        # Ends with whoever has started it.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def ask(url, ca):
    context = None
    if ca:
        context = ssl.create_default_context(cafile=ca)
    more = {"ssl": context, "server_hostname": "a.test"} if ca else {}
    async with websockets.connect(url, subprotocols=["chat", "other"], max_size=1 << 22, **more) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        print("subprotocol")
        assert any("deflate" in str(extension).lower() for extension in socket.extensions), socket.extensions
        print("compression")
        for message in ["hello", "\u00e4" * 1000, b"\x00\xff" * 500, "x" * (1 << 20), b""]:
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), 20) == message
        print("messages")
        await socket.send(["piece ", "by ", "piece"])
        assert await asyncio.wait_for(socket.recv(), 20) == "piece by piece"
        print("fragments")
        await asyncio.wait_for(await socket.ping(b"are you there"), 20)
        print("ping")
        for number in range(200):
            await socket.send(str(number))
        assert [await asyncio.wait_for(socket.recv(), 20) for _ in range(200)] == [str(number) for number in range(200)]
        print("many at once")
        await socket.send("close")
        try:
            await asyncio.wait_for(socket.recv(), 20)
            raise SystemExit("it goes on")
        except websockets.ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as you wish"), closed
        print("close")


if sys.argv[1] == "serve":
    asyncio.run(serve())
else:
    asyncio.run(ask(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))
