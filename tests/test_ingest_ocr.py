"""Pictures of pages become words in their places, whatever the scan is like and whatever becomes of the program."""

from __future__ import annotations

import importlib.resources
import io
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pypdfium2
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ingest import ocr, quality, scan
from ingest.parsers import Limits, layout, parse
from ingest.sandbox import Sandbox
from ingest.source import Source
from rag.errors import DocumentError, RejectReason
from rag.types import BlockKind, Parsed

needs_tesseract = pytest.mark.skipif(
    not ocr.available("fra+eng"), reason="tesseract-ocr, tesseract-ocr-fra and tesseract-ocr-eng are not installed"
)
LINES = (
    "Décision relative aux congés",
    "Chaque agent a droit à 25 jours ouvrés.",
    "Elle est en vigueur le 1er mars.",
)


def font(size: int) -> ImageFont.FreeTypeFont:
    """A face with accents, which Pillow's own has not."""
    return ImageFont.truetype(str(importlib.resources.files("reportlab") / "fonts" / "Vera.ttf"), size)


def page(*lines: str, size: tuple[int, int] = (1240, 700)) -> Image.Image:
    """A small page at 150 dots per inch."""
    made = Image.new("L", size, 255)
    draw = ImageDraw.Draw(made)
    for number, line in enumerate(lines or LINES):
        draw.text((120, 100 + 60 * number), line, fill=0, font=font(34))
    return made


def sheet(root: Path, name: str, number: int, dpi: int = 300) -> tuple[Image.Image, str]:
    """A page of a sample regulation as a picture, and its text."""
    with pypdfium2.PdfDocument(next(root.glob(f"ingest/samples/*/{name}.pdf"))) as pdf:
        found = pdf[number]
        return found.render(scale=dpi / 72, grayscale=True).to_pil(), found.get_textpage().get_text_bounded()


def text(found: ocr.Page) -> str:
    return "\n".join(line.text for column in layout.ordered(found.lines) for line in column)


# --- the program ----------------------------------------------------------------------------------------


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Put a script in Tesseract's place that knows its languages and otherwise ``does``."""
    script = folder / "tesseract"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys, time\n"
        "if '--list-langs' in sys.argv:\n    print('List of available languages in x (3):\\neng\\nfra\\nosd')\n"
        f"    sys.exit()\nsys.stdin.buffer.read()\n{does}\n",
        encoding="utf-8",
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(os, "defpath", str(folder))
    forget()


def forget() -> None:
    ocr.program.cache_clear()
    ocr._installed.cache_clear()


@pytest.fixture(autouse=True)
def _remembered() -> Iterator[None]:
    yield
    forget()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program or a language the reason names the Debian packages, and OCR may be switched off."""
    monkeypatch.setattr(os, "defpath", str(tmp_path))
    forget()
    assert not ocr.available("fra")
    refused = ocr.absent("fra+eng")
    assert refused is not None
    assert refused.en.endswith(": tesseract-ocr tesseract-ocr-fra tesseract-ocr-eng")
    program(tmp_path, monkeypatch, "")
    assert ocr.available("fra+eng")
    assert not ocr.available("fra+deu")
    refused = ocr.absent("fra+deu")
    assert refused is not None
    assert refused.fr.endswith(": tesseract-ocr-deu")
    off = ocr.absent("")
    assert off is not None
    assert "ocr_languages" in off.en
    assert not ocr.available("")


@pytest.mark.parametrize(
    "does", ["os.abort()", "sys.exit(1)", "time.sleep(600)", "while True: pass", "x = bytearray(2**31)"]
)
def test_a_program_that_breaks_down_costs_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """A crash, an error, a hang, an endless loop and a want of memory are a page that failed, in bounded time."""
    program(tmp_path, monkeypatch, does)
    began = time.monotonic()
    found = ocr.recognise(page(), Limits(ocr_seconds=2, memory=512))
    assert found.failed
    assert (found.lines, found.score) == ((), 0.0)
    assert time.monotonic() - began < 12
    assert not ocr._running


@pytest.mark.parametrize("does", ["print('5\\t1\\t1\\t1\\t1\\t1\\tx')", "sys.stdout.buffer.write(os.urandom(9999))"])
def test_the_program_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """What is no table of words is a page without words."""
    program(tmp_path, monkeypatch, does)
    assert ocr.recognise(page(), Limits()).lines == ()


def test_the_program_dies_with_its_reader(tmp_path: Path, root: Path) -> None:
    """A reader that is killed leaves no program behind, though it hangs."""
    code = (
        "import os, sys\nfrom pathlib import Path\nos.defpath = sys.argv[1]\n"
        "from ingest import ocr\nfrom ingest.parsers import Limits\nfrom PIL import Image\n"
        "ocr.recognise(Image.radial_gradient('L'), Limits())"
    )
    with pytest.MonkeyPatch.context() as patch:
        program(tmp_path, patch, "time.sleep(600)")
    reader = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=root)
    try:
        until = time.monotonic() + 20
        while not (children := psutil.Process(reader.pid).children()):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        reader.kill()
        reader.wait()
    psutil.wait_procs(children, timeout=5)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


# --- recognition ----------------------------------------------------------------------------------------


@needs_tesseract
def test_words_have_their_places() -> None:
    """Lines come in order, in points, in the size of their font, and « 1er » is no « ler »."""
    found = ocr.recognise(page(), Limits(), dpi=150)
    assert text(found).splitlines() == list(LINES)
    assert (found.width, found.height) == pytest.approx((1240 * 0.48, 700 * 0.48))
    assert found.turned == 0
    assert found.score > 0.95
    first = found.lines[0]
    assert first.box.x0 == pytest.approx(120 * 0.48, abs=3)
    assert first.box.y0 < (100 + 17) * 0.48 < first.box.y1
    assert first.size == pytest.approx(34 * 0.48, rel=0.25)
    assert len({line.size for line in found.lines}) == 1


@needs_tesseract
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_page_on_its_side_is_turned(degrees: int) -> None:
    """Whichever way up a page was fed, it is read upright, and said to be turned."""
    picture = page(*LINES * 3, size=(1240, 1000))
    found = ocr.recognise(picture.rotate(degrees, expand=True), Limits(), dpi=150)
    assert text(found).splitlines() == [*LINES * 3]
    assert found.turned == degrees
    assert found.width == pytest.approx(1240 * 0.48)


@needs_tesseract
def test_a_table_comes_out_as_a_table() -> None:
    """The lines drawn around cells are no letters, and a lone figure in a cell is not lost."""
    rows = (("Grade", "Jours"), ("Attaché", "5"), ("Adjoint", "7"), ("Technicien", "14"))
    picture = page("Nombre de jours par grade", size=(1240, 800))
    draw = ImageDraw.Draw(picture)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            draw.rectangle((120 + 400 * column, 250 + 70 * number, 520 + 400 * column, 320 + 70 * number), outline=90)
            draw.text((140 + 400 * column, 262 + 70 * number), cell, fill=0, font=font(34))
    found = ocr.recognise(picture, Limits(), dpi=150)
    assert [line.rows for line in found.lines if line.rows] == [rows]


@needs_tesseract
def test_a_picture_without_text_has_no_words() -> None:
    """Blank paper, a black page and a gradient hold no line, and have not failed."""
    for picture in (Image.new("L", (900, 700), 250), Image.new("L", (900, 700), 0), Image.radial_gradient("L")):
        found = ocr.recognise(picture, Limits(), dpi=100)
        assert found.lines == ()
        assert (found.score, found.failed) == (0.0, False)


@needs_tesseract
def test_each_page_is_announced() -> None:
    """Before a page is recognised its number and the total are told."""
    told: list[tuple[int, int]] = []
    with ocr.announcing(lambda done, total: told.append((done, total))):
        ocr.recognise(Image.new("L", (200, 200), 255), Limits(), done=3, total=40)  # even one that is blank
    ocr.recognise(Image.new("L", (200, 200), 255), Limits())
    assert told == [(3, 40)]


def test_the_slope_of_a_scan_is_found() -> None:
    """A page that was fed askew is turned level; a level one and a blank one are left alone."""
    level = page(*LINES * 3, size=(1240, 900))
    for degrees in (-2.0, 0.0, 1.0, 3.5):
        fed = level.rotate(degrees, resample=Image.Resampling.BICUBIC, fillcolor=255)
        assert scan.slope(fed) == pytest.approx(-degrees, abs=0.3)
    assert scan.level(level) is level
    assert scan.slope(Image.new("L", (500, 500), 255)) == 0.0


def test_transparent_paper_is_white() -> None:
    """A drawing on nothing is read as one on white paper."""
    drawn = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    assert scan.grey(drawn).getpixel((5, 5)) == 255


# --- how well -------------------------------------------------------------------------------------------

_LOOKS = str.maketrans({"’": "'", "–": "-", "—": "-", "‑": "-", "\u00a0": " ", "\u202f": " "})
"""Signs that are set differently and read alike."""


def spelled(words: str) -> str:
    return " ".join(unicodedata.normalize("NFC", words).translate(_LOOKS).split())


def distances(truth: str, read: str) -> np.ndarray:
    """The table of edit distances between the beginnings of two texts."""
    signs = np.frombuffer(read.encode("utf-32-le"), np.uint32)
    places = np.arange(len(read) + 1)
    table = np.zeros((len(truth) + 1, len(read) + 1), np.int32)
    table[0] = places
    for row, sign in enumerate(truth, 1):
        steps = np.concatenate(([row], np.minimum(table[row - 1, :-1] + (signs != ord(sign)), table[row - 1, 1:] + 1)))
        table[row] = np.minimum.accumulate(steps - places) + places
    return table


def is_accented(sign: str) -> bool:
    return sign.isalpha() and len(unicodedata.normalize("NFD", sign)) > 1


def measured(truth: str, read: str) -> tuple[float, int, int]:
    """Character error rate, and how many of how many accented letters are right where the texts are aligned."""
    table = distances(truth, read)
    row, column, right = len(truth), len(read), 0
    while row and column:
        same = truth[row - 1] == read[column - 1]
        if table[row, column] == table[row - 1, column - 1] + (not same):
            right += same and is_accented(truth[row - 1])
            row, column = row - 1, column - 1
        elif table[row, column] == table[row - 1, column] + 1:
            row -= 1
        else:
            column -= 1
    return int(table[-1, -1]) / len(truth), right, sum(map(is_accented, truth))


def test_the_measure_itself() -> None:
    """Three edits in a text of ten, one of them a lost accent of two."""
    assert measured("décidé oui", "decidé  ou") == (0.3, 1, 2)


def worn(picture: Image.Image) -> Image.Image:
    """A page as a copier leaves it: a degree askew, soft, grey, specked and compressed."""
    random = np.random.default_rng(7)
    picture = picture.rotate(1, resample=Image.Resampling.BICUBIC, fillcolor=255).filter(ImageFilter.GaussianBlur(0.8))
    pixels = np.clip(np.asarray(picture) * 0.8 + 25 + random.normal(0, 6, (picture.height, picture.width)), 0, 255)
    pixels[random.random(pixels.shape) < 0.001] = 40
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG", quality=60)
    return Image.open(stream)


@needs_tesseract
@pytest.mark.slow
def test_accents_survive_a_scan(root: Path) -> None:
    """Of clean scans at 300 dots per inch at least 0.97 of the accented letters are right, of worn ones nearly."""
    pages = (("rh-teletravail-2025", 0), ("sante-visites-2024", 2))
    for name, number in pages:
        picture, truth = sheet(root, name, number)
        found = ocr.recognise(picture, Limits())
        errors, right, accents = measured(spelled(truth), spelled(text(found)))
        assert accents > 40
        assert right / accents >= 0.97, name
        assert errors < 0.02, name
        assert found.score > 0.95
    found = ocr.recognise(worn(picture), Limits())
    errors, right, accents = measured(spelled(truth), spelled(text(found)))
    assert right / accents >= 0.95
    assert errors < 0.04


@needs_tesseract
@pytest.mark.slow
@pytest.mark.parametrize("name", ["32-ocr_test.pdf", "33-ocr_test_rotated_90.pdf"])
def test_shared_scans_are_read(shared_data: Path, name: str) -> None:
    """Real scans whose words are known, one of them lying on its side, are read without an error."""
    path = shared_data / "documents" / "files" / name
    with pypdfium2.PdfDocument(path) as pdf:
        found = ocr.recognise(pdf[0].render(scale=300 / 72, grayscale=True).to_pil(), Limits())
    expected = Path(f"{path}.expected.md").read_text(encoding="utf-8")
    errors, _, _ = measured(spelled(expected.replace("<!-- image -->", "")), spelled(text(found)))
    assert errors < 0.01
    assert found.turned == (90 if "rotated" in name else 0)


# --- picture files --------------------------------------------------------------------------------------


def saved(folder: Path, name: str, picture: Image.Image, **options: object) -> Source:
    picture.save(folder / name, **options)  # type: ignore[arg-type]  # Pillow's options differ by format
    return Source(folder / name)


@needs_tesseract
@pytest.mark.slow
def test_picture_files_are_read_in_a_worker(tmp_path: Path) -> None:
    """Pictures of every kind become blocks with pages and their quality; broken, blank and hostile ones a reason."""
    picture = page()
    turned = Image.Exif()
    turned[0x0112] = 6
    sources = [
        saved(tmp_path, "a.png", picture, dpi=(150, 150)),
        saved(tmp_path, "b.jpg", picture.copy().rotate(90, expand=True), exif=turned, quality=90),
        saved(tmp_path, "c.tif", picture.copy(), save_all=True, append_images=[page("Une autre page.")]),
        saved(tmp_path, "d.webp", picture.copy()),
        saved(tmp_path, "e.bmp", picture.copy()),
        saved(tmp_path, "f.gif", picture.copy()),
        saved(tmp_path, "blank.png", Image.new("1", (400, 400), 1)),
        saved(tmp_path, "bomb.png", Image.new("1", (30_000, 30_000), 1)),
    ]
    whole = sources[0].path.read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "named.png").write_bytes(sources[1].path.read_bytes())
    sources += [Source(tmp_path / "cut.png"), Source(tmp_path / "named.png")]
    seen: list[tuple[str, int, int]] = []
    with Sandbox(Limits(), 1, lambda source, done, total: seen.append((source.path.name, done, total))) as sandbox:
        read = {source.path.name: result for source, result in sandbox.parse(sources)}
        pid = sandbox.pids[0]
        assert not psutil.Process(pid).children()
    for name in ("a.png", "b.jpg", "c.tif", "d.webp", "e.bmp", "f.gif", "named.png"):
        result = read[name]
        assert isinstance(result, Parsed), (name, result)
        assert " ".join(block.text for block in result.blocks if block.page == 1) == " ".join(LINES), name
        assert result.quality[0].ocr
        assert result.quality[0].score > 0.9
        assert result.media_type.startswith("image/")
    assert isinstance(read["c.tif"], Parsed)
    assert (read["c.tif"].pages, read["c.tif"].blocks[-1].page) == (2, 2)
    reasons = {name: result.reason for name, result in read.items() if isinstance(result, DocumentError)}
    assert reasons == {
        "blank.png": RejectReason.NO_TEXT, "bomb.png": RejectReason.TOO_LARGE, "cut.png": RejectReason.CORRUPT,
    }  # fmt: skip
    assert [entry for entry in seen if entry[0] == "c.tif"] == [("c.tif", 0, 2), ("c.tif", 1, 2)]


@needs_tesseract
@pytest.mark.slow
def test_a_hung_program_costs_a_page_and_not_the_file(tmp_path: Path) -> None:
    """A worker ends a Tesseract that stands still, goes on with the next page, and says what was lost."""
    first, second = page("Une première page entière."), page("Une seconde page entière.")
    source = saved(tmp_path, "a.tif", first, save_all=True, append_images=[second])
    stopped: list[int] = []

    def stop(source: Source, done: int, total: int) -> None:
        if done:
            return
        (worker,) = [child for child in psutil.Process().children() if "ingest.sandbox" in " ".join(child.cmdline())]
        until = time.monotonic() + 10
        while not (running := [child for child in worker.children() if "tsv" in child.cmdline()]):
            assert time.monotonic() < until
        os.kill(running[0].pid, signal.SIGSTOP)
        stopped.append(running[0].pid)

    with Sandbox(Limits(ocr_seconds=3), 1, stop) as sandbox:
        ((_, result),) = sandbox.parse([source])
    assert isinstance(result, Parsed), result
    assert result.warnings == ("1 pages could not be recognised",)
    assert [(found.page, found.score > 0.9) for found in result.quality] == [(1, False), (2, True)]
    assert [block.text for block in result.blocks] == ["Une seconde page entière."]
    assert stopped
    assert not psutil.pid_exists(stopped[0])


def test_a_picture_without_the_program_says_which_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Tesseract is missing a picture is refused with the names of the packages."""
    monkeypatch.setattr(os, "defpath", str(tmp_path))
    forget()
    with pytest.raises(DocumentError, match="tesseract-ocr-fra") as raised:
        parse(saved(tmp_path, "a.png", page()), Limits())
    assert raised.value.reason is RejectReason.NO_TEXT


def test_pages_that_fail_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that Tesseract broke down on has no quality and is told; the other pages are read."""
    word = "''.join(chr(97 + byte % 26) for byte in os.urandom(8))"
    row = f"'5\\t1\\t1\\t1\\t1\\t1\\t10\\t10\\t200\\t30\\t96.0\\tDécision ' + {word}"
    program(tmp_path, monkeypatch, f"sys.exit(1) if os.path.exists('{tmp_path}/once') else print({row})")
    source = saved(tmp_path, "a.tif", page(), save_all=True, append_images=[page(), page()])
    calls = iter((False, True, False))

    def announced(done: int, total: int) -> None:
        once = tmp_path / "once"
        once.touch() if next(calls) else once.unlink(missing_ok=True)

    with ocr.announcing(announced):
        result = parse(source, Limits())
    assert result.warnings == ("1 pages could not be recognised",)
    assert [(page.page, page.score > 0, page.ocr) for page in result.quality] == [
        (1, True, True), (2, False, True), (3, True, True),
    ]  # fmt: skip
    assert {block.kind for block in result.blocks} <= {BlockKind.PARAGRAPH, BlockKind.HEADING}


def test_a_kill_of_the_program_is_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system kills Tesseract for want of memory, the reader goes on."""
    program(tmp_path, monkeypatch, "time.sleep(60)")

    def kill() -> None:
        until = time.monotonic() + 10
        while not ocr._running and time.monotonic() < until:
            time.sleep(0.02)
        for pid in list(ocr._running):
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    assert ocr.recognise(page(), Limits()).failed
    thread.join()


def test_the_score_of_what_is_read_counts_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound words that Tesseract was not sure of score lower than those it was."""
    scores = []
    for sure in (95, 70, 40):
        rows = "\\n".join(f"5\\t1\\t1\\t1\\t1\\t{n}\\t{n * 90}\\t10\\t80\\t30\\t{sure}\\tagents" for n in range(1, 9))
        program(tmp_path, monkeypatch, f"print('{rows}')")
        scores.append(ocr.recognise(page(), Limits()).score)
    assert scores[0] == 1.0
    assert scores == sorted(scores, reverse=True)
    assert scores[2] < quality.LOW
