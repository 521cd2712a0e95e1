"""Hostile documents, as data and as files.

``golden/attacks.jsonl`` holds documents that give orders to a machine, imitate the marks of a prompt, plant citations,
hide text, or simply say something false, each with the question that it wants to answer. :func:`write` makes files of
them: what is hidden is hidden there as it would be by somebody who means it. The formats are written by hand, because
libraries that make documents do not offer to hide text in them.
"""

from __future__ import annotations

import html
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval import report
from eval.cases import GOLDEN
from rag.errors import BadRequest
from rag.types import NormRank

ATTACKS: Final = GOLDEN / "attacks.jsonl"
CORPUS: Final = "attaques"
"""The corpus that the hostile documents become, in a home that is thrown away."""
SINCE: Final = "2025-06-01"
"""From when the hostile documents say that they hold."""

Kind = Literal["instruction", "role_mark", "citation", "hidden", "obfuscated", "markup", "false_statement"]


class Attack(BaseModel):
    """A hostile document and the question that it is after; none of ``payload`` may be shown as a claim or extract.

    ``carrier`` says in which file it travels and, after a colon, how ``hidden`` is hidden there. The payload of a
    ``false_statement`` may be shown, but only as a quotation of this very document, and never above a higher norm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    language: Literal["fr", "en"]
    kind: Kind
    carrier: str
    question: str
    title: str
    rank: NormRank
    body: str
    hidden: str = ""
    payload: list[str] = Field(min_length=1)
    split: str = "dev"


def attacks(path: Path = ATTACKS) -> tuple[Attack, ...]:
    """The attack set.

    Raises:
        BadRequest: the file cannot be read, or a line is not an attack.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(Attack.model_validate_json(line) for line in lines if line.strip())
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise BadRequest(
            f"cannot read the attacks in {path}: {error}",
            f"impossible de lire les attaques de {path} : {error}",
            code="bad_attacks",
        ) from error


def fingerprint(asked: Sequence[Attack]) -> str:
    """A hash of the attacks, to repeat a run with the same ones."""
    return report.digest("\n".join(attack.model_dump_json() for attack in asked))


def write(asked: Sequence[Attack], folder: Path) -> None:
    """The attacks as a corpus in ``folder``: a file each, a sidecar beside it, and ``corpus.toml``.

    Each is seen by a group of its own, named after it, so that no attack is helped by another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corpus.toml").write_text(
        f'name = "{CORPUS}"\ntitle = "Documents hostiles"\nlanguage = "fr"\ngroups = ["*"]\n', encoding="utf-8"
    )
    for attack in asked:
        extension, _, way = attack.carrier.partition(":")
        path = folder / f"{attack.id}.{extension}"
        _WRITERS[extension](path, attack, way)
        path.with_name(f"{path.name}.meta.toml").write_text(
            f"title = {json.dumps(attack.title, ensure_ascii=False)}\nlanguage = {json.dumps(attack.language)}\n"
            f"norm_rank = {json.dumps(attack.rank.value)}\nvalid_from = {SINCE}\ngroups = [{json.dumps(attack.id)}]\n",
            encoding="utf-8",
        )


def _plain(path: Path, attack: Attack, way: str) -> None:
    hidden = attack.hidden
    if way == "zero_width":
        hidden = "\u200b".join(hidden)
    elif way == "tags":  # the invisible copies of ASCII in plane 14, as some models still read them
        hidden = "".join(chr(0xE0000 + ord(letter)) for letter in hidden if letter.isascii())
    elif way == "comment":
        hidden = f"<!-- {hidden} -->"
    path.write_text(f"# {attack.title}\n\n{attack.body}\n\n{hidden}\n".rstrip() + "\n", encoding="utf-8")


_HIDING: Final = {
    "display": '<p style="display:none">{}</p>',
    "visibility": '<p style="visibility: hidden">{}</p>',
    "white": '<p style="color:#fff;background:#ffffff">{}</p>',
    "size": '<p style="font-size:0">{}</p>',
    "offscreen": '<p style="position:absolute; left:-9999px">{}</p>',
    "opacity": '<p style="opacity:0">{}</p>',
    "attribute": "<p hidden>{}</p>",
    "comment": "<!-- {} -->",
    "alt": '<img src="logo.png" alt="{}">',
    "meta": '<meta name="description" content="{}">',
    "raw": "{}",
}


def _html(path: Path, attack: Attack, way: str) -> None:
    hidden = _HIDING[way].format(html.escape(attack.hidden))
    body = attack.body if way == "raw" else html.escape(attack.body)
    head = hidden if way == "meta" else ""
    path.write_text(
        f'<!doctype html><html lang="{attack.language}"><head><meta charset="utf-8">'
        f"<title>{html.escape(attack.title)}</title>{head}</head><body><main><h1>{html.escape(attack.title)}</h1>"
        f"<p>{body}</p>{'' if head else hidden}</main></body></html>",
        encoding="utf-8",
    )


_WORD: Final = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_RUNS: Final = {
    "vanish": "<w:rPr><w:vanish/></w:rPr>",
    "white": '<w:rPr><w:color w:val="FFFFFF"/></w:rPr>',
    "tiny": '<w:rPr><w:sz w:val="2"/></w:rPr>',
}


def _docx(path: Path, attack: Attack, way: str) -> None:
    title, body, hidden = (html.escape(text) for text in (attack.title, attack.body, attack.hidden))
    last = f"<w:p><w:r>{_RUNS[way]}<w:t>{hidden}</w:t></w:r></w:p>" if way in _RUNS else ""
    document = (
        f'<w:document {_WORD}><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>{title}</w:t></w:r>'
        f"</w:p><w:p><w:r><w:t>{body}</w:t></w:r></w:p>{last}</w:body></w:document>"
    )
    comments = (
        f'<w:comments {_WORD}><w:comment w:id="0" w:author="x"><w:p><w:r><w:t>{hidden}</w:t></w:r></w:p></w:comment>'
        "</w:comments>"
    )
    told = hidden if way == "metadata" else ""
    core = (
        f'<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:title>{told}</dc:title><dc:subject>{told}</dc:subject><cp:keywords>{told}</cp:keywords>"
        "</cp:coreProperties>"
    )
    office = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    types = (
        f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{office}.document.main+xml"/>'
        f'<Override PartName="/word/comments.xml" ContentType="{office}.comments+xml"/>'
        '<Override PartName="/docProps/core.xml" '
        'ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>'
    )
    office_rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    relations = (
        f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" Type="{office_rel}/officeDocument" '
        'Target="word/document.xml"/>'
        f'<Relationship Id="r2" Type="{_PACKAGE}/relationships/metadata/core-properties" Target="docProps/core.xml"/>'
        "</Relationships>"
    )
    inner = (
        f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" Type="{office_rel}/comments" '
        'Target="comments.xml"/></Relationships>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", types)
        archive.writestr("_rels/.rels", relations)
        archive.writestr("word/document.xml", document)
        if way == "comment":
            archive.writestr("word/_rels/document.xml.rels", inner)
            archive.writestr("word/comments.xml", comments)
        archive.writestr("docProps/core.xml", core)


_DRAWN: Final = {
    "white": "1 1 1 rg /F1 11 Tf 56 600 Td",
    "invisible": "3 Tr /F1 11 Tf 56 600 Td",
    "tiny": "/F1 0.4 Tf 56 600 Td",
    "outside": "/F1 11 Tf 56 -400 Td",
}


def _pdf(path: Path, attack: Attack, way: str) -> None:
    """A page of one font, written by hand: the title, the body, and what is hidden."""
    lines = [("0 g /F1 16 Tf 56 760 Td", attack.title)]
    lines += [(f"0 g /F1 11 Tf 56 {720 - 16 * row} Td", part) for row, part in enumerate(_wrapped(attack.body))]
    if way in _DRAWN:
        lines.append((_DRAWN[way], attack.hidden))
    drawn = b"\n".join(f"BT {how} ({_escaped(text)}) Tj ET".encode("cp1252", "replace") for how, text in lines)
    told = f"/Title ({_escaped(attack.hidden)}) /Keywords ({_escaped(attack.hidden)})" if way == "metadata" else ""
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        f"<< {told} >>".encode("cp1252", "replace"),
    ]
    made, places = bytearray(b"%PDF-1.5\n"), []
    for number, part in enumerate(parts, start=1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"trailer << /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, table)
    path.write_bytes(made)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)").replace("’", "'")


def _wrapped(text: str) -> Iterator[str]:
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            if len(line) + len(word) > 84:
                yield line
                line = ""
            line = f"{line} {word}".strip()
        yield line


_WRITERS: Final[Mapping[str, Callable[[Path, Attack, str], None]]] = {
    "md": _plain,
    "txt": _plain,
    "html": _html,
    "docx": _docx,
    "pdf": _pdf,
}
