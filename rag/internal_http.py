"""HTTP to servers of the organisation, and to no others: what counts as inside, and a transport that goes nowhere else.

Inside are this machine and the private networks (:data:`NETWORKS`); everything else is outside, also what is not
public: link-local addresses, where clouds keep the credentials of their machines, and the shared addresses of
carriers. A name is inside when all of its addresses are. It is looked up and examined for each connection, and the
connection goes to an address that was examined: a name could lead elsewhere a moment later. Proxies of the environment
are not used.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import urllib.parse
from typing import Final

import httpx

NETWORKS: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
_LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20)
"""The library's own."""


def is_inside(url: str) -> bool:
    """Whether a URL may be one of a server of the organisation: HTTP or HTTPS, no credentials in it, a host inside.

    A name that cannot be looked up at the moment may be: it is examined again before anything is sent.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            return False
        addresses(parts.hostname, parts.port or _port(parts.scheme))
    except OSError:
        return True
    except ValueError:
        return False
    return True


def addresses(host: str, port: int) -> list[str]:
    """The addresses of a host, all of them inside.

    Raises:
        ValueError: one of them is not.
        OSError: it has none.
    """
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        ip = ipaddress.ip_address(address.partition("%")[0])
        if not any(ip in network for network in NETWORKS):
            raise ValueError("not an internal address")
    return list(dict.fromkeys(found))


class Inside(httpx.BaseTransport):
    """Sends requests to servers inside; to one outside it is as if nobody were there (``httpx.ConnectError``)."""

    def __init__(self, *, verify: ssl.SSLContext | bool = True, limits: httpx.Limits = _LIMITS) -> None:
        self._inner = httpx.HTTPTransport(verify=verify, limits=limits, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        try:
            found = addresses(url.host, url.port or _port(url.scheme))
        except (OSError, ValueError) as error:
            raise httpx.ConnectError("the host is unknown or not inside", request=request) from error
        request.extensions = {**request.extensions, "sni_hostname": url.host}
        for address in found[:-1]:  # a name of this machine has two, and a server may listen on one of them
            try:
                return self._inner.handle_request(_to(request, address))
            except httpx.ConnectError:
                continue
        return self._inner.handle_request(_to(request, found[-1]))

    def close(self) -> None:
        self._inner.close()


def _to(request: httpx.Request, address: str) -> httpx.Request:
    """The request, at an address; its ``Host`` stays the name."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions,
    )


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
