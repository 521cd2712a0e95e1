"""Reverse proxies that are trusted: from their addresses alone, headers say who calls and how the server was reached.

From anybody else the same headers are taken out of the request before anything looks at it. Names are compared whole:
``X_Remote_User`` is not ``X-Remote-User``, which some gateways take for the same, and is taken out as well.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from rag.entitlements import Entitlements
from rag.errors import SettingsError
from rag.problems import Refusal
from rag.types import Access, Principal

_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
"""How a header that counts is called. With an underscore it is one that many proxies drop, and that others take for the
same with a hyphen: whom the proxy names would count nowhere, or whoever a client names in its place."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FORWARDED: Final = frozenset(
    {
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-original-url",
        "x-real-ip",
        "x-rewrite-url",
    }
)


def networks(written: Iterable[str]) -> tuple[Network, ...]:
    """The addresses and networks of the setting ``proxies``.

    Raises:
        SettingsError: one is neither, or holds every address there is.
    """
    found = []
    for one in written:
        try:
            network = ipaddress.ip_network(one)
        except ValueError as error:
            raise SettingsError(
                f"`{one}` in the setting `proxies` is neither an address nor a network such as 10.1.0.0/24",
                f"« {one} » dans le réglage « proxies » n'est ni une adresse ni un réseau comme 10.1.0.0/24",
            ) from error
        if network.prefixlen == 0:
            raise SettingsError(
                f"`{one}` in the setting `proxies` is every address: anybody could say who they are",
                f"« {one} » dans le réglage « proxies » désigne toutes les adresses : chacun pourrait se dire un autre",
            )
        found.append(network)
    return tuple(found)


@dataclass(frozen=True)
class Proxies:
    """What the headers of a request are worth.

    Raises:
        SettingsError: the table names a header that cannot count.
    """

    trusted: Sequence[Network]
    table: Entitlements
    identifies: bool
    """Whether the proxies sign people in (mode ``proxy``), or only say how the server was reached."""

    def __post_init__(self) -> None:
        for place, name in self.table.headers.model_dump().items():
            if name and not _NAME.fullmatch(name):
                raise SettingsError(
                    f"`headers.{place}` (setting `login_map`) is `{name}`: the name of a header has letters, digits "
                    "and hyphens; servers drop one with an underscore, or take it for another",
                    f"« headers.{place} » (réglage « login_map ») vaut « {name} » : le nom d'un en-tête a des lettres, "
                    "des chiffres et des traits d'union ; avec un trait bas, des serveurs le suppriment ou le prennent "
                    "pour un autre",
                )

    def admit(self, scope: Scope) -> Principal | None:
        """Take the proxies' headers out of a request, and heed them where they come from a trusted one.

        Raises:
            Refusal: a trusted proxy sent one of them twice, or said something that cannot be: it lets through what
                its clients send, and nobody can say which one is its own.
        """
        places = self.table.headers
        own = {place.lower() for place in (places.name, places.groups, places.clearance, places.roles) if place}
        known = own | _FORWARDED
        kept: list[tuple[bytes, bytes]] = []
        said: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            plain = name.decode("latin-1").lower()
            if plain.replace("_", "-") not in known:
                kept.append((name, value))
            elif plain in known:
                said.setdefault(plain, []).append(_text(value))
        scope["headers"] = kept
        if not said or not self._trusts(scope):
            return None
        self._reached(scope, said)
        if not self.identifies or places.name.lower() not in said:
            return None
        values = {place: self._single(said, place) for place in own}

        def several(place: str) -> list[str]:
            listed = values.get(place.lower(), "").split(",")
            return [item.strip() for item in listed if item.strip()]

        found = self.table.principal(
            values[places.name.lower()],
            several(places.groups),
            several(places.clearance),
            several(places.roles),
            Access.PROXY,
        )
        if found is None:
            raise _unclear(places.name)
        return found

    def _trusts(self, scope: Scope) -> bool:
        client = scope.get("client") or ("",)  # a Unix socket has none
        try:
            address = ipaddress.ip_address(client[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.trusted)

    def _reached(self, scope: Scope, said: dict[str, list[str]]) -> None:
        """How people reach the proxy is how they reach this server."""
        scheme = self._single(said, "x-forwarded-proto").lower()
        if scheme in {"http", "https"}:
            scope["scheme"] = scheme
        elif scheme:
            raise _unclear("X-Forwarded-Proto")
        host = self._single(said, "x-forwarded-host")
        if host:
            others = [(name, value) for name, value in scope["headers"] if name.lower() != b"host"]
            scope["headers"] = [*others, (b"host", host.encode("latin-1", "replace"))]

    @staticmethod
    def _single(said: dict[str, list[str]], place: str) -> str:
        values = said.get(place, [""])
        if len(values) > 1:
            raise _unclear(place)
        return values[0]


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError:
        return value.decode("latin-1").strip()


def _unclear(header: str) -> Refusal:
    return Refusal(
        f"the reverse proxy sent the header {header} more than once or with a value that cannot be; it must remove "
        "what its clients send under that name",
        f"le serveur mandataire a envoyé l'en-tête {header} plusieurs fois ou avec une valeur impossible ; il doit "
        "retirer celui que ses clients envoient",
        code="unclear_identity",
        status=400,
    )
