"""Runs inside the cluster, in the runtime's image: every connection to port 8080 goes on to a Service.

`kubectl port-forward` to a Service picks one pod for good; through this one, kube-proxy picks anew for each connection.

Usage: python forwarder_pod.py HOST PORT
"""

import asyncio
import sys


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Both directions of one connection."""
    there_reader, there_writer = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))


async def main() -> None:
    """Serve until the pod ends."""
    async with await asyncio.start_server(forward, "0.0.0.0", 8080) as server:
        await server.serve_forever()


asyncio.run(main())
