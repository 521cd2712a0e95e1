"""How good are the answers? Ask every case, judge what a person would have read, and count.

Nothing here shares code with the verifier of the engine. A displayed sentence is judged by a label that a person
gave it (``golden/labels.json``), else as supported when it stands word for word, as whole sentences, in a passage
that it cites, else as supported when it cites the expected article and holds every expected value, else it stays
unjudged: it is listed for a person (:meth:`Report.worksheet`) and does not count as supported.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from eval import runs
from eval.cases import GOLDEN, Case, Expected
from eval.report import table
from rag import schemas
from rag.errors import BadRequest, VaubanError
from rag.types import Answer, Event, Principal, Question, Status

LABELS = GOLDEN / "labels.json"
SHOWN = {Status.ANSWERED, Status.EXTRACTS, Status.CONFLICTING_SOURCES}
"""The statuses that give the reader text from the sources; all others assert nothing and count as refusals."""

Ask = Callable[[Case], Answer | schemas.Asked]
"""Answers a case: the engine in this process, or the ``vauban`` object that a server sent."""


class Engine(Protocol):
    """What answers in this process: the events of an answer, the finished one last."""

    def answer(self, question: Question) -> Iterator[Event]: ...


class Basis(StrEnum):
    """What a judgement rests on."""

    LABEL = "label"
    VERBATIM = "verbatim"
    GOLD = "gold"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Judged:
    """A displayed sentence. ``supported`` is ``None`` while nothing judges it; ``cited`` are (key, reference, text)."""

    text: str
    cited: tuple[tuple[str, str, str], ...]
    supported: bool | None
    basis: Basis

    def as_json(self) -> dict[str, object]:
        return {
            "text": self.text,
            "cited": [{"key": key, "reference": reference} for key, reference, _ in self.cited],
            "supported": self.supported,
            "basis": self.basis.value,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One question and what became of it; ``status`` is ``None`` when it crashed, ``error`` says how.

    ``expected_cited`` and ``value_present`` are ``None`` where the case expects nothing of the kind.
    """

    case: Case
    status: Status | None
    error: str | None = None
    text: str = ""
    expected_found: bool | None = None
    expected_cited: bool | None = None
    value_present: bool | None = None
    sentences: tuple[Judged, ...] = ()
    seconds: float = 0.0
    citation_precision: float | None = None
    citation_recall: float | None = None
    token_f1: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def shown(self) -> bool:
        """Whether the reader was given text from the sources."""
        return self.status in SHOWN

    @property
    def refused(self) -> bool:
        """Whether the reader was told that there is no answer; a crash is neither."""
        return self.status is not None and not self.shown

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.case.id,
            "question": self.case.text,
            "corpus": self.case.corpus,
            "language": self.case.language,
            "split": self.case.split,
            "kind": self.case.kind,
            "unanswerable": self.case.unanswerable,
            "status": self.status and self.status.value,
            "error": self.error,
            "text": self.text,
            "expected_found": self.expected_found,
            "expected_cited": self.expected_cited,
            "value_present": self.value_present,
            "sentences": [sentence.as_json() for sentence in self.sentences],
            "citation_precision": self.citation_precision,
            "citation_recall": self.citation_recall,
            "token_f1": self.token_f1,
            "seconds": self.seconds,
        }

    @property
    def wrong(self) -> bool:
        """Whether a person should look at it: a crash, a wrong refusal, or something expected that is not there."""
        if self.case.unanswerable:
            return not self.refused
        return not self.shown or self.expected_cited is False or self.value_present is False


@dataclass(frozen=True, slots=True)
class Share:
    """A rate with what it counts."""

    numerator: int
    denominator: int

    @property
    def rate(self) -> float | None:
        return round(self.numerator / self.denominator, 4) if self.denominator else None


RATES = {
    "answered": "answerable questions whose reader got text from the sources / answerable questions",
    "refused_rightly": "unanswerable questions that were refused / unanswerable questions",
    "refused_wrongly": "answerable questions that were refused / answerable questions",
    "expected_cited": "questions with an expected article among those their sentences cite / questions that expect one",
    "value_present": "questions whose sentences hold every short answer / questions that have short answers",
    "supported": "displayed sentences judged supported by what they cite / displayed sentences that were judged",
}
"""The rates: numerator / denominator. A question that crashed is in the denominators only."""

MEASURES = RATES | {
    "citation_precision": "mean over answers: displayed sentences that cite an expected article / displayed sentences",
    "citation_recall": "mean over questions: expected articles that a sentence cites / expected articles",
    "token_f1": "mean over questions: the best token F1 of a displayed sentence against the short answer",
    "refusal_precision": "refusals of unanswerable questions / refusals",
}
"""What a kept run has beside the rates."""


def rates(rows: Iterable[Row]) -> dict[str, Share]:
    """Every rate of :data:`RATES` over ``rows``."""
    rows = list(rows)
    answerable = [row for row in rows if not row.case.unanswerable]
    unanswerable = [row for row in rows if row.case.unanswerable]
    verdicts = [sentence.supported for row in rows for sentence in row.sentences if sentence.supported is not None]
    return {
        "answered": _share(row.shown for row in answerable),
        "refused_rightly": _share(row.refused for row in unanswerable),
        "refused_wrongly": _share(row.refused for row in answerable),
        "expected_cited": _share(row.expected_cited for row in answerable if row.expected_cited is not None),
        "value_present": _share(row.value_present for row in answerable if row.value_present is not None),
        "supported": _share(verdicts),
    }


def _share(outcomes: Iterable[bool | None]) -> Share:
    counted = [bool(outcome) for outcome in outcomes]
    return Share(sum(counted), len(counted))


_GROUPS: dict[str, Callable[[Case], str | None]] = {
    "corpus": lambda case: case.corpus,
    "kind": lambda case: case.kind,
    "language": lambda case: case.language,
    "split": lambda case: case.split,
}


@dataclass(frozen=True, slots=True)
class Report:
    """A run over the cases. ``run`` is what is needed to repeat it: commit, settings, models."""

    rows: tuple[Row, ...]
    seconds: float
    run: Mapping[str, object] = field(default_factory=dict)

    def rates(self) -> dict[str, Share]:
        return rates(self.rows)

    def statuses(self) -> dict[str, int]:
        """How the answerable questions ended: the split of answered, extracts and refusals; ``failed`` are crashes."""
        return _counted(row.status.value if row.status else "failed" for row in self.rows if not row.case.unanswerable)

    def bases(self) -> dict[str, int]:
        """What the judgements of the displayed sentences rest on; ``none`` are those that nobody judged yet."""
        return _counted(sentence.basis.value for row in self.rows for sentence in row.sentences)

    def groups(self) -> dict[str, dict[str, dict[str, Share]]]:
        """The rates again, by corpus, kind, language and split."""
        found: dict[str, dict[str, dict[str, Share]]] = {}
        for name, key in _GROUPS.items():
            values = sorted({key(row.case) or "" for row in self.rows} - {""})
            found[name] = {value: rates(row for row in self.rows if key(row.case) == value) for value in values}
        return found

    def as_json(self) -> dict[str, object]:
        """The report of ``vauban eval answers --json``."""
        shares = self.rates()
        return {
            "questions": len(self.rows),
            "answerable": sum(not row.case.unanswerable for row in self.rows),
            "unanswerable": sum(row.case.unanswerable for row in self.rows),
            "failed": sum(row.status is None for row in self.rows),
            "rates": {name: share.rate for name, share in shares.items()},
            "counts": {name: [share.numerator, share.denominator] for name, share in shares.items()},
            "definitions": dict(RATES),
            "statuses": self.statuses(),
            "bases": self.bases(),
            "by": {
                name: {value: {rate: share.rate for rate, share in group.items()} for value, group in groups.items()}
                for name, groups in self.groups().items()
            },
            "rows": [row.as_json() for row in self.rows],
            "seconds": self.seconds,
            "run": dict(self.run),
        }

    def as_run(self, name: str) -> runs.Run:
        """The run in the form that is kept, drawn and compared."""
        return runs.Run(
            kind=runs.Kind.ANSWERS,
            name=name,
            definitions=dict(MEASURES),
            rows=[_measured(row) for row in self.rows],
            facts=dict(self.run),
            seconds=self.seconds,
        )

    def as_text(self) -> str:
        """The report as a terminal shows it: the rates over all questions and by group, then what ended how."""
        lines = [("all", "", len(self.rows), self.rates())]
        for name, groups in self.groups().items():
            for value, shares in groups.items():
                lines.append((name, value, self._asked(name, value), shares))
        body = [
            [name, value, questions, *("-" if share.rate is None else f"{share.rate:.3f}" for share in shares.values())]
            for name, value, questions, shares in lines
        ]
        return "\n".join(
            [
                table(["", "", "questions", *RATES], body),
                "",
                f"answerable ended as: {_listed(self.statuses())}",
                f"sentences judged by: {_listed(self.bases())}",
                *(f"failed: {row.case.id}: {row.error}" for row in self.rows if row.error),
            ]
        )

    def _asked(self, name: str, value: str) -> int:
        return sum(_GROUPS[name](row.case) == value for row in self.rows)

    def worksheet(self, most: int | None = None) -> list[dict[str, object]]:
        """Displayed sentences that no person has judged, with the passages they cite, for a person to judge.

        Ordered by the hash of their words, so that the first ``most`` are a fair sample that stays the same.
        """
        pending = {
            sentence.cited[0][0] if sentence.cited else label_key(sentence.text, ""): (row, sentence)
            for row in self.rows
            for sentence in row.sentences
            if sentence.basis is not Basis.LABEL
        }
        return [
            {
                "question": row.case.text,
                "claim": sentence.text,
                "cited": [
                    {"key": key, "reference": reference, "passage": text} for key, reference, text in sentence.cited
                ],
                "basis": sentence.basis.value,
            }
            for _, (row, sentence) in sorted(pending.items(), key=lambda item: item[0])[:most]
        ]


def _measured(row: Row) -> runs.Row:
    """A row with every measure that it counts in."""
    case = row.case
    values: dict[str, float | None] = {}
    if case.unanswerable:
        values["refused_rightly"] = row.refused
    else:
        values |= {"answered": row.shown, "refused_wrongly": row.refused, "expected_cited": row.expected_cited}
        values |= {"value_present": row.value_present, "token_f1": row.token_f1}
        values |= {"citation_precision": row.citation_precision, "citation_recall": row.citation_recall}
    if row.refused:
        values["refusal_precision"] = case.unanswerable
    judged = [sentence.supported for sentence in row.sentences if sentence.supported is not None]
    if judged:
        values["supported"] = sum(judged) / len(judged)
    groups = {name: key(case) for name, key in _GROUPS.items()} | {
        "status": row.status.value if row.status else "failed"
    }
    return runs.Row(
        id=case.id,
        values={name: float(value) for name, value in values.items() if value is not None},
        groups={name: value for name, value in groups.items() if value},
        seconds={**row.stages, "total": row.seconds},
        failed=row.wrong,
        detail={**row.as_json(), "expected": [asdict(one) for one in case.expected], "answers": list(case.answers)},
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


# --- running -------------------------------------------------------------------------------------------


def run(
    cases: Sequence[Case],
    ask: Ask,
    *,
    labels: Mapping[str, bool] | None = None,
    about: Mapping[str, object] | None = None,
    done: Callable[[Row], None] = lambda row: None,
) -> Report:
    """Ask each case in turn. One that fails becomes a row with its error, and the run goes on.

    ``labels`` default to those that are shipped; ``done`` is told each row, for a progress bar.
    """
    known = read_labels() if labels is None else labels
    start = time.perf_counter()
    rows = []
    for case in cases:
        rows.append(_asked(case, ask, known))
        done(rows[-1])
    return Report(tuple(rows), round(time.perf_counter() - start, 3), dict(about or {}))


def of_engine(engine: Engine, principal: Principal, *, own_corpus: bool = False) -> Ask:
    """Asks the engine as ``principal``, over all corpora or, with ``own_corpus``, over the case's alone."""

    def ask(case: Case) -> Answer:
        question = Question(
            case.text,
            principal,
            corpora=(case.corpus,) if own_corpus and case.corpus else None,
            as_of=case.as_of,
        )
        *_, last = engine.answer(question)
        if not isinstance(last, Answer):
            raise TypeError(f"the engine ended with {type(last).__name__}")
        return last

    return ask


def _asked(case: Case, ask: Ask, labels: Mapping[str, bool]) -> Row:
    start = time.perf_counter()
    try:
        answer = ask(case)
    except VaubanError as error:
        return _failed(case, f"{error.code}: {error.en}", _since(start))
    except Exception as error:  # noqa: BLE001  a crash of whatever kind is a failed row, and the run goes on
        return _failed(case, f"{type(error).__name__}: {error}", _since(start))
    seconds = _since(start)
    return judge(case, schemas.asked(answer) if isinstance(answer, Answer) else answer, labels, seconds)


def _failed(case: Case, error: str, seconds: float) -> Row:
    """The row of a crash: nothing that was expected of it came."""
    return Row(
        case,
        None,
        error=error,
        expected_found=False if case.expected else None,
        expected_cited=False if case.expected else None,
        value_present=False if case.answers else None,
        seconds=seconds,
    )


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


# --- judging; pure ---------------------------------------------------------------------------------------


def judge(case: Case, asked: schemas.Asked, labels: Mapping[str, bool], seconds: float = 0.0) -> Row:
    """The row of one answer."""
    passages = {passage.n: passage for passage in asked.passages}
    sentences: list[Judged] = []
    read: list[schemas.Passage] = []
    for claim in asked.claims:
        if claim.start is None or claim.end is None or claim.text is None:
            continue
        cited = [passages[n] for n in claim.passages if n in passages]
        read += cited
        sentences.append(_judged(case, claim.text, cited, labels))
    said = " ".join(sentence.text for sentence in sentences)
    right = [any(_is_expected(case, passages[n]) for n in claim.passages if n in passages) for claim in _shown(asked)]
    found = [any(matches(one, passage, case.language) for passage in read) for one in case.expected]
    return Row(
        case=case,
        status=asked.status,
        text=asked.text,
        expected_found=any(_is_expected(case, one) for one in asked.passages) if case.expected else None,
        expected_cited=any(_is_expected(case, one) for one in read) if case.expected else None,
        value_present=all(holds_value(said, value) for value in case.answers) if case.answers else None,
        sentences=tuple(sentences),
        seconds=seconds,
        citation_precision=sum(right) / len(right) if case.expected and right else None,
        citation_recall=sum(found) / len(found) if found else None,
        token_f1=max((token_f1(one.text, " ".join(case.answers)) for one in sentences), default=0.0)
        if case.answers
        else None,
        stages=dict(asked.timings),
    )


def _shown(asked: schemas.Asked) -> list[schemas.Claim]:
    return [claim for claim in asked.claims if claim.start is not None and claim.text is not None]


def token_f1(text: str, answer: str) -> float:
    """The harmonic mean of precision and recall of the words of ``text`` against those of ``answer``.

    As in Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (EMNLP 2016), section 5, but
    without leaving out articles, which belong to English.
    """
    said, wanted = (Counter(re.findall(r"\w+", _joined(fold(one)))) for one in (text, answer))
    common = sum((said & wanted).values())
    return 2 * common / (said.total() + wanted.total()) if common else 0.0


def _judged(case: Case, text: str, cited: Sequence[schemas.Passage], labels: Mapping[str, bool]) -> Judged:
    """Judge one displayed sentence: by its label, else word for word, else by the gold values, else not at all."""
    keyed = tuple((label_key(text, passage.text), passage.reference, passage.text) for passage in cited)
    given = [labels[key] for key, _, _ in keyed if key in labels]
    if any(given):
        return Judged(text, keyed, True, Basis.LABEL)
    if given and len(given) == len(keyed):
        return Judged(text, keyed, False, Basis.LABEL)
    if any(verbatim(text, passage.text) for passage in cited):
        return Judged(text, keyed, True, Basis.VERBATIM)
    if case.answers and any(
        _is_expected(case, passage) and holds_value(text, value) and holds_value(passage.text, value)
        for passage in cited
        for value in case.answers
    ):
        return Judged(text, keyed, True, Basis.GOLD)
    return Judged(text, keyed, None, Basis.NONE)


def _is_expected(case: Case, passage: schemas.Passage) -> bool:
    return any(matches(one, passage, case.language) for one in case.expected)


def matches(expected: Expected, passage: schemas.Passage, language: str | None = None) -> bool:
    """Whether a passage is of the expected article: by its reference, or by a heading that it stands under."""
    if passage.document != expected.document:
        return False
    if expected.article is None:
        return True
    wanted = place(expected.article, language)
    return any(place(name, language) == wanted for name in (passage.reference, *passage.path) if name)


_PLACE = re.compile(r"(?P<word>article|art\.?|section|point|paragraph|paragraphe|§)\s*(?=[\d*]|[lrd]\.|premier\b)")
_PLACE_NUMBER = re.compile(
    r"(?:(?P<letter>[lrd])\.?\s?)?\*?(?P<digits>\d+(?:[.-]\d+)*)(?:er)?(?P<latin>\s(?:bis|ter))?\b"
)


def place(name: str, language: str | None = None) -> str:
    """What a reference, a heading or a bare number points at, in one spelling.

    ``Article 1er — Objet`` and ``1er`` are ``1``; ``Annexe 2`` and ``Annex 2`` are ``annex 2``; a *Section* is an
    article except in French. What has no number, a sheet's name, stands for itself.
    """
    text = fold(name)
    annex = re.match(r"annexe? (\w+)", text)
    if annex:
        return f"annex {annex[1]}"
    word = _PLACE.match(text)
    if word and not (word["word"] == "section" and language == "fr"):
        text = text[word.end() :]
    text = re.sub(r"^premier\b", "1", text)
    number = _PLACE_NUMBER.match(text)
    if number is None:
        return text
    rest = text[number.end() :].strip()
    if not word and rest and not re.match(r"[.—–:-]", rest):  # « 2 bureaux » is a name, « 2. Objet » a number
        return text
    return f"{number['letter'] or ''}{number['digits']}{number['latin'] or ''}"


def holds_value(text: str, value: str) -> bool:
    """Whether ``text`` holds ``value``: not inside a longer number or word; thousands may be spaced or not."""
    words = re.escape(_joined(fold(value)))
    return re.search(rf"(?<![\w]){words}(?!\w|[.,]\d)", _joined(fold(text))) is not None


def _joined(text: str) -> str:
    return re.sub(r"(?<=\d) (?=\d{3}(?!\d))", "", text)


_ITEM = re.compile(r"(?:[-–•] |« |\w\) |\d+° )")


def verbatim(sentence: str, passage: str) -> bool:
    """Whether ``sentence`` is one or more whole sentences, lines or items of ``passage``, typography aside.

    A piece of a sentence is not enough: what was cut off may turn its meaning.
    """
    words = fold(sentence).strip(' «»"').rstrip(" .;")
    if not words:
        return False
    flat, edges = "", {0}
    for line in passage.splitlines():
        if folded := fold(line):
            flat += " " if flat else ""
            edges.add(len(flat))
            flat += folded
    edges |= {match.end() for match in re.finditer(r"[.;?!|»] ", flat)}
    edges |= {mark.end() for start in edges if (mark := _ITEM.match(flat, start))}
    for start in sorted(edges):
        end = start + len(words)
        after = flat[end:].lstrip()
        if flat.startswith(words, start) and (not after or after[0] in ".;?!»|" or end + 1 in edges):
            return True
    return False


def fold(text: str) -> str:
    """``text`` with case, spaces, quotes and dashes brought to one spelling."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub("[’ʼ‘]", "'", text)
    text = re.sub("[“”]", '"', text)
    text = re.sub("[‐‑]", "-", text)
    return re.sub(r"\s+", " ", text).strip()


# --- hand labels -----------------------------------------------------------------------------------------


def label_key(claim: str, passage: str) -> str:
    """The name of a label: a hash of the claim and of the passage that it was judged against."""
    return hashlib.sha256(f"{fold(claim)}\0{fold(passage)}".encode()).hexdigest()[:24]


def read_labels(path: Path = LABELS) -> dict[str, bool]:
    """What people judged: for each :func:`label_key` whether the passage supports the claim.

    Raises:
        BadRequest: the file is not readable as such.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["labels"]
        return {row["key"]: _boolean(row["supported"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRequest(
            f"cannot read the labels in `{path}`: {error}",
            f"impossible de lire les étiquettes de « {path} » : {error}",
            code="bad_labels",
        ) from error


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"`supported` is {value!r}, not true or false")
    return value
