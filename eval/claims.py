"""How well the judge of claims tells supported sentences from unsupported ones; pure but for reading the golden files.

Three golden sets: ``minimal_pairs.jsonl`` (a true sentence and one minimally wrong, for one passage),
``paraphrases.jsonl`` (true sentences as a faithful writer would put them, among distracting passages) and
``claims_fr.*.jsonl`` (French sentences worded freely, true ones and ones with one thing wrong, each kind by its name).
A part of each is frozen: written apart from the judge and never tuned on. What is detected is an unsupported sentence.

English answers that three people rated (``--responses``) are ranked by their faithfulness.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final

from eval import runs
from rag.claims import DEFAULT, Similarity, Thresholds, judge
from rag.faithfulness import faithfulness
from rag.types import Chunk, Passage


@dataclass(frozen=True, slots=True)
class Case:
    """One sentence with its marks, the passages it may cite, and whether they support it."""

    id: str
    kind: str
    language: str
    split: str
    sentence: str
    passages: tuple[Passage, ...]
    supported: bool


@dataclass(frozen=True, slots=True)
class Score:
    """Detection of unsupported sentences among ``unsupported`` wrong and ``supported`` true ones.

    ``caught`` wrong ones were rejected, ``survived`` true ones were kept.
    """

    unsupported: int
    caught: int
    supported: int
    survived: int

    @property
    def recall(self) -> float:
        """The share of the wrong sentences that were rejected."""
        return self.caught / self.unsupported if self.unsupported else 1.0

    @property
    def precision(self) -> float:
        """The share of the rejected sentences that were wrong."""
        rejected = self.caught + self.supported - self.survived
        return self.caught / rejected if rejected else 1.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    @property
    def survival(self) -> float:
        """The share of the true sentences that were kept."""
        return self.survived / self.supported if self.supported else 1.0


def cases() -> list[Case]:
    """Every case of the first two sets: two for each minimal pair, one for each paraphrase (kind ``paraphrase``)."""
    found = []
    for row in _rows("minimal_pairs.jsonl"):
        passages = _passages([row | {"text": row["passage"]}], row["language"])
        for side in ("supported", "unsupported"):
            sentence = f"{row[side]} [1]"
            name = f"{row['id']}-{side}"
            found.append(
                Case(name, row["kind"], row["language"], row["split"], sentence, passages, side == "supported")
            )
    for row in _rows("paraphrases.jsonl"):
        passages = _passages(row["passages"], row["language"])
        found.append(Case(row["id"], "paraphrase", row["language"], row["split"], row["sentence"], passages, True))
    return found


FREE: Final = ("claims_fr.dev.jsonl", "claims_fr.frozen.jsonl")
"""The files of sentences that are worded freely, one for each split."""


def free_cases(split: str | None = None) -> list[Case]:
    """The cases of the third set; ``split`` reads only its file."""
    found = []
    for name in FREE:
        if split is not None and f".{split}." not in name:
            continue
        for row in _rows(name):
            marks = "".join(f"[{n}]" for n in row["cited"])
            passages = _passages(row["passages"], row["language"])
            found.append(
                Case(
                    row["id"],
                    row["kind"],
                    row["language"],
                    row["split"],
                    f"{row['sentence']} {marks}",
                    passages,
                    row["supported"],
                )
            )
    return found


def measure(split: str | None = None, *, similarity: Similarity | None = None) -> dict[str, Any]:
    """All three sets at once, or one split of them: see :func:`evaluate` and :func:`freely`."""
    first = [case for case in cases() if split in (None, case.split)]
    found = evaluate(first, similarity=similarity)
    for name, scores in freely(free_cases(split), similarity=similarity).items():
        if name in {"wrong", "milliseconds"}:
            found[name] = [*found.get(name, []), *scores] if name == "wrong" else scores
        else:
            found["splits"].setdefault(name, {})["free"] = scores
    return found


def freely(
    golden: Sequence[Case], *, similarity: Similarity | None = None, thresholds: Thresholds = DEFAULT
) -> dict[str, Any]:
    """Sentences worded freely: per split the scores of all and, per kind, of its wrong ones beside all true ones; the
    curve of precision and recall over the score threshold; what was judged wrongly; and what a claim took."""
    judged, seconds = [], []
    for case in golden:
        started = time.perf_counter()
        claim = judge(case.sentence, case.passages, similarity=similarity, thresholds=thresholds)
        seconds.append(time.perf_counter() - started)
        judged.append((case, claim))
    result: dict[str, Any] = {}
    for split in sorted({case.split for case, _ in judged}):
        own = [(case, claim) for case, claim in judged if case.split == split]
        true = [(case, claim.supported) for case, claim in own if case.supported]
        result[split] = {
            "all": _report(_score([(case, claim.supported) for case, claim in own])),
            "kinds": {
                kind: _report(_score([*true, *((case, claim.supported) for case, claim in own if case.kind == kind)]))
                for kind in sorted({case.kind for case, _ in own if not case.supported})
            },
            "curve": curve([(case.supported, claim.score) for case, claim in own]),
        }
    result["wrong"] = [
        {"id": case.id, "split": case.split, "kind": case.kind, "supported": case.supported, "reason": claim.reason}
        for case, claim in judged
        if claim.supported != case.supported
    ]
    if seconds:
        result["milliseconds"] = {
            "median": round(1000 * statistics.median(seconds), 2),
            "p95": round(1000 * sorted(seconds)[int(0.95 * len(seconds))], 2),
        }
    return result


_STEPS: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))


def curve(scored: Sequence[tuple[bool, float]]) -> list[dict[str, float]]:
    """For each threshold of the score: precision, recall and F1 of detecting unsupported sentences, and survival.

    ``scored`` are pairs of whether a sentence is supported and its score; below the threshold it is rejected. The
    score of a claim that a veto refuses lies below the threshold in force, so that the curve is only right above it.
    """
    found = []
    for threshold in _STEPS:
        score = Score(
            unsupported=sum(not supported for supported, _ in scored),
            caught=sum(not supported and one < threshold for supported, one in scored),
            supported=sum(supported for supported, _ in scored),
            survived=sum(supported and one >= threshold for supported, one in scored),
        )
        figures = {name: round(getattr(score, name), 4) for name in ("precision", "recall", "f1", "survival")}
        found.append({"threshold": threshold} | figures)
    return found


UNFAITHFUL: Final = 2
"""Median rating, of 1 to 4, up to which an answer counts as unfaithful."""


def rated(rows: Iterable[Mapping[str, Any]], similarity: Similarity) -> dict[str, Any]:
    """How well :func:`rag.faithfulness.faithfulness` ranks answers that people rated: area under the ROC curve.

    A row has ``response``, ``contexts``, ``model`` (the writer) and ``faithfulness_median``.
    """
    scored = [
        (
            str(row["model"]),
            row["faithfulness_median"] <= UNFAITHFUL,
            faithfulness(row["response"], row["contexts"], similarity, language=row.get("lang", "en")),
        )
        for row in rows
    ]
    return {
        "answers": len(scored),
        "unfaithful": sum(bad for _, bad, _ in scored),
        "auc": _auc([(bad, score) for _, bad, score in scored]),
        "writers": {
            writer: _auc([(bad, score) for one, bad, score in scored if one == writer])
            for writer in sorted({writer for writer, _, _ in scored})
        },
    }


def _auc(scored: Sequence[tuple[bool, float]]) -> float | None:
    """The chance that an unfaithful answer scores below a faithful one; ``None`` where one of the two is missing."""
    bad = [score for unfaithful, score in scored if unfaithful]
    good = [score for unfaithful, score in scored if not unfaithful]
    if not bad or not good:
        return None
    won = sum((one < other) + 0.5 * (one == other) for one in bad for other in good)
    return round(won / (len(bad) * len(good)), 4)


def evaluate(
    golden: Iterable[Case] | None = None, *, similarity: Similarity | None = None, thresholds: Thresholds = DEFAULT
) -> dict[str, Any]:
    """Judge every case: scores by split and by kind, and each case that was judged wrongly, ready for JSON."""
    judged = [
        (case, judge(case.sentence, case.passages, similarity=similarity, thresholds=thresholds))
        for case in golden or cases()
    ]
    result: dict[str, Any] = {"thresholds": asdict(thresholds), "embedder": similarity is not None, "splits": {}}
    for split in sorted({case.split for case, _ in judged}):
        own = [(case, claim.supported) for case, claim in judged if case.split == split]
        pairs = [(case, kept) for case, kept in own if case.kind != "paraphrase"]
        result["splits"][split] = {
            "minimal_pairs": _report(_score(pairs)),
            "paraphrases": _report(_score([(case, kept) for case, kept in own if case.kind == "paraphrase"])),
            "languages": {
                language: _report(_score([(case, kept) for case, kept in pairs if case.language == language]))
                for language in sorted({case.language for case, _ in pairs})
            },
            "kinds": {
                kind: _report(_score([(case, kept) for case, kept in pairs if case.kind == kind]))
                for kind in sorted({case.kind for case, _ in pairs})
            },
        }
    result["wrong"] = [
        {"id": case.id, "split": case.split, "kind": case.kind, "supported": case.supported, "reason": claim.reason}
        for case, claim in judged
        if claim.supported != case.supported
    ]
    result["reasons"] = dict(Counter(str(claim.reason) for case, claim in judged if not case.supported))
    return result


def table(result: dict[str, Any]) -> str:
    """The scores as aligned text: one line for each split and kind."""
    lines = [f"{'split':8}{'kind':16}{'wrong':>7}{'recall':>8}{'prec.':>8}{'F1':>8}{'true':>7}{'kept':>8}"]
    for split, scores in result["splits"].items():
        rows = []
        if "minimal_pairs" in scores:
            rows = [("minimal pairs", scores["minimal_pairs"]), *scores["kinds"].items()]
            rows.append(("paraphrases", scores["paraphrases"]))
        if "free" in scores:
            rows.append(("worded freely", scores["free"]["all"]))
            rows += [(f"- {kind}", row) for kind, row in scores["free"]["kinds"].items()]
        lines += [
            f"{split:8}{kind:16}{row['unsupported']:>7}{row['recall']:>8.3f}{row['precision']:>8.3f}{row['f1']:>8.3f}"
            f"{row['supported']:>7}{row['survival']:>8.3f}"
            for kind, row in rows
        ]
    if "milliseconds" in result:
        lines.append(
            "milliseconds a claim: {median} median, {p95} at the 95th percentile".format(**result["milliseconds"])
        )
    return "\n".join(lines)


def _score(judged: Sequence[tuple[Case, bool]]) -> Score:
    return Score(
        unsupported=sum(not case.supported for case, _ in judged),
        caught=sum(not case.supported and not kept for case, kept in judged),
        supported=sum(case.supported for case, _ in judged),
        survived=sum(case.supported and kept for case, kept in judged),
    )


def _report(score: Score) -> dict[str, float]:
    figures = {name: round(getattr(score, name), 4) for name in ("recall", "precision", "f1", "survival")}
    return asdict(score) | figures


def _rows(name: str) -> list[dict[str, Any]]:
    text = (resources.files("eval") / "golden" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _passages(rows: Sequence[dict[str, Any]], language: str) -> tuple[Passage, ...]:
    return tuple(
        Passage(
            number,
            Chunk(
                id=f"golden-{number}",
                corpus="golden",
                document=f"golden-{number}",
                title=row["title"],
                reference=row["reference"],
                path=(),
                text=row["text"],
                ordinal=0,
                language=language,
                start=0,
                end=len(row["text"]),
            ),
            1.0,
        )
        for number, row in enumerate(rows, start=1)
    )


def as_run(split: str | None, similarity: Similarity | None, facts: Mapping[str, Any]) -> runs.Run:
    """The same as a run that is kept, drawn and compared: a row per sentence, right or wrong, with its reason.

    ``figures`` are of the detection of unsupported sentences: over the sentences worded freely (``free …``), by kind of
    what is wrong with them (``free number recall``…), and over the minimal pairs (``pairs …``).
    """
    started = time.perf_counter()
    asked = [case for case in cases() if split in (None, case.split)]
    free = free_cases(split)
    freely_worded = {case.id for case in free}
    judged = [(case, judge(case.sentence, case.passages, similarity=similarity)) for case in (*asked, *free)]
    rows = [
        runs.Row(
            id=case.id,
            values={
                "right": float(claim.supported == case.supported),
                ("kept" if case.supported else "caught"): float(claim.supported == case.supported),
            },
            groups={"kind": case.kind, "split": case.split, "language": case.language},
            failed=claim.supported != case.supported,
            detail={"sentence": case.sentence, "supported": case.supported, "reason": claim.reason},
        )
        for case, claim in judged
    ]
    of_free = [(case, claim) for case, claim in judged if case.id in freely_worded]
    true = [(case, claim.supported) for case, claim in of_free if case.supported]
    figures: dict[str, float] = {}
    parts = {"free": [(case, claim.supported) for case, claim in of_free]}
    parts["pairs"] = [
        (case, claim.supported) for case, claim in judged if case.id not in freely_worded and case.kind != "paraphrase"
    ]
    for kind in sorted({case.kind for case, _ in of_free if not case.supported}):
        parts[f"free {kind}"] = [*true, *((case, one.supported) for case, one in of_free if case.kind == kind)]
    for name, own in parts.items():
        score = _score(own)
        # Beside all true sentences, the precision for one kind would only tell how rare the kind is.
        for figure in ("recall",) if name.startswith("free ") else ("f1", "precision", "recall", "survival"):
            figures[f"{name} {figure}"] = round(getattr(score, figure), 4)
    drawn = curve([(case.supported, claim.score) for case, claim in of_free])
    return runs.Run(
        kind=runs.Kind.CLAIMS,
        name=split or "all",
        definitions={
            "right": "sentences judged as they are labelled / sentences",
            "kept": "true sentences that were kept / true sentences",
            "caught": "wrong sentences that were rejected / wrong sentences",
        },
        rows=rows,
        figures=figures,
        curves=[
            runs.Curve(
                title="Detecting unsupported sentences that are worded freely",
                x="recall",
                y="precision",
                points=[(one["recall"], one["precision"]) for one in drawn],
                chosen=(figures["free recall"], figures["free precision"]),
            )
        ],
        facts=dict(facts),
        seconds=round(time.perf_counter() - started, 3),
    )
