"""The socket that the server listens on."""

from __future__ import annotations

import asyncio
import socket

from rag.serving import bind
from rag.settings import Settings


def test_what_is_written_to_a_caller_is_sent_at_once() -> None:
    """No answer waits for the caller's system to acknowledge the packet before: on kept connections that is 40 ms."""

    async def nodelay() -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            told.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = bind(Settings(host="127.0.0.1", port=0))
        async with await asyncio.start_server(called, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            try:
                return await told
            finally:
                writer.close()
                await writer.wait_closed()

    assert asyncio.run(nodelay())
