"""Who calls: the local person, or whoever holds a key.

Without ``api_key`` the caller is the local person, and the server listens on loopback only. With one, every
request must carry it: as a bearer token, or as the password of HTTP Basic, which is how a browser asks for it.
The token of ``server.json`` proves to be the user who runs the server; the page's own token, minted at each
start and never written down, lets the page call the API.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rag.errors import SettingsError
from rag.live import AS_HEADER
from rag.problems import Refusal
from rag.settings import Settings
from rag.types import EVERY, Access, Principal, Role

SHORTEST_KEY = 24
"""Characters of an API key: 24 hexadecimal digits are 96 bits, beyond guessing over a network."""
OPEN_PATHS = frozenset({"/healthz"})
"""What a probe may ask without a key."""


def new_token() -> str:
    """256 random bits, for a URL or a header."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Identity:
    """Admits requests and says whose they are."""

    settings: Settings
    local: Principal
    server_token: str = field(default_factory=new_token, repr=False)
    page_token: str = field(default_factory=new_token, repr=False)

    def admit(self, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request may not pass, or ``None``."""
        if not self.settings.api_key or path in OPEN_PATHS:
            return None
        known = (self.settings.api_key, self.server_token, self.page_token)
        if any(_same(_secret(headers), secret) for secret in known):
            return None
        return Refusal(
            "this server needs a key: send it as a bearer token, or as the password in a browser",
            "ce serveur demande une clé : envoyez-la comme jeton « Bearer », ou comme mot de passe dans un navigateur",
            code="key_required",
            status=401,
            headers={"WWW-Authenticate": 'Basic realm="Vauban", charset="UTF-8"'},
        )

    def identify(self, headers: Mapping[str, str]) -> Principal:
        """Whose an admitted request is: the local person, or the groups that the server's own user names."""
        if not _same(_secret(headers), self.server_token):
            return self.local
        named = headers.get(AS_HEADER.lower())
        if named is not None:
            groups = frozenset(group.strip() for group in named.split(",") if group.strip())
            return replace(self.local, groups=groups)
        return replace(self.local, roles=frozenset(Role), maintains=frozenset({EVERY}), access=Access.SERVER)


def check_exposure(settings: Settings) -> None:
    """Refuse to listen where others could call without a key.

    Raises:
        SettingsError: the host is not loopback and there is no key, or the key is too short.
    """
    if settings.api_key and len(settings.api_key) < SHORTEST_KEY:
        raise SettingsError(
            f"`api_key` has fewer than {SHORTEST_KEY} characters; make one with: openssl rand -hex 32",
            f"« api_key » compte moins de {SHORTEST_KEY} caractères ; créez-en une avec : openssl rand -hex 32",
        )
    if not settings.api_key and not _is_loopback(settings.host):
        raise SettingsError(
            f"`host` {settings.host} can be reached from other machines: set `VAUBAN_API_KEY` first, or listen on "
            "127.0.0.1",
            f"« host » {settings.host} est joignable depuis d'autres machines : définissez d'abord « VAUBAN_API_KEY », "
            "ou écoutez sur 127.0.0.1",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _secret(headers: Mapping[str, str]) -> str:
    """The secret in an Authorization header; empty without one."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("utf-8").partition(":")[2]
        except ValueError:  # not Base64, or not UTF-8
            return ""
    return ""


def _same(given: str, secret: str) -> bool:
    """Compared in constant time; an empty secret matches nothing."""
    return bool(secret) and hmac.compare_digest(given.encode(), secret.encode())
