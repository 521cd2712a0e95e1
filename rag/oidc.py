"""Bearer tokens of an OpenID Connect provider: signed by one of its keys, meant for us, and in force now.

Speaks to the provider's key set only, inside the organisation (``httpx``, ``rag.internal_http``), and follows no
redirect. What the
token's header says of keys (``jku``, ``jwk``, ``x5u``) is not read; ``kid`` only picks one of the provider's, and the
kind of that key decides which algorithms may be, all of them asymmetric.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import jwt

from rag.entitlements import Entitlements
from rag.errors import SettingsError, StoreError
from rag.internal_http import Inside, is_inside
from rag.types import Access, Principal

LEEWAY: Final = 60
"""Seconds that the clocks of the provider and of this machine may differ."""
FRESH: Final = 600.0
"""Seconds after which the keys are read again: how long a key counts that the provider has withdrawn."""
AGAIN: Final = 30.0
"""Seconds between two readings because of an unknown key: whoever makes up names of keys causes no more."""
STALE: Final = 3_600.0
"""Seconds for which keys count while the provider cannot be reached."""
LONGEST_TOKEN: Final = 16_384
LARGEST_SET: Final = 262_144
PATIENCE: Final = 5.0
"""Seconds that somebody waits for keys without which nobody can say who they are; and the provider has for each step
of an answer."""
BRIEF: Final = 1.0
"""Seconds that somebody waits for a reading that is due though their key is known: what was withdrawn then counts no
longer for the very next request, unless the provider is slow."""
PLACES: Final = 2
"""People who wait for a reading at once. Names of keys that somebody makes up would otherwise keep all threads that
recognise people waiting; the others are told to come again."""
LONGEST_READING: Final = 20.0
"""Seconds after which an answer that still comes is given up."""
_TIMEOUT: Final = httpx.Timeout(PATIENCE)

_KINDS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""The algorithms of each kind of key. A shared secret (``oct``) is none: who can check could also sign."""
_ANY: Final = tuple(sorted({algorithm for algorithms in _KINDS.values() for algorithm in algorithms}))


@dataclass
class KeySet:
    """The provider's keys, from a file or an internal URL, read again when they are old or one is unknown.

    Safe to use from several threads. They are read in a thread of their own, one reading at a time: however long it
    takes, nobody whose key is known waits for it for longer than :data:`BRIEF`, and of the others only :data:`PLACES`.
    """

    place: str
    clock: Callable[[], float] = time.monotonic
    _keys: Sequence[Mapping[str, Any]] = ()
    _read: float = float("-inf")
    _tried: float = float("-inf")
    _reading: threading.Event | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(PLACES), repr=False)

    def named(self, kid: str | None) -> Mapping[str, Any] | None:
        """The key of that name, or the only one when the token names none.

        Raises:
            StoreError: the provider cannot be reached, or not soon enough, and what is known of its keys does not
                tell.
        """
        with self._lock:
            now = self.clock()
            found = self._chosen(kid)
            known = found is not None and now - self._read <= STALE
            due = now - self._read > FRESH or found is None
            begun = due and self._reading is None and now - self._tried > AGAIN
            if begun:
                self._begin(now)
            reading = self._reading
        if known:
            if begun and reading is not None:
                reading.wait(BRIEF)
        elif reading is not None:
            self._wait(reading)
        with self._lock:
            if self.clock() - self._read > STALE:
                raise _unreachable(self.place)
            return self._chosen(kid)

    def _wait(self, reading: threading.Event) -> None:
        """Until a reading has ended; by the few who may."""
        if not self._places.acquire(blocking=False):
            raise _unreachable(self.place)
        try:
            if not reading.wait(PATIENCE):
                raise _unreachable(self.place)
        finally:
            self._places.release()

    def _chosen(self, kid: str | None) -> Mapping[str, Any] | None:
        if kid is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.get("kid") == kid), None)

    def _begin(self, now: float) -> None:
        """Read them again, beside everything else."""
        self._tried, ended = now, threading.Event()
        threading.Thread(target=self._refresh, args=(now, ended), name="oidc-keys", daemon=True).start()
        self._reading = ended

    def _refresh(self, now: float, ended: threading.Event) -> None:
        keys: Sequence[Mapping[str, Any]] = ()
        try:
            with suppress(OSError, ValueError, httpx.HTTPError):
                keys = _usable(self._fetched())
        finally:
            with self._lock:
                if keys:  # else the ones that are known count on, until they are too old
                    self._keys, self._read = keys, now
                self._reading = None
            ended.set()

    def _fetched(self) -> bytes:
        if not is_url(self.place):
            return Path(self.place).read_bytes()
        headers = {"Accept": "application/json"}
        with (
            httpx.Client(
                transport=Inside(verify=_trust(self.place)), follow_redirects=False, timeout=_TIMEOUT
            ) as client,
            client.stream("GET", self.place, headers=headers) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise ValueError("not a key set")
            body, until = b"", time.monotonic() + LONGEST_READING
            for part in response.iter_bytes():
                body += part
                if len(body) > LARGEST_SET or time.monotonic() > until:
                    raise ValueError("larger or slower than any key set")
            return body


@dataclass(frozen=True)
class Verifier:
    """Reads tokens of one provider, meant for one of ``audience``."""

    issuer: str
    audience: Sequence[str]
    keys: KeySet
    table: Entitlements

    def principal(self, token: str) -> tuple[Principal, float] | None:
        """Whose token it is and until when (seconds since 1970); ``None`` for one that proves nothing.

        Raises:
            StoreError: the provider's keys cannot be had.
        """
        if len(token) > LONGEST_TOKEN:
            return None
        try:
            header = jwt.get_unverified_header(token)
            kid, algorithm = header.get("kid"), header.get("alg")
            if algorithm not in _ANY or not isinstance(kid, str | None) or "crit" in header:
                return None
            key = self.keys.named(kid)
            if key is None or algorithm not in _algorithms(key):
                return None
            claims = jwt.decode(
                token,
                jwt.PyJWK(dict(key), algorithm),
                algorithms=[algorithm],
                audience=list(self.audience),
                issuer=self.issuer,
                leeway=LEEWAY,
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "strict_aud": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError):
            return None
        places = self.table.claims
        name = _found(claims, places.name)
        if not isinstance(name, str):
            return None
        principal = self.table.principal(
            name,
            _words(_found(claims, places.groups)),
            _words(_found(claims, places.clearance)),
            _words(_found(claims, places.roles)),
            Access.OIDC,
        )
        return None if principal is None else (principal, float(claims["exp"]) + LEEWAY)


def checked_place(place: str) -> str:
    """Where the keys are, when it may be: a file that is there, or a URL inside the organisation.

    A name that cannot be resolved at the moment is no reason not to start.

    Raises:
        SettingsError: the file is missing, the scheme is another, or the address is a public one.
    """
    if not is_url(place):
        if not Path(place).is_file():
            raise SettingsError(
                f"there is no file {place} (setting `oidc_jwks`)",
                f"il n'y a pas de fichier {place} (réglage « oidc_jwks »)",
            )
        return place
    if not is_inside(place):
        raise _not_internal(place)
    return place


def is_url(place: str) -> bool:
    return "://" in place


def _trust(url: str) -> ssl.SSLContext:
    """The authorities that this machine trusts; plain HTTP needs none."""
    return ssl.create_default_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _usable(body: bytes) -> list[Mapping[str, Any]]:
    """The keys of a set that sign and are asymmetric.

    Raises:
        ValueError: it is not a key set, or holds none of these.
    """
    said = json.loads(body)
    listed = said.get("keys") if isinstance(said, dict) else None
    found: list[Mapping[str, Any]] = [
        key
        for key in (listed if isinstance(listed, list) else [])
        if isinstance(key, dict) and key.get("use", "sig") == "sig" and _algorithms(key)
    ]
    if not found:
        raise ValueError("no usable key")
    return found


def _algorithms(key: Mapping[str, Any]) -> tuple[str, ...]:
    """What a key may have signed with."""
    kind, curve = str(key.get("kty")), str(key.get("crv", ""))
    may = _KINDS.get((kind, "" if kind == "RSA" else curve), ())
    return tuple(algorithm for algorithm in may if key.get("alg", algorithm) == algorithm)


def _found(claims: Mapping[str, Any], place: str) -> object:
    """The claim of that name; one whose name has dots may be nested objects instead."""
    if place in claims or not place:
        return claims.get(place)
    value: object = claims
    for part in place.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _words(value: object) -> list[str]:
    """The texts and whole numbers of a claim; anything else says nothing."""
    listed = value if isinstance(value, list) else [value]
    return [str(one) for one in listed if isinstance(one, str | int) and not isinstance(one, bool)]


def _not_internal(place: str) -> SettingsError:
    return SettingsError(
        f"`oidc_jwks` {place} is no file and no URL inside the organisation: http or https, and an address of this "
        "machine or a private one",
        f"« oidc_jwks » {place} n'est ni un fichier ni une URL interne : http ou https, et une adresse de cette "
        "machine ou privée",
        code="jwks_not_internal",
    )


def _unreachable(place: str) -> StoreError:
    return StoreError(
        f"the key set of the identity provider cannot be read at {place}; see that it is there",
        f"les clés du fournisseur d'identité sont illisibles à {place} ; vérifiez qu'elles y sont",
        code="jwks_unreachable",
    )
