"""Small Outlook mails for tests: the compound file, the properties in it, and attachments."""

from __future__ import annotations

import struct
from typing import Any

Tree = dict[str, Any]
"""Streams by name, and storages as trees of their own."""

_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_STRING, _BINARY, _INTEGER = 0x001F, 0x0102, 0x0003


def compound(root: Tree) -> bytes:
    """A compound file of version 3 that holds ``root``; for files of some 60 kB at most."""
    entries: list[list[Any]] = [["Root Entry", 5, b"", _FREE, _FREE]]  # name, type, data, child, right sibling

    def add(tree: Tree) -> int:
        first = before = _FREE
        for name, held in tree.items():
            number = len(entries)
            entries.append(
                [name, 1 if isinstance(held, dict) else 2, b"" if isinstance(held, dict) else held, _FREE, _FREE]
            )
            if isinstance(held, dict):
                entries[number][3] = add(held)
            if before == _FREE:
                first = number
            else:
                entries[before][4] = number
            before = number
        return first

    entries[0][3] = add(root)
    mini, mini_fat, places = b"", [], {}
    for number, (_, kind, data, _, _) in enumerate(entries):
        if kind == 2 and 0 < len(data) < 4096:
            start, count = len(mini_fat), -(-len(data) // 64)
            places[number] = start
            mini_fat += [*range(start + 1, start + count), _END]
            mini += data.ljust(count * 64, b"\0")
    sectors: list[bytes] = [b""]  # the first holds the table of all
    chains: list[int] = [_FAT]

    def put(data: bytes) -> int:
        if not data:
            return _END
        start, count = len(sectors), -(-len(data) // 512)
        sectors.extend(data[place * 512 : place * 512 + 512].ljust(512, b"\0") for place in range(count))
        chains.extend([*range(start + 1, start + count), _END])
        return start

    mini_start = put(mini)
    mini_table = put(struct.pack(f"<{len(mini_fat)}I", *mini_fat).ljust(-(-len(mini_fat) // 128) * 512, b"\xff"))
    for number, (_, kind, data, _, _) in enumerate(entries):
        if kind == 2 and len(data) >= 4096:
            places[number] = put(data)
    written = b""
    for number, (name, kind, data, child, right) in enumerate(entries):
        spelled = name.encode("utf-16-le")
        start, size = (mini_start, len(mini)) if kind == 5 else (places.get(number, 0), len(data))
        written += struct.pack(
            "<64sHBBIII16sI8s8sIQ",
            spelled, len(spelled) + 2, kind, 1, _FREE, right, child, bytes(16), 0, bytes(8), bytes(8), start, size,
        )  # fmt: skip
    directory = put(written.ljust(-(-len(written) // 512) * 512, b"\0"))
    assert len(chains) <= 128
    sectors[0] = struct.pack("<128I", *chains, *[_FREE] * (128 - len(chains)))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack(
        "<HHHHH6sIIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, bytes(6), 0, 1, directory, 0, 4096,
        mini_table, -(-len(mini_fat) // 128), _END, 0, 0,
    )  # fmt: skip
    return head + struct.pack("<108I", *[_FREE] * 108) + b"".join(sectors)


def properties(values: dict[int, str | bytes | int], head: int) -> Tree:
    """The streams of a set of properties; ``head`` is the length of what stands before them."""
    table, streams = bytes(head), Tree()
    for number, value in values.items():
        if isinstance(value, int):
            table += struct.pack("<HHIQ", _INTEGER, number, 6, value)
            continue
        kind, data = (_STRING, value.encode("utf-16-le")) if isinstance(value, str) else (_BINARY, value)
        table += struct.pack("<HHIII", kind, number, 6, len(data) + (2 if kind == _STRING else 0), 0)
        streams[f"__substg1.0_{number:04X}{kind:04X}"] = data
    return {"__properties_version1.0": table, **streams}


def letter(
    subject: str, body: str | None, *, head: int = 32, html: bytes | None = None, kind: str = "IPM.Note", **more: Any
) -> Tree:
    """The storage of a mail; ``attachments`` are storages made by :func:`attachment` or :func:`attached_letter`."""
    values: dict[int, str | bytes | int] = {0x001A: kind, 0x0037: subject, 0x0C1A: "La direction", 0x0E04: "Tous"}
    values |= {0x1000: body} if body is not None else {}
    values |= {0x1013: html} if html is not None else {}
    values |= {0x1009: more["rtf"]} if "rtf" in more else {}
    held = {f"__attach_version1.0_#{number:08X}": tree for number, tree in enumerate(more.get("attachments", ()))}
    return {**properties(values, head), **held}


def attachment(name: str, content: bytes) -> Tree:
    """A file attached to a mail."""
    return properties({0x3707: name, 0x3705: 1, 0x3701: content}, 8)


def attached_letter(tree: Tree) -> Tree:
    """A mail attached to a mail, whose storage was made with ``head=24``."""
    return {**properties({0x3001: "mail", 0x3705: 5}, 8), "__substg1.0_3701000D": tree}
