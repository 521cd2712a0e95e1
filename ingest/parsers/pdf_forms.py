"""What people filled into the form of a PDF, and the names of the files that it carries.

The values stand in the page's annotations and not in its text. They are read as they were saved: no script that
computes or checks one is run, no XFA, no attachment is opened.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, Final

import pypdfium2
import pypdfium2.raw as raw

from ingest.parsers.pdf_survey import Bounds

_MOST_FIELDS: Final = 2000
"""Fields of one page; forms of the administration have some two hundred."""
_LONGEST: Final = 4000
_UNSEEN: Final = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
_SECRET: Final = 1 << 13
"""The flag of a field for a password."""
_WRITTEN: Final = frozenset({raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX})
_TICKED: Final = frozenset({raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON})
_TICK: Final = "☒"
_MOST_NAMES: Final = 10
_LONGEST_NAME: Final = 80


def opened(pdf: Any) -> Any:
    """The form of a document, ``None`` where it has none; before its pages are opened. Nothing is run by it."""
    if pdf.get_formtype() == raw.FORMTYPE_NONE:
        return None
    try:
        pdf.init_forms()
    except pypdfium2.PdfiumError:
        return None
    return pdf.formenv


def values(page: Any, form: Any) -> Iterator[tuple[str, Bounds]]:
    """What the visible fields of a page hold, each with its place."""
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), _MOST_FIELDS)):
        field = raw.FPDFPage_GetAnnot(page, index)
        if not field:
            continue
        try:
            if raw.FPDFAnnot_GetSubtype(field) != raw.FPDF_ANNOT_WIDGET or raw.FPDFAnnot_GetFlags(field) & _UNSEEN:
                continue
            text = _value(field, form)
            place = raw.FS_RECTF()
            if text and raw.FPDFAnnot_GetRect(field, place):
                yield text, (place.left, place.bottom, place.right, place.top)
        finally:
            raw.FPDFPage_CloseAnnot(field)


def _value(field: Any, form: Any) -> str:
    kind = raw.FPDFAnnot_GetFormFieldType(form, field)
    if kind in _TICKED:
        return _TICK if raw.FPDFAnnot_IsChecked(form, field) else ""
    if kind not in _WRITTEN or raw.FPDFAnnot_GetFormFieldFlags(form, field) & _SECRET:
        return ""
    if kind != raw.FPDF_FORMFIELD_TEXTFIELD:
        options = range(min(raw.FPDFAnnot_GetOptionCount(form, field), _MOST_FIELDS))
        chosen = [index for index in options if raw.FPDFAnnot_IsOptionSelected(form, field, index)]
        if chosen:  # what stands on the page is the label, not the value that a program would get
            return ", ".join(_said(raw.FPDFAnnot_GetOptionLabel, form, field, index) for index in chosen)
    return _said(raw.FPDFAnnot_GetFormFieldValue, form, field)


def _said(ask: Callable[..., int], *subject: Any) -> str:
    """A text of PDFium's, which tells its size in bytes first."""
    size = ask(*subject, None, 0)
    if not 2 < size <= 2 * _LONGEST:
        return ""
    buffer = (ctypes.c_ushort * (size // 2))()
    ask(*subject, buffer, size)
    return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0").strip()


def attachments(pdf: Any) -> list[str]:
    """A note for each file that the document carries."""
    count = pdf.count_attachments()
    names = []
    for index in range(min(count, _MOST_NAMES)):
        try:
            name = pdf.get_attachment(index).get_name()
        except pypdfium2.PdfiumError:
            continue
        shown = "".join(sign if sign.isprintable() else " " for sign in name)
        names.append(" ".join(shown.split())[:_LONGEST_NAME])
    notes = [f"attachment not read: {name}" for name in names if name]
    if count > len(notes):
        notes.append(f"{count - len(notes)} more attachments not read")
    return notes
