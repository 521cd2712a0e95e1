"""What ``strace -e trace=network`` saw of attempts to leave the machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SENDS = re.compile(r"\b(connect|sendto|sendmsg|sendmmsg)\(")
ADDRESS = re.compile(
    r'sin6?_port=htons\((?P<port>\d+)\),(?: sin6_flowinfo=htonl\(\d+\),)? (?:sin_addr=inet_addr\("(?P<four>[^"]+)"\)'
    r'|inet_pton\(AF_INET6, "(?P<six>[^"]+)")'
)
DNS = 53


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something that a process wanted to send, successfully or not."""

    call: str
    address: str
    port: int


def outside(lines: Iterable[str]) -> list[Attempt]:
    """The attempts to reach another machine, or any resolver of names, one on this machine included."""
    found = []
    for line in lines:
        call = SENDS.search(line)
        if call is None:
            continue
        for match in ADDRESS.finditer(line):
            attempt = Attempt(call[1], match["four"] or match["six"], int(match["port"]))
            if attempt.port == DNS or not _is_loopback(attempt.address):
                found.append(attempt)
        if "AF_UNIX" in line and "resolve" in line:
            found.append(Attempt(call[1], "the system's resolver", 0))
    return found


def _is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def inside(lines: Iterable[str]) -> int:
    """How many attempts stayed on this machine: a trace without any proves nothing."""
    every = [match for line in lines if SENDS.search(line) for match in ADDRESS.finditer(line)]
    return sum(_is_loopback(match["four"] or match["six"]) for match in every)


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()
