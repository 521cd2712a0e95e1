"""How well the judge of claims tells supported sentences from unsupported ones; pure but for reading the golden files.

Two golden sets: ``minimal_pairs.jsonl`` (a true sentence and one minimally wrong, for one passage) and
``paraphrases.jsonl`` (true sentences as a faithful writer would put them, among distracting passages). Half of each
is frozen: written before the judge and never tuned on. What is detected is an unsupported sentence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from rag.claims import DEFAULT, Similarity, Thresholds, judge
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
    """Every golden case: two for each minimal pair, one for each paraphrase (kind ``paraphrase``)."""
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
        rows = [
            ("minimal pairs", scores["minimal_pairs"]),
            *scores["kinds"].items(),
            ("paraphrases", scores["paraphrases"]),
        ]
        lines += [
            f"{split:8}{kind:16}{row['unsupported']:>7}{row['recall']:>8.3f}{row['precision']:>8.3f}{row['f1']:>8.3f}"
            f"{row['supported']:>7}{row['survival']:>8.3f}"
            for kind, row in rows
        ]
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
