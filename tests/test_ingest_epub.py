"""Books: the pages in reading order, headed by the table of contents, and locked ones refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from ingest.parsers import Limits, parse_file
from ingest.sniff import sniff
from rag.errors import DocumentError, RejectReason
from rag.types import Parsed

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OPS/book.opf"/></rootfiles></container>'
)
ITEM = '<item id="{0}" href="{0}.xhtml" media-type="application/xhtml+xml"/>'
NCX = (
    '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>Livre I</text></navLabel>'
    '<content src="a.xhtml#x"/><navPoint><navLabel><text>Titre II</text></navLabel><content src="b%20b.xhtml"/>'
    "</navPoint></navPoint></navMap></ncx>"
)


def page(body: str) -> str:
    return f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>'


def book(pages: dict[str, str], spine: str, **more: str) -> bytes:
    manifest = "".join(ITEM.format(name) for name in pages) + '<item id="toc" href="toc.ncx" media-type="x"/>'
    package = (
        f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{manifest}</manifest><spine toc="toc">{spine}</spine>'
        "</package>"
    )
    members = {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER, "OPS/book.opf": package}
    members |= {f"OPS/{name}.xhtml".replace("%20", " "): page(body) for name, body in pages.items()}
    members |= {name.replace("__", "/").replace("_", "."): content for name, content in more.items()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def read(data: bytes) -> Parsed:
    return parse_file(sniff(Path("a.epub"), data), Limits())


def refusal(data: bytes) -> RejectReason:
    with pytest.raises(DocumentError) as raised:
        read(data)
    return raised.value.reason


def spine(*names: str) -> str:
    return "".join(f'<itemref idref="{name}"/>' for name in names)


def test_reading_order_and_titles() -> None:
    """The spine orders the pages; one without a heading gets its title and level from the table of contents."""
    pages = {"b%20b": "<p>Deux.</p>", "a": "<h1>Livre premier</h1><p>Un.</p>"}
    parsed = read(book(pages, spine("a", "b%20b", "nowhere"), OPS__toc_ncx=NCX))
    assert [(block.text, block.level) for block in parsed.blocks] == [
        ("Livre premier", 1),
        ("Un.", None),
        ("Titre II", 2),
        ("Deux.", None),
    ]


def test_notes_of_books() -> None:
    """A note follows the paragraph that calls it, though it stands in an aside."""
    body = '<p>Texte<a epub:type="noteref" href="#n">1</a>.</p><p>Suite.</p>'
    body += '<aside epub:type="footnote" id="n">Note.</aside>'
    assert [block.text for block in read(book({"a": body}, spine("a"))).blocks] == ["Texte[1].", "[1] Note.", "Suite."]


LOCK = (
    '<encryption xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptedData><e:EncryptionMethod Algorithm="{}"/>'
    "</e:EncryptedData></encryption>"
)


def test_locked_books() -> None:
    """A book whose pages are encrypted is refused; scrambled fonts lock nothing."""
    pages = {"a": "<p>Texte.</p>"}
    locked = LOCK.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")
    fonts = LOCK.format("http://www.idpf.org/2008/embedding")
    assert refusal(book(pages, spine("a"), **{"META-INF__encryption_xml": locked})) is RejectReason.PASSWORD
    assert read(book(pages, spine("a"), **{"META-INF__encryption_xml": fonts})).blocks


def test_broken_books() -> None:
    """A book without a package or with a page that is missing is refused, or read as far as it goes."""
    assert refusal(book({"a": "x"}, "</spine>")) is RejectReason.CORRUPT
    assert refusal(book({"a": "x"}, spine("a"), **{"META-INF__container_xml": "<a/>"})) is RejectReason.CORRUPT
    gone = book({"a": "<p>Texte.</p>"}, spine("a", "toc", "b")).replace(b"OPS/a.xhtml", b"OPS/z.xhtml")
    assert refusal(gone) is RejectReason.NO_TEXT


def test_hostile_pages() -> None:
    """Entities are refused before the book is opened, deep nesting when it is read."""
    bomb = '<!DOCTYPE html [<!ENTITY a "b">]>'
    assert refusal(book({"a": bomb}, spine("a"))) is RejectReason.CORRUPT
    assert refusal(book({"a": "<div>" * 5000 + "x"}, spine("a"))) is RejectReason.TOO_DEEP
