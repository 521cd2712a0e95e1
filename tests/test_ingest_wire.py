"""Orders and readings survive the way to another host and back, whole; what is damaged is not believed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.manifest import Metadata
from ingest.parsers import Limits
from ingest.reading import Order, Reading
from ingest.source import Source
from ingest.wire import Answer, Task, Trouble, Unintelligible, answer_json, answer_of, task_json, task_of
from rag.errors import DocumentError, RejectReason
from rag.types import Chunk, Corpus, Document, LegalStatus, NormRank, Validity

VALIDITY = Validity(dt.date(2024, 1, 1), dt.date(2025, 1, 1))
ORDER = Order(
    source=Source(Path("/srv/textes/congés « 2024 ».zip"), ("dossier/note.md",)),
    id="conges",
    path="congés/note.md",
    sha256="ab" * 32,
    metadata=Metadata("conges", "Congés", "fr", NormRank.ORDER, dt.date(2024, 1, 1), None, frozenset({"rh"}), 2),
    corpus=Corpus("rh", "Ressources humaines", groups=frozenset({"*"}), norm_rank=NormRank.CIRCULAR),
    published={"c1": "d1"},
    embedded={"c1": "e1"},
    snapshot=7,
)
DOCUMENT = Document(
    "conges", "rh", "Congés", "fr", "congés/note.md", "ab" * 32, "text/markdown",
    NormRank.ORDER, VALIDITY, frozenset({"rh"}), 2, 3, LegalStatus.AMENDED, 0.1 + 0.2,
)  # fmt: skip
CHUNK = Chunk(
    "c1", "rh", "conges", "Congés", "Article 1er", ("Titre Ier",), "L’agent\n\ta droit à 25 j. 𝕏 \u2028", 0, "fr", 0, 5,
    1, 2, NormRank.ORDER, VALIDITY, frozenset({"rh"}), 2, ("art:1",), ("code:x",), LegalStatus.IN_FORCE, 0.7,
)  # fmt: skip


def test_a_task_arrives_whole() -> None:
    task = Task("t", "r", ORDER, Limits(seconds=7, ocr_languages="fra"), "w")
    assert task_of(task_json(task)) == task


def test_where_a_file_stands_is_said_in_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker has another folder to work in."""
    monkeypatch.chdir(tmp_path)
    order = dataclasses.replace(ORDER, source=Source(Path("textes/a.md")))
    assert task_of(task_json(Task("t", "r", order, Limits()))).order.source.path == tmp_path / "textes" / "a.md"


def whole(kind: type[Any], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of a dataclass with something in every field, also in those that it gains later."""
    fields: dict[str, Any] = {field.name: ... for field in dataclasses.fields(kind)}
    return st.builds(kind, **(fields | given))


SHARE = st.none() | st.floats(0, 1)


@given(
    document=whole(Document, quality=SHARE),
    chunks=st.lists(whole(Chunk, quality=SHARE), max_size=3),
    warnings=st.lists(st.text(), max_size=2),
    staged=st.frozensets(st.text()),
    embedded=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_a_reading_arrives_whole(
    document: Document, chunks: list[Chunk], warnings: list[str], staged: frozenset[str], embedded: int
) -> None:
    """Every field of every type, whatever it says; what a type learns to say later is asked for here."""
    sent = Reading(document, tuple(chunks), tuple(warnings), {}, staged, embedded)
    assert [field.name for field in dataclasses.fields(sent)] == [
        "document", "chunks", "warnings", "vectors", "staged", "embedded",
    ]  # fmt: skip
    assert answer_of(answer_json(Answer("hôte", sent))) == Answer("hôte", sent)


def test_vectors_arrive_bit_by_bit() -> None:
    vector = np.array([1 / 3, -0.0, 1e-38, np.float32(0.1)], dtype=np.float32)
    got = answer_of(answer_json(Answer("h", Reading(DOCUMENT, (CHUNK,), vectors={"c1": vector})))).result
    assert isinstance(got, Reading)
    assert got.vectors["c1"].tobytes() == vector.tobytes()
    assert got.vectors["c1"].flags.writeable


@pytest.mark.parametrize("reason", list(RejectReason))
def test_a_refusal_arrives_with_its_reason(reason: RejectReason) -> None:
    got = answer_of(answer_json(Answer("h", DocumentError(reason, "too long", "trop long")))).result
    assert isinstance(got, DocumentError)
    assert (got.reason, got.en, got.fr) == (reason, "too long", "trop long")


def test_a_worker_in_trouble_is_not_the_documents_fault() -> None:
    trouble = Trouble("model", "no weights", "pas de poids")
    assert answer_of(answer_json(Answer("h", trouble))).result == trouble


@pytest.mark.parametrize(
    "damage",
    [
        {"document": None},
        {"host": 3},
        {"chunks": [{"id": "x"}]},
        {"vectors": {"c1": "pas du base64"}},
        {"vectors": {"c1": "AAA="}},
        {"refusal": {"reason": "because", "en": "", "fr": ""}},
    ],
)
def test_what_is_damaged_is_not_understood(damage: dict[str, object]) -> None:
    """The error names the place and quotes nothing of the document."""
    whole = json.loads(answer_json(Answer("h", Reading(DOCUMENT, (CHUNK,)))))
    with pytest.raises(Unintelligible) as raised:
        answer_of(json.dumps(whole | damage).encode())
    assert "agent" not in str(raised.value)


@pytest.mark.parametrize("said", ["", "{", "[]", '{"id": "t"}', '"text"'])
def test_what_is_no_task_is_not_understood(said: str) -> None:
    with pytest.raises(Unintelligible):
        task_of(said)
    with pytest.raises(Unintelligible):
        answer_of(said.encode())
