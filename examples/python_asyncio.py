"""A TCP echo server on one event loop, asyncio's streams: python_asyncio.py PORT"""
import asyncio
import sys


async def echo(reader, writer):
    # asyncio sets TCP_NODELAY itself.
    try:
        while data := await reader.read(16384):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main(port):
    server = await asyncio.start_server(echo, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
