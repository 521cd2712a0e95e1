"""Presentations: a page per slide, what the audience sees of it, in order."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import odfdo
import pptx
import pytest
from pptx.util import Emu

from ingest.parsers import Limits, parse_file
from ingest.sniff import Kind, sniff
from rag.errors import DocumentError, RejectReason
from rag.types import BlockKind, Parsed


def saved(slides: Any) -> bytes:
    stream = io.BytesIO()
    slides.save(stream)
    return stream.getvalue()


def read(slides: Any, **limits: int) -> Parsed:
    name = "a.odp" if isinstance(slides, odfdo.Document) else "a.pptx"
    return parse_file(sniff(Path(name), saved(slides)), Limits(**limits))


def slide(slides: Any, title: str, layout: int = 1) -> Any:
    made = slides.slides.add_slide(slides.slide_layouts[layout])
    made.shapes.title.text = title
    return made


def test_one_page_per_slide() -> None:
    """The title heads the slide wherever it stands, and each block knows its slide."""
    slides = pptx.Presentation()
    slide(slides, "Règlement", 0).placeholders[1].text = "Version 2024"
    second = slide(slides, "Congés")
    second.placeholders[1].text_frame.text = "Un point"
    second.shapes._spTree.append(second.shapes.title._element)  # drawn last
    parsed = read(slides)
    assert [(block.kind, block.text, block.level, block.page) for block in parsed.blocks] == [
        (BlockKind.HEADING, "Règlement", 1, 1),
        (BlockKind.PARAGRAPH, "Version 2024", None, 1),
        (BlockKind.HEADING, "Congés", 2, 2),
        (BlockKind.ITEM, "- Un point", None, 2),
    ]
    assert (parsed.title, parsed.pages) == ("Règlement", 2)


def test_hidden_slides_and_notes_are_told() -> None:
    """Hidden slides and speaker notes are left out with a warning; the pages count them all the same."""
    slides = pptx.Presentation()
    slide(slides, "Cachée").element.set("show", "0")
    shown = slide(slides, "Montrée")
    shown.notes_slide.notes_text_frame.text = "À dire tout bas"
    parsed = read(slides)
    assert [(block.text, block.page) for block in parsed.blocks] == [("Montrée", 2)]
    assert parsed.warnings == ("1 hidden slides left out", "1 slides whose speaker notes were left out")


def test_groups_tables_and_free_texts() -> None:
    """Texts in groups are read in their place, merged cells as in any table, hidden shapes not at all."""
    slides = pptx.Presentation()
    made = slide(slides, "Titre", 5)
    group = made.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Emu(9), Emu(9)).text_frame.text = "Dans un groupe"
    grid = made.shapes.add_table(2, 2, 0, 0, Emu(9), Emu(9)).table
    grid.cell(0, 0).merge(grid.cell(1, 0))
    for row, column, text in ((0, 0, "a"), (0, 1, "b"), (1, 1, "c")):
        grid.cell(row, column).text = text
    hidden = made.shapes.add_textbox(0, 0, Emu(9), Emu(9))
    hidden.text_frame.text = "Caché"
    hidden._element.nvSpPr.cNvPr.set("hidden", "1")
    blocks = read(slides).blocks
    assert [block.text for block in blocks] == ["Titre", "Dans un groupe", "a | b\na | c"]


def test_too_many_slides() -> None:
    """More slides than pages are allowed are refused."""
    slides = pptx.Presentation()
    for _ in range(3):
        slide(slides, "x")
    with pytest.raises(DocumentError) as raised:
        read(slides, pages=2)
    assert raised.value.reason is RejectReason.TOO_LONG


def test_slide_shows_and_templates() -> None:
    """A slide show is a presentation like others."""
    slides = pptx.Presentation()
    slide(slides, "Titre")
    slides.part._content_type = "application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml"
    assert [block.text for block in read(slides).blocks] == ["Titre"]


def test_opendocument_slides() -> None:
    """In an OpenDocument presentation a hidden slide and the speaker's notes are left out too."""
    document = odfdo.Document("presentation")
    document.body.clear()
    style = odfdo.Element.from_tag('<style:style style:name="h" style:family="drawing-page"/>')
    style.append(odfdo.Element.from_tag('<style:drawing-page-properties presentation:visibility="hidden"/>'))
    document.get_part("content").get_element("//office:automatic-styles").append(style)
    for name, title in (("h", "Cachée"), ("", "Montrée")):
        page = odfdo.DrawPage(title)
        if name:
            page.set_attribute("draw:style-name", name)
        for kind, text in (("outline", "Un point"), ("title", title), ("footer", "Pied")):
            frame = odfdo.Frame.text_frame(text)
            frame.set_attribute("presentation:class", kind)
            page.append(frame)
        notes = odfdo.Element.from_tag("presentation:notes")
        frame = odfdo.Frame.text_frame("Tout bas")
        frame.set_attribute("presentation:class", "notes")
        notes.append(frame)
        page.append(notes)
        document.body.append(page)
    parsed = read(document)
    assert [(block.text, block.level, block.page) for block in parsed.blocks] == [
        ("Montrée", 2, 2),
        ("Un point", None, 2),
    ]
    assert parsed.warnings == ("1 hidden slides left out", "1 slides whose speaker notes were left out")
    assert parsed.media_type == Kind.ODP.value
