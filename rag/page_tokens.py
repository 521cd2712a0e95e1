"""The tokens with which the page calls the API as the person who signed in.

They are made for one purpose, live for minutes, and name the credential that they stand on rather than what it
allows: the API looks at that credential again, so that a key that is revoked or a session that has ended takes them
along. The key of the signature is made at each start and never written down: only this process reads its tokens.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Final

from rag.standing import Source, Standing, read, written

PREFIX: Final = "vbp_"
"""What every token of the page begins with."""
SECONDS: Final = 300
_PURPOSE: Final = b"vauban page calls api\0"


class PageTokens:
    """Makes and reads tokens; ``clock`` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._key = secrets.token_bytes(32)
        self._clock = clock

    def mint(self, standing: Standing) -> str:
        """A token for the person of an admitted request."""
        ends = min(self._clock() + SECONDS, standing.until or float("inf"))
        said = {
            "source": standing.source.value,
            "reference": standing.reference,
            "principal": written(standing.principal),
            "ends": ends,
        }
        body = _encoded(json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode())
        return f"{PREFIX}{body}.{_encoded(self._signature(body))}"

    def read(self, token: str) -> Standing | None:
        """On what a token of ours stands, until it ends; ``None`` for anything else."""
        body, _, signature = token.removeprefix(PREFIX).partition(".")
        if not token.startswith(PREFIX) or not hmac.compare_digest(
            signature.encode(), _encoded(self._signature(body)).encode()
        ):
            return None
        said = json.loads(_decoded(body))  # ours, since the signature is
        if said["ends"] <= self._clock():
            return None
        return Standing(read(said["principal"]), Source(said["source"]), said["reference"], said["ends"])

    def _signature(self, body: str) -> bytes:
        return hmac.new(self._key, _PURPOSE + body.encode(), hashlib.sha256).digest()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise AssertionError("what was signed was encoded by this module") from error
