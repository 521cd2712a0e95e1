"""What a file is, told by its content, and what is refused before any library opens it."""

from __future__ import annotations

import contextlib
import time
import zipfile
from pathlib import Path

import pytest

from ingest.parsers import Limits
from ingest.parsers.text import TextParser
from ingest.sniff import File, Kind, sniff
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
        ("a", b"{\\rtf1 texte}", Kind.RTF),
        ("a.rtf", b"{\\rtf1{\\pict\\bin4 \0\1\2\3}}", Kind.RTF),
        ("a.eml", b"From: a@b.fr\nTo: c@d.fr\nSubject: x\n\nBonjour", Kind.EML),
        ("a.txt", b"Received: from x\n by y\nMIME-Version: 1.0\n\nBonjour", Kind.EML),
        ("a.eml", "MIME-Version: 1.0\nSubject: é\n\nBonjour".encode("utf-16"), Kind.EML),
        ("a", b'{"vauban": "document"}\n', Kind.RECORDS),
        ("a.txt", b'{"title": "x", "_id": "1", "text": "y"}\n', Kind.RECORDS),
        ("a.txt", b"{accolades} dans un texte", Kind.TEXT),
        ("a.csv", "grade;taux\nAttaché;12,5\n".encode("cp1252"), Kind.CSV),
        ("a.tsv", b"a\tb\n1\t2\n", Kind.CSV),
        ("a.xls", b"a;b\n1;2\n3;4\n", Kind.CSV),
        ("a", b'nom,age\n"Dupont, Jean",3\n"x\ny",4\n', Kind.CSV),
        ("a.csv", b"Une phrase, puis une autre.\nEt encore une, et, et.\nFin.\n", Kind.TEXT),
        ("a.txt", b"a;b\n1;2\n3;4\n", Kind.TEXT),
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
        ("a.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42", RejectReason.UNSUPPORTED),
        ("a.xml", b"<?xml version='1.0'?><data>1</data>", RejectReason.UNSUPPORTED),
        ("a.mbox", b"From a@b.fr Mon\nReceived: from x\nMIME-Version: 1.0\n\nBonjour", RejectReason.UNSUPPORTED),
        ("a.json", b'{"cle": 1}', RejectReason.UNSUPPORTED),
        ("a.epub", b"Bonjour", RejectReason.CORRUPT),
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


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.docx", b"%PDF-1.7", "the name says .docx, the content is PDF"),
        ("a.doc", b"{\\rtf1 x}", "the name says .doc, the content is RTF"),
        ("a.md", b"<html><p>x", "the name says .md, the content is HTML"),
        ("a.csv", b"Bonjour.", "the name says .csv, the content is plain text"),
        ("a.pdf", b"%PDF-1.7", None),
        ("a.PDF", b"%PDF-1.7", None),
        ("a.xyz", b"Bonjour", None),
    ],
)
def test_a_name_that_promises_something_else(tmp_path: Path, name: str, data: bytes, said: str | None) -> None:
    """A file is read as what it is, and that its name says something else is told."""
    (tmp_path / name).write_bytes(data)
    assert sniff(tmp_path / name).mismatch == said


def test_what_a_container_may_expand_to(tmp_path: Path) -> None:
    """The limit on what a container unpacks to is the caller's."""
    types = {"[Content_Types].xml": OOXML.format("wordprocessingml.document"), "x.bin": bytes(range(256)) * 8000}
    path = container(tmp_path / "a.docx", types, zipfile.ZIP_STORED)
    assert sniff(path).kind is Kind.DOCX
    with pytest.raises(DocumentError) as raised:
        sniff(path, expanded=1)
    assert raised.value.reason is RejectReason.TOO_LARGE


def test_the_main_part_decides(tmp_path: Path) -> None:
    """A presentation that carries a Word document is a presentation."""
    types = OOXML.format("presentationml.presentation").replace(
        "<Types>", '<Types><Default ContentType="application/vnd.x.wordprocessingml.document"/>'
    )
    assert sniff(container(tmp_path / "a.pptx", {"[Content_Types].xml": types})).kind is Kind.PPTX


def test_content_in_memory_needs_no_file() -> None:
    """Attachments are looked at by their bytes; the name is all that their path means."""
    file = sniff(Path("nowhere/a.txt"), b"Bonjour")
    with file.open() as stream:
        assert stream.read() == file.read() == b"Bonjour"


HOSTILE = {
    "blank lines": b"\n" * 5_000_000,
    "pipes": b"|" * 5_000_000,
    "pipes and spaces": b"| " * 2_500_000,
    "quotes": b'"' * 5_000_000,
    "odd quotes": b'";' * 2_500_000,
    "tags": b"<" * 5_000_000,
    "header names": b"A:" * 2_500_000,
    "header lines": b"A:\n " * 100_000,
    "braces": b'{"a":' * 1_000_000,
    "dots": b". " * 2_500_000,
    "semicolons": b";\n" * 200_000,
    "values": b";" * 5_000_000,
    "hashes": b"#" * 5_000_000,
    "fences": b"+++\n" * 100_000,
    "words": b"a " * 2_500_000,
    "letters": b"a" * 5_000_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_text_takes_no_time(what: str) -> None:
    """Five megabytes, or a hundred thousand lines, made to be read slowly are read as text within two seconds."""
    began = time.process_time()
    with contextlib.suppress(DocumentError):
        sniff(Path("a"), HOSTILE[what])
    TextParser().parse(File(Path("a.txt"), Kind.TEXT, HOSTILE[what]), Limits())
    assert time.process_time() - began < 2
