"""From a conversation to HTML, and to plain text for the clipboard; pure.

Everything that a document, the model or a person wrote passes through :func:`safe` here, piece by piece, after it was
cut by its offsets. No address comes out but paths of the API on the same server, and nothing is read as Markdown.
"""

from __future__ import annotations

import datetime as dt
import html
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Final

from rag import schemas
from ui.turn import Phase, Turn, shown
from ui.words import EXAMPLES, LANGUAGES, REASONS, day, example, say, spaced

PREVIEW: Final = 180
"""Characters of a passage that show while its card is closed: about two lines."""
SOON: Final = 30.0
"""Seconds of an estimated wait below which only that is said."""
PICTURE_WIDTH: Final = 900

_MARK: Final = re.compile(r"\[(\d{1,3})\]")
_OWN_PATH: Final = re.compile(r"/v1/[A-Za-z0-9._~%/-]*(?:\?snapshot=\d+)?")
# Invisible characters that belong to writing: joiners, and the soft hyphen. All others reorder or hide text.
_KEPT_FORMAT: Final = frozenset("\u200c\u200d\u00ad")
_QUOTED: Final = ("«", "“")
_CELLS: Final = " | "

Spans = Sequence[tuple[int, int, int]]
"""``(start, end, claim)``: characters of a passage, and the number of the claim that rests on them."""


def safe(text: str) -> str:
    """Text that shows as itself wherever it stands in HTML, attributes included.

    Control characters (terminal escapes too) and those that reorder or hide text are left out.
    """
    return html.escape(plain(text))


def plain(text: str) -> str:
    """Text without characters that control, reorder or hide."""
    return "".join(char for char in text if char in "\n\t" or char in _KEPT_FORMAT or _visible(char))


def _visible(char: str) -> bool:
    return unicodedata.category(char) not in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


# --- the frame -----------------------------------------------------------------------------------------


def header(language: str, *, account: bool = False) -> str:
    """The name of the service and what it is for; first of all a way past them for the keyboard.

    ``account`` adds the way to where one sees who one is, and signs out, and what the page shows, hidden until then,
    once the session has ended. What it shows once an answer's connection broke is hidden as well.
    """
    link = ""
    if account:
        again = f'<a href="/sign-in" target="_blank">{safe(say("sign_in_again", language))}</a>'
        over = safe(say("session_over", language)).format(again)
        link = (
            f'<p class="account"><a href="/sign-in">{safe(say("account", language))}</a></p>'
            f'<p class="session-over" role="alert" hidden>{over}</p>'
        )
    reload = f'<a href="/">{safe(say("reload", language))}</a>'
    lost = safe(say("connection_lost", language)).format(reload)
    link += f'<p class="connection-lost" role="alert" hidden>{lost}</p>'
    return (
        f'<a class="skip" href="#ask">{safe(say("skip", language))}</a>'
        f'<h1 class="brand">Vauban</h1><p class="tagline">{safe(say("tagline", language))}</p>{link}'
    )


def notice(language: str) -> str:
    """What is drafted by machine, what is recorded, and for how long."""
    texts = (say(f"notice_{part}", language) for part in ("machine", "kept", "feedback", "local"))
    told = "".join(
        f"<p><strong>{safe(first)}.</strong> {safe(rest)}</p>" for first, _, rest in (t.partition(". ") for t in texts)
    )
    return f'<details class="notice"><summary>{safe(say("notice", language))}</summary>{told}</details>'


def fault(message: str) -> str:
    """A mistake to mend before a question can be sent; empty without one."""
    return f'<p class="fault" role="alert">{safe(message)}</p>' if message else ""


# --- the conversation ----------------------------------------------------------------------------------


def conversation(turns: Sequence[Turn], language: str) -> str:
    """All turns, oldest first, or the welcome; ``data-said`` is what a screen reader is told, at start and end."""
    said = safe(_said(turns[-1], language)) if turns else ""
    inside = "".join(_turn(turn, language) for turn in turns) if turns else _welcome(language)
    return f'<div class="turns" data-language="{language}" data-said="{said}">{inside}</div>'


def _welcome(language: str) -> str:
    return (
        f'<div class="welcome"><h2>{safe(say("welcome", language))}</h2>'
        f'<p class="hint">{safe(say("welcome_hint", language))}</p></div>'
    )


def examples(corpora: Sequence[str], language: str) -> str:
    """A question to try for each corpus that is known; empty where none is."""
    texts = [example(name, language) for name in EXAMPLES if name in corpora]
    if not texts:
        return ""
    items = "".join(
        f'<li><button type="button" class="example" data-question="{safe(" ".join(text.split()))}">'
        f"{safe(text)}</button></li>"
        for text in texts
    )
    return f'<h3>{safe(say("examples", language))}</h3><ul class="examples">{items}</ul>'


def _said(turn: Turn, language: str) -> str:
    if not turn.phase.final:
        return say("said_start", language)
    return say("said_end", language, status(turn, language)) if turn.phase is Phase.DONE else status(turn, language)


def status(turn: Turn, language: str) -> str:
    """Where a turn stands, or how it ended, as a sentence."""
    match turn.phase:
        case Phase.SEARCHING | Phase.DRAFTING | Phase.WRITING | Phase.STOPPED:
            return say(turn.phase.value, language)
        case Phase.WAITING:
            place = say("next", language) if turn.position <= 1 else say("waiting", language, turn.position)
            return place if turn.seconds is None else f"{place} {_estimate(turn.seconds, language)}"
        case Phase.FAILED:
            return say("failed", language, turn.error or say("no_service", language))
    assert turn.whole is not None
    if any(claim.start is not None and not shown(claim) for claim in turn.claims):
        return say("flagged", language)
    return say(turn.whole.status.value, language)


def _estimate(seconds: float, language: str) -> str:
    """How long the wait may be, no more exact than it is: nobody counts along."""
    if seconds < SOON:
        return say("soon", language)
    minutes = round(seconds / 60)
    return say("in_a_minute", language) if minutes <= 1 else say("in_minutes", language, minutes)


def _turn(turn: Turn, language: str) -> str:
    kind = turn.whole.status.value if turn.whole else turn.phase.value
    parts = [
        f'<article class="turn" id="turn-{turn.number}" aria-labelledby="question-{turn.number}">',
        f'<h2 class="asked" id="question-{turn.number}">{safe(turn.question)}</h2>',
        _light(turn, language),
        f'<p class="status is-{kind}"><span class="sign" aria-hidden="true"></span>{safe(status(turn, language))}</p>',
        f'<div class="answer">{"".join(_blocks(turn, language))}</div>' if turn.text else "",
        _choices(turn, language),
        _notices(turn, language),
        _found(turn, language),
        _tools(turn, language) if turn.phase is Phase.DONE else "",
        "</article>",
    ]
    return "".join(parts)


def _light(turn: Turn, language: str) -> str:
    """The date under which the question was read, and the question itself when it was completed from the history."""
    parts = []
    if turn.as_of:
        read = turn.whole is not None and turn.whole.as_of_source == "question"
        parts.append(say("as_of_read" if read else "as_of", language, day(turn.as_of, language)))
    if turn.understood.split() != turn.question.split() and turn.understood:
        parts.append(say("understood", language, turn.understood))
    return f'<p class="light">{"<br>".join(map(safe, parts))}</p>' if parts else ""


def _choices(turn: Turn, language: str) -> str:
    """The ways to make the question clearer; picking one writes the whole question into the form."""
    if not (turn.whole and turn.whole.choices):
        return ""
    items = "".join(
        f'<li><button type="button" class="example" data-question="{safe(" ".join(choice.question.split()))}">'
        f"{safe(choice.label)}</button></li>"
        for choice in turn.whole.choices
    )
    return f'<ul class="examples choices" aria-label="{safe(say("choices", language))}">{items}</ul>'


def _notices(turn: Turn, language: str) -> str:
    """What the reader should know of the answer: other versions, dates, spelling."""
    if not (turn.whole and turn.whole.notices):
        return ""
    items = "".join(f'<li class="is-{notice.kind.value}">{safe(notice.text)}</li>' for notice in turn.whole.notices)
    return f'<ul class="notices" aria-label="{safe(say("notices", language))}">{items}</ul>'


def _blocks(turn: Turn, language: str) -> Iterator[str]:
    """The text by paragraphs; a verbatim extract stays whole and stands as a quotation."""
    for start, end in _paragraphs(turn):
        inside = _inline(turn, start, end, language)
        tag = "blockquote" if turn.text[start:end].startswith(_QUOTED) else "p"
        yield f"<{tag}>{inside}</{tag}>"


def _paragraphs(turn: Turn) -> Iterator[tuple[int, int]]:
    """Where paragraphs stand: they are parted by blank lines, but no claim is cut in two."""
    whole = [(claim.start, claim.end) for claim in turn.claims if claim.start is not None and claim.end is not None]
    start = 0
    for gap in re.finditer(r"\n\s*\n", turn.text):
        if any(left < gap.start() < right for left, right in whole):
            continue
        if turn.text[start : gap.start()].strip():
            yield start, gap.start()
        start = gap.end()
    if turn.text[start:].strip():
        yield start, len(turn.text)


def _inline(turn: Turn, start: int, end: int, language: str) -> str:
    """Characters ``[start, end)`` of the text: escaped, its marks made buttons, unsupported sentences marked."""
    pieces: list[str] = []
    at = start
    for number, claim in enumerate(turn.claims):
        if claim.start is None or claim.end is None or claim.start < at or claim.end > end:
            continue
        pieces.append(safe(spaced(turn.text[at : claim.start])))
        sentence = _marked(turn, claim.start, claim.end, number, set(claim.passages), language)
        pieces.append(sentence if shown(claim) else f'<span class="unsupported">{sentence}</span>')
        at = claim.end
    if turn.claims:
        pieces.append(safe(spaced(turn.text[at:end])))
    else:  # still being written: which sentence cites what is not known yet
        pieces.append(_marked(turn, at, end, None, {passage.n for passage in turn.passages or ()}, language))
    return "".join(pieces)


def _marked(turn: Turn, start: int, end: int, claim: int | None, cited: set[int], language: str) -> str:
    by_number = {passage.n: passage for passage in turn.passages or ()}
    pieces = []
    at = start
    for mark in _MARK.finditer(turn.text, start, end):
        n = int(mark[1])
        if n not in cited or n not in by_number:
            continue
        pieces += [safe(spaced(turn.text[at : mark.start()])), _mark(turn.number, by_number[n], claim, language)]
        at = mark.end()
    pieces.append(safe(spaced(turn.text[at:end])))
    return "".join(pieces)


def _mark(number: int, passage: schemas.Passage, claim: int | None, language: str) -> str:
    label = safe(say("source", language, passage.n, _named(passage)))
    of = "" if claim is None else f' data-claim="{claim}"'
    return (
        f'<button type="button" class="cite" data-source="source-{number}-{passage.n}"{of} aria-label="{label}" '
        f'title="{label}">[{passage.n}]</button>'
    )


def _found(turn: Turn, language: str) -> str:
    """While the reader waits: the titles again, for narrow screens, where the sources stand far below."""
    if not turn.passages or turn.phase.final:
        return ""
    items = "".join(
        f'<li><button type="button" class="cite" data-source="source-{turn.number}-{passage.n}">'
        f"<span>[{passage.n}]</span> {safe(_named(passage))}</button></li>"
        for passage in turn.passages
    )
    return f'<div class="found"><h3>{safe(say("found", language))}</h3><ul>{items}</ul></div>'


def _named(passage: schemas.Passage) -> str:
    return ", ".join(filter(None, (passage.title, passage.reference)))


def _tools(turn: Turn, language: str) -> str:
    copy = (
        f'<button type="button" class="tool copy" data-copy="{html.escape(copied(turn, language))}" '
        f'data-done="{safe(say("copied", language))}" data-failed="{safe(say("copy_failed", language))}">'
        f"{safe(say('copy', language))}</button>"
    )
    if turn.thumb:
        return f'<div class="tools">{copy}<p class="thanks" tabindex="-1">{safe(say("thanks", language))}</p></div>'
    missed = fault(say("not_recorded", language, turn.fault)) if turn.fault else ""
    return (
        f'<div class="tools">{copy}<div class="thumbs" role="group" aria-label="{safe(say("feedback", language))}">'
        f'<button type="button" class="tool up" data-turn="{turn.number}">{safe(say("useful", language))}</button>'
        f'<button type="button" class="tool down" data-turn="{turn.number}" aria-expanded="false" '
        f'aria-controls="opinion-{turn.number}">{safe(say("useless", language))}</button></div></div>'
        f"{missed}{_opinion(turn, language)}"
    )


def _opinion(turn: Turn, language: str) -> str:
    """The form behind the thumb that points down."""
    number = turn.number
    reasons = "".join(
        f'<label><input type="radio" name="reason-{number}" value="{reason}"> '
        f"{safe(say(f'reason_{reason}', language))}</label>"
        for reason in REASONS
    )
    return (
        f'<form class="opinion" id="opinion-{number}" data-turn="{number}" hidden>'
        f"<fieldset><legend>{safe(say('why', language))}</legend>{reasons}</fieldset>"
        f'<label for="comment-{number}">{safe(say("comment", language))}</label>'
        f'<textarea id="comment-{number}" rows="2" maxlength="{schemas.LONGEST_COMMENT}"></textarea>'
        f'<div class="buttons"><button type="submit" class="tool send">{safe(say("send", language))}</button>'
        f'<button type="button" class="tool cancel">{safe(say("cancel", language))}</button></div></form>'
    )


# --- the sources ---------------------------------------------------------------------------------------


def sources(turns: Sequence[Turn], language: str) -> str:
    """The passages of every turn, a card each; those of the last turn show first."""
    seen = [turn for turn in turns if turn.passages is not None]
    head = f'<h2 class="aside">{safe(say("sources", language))}</h2>'
    if not seen:
        return f'<div class="sources">{head}<p class="hint">{safe(say("sources_empty", language))}</p></div>'
    groups = "".join(_group(turn, turn is seen[-1], len(seen) > 1, language) for turn in seen)
    return f'<div class="sources">{head}{groups}</div>'


def _group(turn: Turn, last: bool, several: bool, language: str) -> str:
    assert turn.passages is not None
    hidden = "" if last else " hidden"
    head = f'<p class="hint">{safe(say("sources_of", language, turn.question))}</p>' if several else ""
    if not turn.passages:
        head += f'<p class="hint">{safe(say("sources_none", language))}</p>'
    cards = "".join(_card(turn, passage, language) for passage in turn.passages)
    return (
        f'<section class="group" id="sources-{turn.number}" data-turn="{turn.number}"{hidden}>{head}{cards}</section>'
    )


def _card(turn: Turn, passage: schemas.Passage, language: str) -> str:
    name = f"{turn.number}-{passage.n}"
    spans = _spans(turn, passage.n)
    cited = f'<span class="badge">{safe(say("cited", language))}</span>' if passage.n in turn.cited else ""
    reference = f'<span class="reference">{safe(passage.reference)}</span>' if passage.reference else ""
    return (
        f'<details class="source" id="source-{name}" data-turn="{turn.number}"><summary>'
        f'<span class="n">{passage.n}</span><span class="what"><span class="name">{safe(passage.title)}</span>'
        f'{reference}<span class="preview">{safe(_preview(passage.text))}</span></span>{cited}</summary>'
        f'<div class="body"><dl>{_facts(passage, language)}</dl>{_omitted(turn, passage, language)}'
        f"<h3>{safe(say('passage', language))}</h3>"
        f'<blockquote class="passage"{_spoken(turn, passage)}>{highlighted(passage.text, spans)}</blockquote>'
        + (f'<p class="hint">{safe(say("supporting", language))}</p>' if spans else "")
        + _picture(turn, passage, language)
        + _links(passage, language)
        + "</div></details>"
    )


def _spoken(turn: Turn, passage: schemas.Passage) -> str:
    """The language of a passage as an attribute, for voices to read it rightly."""
    document = turn.document(passage)
    return f' lang="{document.language}"' if document and document.language in LANGUAGES else ""


def _spans(turn: Turn, n: int) -> list[tuple[int, int, int]]:
    """The words of passage ``n`` that shown sentences rest on."""
    return [
        (span.start, span.end, number)
        for number, claim in enumerate(turn.claims)
        if shown(claim)
        for span in claim.spans
        if span.passage == n
    ]


def highlighted(text: str, spans: Spans) -> str:
    """``text``, escaped, with the characters of ``spans`` marked; spans may overlap or lie partly outside.

    Lines of cells (``a | b``) become rows of a table, the first one its head.
    """
    pieces = []
    for rows, group in groupby(_lines(text), key=lambda line: _columns(text, line)):
        lines = list(group)
        if rows and len(lines) > 1:
            body = "".join(_row(text, line, spans, "td" if number else "th") for number, line in enumerate(lines))
            pieces.append(f"<table>{body}</table>")
        else:
            pieces.append(_stretch(text, lines[0][0], lines[-1][1], spans))
    return "".join(pieces)


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Where each line stands, its end of line included."""
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, start + len(line)
        start += len(line)


def _columns(text: str, line: tuple[int, int]) -> int:
    """How many separators of cells a line has."""
    return text.count(_CELLS, *line)


def _row(text: str, line: tuple[int, int], spans: Spans, tag: str) -> str:
    start, end = line[0], line[0] + len(text[line[0] : line[1]].rstrip("\r\n"))
    cells = []
    while start <= end:
        stop = text.find(_CELLS, start, end)
        stop = end if stop < 0 else stop
        cells.append(f"<{tag}>{_stretch(text, start, stop, spans)}</{tag}>")
        start = stop + len(_CELLS)
    return f"<tr>{''.join(cells)}</tr>"


def _stretch(text: str, start: int, end: int, spans: Spans) -> str:
    """Characters ``[start, end)``, cut where what supports an answer begins or ends."""
    edges = sorted({start, end, *(min(max(edge, start), end) for span in spans for edge in span[:2])})
    pieces = []
    for left, right in pairwise(edges):
        claims = sorted({claim for first, last, claim in spans if first <= left and right <= last})
        piece = safe(text[left:right])
        numbers = " ".join(map(str, claims))
        pieces.append(f'<mark data-claims="{numbers}">{piece}</mark>' if claims and piece else piece)
    return "".join(pieces)


def _preview(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= PREVIEW else text[:PREVIEW].rsplit(" ", 1)[0] + "…"


def _facts(passage: schemas.Passage, language: str) -> str:
    facts = [("place", " › ".join(passage.path)), ("validity", validity(passage, language))]
    if passage.norm_rank:
        facts.append(("norm", say(passage.norm_rank.value, language)))
    if passage.legal_status is not None and passage.legal_status.value != "in_force":
        facts.append(("legal_status", say(passage.legal_status.value, language)))
    if passage.found != "search":
        facts.append(("found_by", say(f"found_{passage.found.value}", language)))
    if passage.quality is not None:
        facts.append(("reading", say("poor_reading", language)))
    if passage.page:
        last = passage.page_end or passage.page
        facts.append(("file_page", f"{passage.page}" if last == passage.page else f"{passage.page}–{last}"))
    return "".join(f"<dt>{safe(say(key, language))}</dt><dd>{safe(value)}</dd>" for key, value in facts if value)


def validity(passage: schemas.Passage, language: str) -> str:
    """When the rule is in force, in words; the last day is said, not the first one after it."""
    start = day(passage.valid_from, language) if passage.valid_from else ""
    end = day(passage.valid_to - dt.timedelta(days=1), language) if passage.valid_to else ""
    if start and end:
        return say("between", language, start, end)
    if start:
        return say("since", language, start)
    return say("until", language, end) if end else say("unknown_validity", language)


def _omitted(turn: Turn, passage: schemas.Passage, language: str) -> str:
    """Why the model was not shown this passage, where it was not."""
    reasons = {dropped.passage: dropped.reason.value for dropped in turn.whole.dropped} if turn.whole else {}
    if passage.n not in reasons:
        return ""
    key = "duplicate" if reasons[passage.n] == "duplicate" else "not_read"
    return f'<p class="hint">{safe(say(key, language))}</p>'


def _picture(turn: Turn, passage: schemas.Passage, language: str) -> str:
    """The page as a picture, drawn when it is opened; only PDF files have some."""
    document = turn.document(passage)
    if not (document and document.media_type == "application/pdf" and passage.page):
        return ""
    address = _own(passage.url, f"/pages/{passage.page}.png")
    if not address:
        return ""
    address += f"{'&' if '?' in address else '?'}width={PICTURE_WIDTH}"
    alternative = safe(say("picture_of", language, passage.page, passage.title))
    return (
        f'<details class="picture" id="picture-{turn.number}-{passage.n}">'
        f"<summary>{safe(say('picture', language, passage.page))}</summary>"
        f'<img loading="lazy" src="{html.escape(address)}" alt="{alternative}"></details>'
    )


def _links(passage: schemas.Passage, language: str) -> str:
    address = _own(passage.url, "/file")
    link = f'<a href="{html.escape(address)}" download>{safe(say("file", language))}</a>' if address else ""
    back = f'<button type="button" class="back">{safe(say("back", language))}</button>'
    return f'<p class="links">{link}{back}</p>'


def _own(url: str, rest: str) -> str:
    """The path of something of a document on this server; empty when ``url`` is not such a path."""
    if not _OWN_PATH.fullmatch(url) or ".." in urllib.parse.unquote(url):
        return ""
    path, mark, query = url.partition("?")
    return path + rest + mark + query


# --- the clipboard -------------------------------------------------------------------------------------


def copied(turn: Turn, language: str) -> str:
    """A finished turn as plain text: question, answer, the sources that it cites (or all), and who drafted it."""
    cited = [passage for passage in turn.passages or () if passage.n in turn.cited]
    lines = [say("copied_question", language, plain(turn.question)), "", plain(turn.text)]
    references = [_reference(passage, language) for passage in cited or turn.passages or ()]
    if turn.whole and turn.whole.notices:
        lines += ["", *(plain(notice.text) for notice in turn.whole.notices)]
    if references:
        lines += ["", say("copied_sources" if cited else "copied_nearest", language), *references]
    if cited:
        drafted = turn.whole is not None and turn.whole.status == "answered"
        lines += ["", say("copied_notice" if drafted else "copied_extracts", language)]
    return "\n".join(lines)


def _reference(passage: schemas.Passage, language: str) -> str:
    parts = [passage.title, passage.reference, *([say("copied_page", language, passage.page)] if passage.page else [])]
    return plain(f"[{passage.n}] {', '.join(filter(None, parts))} ({validity(passage, language)})")
