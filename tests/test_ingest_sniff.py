"""What a file is, told by its content, and what is refused before any library opens it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ingest.sniff import Kind, sniff
from rag.errors import DocumentError, RejectReason

OOXML = '<Types><Override ContentType="application/vnd.openxmlformats-officedocument.{}.main+xml"/></Types>'


def container(path: Path, members: dict[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refusal(path: Path) -> RejectReason:
    with pytest.raises(DocumentError) as raised:
        sniff(path)
    return raised.value.reason


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.txt", b"%PDF-1.7\n...", Kind.PDF),
        ("a", b"\xef\xbb\xbf<!DOCTYPE html><p>x", Kind.HTML),
        ("a.txt", b"<html><body>x</body></html>", Kind.HTML),
        ("a.htm", b"Un texte <p>suivi</p> de balises", Kind.HTML),
        ("a.md", b"Un texte simple", Kind.MARKDOWN),
        ("a", b"# Titre\n\nTexte", Kind.MARKDOWN),
        ("a.txt", b"# Pas du Markdown\n", Kind.TEXT),
        ("a.pages", "Décision".encode("cp1252"), Kind.TEXT),
        ("a.txt", "Décision".encode("utf-16"), Kind.TEXT),
        ("a.txt", "Décision n° 3".encode("utf-16-le"), Kind.TEXT),
        ("a.txt", b"Objet : rappel\nDe : la DRH\n", Kind.TEXT),
    ],
)
def test_kinds(tmp_path: Path, name: str, data: bytes, kind: Kind) -> None:
    """The content decides; the name only tells Markdown from plain text."""
    (tmp_path / name).write_bytes(data)
    assert sniff(tmp_path / name).kind is kind


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.txt", b"", RejectReason.EMPTY),
        ("a.txt", b" \n\t ", RejectReason.EMPTY),
        ("a.odt", b"not a container at all", RejectReason.CORRUPT),
        ("a.pdf", b"Bonjour", RejectReason.CORRUPT),
        ("a.docx", b"PK\x03\x04 cut short", RejectReason.CORRUPT),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", RejectReason.UNSUPPORTED),
        ("a.rtf", b"{\\rtf1 texte}", RejectReason.UNSUPPORTED),
        ("a.xml", b"<?xml version='1.0'?><data>1</data>", RejectReason.UNSUPPORTED),
        ("a.eml", b"From: a@b.fr\nTo: c@d.fr\nSubject: x\n\nBonjour", RejectReason.UNSUPPORTED),
        ("a.txt", b"Received: from x\n by y\nMIME-Version: 1.0\n\nBonjour", RejectReason.UNSUPPORTED),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), RejectReason.UNSUPPORTED),
        (
            "a.docx",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le"),
            RejectReason.PASSWORD,
        ),
    ],
)
def test_refusals(tmp_path: Path, name: str, data: bytes, reason: RejectReason) -> None:
    """What is not read is refused with its reason."""
    (tmp_path / name).write_bytes(data)
    assert refusal(tmp_path / name) is reason


def test_missing_files(tmp_path: Path) -> None:
    """A file that cannot be opened is unreadable."""
    assert refusal(tmp_path / "nowhere.pdf") is RejectReason.UNREADABLE


def test_office_containers(tmp_path: Path) -> None:
    """A container is what its members say, not its name."""
    types = {"[Content_Types].xml": OOXML.format("wordprocessingml.document"), "word/document.xml": "<w/>"}
    assert sniff(container(tmp_path / "a.xlsx", types)).kind is Kind.DOCX
    types = {"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<x/>"}
    assert sniff(container(tmp_path / "a.zip", types)).kind is Kind.ODS
    assert refusal(container(tmp_path / "a.pages", {"Index/Document.iwa": b"x"})) is RejectReason.UNSUPPORTED
    assert refusal(container(tmp_path / "b.zip", {"a.txt": "x"})) is RejectReason.UNSUPPORTED


def test_encrypted_opendocument(tmp_path: Path) -> None:
    """An encrypted ODT says so in its manifest."""
    members = {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "content.xml": b"\x01\x02",
        "META-INF/manifest.xml": "<m:manifest><m:encryption-data/></m:manifest>",
    }
    assert refusal(container(tmp_path / "a.odt", members)) is RejectReason.PASSWORD


def test_bombs_are_refused_unopened(tmp_path: Path) -> None:
    """Members that would expand far beyond their size, or too many of them, are refused by the directory alone."""
    types = {"[Content_Types].xml": OOXML.format("wordprocessingml.document")}
    assert (
        refusal(container(tmp_path / "a.docx", {**types, "word/document.xml": bytes(30_000_000)}))
        is RejectReason.TOO_LARGE
    )
    many = {f"x{number}": b"" for number in range(10_001)}
    assert refusal(container(tmp_path / "b.docx", {**types, **many}, zipfile.ZIP_STORED)) is RejectReason.TOO_LARGE


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused(tmp_path: Path, encoding: str) -> None:
    """XML that declares entities is refused, wherever in a member and in whatever encoding it does."""
    bomb = (
        "<!--" + "x" * 1_100_000 + '--><!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d SYSTEM "file:///etc/passwd">]><a>&d;</a>'
    )
    members = {
        "[Content_Types].xml": OOXML.format("wordprocessingml.document"),
        "word/document.xml": bomb.encode(encoding),
        "noise.bin": bytes(range(256)) * 200,
    }
    assert refusal(container(tmp_path / "a.docx", members)) in {RejectReason.CORRUPT, RejectReason.TOO_LARGE}
