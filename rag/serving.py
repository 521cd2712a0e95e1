"""One server process: bind, open the parts, announce, serve, and undo it all in reverse."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack

import uvicorn
from fastapi import FastAPI
from starlette.types import Scope

from rag import logs
from rag.api import create_app
from rag.errors import SettingsError
from rag.home import Server
from rag.identity import Identity, check_exposure
from rag.memory import share_heaps
from rag.seams import Inbox
from rag.settings import Settings
from rag.wiring import Vauban, open_vauban

log = logging.getLogger("vauban.serving")

MakeInbox = Callable[[Vauban, ExitStack], Inbox]
"""Makes what takes folders in while serving; what must be stopped goes on the stack."""
MountPage = Callable[[FastAPI, Settings, str, Callable[[Scope], str]], FastAPI]
"""Puts the page under ``/`` of the application, given the API's URL and what makes a token for one of its requests."""


def run(settings: Settings, *, make_inbox: MakeInbox, mount_page: MountPage) -> None:
    """Serve until told to stop.

    Raises:
        SettingsError: the address is in use, cannot be listened on, or would be open to others without a key.
        OperatorError: a part cannot be opened; see :func:`rag.wiring.open_vauban`.
    """
    check_exposure(settings)
    share_heaps()
    with ExitStack() as undo:
        undo.enter_context(logs.speaking(settings.log, settings.log_level))
        listening = undo.enter_context(bind(settings))
        port = listening.getsockname()[1]
        vauban = undo.enter_context(open_vauban(settings, count=True, patience=0))
        if vauban.generator_error is not None:
            print(f"vauban: {vauban.generator_error.said(settings.language)}", file=sys.stderr)
        vauban.warm()
        identity = Identity(settings, vauban.local, vauban.database)
        url = address(settings.host, port)
        app = create_app(
            vauban,
            make_inbox(vauban, undo),
            token=identity.server_token,
            identity=identity,
            warmth=vauban.warmth,
        )
        app = mount_page(app, settings, url, identity.page_token)
        vauban.home.announce(Server.here(url, identity.server_token))
        undo.callback(vauban.home.withdraw)
        logging.getLogger("uvicorn.access").disabled = True  # paths name documents, and the metrics count requests
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,  # what it says goes through our events
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # it would believe anybody on this machine; `rag.proxies` decides
                timeout_graceful_shutdown=5,
            )
        )
        # uvicorn stops at a signal and then raises it again, which must not end us before all is undone.
        for number in (signal.SIGINT, signal.SIGTERM):
            undo.callback(signal.signal, number, signal.signal(number, _stopped_already))
        print(f"Vauban: {url}", flush=True)
        log.info("server started", extra={"port": port, "pid": os.getpid()})
        undo.callback(log.info, "server stopped")
        server.run(sockets=[listening])


def _stopped_already(number: int, frame: object) -> None:
    """What a signal does that has stopped the server: nothing more."""


def bind(settings: Settings) -> socket.socket:
    """A socket that holds the address from now on, so that "in use" is known before any model is loaded.

    Raises:
        SettingsError: it is in use, or this machine has no such address.
    """
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends at once only from sockets that say they are TCP's; from others the body of each answer after the
    # first waits 40 ms for the client to have acknowledged its head, and so does each event of a stream.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, settings.port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {settings.port} of {host} is in use; stop what uses it, or choose another with --port",
                f"le port {settings.port} de {host} est déjà utilisé ; libérez-le, ou changez avec --port",
                code="port_in_use",
            ) from error
        raise SettingsError(
            f"cannot listen on {host} port {settings.port}: {error.strerror}; choose another with --host and --port",
            f"impossible d'écouter sur {host}, port {settings.port} : {error.strerror} ; voyez --host et --port",
        ) from error
    return listening


def address(host: str, port: int) -> str:
    """The URL at which this machine reaches its own server."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 compared
    return f"http://{name}:{port}"
