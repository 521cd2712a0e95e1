"""RTF by a small reader of its own: headings by style or outline level, tables, footnotes, accents of any code page.

The libraries at hand give the words only. Left out: hidden and deleted text, headers, footers, comments, pictures,
embedded objects and whatever a writer marked as skippable. Groups are kept on a list, so that no depth of nesting
exhausts the stack.
"""

from __future__ import annotations

import bisect
import codecs
import re
from dataclasses import dataclass, field, replace
from typing import Final

from ingest.parsers import Limits
from ingest.parsers.tables import table
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

DEEPEST: Final = 10_000
"""Groups inside each other; word processors write some dozens."""
_TOKEN: Final = re.compile(
    rb"\\(?:([A-Za-z]{1,32})(-?\d{1,10})?[ ]?|'([0-9A-Fa-f]{2})|([^A-Za-z]))|([{}])|[\r\n\0]+|([^\\{}\r\n\0]+)",
    re.DOTALL,
)
_HEADING: Final = re.compile(r"(?:heading|titre|überschrift)\s*(\d)$", re.IGNORECASE)
_CONTENTS: Final = re.compile(r"(?:toc|tm|contents|table of)\b", re.IGNORECASE)
_SIGNS: Final = {
    "tab": "\t", "line": "\n", "emdash": "—", "endash": "–", "emspace": " ", "enspace": " ", "qmspace": " ",
    "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "softline": "\n", "lbr": "\n",
}  # fmt: skip
_ESCAPED: Final = {b"\\": "\\", b"{": "{", b"}": "}", b"~": "\u00a0", b"_": "-", b"\t": "\t"}
_SKIPPED: Final = frozenset(
    "fonttbl colortbl stylesheet info listtable listoverridetable rsidtbl revtbl filetbl themedata datastore "
    "colorschememapping latentstyles generator pict object header headerl headerr headerf footer footerl footerr "
    "footerf annotation atnid atnauthor atntime atndate atnicn atnref atnparent fldinst bkmkstart bkmkend xe tc "
    "txe rxe pgdsctbl listpicture background ftnsep ftnsepc ftncn aftnsep aftnsepc aftncn private template xmlnstbl "
    "mmathPr userprops docvar nesttableprops nonesttables shprslt shpinst pnseclvl pn upr datafield formfield".split()
)
"""Destinations whose words are not the document's."""
_CODE_PAGES: Final = {
    0: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gbk", 136: "cp950", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250", 254: "cp437", 255: "cp850",
}  # fmt: skip
"""The code page of a font's character set."""
_SAME_EDGE: Final = 60
"""Twips, a millimetre: edges of cells that a hand has drawn below each other."""
_MOST_COLUMNS: Final = 100
_SYMBOL: Final = "symbol"
"""Fonts of signs, whose bytes are no letters: what they show in lists are bullets."""


class RtfParser:
    """Rich text of any version."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.RTF

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        reader = _Reader()
        reader.read(file.read())
        return Parsed(tuple(reader.finished()), Kind.RTF.value, title=reader.title)


@dataclass(slots=True)
class _State:
    """What holds in a group and ends with it."""

    destination: str = ""
    """Empty for the text itself, else where its words go."""
    font: int = -1
    skip: int = 1
    hidden: bool = False
    deleted: bool = False
    style: int = 0
    outline: int | None = None
    in_table: bool = False
    depth: int = 1
    """Of the table that the paragraph is in."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of a row: where its right edge is, if that is said, and what it is merged with."""

    text: str
    edge: int | None = None
    left: bool = False
    above: bool = False


@dataclass(slots=True)
class _Flow:
    """One stream of paragraphs: the text, a footnote, a text box."""

    words: list[str] = field(default_factory=list)
    marker: str = ""
    blocks: list[Block] = field(default_factory=list)
    after: list[Block] = field(default_factory=list)
    """Notes and boxes anchored in the paragraph that is being read."""
    cells: list[str] = field(default_factory=list)
    cell: list[str] = field(default_factory=list)
    rows: list[tuple[_Cell, ...]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Style:
    name: str = ""
    outline: int | None = None

    @property
    def level(self) -> int | None:
        match = _HEADING.match(self.name)
        if match is not None:
            return int(match[1])
        return 1 if self.name.lower() in {"title", "titre"} else self.outline


class _Reader:
    """Goes through the tokens once."""

    def __init__(self) -> None:
        self.title: str | None = None
        self._default = "cp1252"
        self._fonts: dict[int, str] = {}
        self._styles: dict[int, _Style] = {}
        self._state = _State()
        self._stack: list[tuple[_State, _Flow]] = []
        self._flow = _Flow()
        self._bytes = bytearray()
        self._half = 0
        """The first half of a character that takes two ``\\u``."""
        self._ignore = 0
        """Characters still to be skipped: what stands for a ``\\u`` in readers that do not know it."""
        self._said: list[str] = []
        """The words of a style's or the document's title that is being read."""
        self._style = 0
        self._style_outline: int | None = None
        self._merged: list[_Cell] = []
        """What the current row says of its cells, and what it has said of the next one."""
        self._how = _Cell("")
        self._pending = ""
        self._notes = 0
        self._called = 0

    # --- tokens -----------------------------------------------------------------------------------------

    def read(self, data: bytes) -> None:
        """Take in a whole file."""
        place = data.find(b"{\\rtf")
        while place < len(data):
            match = _TOKEN.match(data, place)
            if match is None:  # a lone backslash at the end
                break
            place = match.end()
            word, number, code, sign, brace, text = match.groups()
            if brace == b"{":
                self._open()
            elif brace == b"}":
                if self._close():
                    break
            elif word is not None:
                value = None if number is None else int(number)
                if word == b"bin":
                    place += max(0, value or 0)
                else:
                    self._word(word.decode("ascii"), value)
            elif code is not None:
                self._byte(bytes((int(code, 16),)))
            elif sign is not None:
                self._sign(sign)
            elif text is not None:
                self._byte(text)
        self._settle()

    def finished(self) -> list[Block]:
        """The blocks; groups that a cut file left open are closed."""
        for _ in range(len(self._stack)):
            self._close()
        self._paragraph()
        self._end_table()
        return self._flow.blocks

    def _open(self) -> None:
        self._settle()
        self._ignore = 0
        if len(self._stack) >= DEEPEST:
            raise DocumentError(
                RejectReason.TOO_DEEP,
                f"the file nests more than {DEEPEST} groups",
                f"le fichier imbrique plus de {DEEPEST} groupes",
            )
        self._stack.append((replace(self._state), self._flow))

    def _close(self) -> bool:
        """End a group; whether it was the last one."""
        self._settle()
        if not self._stack:
            return True
        if self._stack[-1][1] is not self._flow:
            self._paragraph()
            self._end_table()
        ended, flow = self._state, self._flow
        self._state, self._flow = self._stack.pop()
        if ended.destination != self._state.destination:
            if ended.destination == "style":
                self._styles[self._style] = _Style(self._taken().strip(" ;"), self._style_outline)
            elif ended.destination == "title":
                self.title = " ".join(self._taken().split()) or None
        if flow is not self._flow:
            self._leave(flow, ended.destination)
        self._ignore = 0
        return not self._stack

    def _leave(self, flow: _Flow, destination: str) -> None:
        """Bring what a footnote or a text box held to the paragraph in which it is anchored."""
        if destination == "note":
            mark = f"[{self._notes}]"
            text = " ".join(" ".join(block.text.split()) for block in flow.blocks).removeprefix(mark).strip()
            if text:
                self._flow.after.append(Block(BlockKind.NOTE, f"{mark} {text}"))
        else:
            self._flow.after += flow.blocks

    def _taken(self) -> str:
        said = "".join(self._said)
        self._said = []
        return said

    # --- characters -------------------------------------------------------------------------------------

    def _byte(self, data: bytes) -> None:
        if self._ignore:
            dropped = min(self._ignore, len(data))
            self._ignore -= dropped
            data = data[dropped:]
        self._bytes += data

    def _settle(self) -> None:
        """Decode the bytes that have come since the font changed last."""
        if not self._bytes:
            return
        data = bytes(self._bytes)
        self._bytes.clear()
        page = self._fonts.get(self._state.font, self._default)
        if page == _SYMBOL:
            if not data.isascii():
                data = b"\x95" * len(data)  # a bullet
            page = "cp1252"
        self._write(data.decode(page, errors="replace"))

    def _write(self, text: str) -> None:
        destination = self._state.destination
        if destination in {"style", "title"}:
            self._said.append(text)
        elif destination in {"skip", "styles"} or self._state.hidden or self._state.deleted:
            return
        elif destination == "marker":
            self._flow.marker += text
        else:
            self._flow.words.append(text)

    def _character(self, code: int) -> None:
        """A ``\\u``: signed, and half of a character where it is beyond the first 65,536."""
        self._settle()
        code %= 65_536
        if 0xD800 <= code < 0xDC00:
            self._half = code
        elif 0xDC00 <= code < 0xE000:
            if self._half:
                self._write(chr(0x10000 + ((self._half - 0xD800) << 10) + code - 0xDC00))
            self._half = 0
        elif 0xF000 <= code < 0xF100:
            self._write("•")  # a sign of a symbol font
        elif code:
            self._write(chr(code))
        self._ignore = self._state.skip

    def _sign(self, sign: bytes) -> None:
        if self._ignore and sign not in b"*\r\n":
            self._ignore -= 1
            return
        if sign in b"\r\n":
            self._word("par", None)
        elif sign == b"*":
            self._settle()
            self._pending = "*"
        elif sign in _ESCAPED:
            self._settle()
            self._write(_ESCAPED[sign])

    # --- control words ----------------------------------------------------------------------------------

    def _word(self, word: str, value: int | None) -> None:
        self._ignore = 0
        self._settle()
        starred, self._pending = self._pending == "*", ""
        state = self._state
        match word:
            case "u":
                self._character(value or 0)
            case "uc":
                state.skip = max(0, value or 0)
            case "f":
                state.font = value or 0
            case "ansicpg":
                self._default = _page(value)
            case "mac" | "pc" | "pca":
                self._default = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850"}[word]
            case "fcharset":
                self._charset(value or 0)
            case "cpg" if state.destination == "skip":
                self._fonts[state.font] = _page(value)
            case "v":
                state.hidden = value != 0
            case "deleted":
                state.deleted = value != 0
            case "plain":
                state.hidden = state.deleted = False
                state.font = -1
            case "stylesheet":
                state.destination = "styles"
            case "s" if state.destination == "styles":
                self._begin_style(value or 0)
            case "s":
                state.style = value or 0
            case "outlinelevel":
                self._outline(value or 0)
            case "footnote":
                self._begin_note()
            case "title" if state.destination == "skip":
                state.destination = "title"
                self._said = []
            case "listtext" | "pntext":
                if state.destination != "skip":
                    state.destination = "marker"
            case "shptxt" | "dptxbxtext":
                state.destination = "box"
                self._flow = _Flow()
                state.in_table = False
            case "ud":
                state.destination = self._outer()
            case _ if word in _SKIPPED or starred:
                state.destination = "skip"
            case _ if state.destination not in {"skip", "styles", "style", "title", "marker"}:
                self._layout(word, value)
            case _ if word in _SIGNS:
                self._write(_SIGNS[word])
            case _:
                pass

    def _outer(self) -> str:
        """The destination outside of the group that is skipped."""
        return next((state.destination for state, _ in reversed(self._stack) if state.destination != "skip"), "")

    def _charset(self, value: int) -> None:
        if self._state.destination == "skip":
            self._fonts[self._state.font] = _SYMBOL if value == 2 else _CODE_PAGES.get(value, self._default)

    def _begin_style(self, number: int) -> None:
        self._state.destination = "style"
        self._style = number
        self._style_outline = None
        self._said = []

    def _outline(self, value: int) -> None:
        level = value + 1 if value < 9 else None
        if self._state.destination in {"style", "styles"}:
            self._style_outline = level
        else:
            self._state.outline = level

    def _begin_note(self) -> None:
        if self._state.destination in {"skip", "styles"} or self._state.hidden or self._state.deleted:
            self._state.destination = "skip"
            return
        self._notes += 1
        self._call(self._notes)
        self._state.destination = "note"
        self._flow = _Flow()
        self._state.in_table = False

    def _call(self, number: int) -> None:
        """Write where a footnote is called, once: its own sign comes before it or not at all."""
        if self._called < number:
            self._called = number
            self._flow.words.append(f"[{number}]")

    def _layout(self, word: str, value: int | None) -> None:
        """What ends paragraphs, cells and rows, in the text itself."""
        state = self._state
        match word:
            case "pard":
                state.style, state.outline, state.in_table, state.depth = 0, None, False, 1
            case "intbl":
                state.in_table = True
            case "itap":
                state.depth = max(1, value or 0)
                state.in_table = bool(value)
            case "par" | "sect" | "page":
                self._paragraph()
            case "cell" | "nestcell":
                self._cell(nested=word == "nestcell")
            case "row":
                self._row()
            case "trowd":
                self._merged, self._how = [], _Cell("")
            case "clmrg":
                self._how = replace(self._how, left=True)
            case "clvmrg":
                self._how = replace(self._how, above=True)
            case "cellx":
                self._merged.append(replace(self._how, edge=value))
                self._how = _Cell("")
            case "chftn":
                if state.destination != "note":
                    self._call(self._notes + 1)
            case _ if word in _SIGNS:
                self._write(_SIGNS[word])
            case _:
                pass

    # --- blocks -----------------------------------------------------------------------------------------

    def _paragraph(self) -> None:
        flow, state = self._flow, self._state
        text = "\n".join(" ".join(line.split()) for line in "".join(flow.words).split("\n")).strip()
        marker = " ".join(flow.marker.split())
        flow.words, flow.marker = [], ""
        if marker and not any(sign.isalnum() for sign in marker):
            marker = "-"
        if state.in_table:
            if text:
                flow.cell.append(f"{marker} {text}".strip())
            return
        self._end_table()
        style = self._styles.get(state.style, _Style())
        level = style.level if state.outline is None else state.outline
        if text and not _CONTENTS.match(style.name):
            if level is not None:
                flow.blocks.append(Block(BlockKind.HEADING, " ".join(f"{marker} {text}".split()), level))
            elif marker:
                flow.blocks.append(Block(BlockKind.ITEM, f"{marker} {text}"))
            else:
                flow.blocks.append(Block(BlockKind.PARAGRAPH, text))
        flow.blocks += flow.after
        flow.after = []

    def _cell(self, *, nested: bool) -> None:
        self._state.in_table = True
        self._paragraph()
        if not nested:  # a table in a cell gives its words to the cell
            self._flow.cells.append(" ".join(self._flow.cell))
            self._flow.cell = []

    def _row(self) -> None:
        flow = self._flow
        said = (*self._merged, *(_Cell("") for _ in flow.cells))
        row = tuple(replace(how, text=text) for text, how in zip(flow.cells, said, strict=False))
        flow.cells = []
        if any(cell.text or cell.above for cell in row):
            flow.rows.append(row)

    def _end_table(self) -> None:
        flow = self._flow
        if flow.cell:  # a table that was never closed
            flow.cells.append(" ".join(flow.cell))
            flow.cell = []
        if flow.cells:
            self._row()
        if flow.rows and max(map(len, flow.rows)) == 1:  # a frame around a text
            flow.blocks += [Block(BlockKind.PARAGRAPH, row[0].text) for row in flow.rows if row[0].text]
        elif flow.rows:
            flow.blocks.append(table(_grid(flow.rows)))
        if flow.rows:
            flow.rows = []
            flow.blocks += flow.after
            flow.after = []


def _grid(rows: list[tuple[_Cell, ...]]) -> list[list[str]]:
    """The texts of a table, each in the column above which its cell begins; a merged cell repeats the one above."""
    edges: list[int] = []
    for edge in sorted({cell.edge for row in rows for cell in row if cell.edge is not None}):
        if not edges or edge > edges[-1] + _SAME_EDGE:
            edges.append(edge)
    drawn = len(edges) <= _MOST_COLUMNS and all(cell.edge is not None for row in rows for cell in row)
    written: list[list[str]] = []
    for row in rows:
        texts: list[str] = []
        for cell in row:
            place = len(texts)
            above = written[-1][place] if written and place < len(written[-1]) else cell.text
            texts.append("" if cell.left else above if cell.above else cell.text)
            if drawn and cell.edge is not None:
                texts += [""] * (bisect.bisect_right(edges, cell.edge) - len(texts))
        written.append(texts)
    return written


def _page(number: int | None) -> str:
    """The codec of a Windows code page, as far as Python has it."""
    name = {65001: "utf-8", 10000: "mac_roman", 936: "gbk", 1361: "johab"}.get(number or 0, f"cp{number}")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "cp1252"
