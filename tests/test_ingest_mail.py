"""Mails: the right body, the attachments as sections, and nothing of what is encrypted."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from ingest.parsers import Limits, parse_file
from ingest.parsers.mail import unpacked
from ingest.sniff import sniff
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed
from tests.synthetic_msg import attached_letter, attachment, compound, letter


def read(data: bytes, name: str = "a.eml", **limits: int) -> Parsed:
    return parse_file(sniff(Path(name), data), Limits(**limits))


def texts(parsed: Parsed) -> list[str]:
    return [block.text for block in parsed.blocks]


def refusal(data: bytes, name: str = "a.eml") -> RejectReason:
    with pytest.raises(DocumentError) as raised:
        read(data, name)
    return raised.value.reason


def mail(body: str = "Bonjour.", subject: str = "Rappel") -> EmailMessage:
    message = EmailMessage()
    message["MIME-Version"] = "1.0"
    message["From"] = "DRH <drh@exemple.fr>"
    message["To"] = "tous@exemple.fr"
    message["Date"] = "Fri, 1 Mar 2024 09:30:00 +0100"
    message["Subject"] = subject
    message.set_content(body)
    return message


HEAD = "De : DRH <drh@exemple.fr> — À : tous@exemple.fr — Date : 2024-03-01 09:30"


def test_the_parts_of_a_mail() -> None:
    """Who wrote to whom and when, the subject as title, the body, quoted lines behind their sign."""
    parsed = read(bytes(mail("Bonjour.\n\n> Un texte\n> cité.\n>> Plus ancien.\n\nMerci.\n", "Congés d'été")))
    assert parsed.title == "Congés d'été"
    assert texts(parsed) == [HEAD, "Congés d'été", "Bonjour.", "> Un texte", "> cité.", ">> Plus ancien.", "Merci."]
    assert parsed.blocks[1] == Block(BlockKind.HEADING, "Congés d'été", 1)


@pytest.mark.parametrize(("plain", "kept"), [("Le texte simple, en entier.", "simple"), ("Voir le HTML", "riche")])
def test_the_better_body(plain: str, kept: str) -> None:
    """The plain body is read, unless it says hardly anything of what the HTML one says."""
    message = mail(plain)
    message.add_alternative(f"<p>Le texte riche.</p>{'<p>Encore.</p>' * 20}", subtype="html")
    assert kept in " ".join(texts(read(bytes(message))))


def test_attachments_are_sections() -> None:
    """Each attachment is read as the file it is, below a heading with its name; pictures of the letter are not."""
    message = mail()
    message.add_attachment("# Annexe\n\nTexte.", filename="annexe é.md")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", cid="<logo>", disposition="inline")
    parsed = read(bytes(message))
    assert [(block.text, block.level) for block in parsed.blocks[3:]] == [
        ("Pièce jointe : annexe é.md", 2),
        ("Annexe", 3),
        ("Texte.", None),
    ]
    assert not parsed.warnings


def test_an_unreadable_attachment_is_a_warning() -> None:
    """What cannot be read of an attachment is told with its reason, and the mail is read."""
    message = mail()
    message.add_attachment(b"\0\1\2\3" * 40, maintype="application", subtype="x-rien", filename="a.bin")
    message.add_attachment(b"PK\x03\x04 abc", maintype="application", subtype="x-rien", filename="b.docx")
    parsed = read(bytes(message))
    assert texts(parsed) == [HEAD, "Rappel", "Bonjour."]
    assert [warning.split(" (")[0] for warning in parsed.warnings] == [
        "attachment a.bin left out: unsupported",
        "attachment b.docx left out: corrupt",
    ]


def test_mails_in_mails_as_deep_as_allowed() -> None:
    """A mail in a mail is a section of it; beyond the limit it is left out with a warning."""
    message = mail("Niveau 4")
    for level in (3, 2, 1):
        outer = mail(f"Niveau {level}", f"Sujet {level}")
        outer.add_attachment(message)
        message = outer
    parsed = read(bytes(message), depth=3)
    assert [text for text in texts(parsed) if text.startswith("Niveau")] == ["Niveau 1", "Niveau 2", "Niveau 3"]
    assert "too_deep" in parsed.warnings[0]
    assert len(read(bytes(message), depth=4).warnings) == 0


def test_what_attachments_expand_to_is_bounded() -> None:
    """Attachments beyond what a container may unpack to are left out with a warning."""
    message = mail()
    for number in range(3):
        message.add_attachment("x" * 600_000, filename=f"{number}.txt")
    parsed = read(bytes(message), expanded=1)
    assert ["too_large" in warning for warning in parsed.warnings] == [True, True]


@pytest.mark.parametrize(
    "data",
    [
        b"MIME-Version: 1.0\nContent-Type: multipart/encrypted; boundary=x\n\n--x\n\nVersion: 1\n--x--\n",
        b"MIME-Version: 1.0\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nabc",
        b"MIME-Version: 1.0\n\n-----BEGIN PGP MESSAGE-----\nabc\n-----END PGP MESSAGE-----\n",
    ],
)
def test_encrypted_mails(data: bytes) -> None:
    """Of an encrypted mail nothing is read, not even its subject."""
    assert refusal(b"Subject: secret\n" + data) is RejectReason.PASSWORD


@pytest.mark.parametrize(
    ("header", "title"),
    [
        (b"Subject: =?utf-8?Q?Cong=C3=A9s?=", "Congés"),
        (b"Subject: =?iso-8859-1?B?Q29uZ+lz?=", "Congés"),
        ("Subject: Congés".encode(), "Congés"),
        ("Subject: Congés".encode("cp1252"), "Congés"),
        (b"Subject: =?inconnu?Q?a?=", "=?inconnu?Q?a?="),
        (b"Subject: Un\n titre\n replie", "Un titre replie"),
        (b"X: y", None),
    ],
)
def test_subjects(header: bytes, title: str | None) -> None:
    """Subjects are read in whatever way they are encoded, and a wrong encoding costs no mail."""
    assert read(b"MIME-Version: 1.0\n" + header + b"\n\nTexte").title == title


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Type: multipart/mixed\n\nTexte",
        b"Content-Type: multipart/mixed; boundary=x\n\nTexte",
        b'Content-Type: text/plain; charset="inconnu"\nContent-Transfer-Encoding: rien\n\nTexte',
        b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nVGV4dGU",
        b'Content-Type: ;;;="\n\nTexte',
        b"Date: jamais\nFrom: <<>>,;\nTo: " + b"a@b.fr, " * 30 + b"\n\nTexte",
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nTexte",
    ],
)
def test_broken_mails(data: bytes) -> None:
    """Mails that break the rules of their format are read as far as they go."""
    assert "Texte" in " ".join(texts(read(b"MIME-Version: 1.0\n" + data)))


def test_bombs() -> None:
    """Parts without end or without bottom end with a reason."""
    nested = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3000))
    assert refusal(f"MIME-Version: 1.0\n{nested}\nx".encode()) is RejectReason.TOO_DEEP
    many = "--b\n\nx\n" * 5000
    assert (
        refusal(f"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n{many}".encode())
        is RejectReason.TOO_DEEP
    )


# --- Outlook --------------------------------------------------------------------------------------------


def test_an_outlook_mail() -> None:
    """Body, files and mails attached are read from what Outlook stores; its own names of them are kept."""
    inner = letter("Dedans", "Le corps intérieur.", head=24, attachments=[attachment("b.txt", b"Le fond.")])
    held = [attachment("a é.txt", b"Le contenu." * 500), attached_letter(inner)]
    parsed = read(compound(letter("Sujet é", "Bonjour.\r\n", attachments=held)), "a.msg")
    assert parsed.title == "Sujet é"
    assert [block.text[:28] for block in parsed.blocks] == [
        "De : La direction — À : Tous",
        "Sujet é",
        "Bonjour.",
        "Pièce jointe : a é.txt",
        "Le contenu.Le contenu.Le con",
        "Pièce jointe : mail",
        "Objet : Dedans — De : La dir",
        "Le corps intérieur.",
        "Pièce jointe : b.txt",
        "Le fond.",
    ]


def test_an_encrypted_outlook_mail() -> None:
    """Of an S/MIME mail that Outlook keeps encrypted nothing is read."""
    assert refusal(compound(letter("secret", "x", kind="IPM.Note.SMIME")), "a.msg") is RejectReason.PASSWORD


def packed(text: bytes) -> bytes:
    """RTF as Outlook packs it, without finding anything that repeats but one reference into the preset window."""
    body = b"".join(b"\0" + text[place : place + 8] for place in range(0, len(text) // 8 * 8, 8))
    return struct.pack("<III4s", 0, len(text), 0, b"LZFu")[4:8].join([b"\0\0\0\0", b"LZFu\0\0\0\0"]) + body


def test_an_outlook_mail_in_rtf_alone() -> None:
    """Where Outlook keeps only packed RTF, that is the body."""
    text = b"{\\rtf1 Bonjour \\'e0 tous, de la direction.}".ljust(48)
    assert unpacked(packed(text)) == text
    reference = struct.pack(">H", 0 << 4 | 4) + struct.pack(">H", 213 << 4)  # the first six bytes, then the end
    assert unpacked(struct.pack("<II4sI", 0, 100, b"LZFu", 0) + b"\x03" + reference) == b"{\\rtf1"
    parsed = read(compound(letter("Sujet", None, rtf=packed(text))), "a.msg")
    assert texts(parsed)[-1] == "Bonjour à tous, de la direction."


def cut(data: bytes, place: int) -> bytes:
    return data[:place]


def overwritten(data: bytes, place: int) -> bytes:
    return data[:place] + b"\xff" * 64 + data[place + 64 :]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("damage", [cut, overwritten])
def test_damaged_outlook_mails(share: float, damage: Callable[[bytes, int], bytes]) -> None:
    """A mail that is cut or overwritten anywhere is read or refused, never a library's exception."""
    data = compound(letter("Sujet", "Bonjour. " * 600, attachments=[attachment("a.txt", b"Fond. " * 900)]))
    with contextlib.suppress(DocumentError):
        assert read(damage(data, int(len(data) * share)), "a.msg").blocks
