"""The API and the page on a real server, for the tests of the page."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from rag.api import create_app
from rag.identity import Identity
from rag.seams import Generator
from tests.rag_server import Parts, parts
from ui.app import mount


@dataclass
class Served:
    """A running server with its page."""

    url: str
    parts: Parts


@contextmanager
def page_server(folder: Path, generator: Generator | None, **settings: Any) -> Iterator[Served]:
    """The API and the page on a free port of the loopback, as ``vauban serve`` puts them together."""
    made = parts(folder, generator, **settings)
    identity = Identity(made.settings, made.local, made.database)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with ThreadPoolExecutor(1) as apart:  # a browser test has an event loop in this thread
            app = apart.submit(
                lambda: mount(create_app(made, identity=identity), made.settings, url, identity.page_token)
            ).result()
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", proxy_headers=False, timeout_graceful_shutdown=2)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield Served(url, made)
        finally:
            server.should_exit = True
            thread.join()
    made.catalog.close()
