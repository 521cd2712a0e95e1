"""Pictures of pages (PNG, JPEG, TIFF of several pages, WebP, BMP, GIF) by Pillow, recognised by Tesseract.

A picture says what it is in its header: one that would take more memory than a page of a plan is refused before its
pixels are read. Only the decoder of the kind that was sniffed is used.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from PIL import Image, ImageOps

from ingest import ocr
from ingest.parsers import Limits
from ingest.parsers.pdf import blocks_of
from ingest.parsers.pdf_page import Read
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import PageQuality, Parsed

_DECODERS: Final = {
    Kind.PNG: "PNG",
    Kind.JPEG: "JPEG",
    Kind.TIFF: "TIFF",
    Kind.WEBP: "WEBP",
    Kind.BMP: "BMP",
    Kind.GIF: "GIF",
}
_MOST_PIXELS: Final = 89_478_485
"""Pixels of one page: A2 at 450 dots per inch, and where Pillow itself begins to warn."""
_PAPER: Final = 11.69
"""Inches of the longer side of a page whose picture does not say its resolution, or says one that can't be."""
_PLAUSIBLE: Final = (3.0, 48.0)
"""Inches of the longer side of a page."""
_SCANNED: Final = 130
"""Dots per inch of the coarsest scans; less is what cameras and programs write that do not know."""
_BROKEN: Final = (
    OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError,
    struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on broken files."""


class ImageParser:
    """Files that hold pictures; each is a page, and of what moves only the first."""

    def accepts(self, file: File) -> bool:
        return file.kind in _DECODERS

    def parse(self, file: File, limits: Limits) -> Parsed:
        if (refused := ocr.absent(limits.ocr_languages)) is not None:
            raise refused
        pages: list[Read] = []
        judged: list[PageQuality] = []
        notes: Counter[str] = Counter()
        number = total = 0
        for number, total, picture in _pictures(file, limits):
            if picture is None:
                notes["pages that cannot be opened"] += 1
                continue
            page = ocr.recognise(picture, limits, dpi=_resolution(picture), done=number - 1, total=total)
            if page.failed:
                notes["pages could not be recognised"] += 1
            if page.lines or page.failed:
                judged.append(PageQuality(number, page.score, ocr=True))
            pages.append(Read(number, page.width, page.height, list(page.lines)))
        if not any(page.lines for page in pages):
            raise _nothing(failed=bool(notes))
        told = tuple(f"{count} {what}" for what, count in sorted(notes.items()))
        blocks = tuple(blocks_of(pages))
        return Parsed(blocks, file.kind.value, pages=total, warnings=told, quality=tuple(judged))


def _nothing(*, failed: bool) -> DocumentError:
    if failed:
        return DocumentError(
            RejectReason.NO_TEXT,
            "the picture could not be recognised: Tesseract broke down, or ran out of time (setting `ocr_seconds`)",
            "l'image n'a pas pu être reconnue : Tesseract s'est interrompu ou a manqué de temps "
            "(réglage « ocr_seconds »)",
        )
    return DocumentError(
        RejectReason.NO_TEXT, "no text is recognised in the picture", "aucun texte n'est reconnu dans l'image"
    )


def _pictures(file: File, limits: Limits) -> Iterator[tuple[int, int, Image.Image | None]]:
    """The pages of a file with their number and how many there are, upright as the camera says; ``None`` for one that
    is broken."""
    with file.open() as stream, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL")  # odd metadata are no concern of ours
        try:
            opened = Image.open(stream, formats=(_DECODERS[file.kind],))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large() from error
        except _BROKEN as error:
            raise _broken() from error
        with closing(opened):
            total = _count(opened, file.kind, limits)
            for index in range(total):
                picture = _page(opened, index)
                if picture is None and total == 1:
                    raise _broken()
                yield index + 1, total, picture


def _count(opened: Image.Image, kind: Kind, limits: Limits) -> int:
    if kind is not Kind.TIFF:
        return 1
    try:
        count = int(getattr(opened, "n_frames", 1))
    except _BROKEN as error:
        raise _broken() from error
    if count > limits.pages:
        raise DocumentError(
            RejectReason.TOO_LONG,
            f"the picture has {count} pages, more than {limits.pages} (setting `file_pages`)",
            f"l'image a {count} pages, plus de {limits.pages} (réglage « file_pages »)",
        )
    return count


def _page(opened: Image.Image, index: int) -> Image.Image | None:
    try:
        if index:
            opened.seek(index)
        if opened.width * opened.height > _MOST_PIXELS:
            raise _too_large()
        opened.load()
        return ImageOps.exif_transpose(opened)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large() from error
    except _BROKEN:
        return None


def _resolution(picture: Image.Image) -> float:
    """Dots per inch: as the file says, when it may be a scan's and its page then has the size of one."""
    longer = max(picture.size)
    said = picture.info.get("dpi", (0, 0))
    try:
        dpi = float(max(said))
    except (TypeError, ValueError, ZeroDivisionError):
        dpi = 0.0
    if dpi >= _SCANNED and _PLAUSIBLE[0] <= longer / dpi <= _PLAUSIBLE[1]:
        return dpi
    return longer / _PAPER


def _broken() -> DocumentError:
    return DocumentError(RejectReason.CORRUPT, "the picture is broken or cut short", "l'image est abîmée ou tronquée")


def _too_large() -> DocumentError:
    return DocumentError(
        RejectReason.TOO_LARGE,
        f"the picture has more than {_MOST_PIXELS // 1_000_000} million pixels",
        f"l'image a plus de {_MOST_PIXELS // 1_000_000} millions de pixels",
    )
