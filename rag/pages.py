"""One page of a PDF as a picture, made by PDFium in a process of its own.

A regulation may come from anywhere, and the library that draws it is C++: a file that crashes, hangs or fills the
memory costs its own process and nothing else. Run as ``python -m rag.pages FILE PAGE WIDTH``, PNG on the output.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections import OrderedDict
from contextlib import closing
from io import BytesIO
from pathlib import Path

from rag.errors import NotFound

PDF = "application/pdf"
WIDTHS = (200, 2_000)
"""Narrowest and widest picture, in pixels."""
TALLEST = 6_000
"""Pixels of height after which a picture is made narrower instead: a page one metre wide and a mile long."""
SECONDS = 20
MEMORY = 2**30
"""Address space of the process, in bytes: PDFium draws 2,000 × 6,000 pixels in a tenth of it."""
AT_ONCE = 2
KEPT = 32
"""Pictures that are remembered, about 200 kB each: a reader turns back and forth between few pages."""

NO_PAGE, UNREADABLE = 3, 4


class Pages:
    """Draws pages, few at a time, and remembers the last ones. Safe to use from several threads."""

    def __init__(self) -> None:
        self._drawing = threading.Semaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()

    def png(self, file: Path, sha256: str, page: int, width: int) -> bytes:
        """The picture of a page, counting from 1; ``sha256`` names the content of ``file``.

        Raises:
            NotFound: the document has no such page, or the page cannot be drawn.
        """
        key = (sha256, page, width)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._drawing:
            picture = draw(file, page, width)
        with self._lock:
            self._kept[key] = picture
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return picture


def draw(file: Path, page: int, width: int) -> bytes:
    """The picture of a page, drawn in another process.

    Raises:
        NotFound: the document has no such page, or the page cannot be drawn in the time and memory allowed.
    """
    command = [sys.executable, "-m", "rag.pages", str(file), str(page), str(width)]
    try:
        drawn = subprocess.run(
            command, capture_output=True, timeout=SECONDS, cwd=Path(__file__).parent.parent, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _undrawable() from error
    if drawn.returncode == NO_PAGE:
        raise NotFound(f"the document has no page {page}", f"le document n'a pas de page {page}", code="unknown_page")
    if drawn.returncode != 0:
        raise _undrawable()
    return drawn.stdout


def _undrawable() -> NotFound:
    return NotFound(
        "this page cannot be shown as a picture; the source file can be downloaded",
        "cette page ne peut pas être montrée en image ; le fichier d'origine peut être téléchargé",
        code="page_unreadable",
    )


def render(file: Path, page: int, width: int) -> bytes | int:
    """The picture, or the exit status that says why there is none; to be called in a process of its own."""
    import pypdfium2

    try:
        with closing(pypdfium2.PdfDocument(file)) as document:
            if not 1 <= page <= len(document):
                return NO_PAGE
            sheet = document[page - 1]
            across, down = sheet.get_size()
            if across <= 0 or down <= 0:
                return UNREADABLE
            scale = min(width / across, TALLEST / down)
            written = BytesIO()
            sheet.render(scale=scale).to_pil().save(written, "PNG")
            return written.getvalue()
    except pypdfium2.PdfiumError:
        return UNREADABLE


def main(arguments: list[str]) -> int:
    """Draw as the command line says, under limits that the process sets for itself."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    made = render(Path(arguments[0]), int(arguments[1]), int(arguments[2]))
    if isinstance(made, int):
        return made
    sys.stdout.buffer.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
