"""The secret of a chain of records, and what is sealed with it.

Hashes are HMACs under a secret that is in no database: it is in ``audit.key`` in the home, or in the file that the
setting ``audit_key`` names. What is sealed is always written in the same words.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rag.errors import SettingsError
from rag.home import translated, write_atomically

KEY_FILE: Final = "audit.key"
DIGITS: Final = 64
"""Hexadecimal digits of a hash, and of the key of a content."""


@dataclass(frozen=True)
class Keys:
    """What is derived from the secret of a chain, one key for each purpose."""

    secret: bytes = field(repr=False)

    def sign(self, purpose: str, message: bytes) -> str:
        """An HMAC-SHA-256 of ``message`` that holds for one purpose only."""
        key = hmac.digest(self.secret, b"vauban audit " + purpose.encode(), hashlib.sha256)
        return hmac.digest(key, message, hashlib.sha256).hex()

    @property
    def name(self) -> str:
        """Tells one secret from another, and nothing of it."""
        return self.sign("name", b"")[:32]


def secret_in(path: Path, *, make: bool) -> bytes:
    """The secret in a file that only its owner may read; a new one where there is none and ``make`` says so."""
    with translated(path):
        try:
            written = path.read_bytes().strip()
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise SettingsError(
                    f"others may read {path}, which holds the secret of the records: chmod 600 {path}",
                    f"d'autres peuvent lire {path}, qui contient le secret des traces : chmod 600 {path}",
                    code="audit_key",
                )
        except FileNotFoundError:
            if not make:
                raise _no_secret(path) from None
            written = secrets.token_hex(32).encode()
            write_atomically(path, written + b"\n")
    try:
        secret = bytes.fromhex(written.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) < 32:
        raise SettingsError(
            f"{path} must hold at least 64 hexadecimal digits; restore it, or make one with: openssl rand -hex 32",
            f"{path} doit contenir au moins 64 chiffres hexadécimaux ; restaurez-le, ou créez-en un avec : "
            "openssl rand -hex 32",
            code="audit_key",
        )
    return secret


def _no_secret(path: Path) -> SettingsError:
    return SettingsError(
        f"{path} is missing, which holds the secret of the records in this database; restore it from a backup, or "
        "name the file of the other servers in the setting `audit_key`",
        f"{path} manque, qui contient le secret des traces de cette base ; restaurez-le depuis une sauvegarde, ou "
        "indiquez le fichier des autres serveurs par le réglage « audit_key »",
        code="audit_key",
    )


def canonical(value: object) -> str:
    """``value`` as JSON, always in the same words: sorted keys, no spaces, whole characters only."""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return written.encode("utf-8", "replace").decode()


def storable(text: str) -> str:
    """``text`` as a database gives it back (:class:`rag.database.Text`): what is sealed is what is stored."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def commitment(secret: str, seq: int, owner: str, content: str) -> str:
    """What the chain holds of a content: nothing can be tried against it once the key is gone."""
    return hmac.digest(secret.encode(), canonical([seq, owner, content]).encode(), hashlib.sha256).hex()
