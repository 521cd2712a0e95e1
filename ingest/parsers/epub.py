"""EPUB: the pages of the book in its reading order, each read as HTML, titled by the table of contents.

The navigation page itself is left out, and so is what the book declares to stand beside the reading order.
"""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from lxml import etree

from ingest.parsers import Limits
from ingest.parsers.html import page
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

_CONTAINER: Final = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_OPF: Final = "{http://www.idpf.org/2007/opf}"
_DC: Final = "{http://purl.org/dc/elements/1.1/}"
_NCX: Final = "{http://www.daisy.org/z3986/2005/ncx/}"
_XHTML: Final = "{http://www.w3.org/1999/xhtml}"
_OPS_TYPE: Final = "{http://www.idpf.org/2007/ops}type"
_ENCRYPTION: Final = "{http://www.w3.org/2001/04/xmlenc#}"
_OBFUSCATION: Final = frozenset({"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"})
"""Scrambled fonts, which keep no one from reading the text."""
_PAGES: Final = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})

Element = Any  # lxml elements are untyped


class EpubParser:
    """Books of EPUB 2 and 3."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.EPUB

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        try:
            with file.open() as stream, zipfile.ZipFile(stream) as archive:
                book = _Book(archive)
                blocks = tuple(book.blocks())
        except (
            zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError,
            etree.XMLSyntaxError,
        ) as error:  # fmt: skip
            if isinstance(error, RecursionError):
                raise
            raise DocumentError(RejectReason.CORRUPT, "the book is broken", "le livre est abîmé") from error
        return Parsed(blocks, Kind.EPUB.value, title=book.title, warnings=tuple(book.warnings))


class _Book:
    """The package of a book: what it consists of, in which order, and what its parts are called."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.warnings: list[str] = []
        self._archive = archive
        self._names = set(archive.namelist())
        if _locked(self._tree("META-INF/encryption.xml") if "META-INF/encryption.xml" in self._names else None):
            raise DocumentError(
                RejectReason.PASSWORD, "the book is protected (DRM)", "le livre est protégé par un verrou (DRM)"
            )
        found = next(self._tree("META-INF/container.xml").iter(_CONTAINER + "rootfile"), None)
        if found is None:
            raise ValueError("the container names no package")
        self._root = found.get("full-path", "")
        package = self._tree(self._root)
        title = package.findtext(f".//{_DC}title")
        self.title = " ".join(title.split()) or None if title else None
        self._items = {item.get("id"): item for item in package.iter(_OPF + "item")}
        self._spine = [
            self._items[reference.get("idref")]
            for reference in package.iter(_OPF + "itemref")
            if reference.get("idref") in self._items and reference.get("linear") != "no"
        ]
        self._titles = self._navigation(package)

    def _tree(self, name: str) -> Element:
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True
        )
        return etree.fromstring(self._archive.read(name), parser)

    def blocks(self) -> Iterator[Block]:
        """The whole text."""
        for item in self._spine:
            name = self._path(self._root, item.get("href", ""))
            if item.get("media-type") not in _PAGES or "nav" in item.get("properties", "").split():
                continue
            if name not in self._names:
                self.warnings.append("a page of the book is missing")
                continue
            _, content = page(self._archive.read(name), whole=True)
            title, level = self._titles.get(name, ("", 1))
            if title and not _heads(content, title):
                yield Block(BlockKind.HEADING, title, level)
                content = [_below(block, level) for block in content]
            yield from content

    def _path(self, base: str, reference: str) -> str:
        """The member that a reference means; its fragment does not count."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(urlsplit(reference).path)))

    def _navigation(self, package: Element) -> dict[str, tuple[str, int]]:
        """What the table of contents calls each page, with its level; of several the first."""
        titles: dict[str, tuple[str, int]] = {}
        nav = next((item for item in self._items.values() if "nav" in item.get("properties", "").split()), None)
        spine = package.find(_OPF + "spine")
        ncx = None if spine is None else self._items.get(spine.get("toc"))
        for item, read in ((nav, _links), (ncx, _points)):
            name = "" if item is None else self._path(self._root, item.get("href", ""))
            if titles or name not in self._names:
                continue
            try:
                root = self._tree(name)
            except etree.XMLSyntaxError:
                self.warnings.append("the table of contents cannot be read")
                continue
            for reference, title, level in read(root):
                if title and reference:
                    titles.setdefault(self._path(name, reference), (title, min(level, 6)))
        return titles


def _links(root: Element) -> Iterator[tuple[str, str, int]]:
    """The entries of an EPUB 3 navigation page."""
    for nav in root.iter(_XHTML + "nav"):
        if nav.get(_OPS_TYPE, "toc") == "toc":
            for link in nav.iter(_XHTML + "a"):
                level = sum(above.tag == _XHTML + "ol" for above in link.iterancestors())
                yield link.get("href", ""), " ".join("".join(link.itertext()).split()), max(1, level)


def _points(root: Element) -> Iterator[tuple[str, str, int]]:
    """The entries of an EPUB 2 table of contents."""
    for point in root.iter(_NCX + "navPoint"):
        content = point.find(_NCX + "content")
        level = 1 + sum(above.tag == _NCX + "navPoint" for above in point.iterancestors())
        title = " ".join((point.findtext(f"{_NCX}navLabel/{_NCX}text") or "").split())
        yield "" if content is None else content.get("src", ""), title, level


def _heads(content: list[Block], title: str) -> bool:
    """Whether a page begins with a heading of its own, or with its title in other clothes."""
    first = content[:2]
    return any(block.kind is BlockKind.HEADING or block.text.casefold() == title.casefold() for block in first)


def _below(block: Block, level: int) -> Block:
    return block if block.level is None else replace(block, level=block.level + level)


def _locked(encryption: Element | None) -> bool:
    """Whether more than fonts is encrypted."""
    if encryption is None:
        return False
    methods = [method.get("Algorithm") for method in encryption.iter(_ENCRYPTION + "EncryptionMethod")]
    return any(method not in _OBFUSCATION for method in methods)
