"""What every VectorStore promises, run over the dictionary, the engine in this process and the server's client."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from rag.adapters.fake import DictStore
from rag.adapters.qdrant_edge import EdgeStore
from rag.adapters.qdrant_server import ServerStore
from rag.seams import VectorStore
from rag.types import Candidates, Chunk, Marked, NormRank, Point, Query, Scope, SparseVector, Validity, Vector
from tests import qdrant_double

# The client's local mode, which stands in for a server, says that it needs no index and is always exact.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Payload indexes have no effect:UserWarning", "ignore:Local mode performs exact:UserWarning"
)

DIMENSION = 16
STORES = ["dict", "edge", "server"]


def opened(kind: str, folder: Path) -> VectorStore:
    if kind == "dict":
        return DictStore("test", DIMENSION)
    if kind == "edge":
        return EdgeStore.open(folder / "store", "test", DIMENSION)
    return ServerStore.open("", "", "test", DIMENSION, client=QdrantClient(":memory:"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in memory where the system has such a place: no waiting for a disk to sync."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 2**30:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


@pytest.fixture(params=[*STORES, "rest"])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[VectorStore]:
    if request.param == "rest":
        with qdrant_double.running() as double:
            over_http = ServerStore.open(double.url, "", "test", DIMENSION)
            yield over_http
            over_http.close()
        return
    store = opened(request.param, folder)
    yield store
    store.close()


def chunk(name: str, **changes: Any) -> Chunk:
    values: dict[str, Any] = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "corpus": "rh",
        "document": "conges",
        "title": "Congés",
        "reference": f"Article {name}",
        "path": ("Titre I",),
        "text": f"Texte de {name}.",
        "ordinal": 0,
        "language": "fr",
        "start": 0,
        "end": 10,
    }
    return Chunk(**(values | changes))


def towards(axis: int) -> Vector:
    vector = np.zeros(DIMENSION, dtype=np.float32)
    vector[axis] = 1.0
    return vector


def terms(*indices: int, weight: float = 1.0) -> SparseVector:
    return SparseVector(indices, (weight,) * len(indices))


def point(name: str, dense: Vector | None = None, sparse: SparseVector | None = None, **changes: Any) -> Point:
    return Point(chunk(name, **changes), towards(0) if dense is None else dense, sparse or terms(1))


def anyone(lineages: Mapping[str, tuple[int, ...]], as_of: dt.date | None = None) -> Scope:
    return Scope(frozenset(), 0, lineages, as_of)


RH1 = anyone({"rh": (1,)})
EVERYTHING = Query(towards(0), terms(1), ("art:1",))


def ids(store: VectorStore, scope: Scope) -> set[str]:
    """What a scope sees, asked in two ways that must agree."""
    listed = {stored.chunk.id for stored in store.chunks(scope)}
    assert {scored.chunk.id for scored in store.search(EVERYTHING, scope, 100).dense} == listed
    return listed


def named(*names: str) -> set[str]:
    return {chunk(name).id for name in names}


# --- what is stored ------------------------------------------------------------------------------------


def test_a_chunk_comes_back_whole(store: VectorStore) -> None:
    """Every field of a chunk survives storage, in search and in reading."""
    full = chunk(
        "1",
        path=("Partie I", "Titre II"),
        page=3,
        page_end=4,
        norm_rank=NormRank.DECREE,
        validity=Validity(dt.date(2020, 1, 1), dt.date(2999, 1, 1)),
        groups=frozenset({"agents", "rh"}),
        clearance=2,
        own_references=("art:1",),
        mentions=("decret:2012-1246",),
    )
    plain = chunk("2", validity=Validity(None, None))
    store.stage("rh", 1, [Point(full, towards(1), terms(1, 2)), Point(plain, towards(2), terms(3))], ())
    scope = Scope(frozenset({"rh"}), 2, {"rh": (1,)})
    assert [stored.chunk for stored in store.chunks(scope, ids=[full.id])] == [full]
    assert [stored.chunk for stored in store.chunks(scope, ids=[plain.id])] == [plain]
    found = store.search(Query(towards(1), terms(2), ("art:1",)), scope, 1)
    assert [[scored.chunk for scored in part] for part in (found.dense, found.sparse, found.exact)] == [[full]] * 3


def test_staging_is_invisible_until_the_lineage_holds_it(store: VectorStore) -> None:
    """Neither new points nor removals show at the snapshots before."""
    store.stage("rh", 1, [point("1"), point("2")], ())
    before = store.search(EVERYTHING, RH1, 10)
    first = {stored.chunk.id: stored.point for stored in store.contents("rh", (1,))}
    store.stage("rh", 2, [point("3")], [first[chunk("1").id]])
    assert store.search(EVERYTHING, RH1, 10) == before
    assert ids(store, RH1) == named("1", "2")
    assert ids(store, anyone({"rh": (2, 1)})) == named("2", "3")
    assert ids(store, anyone({"rh": (2,)})) == named("3")


def test_staging_twice_is_staging_once(store: VectorStore) -> None:
    """A repeated stage changes nothing."""
    store.stage("rh", 1, [point("1"), point("2")], ())
    removals = [store.contents("rh", (1,))[0].point]
    for _ in range(2):
        store.stage("rh", 2, [point("3")], removals)
    contents = store.contents("rh", (2, 1))
    assert len(contents) == 2
    assert [stored.removed for stored in store.contents("rh", (1,)) if stored.point in removals] == [(2,)]


def test_a_branch_removed_on_another_is_still_seen(store: VectorStore) -> None:
    """After a rollback to 1, what the abandoned snapshot 2 removed is visible at 3 again."""
    store.stage("rh", 1, [point("1")], ())
    removals = [stored.point for stored in store.contents("rh", (1,))]
    store.stage("rh", 2, [], removals)
    store.stage("rh", 3, [point("2")], ())
    assert ids(store, anyone({"rh": (3, 1)})) == named("1", "2")
    assert ids(store, anyone({"rh": (2, 1)})) == set()


def test_a_chunk_that_comes_back_is_another_point(store: VectorStore) -> None:
    """Removed at 2 and staged again at 3, a chunk is seen once at each snapshot that has it."""
    store.stage("rh", 1, [point("1")], ())
    store.stage("rh", 2, [], [stored.point for stored in store.contents("rh", (1,))])
    store.stage("rh", 3, [point("1")], ())
    assert [stored.added for stored in store.contents("rh", (3, 2, 1))] == [3]
    assert [stored.added for stored in store.contents("rh", (1,))] == [1]
    assert store.contents("rh", (2, 1)) == []


def test_a_long_lineage_with_gaps_is_followed(store: VectorStore) -> None:
    """Hundreds of snapshots, some of them abandoned, decide as the rule says."""
    numbers = [number for number in range(1, 401) if number % 50]
    store.stage("rh", 50, [point("abandoned")], ())
    store.stage("rh", 7, [point("old")], ())
    store.stage("rh", 399, [point("new")], ())
    store.stage("rh", 8, [point("fleeting")], ())
    fleeting = [stored.point for stored in store.contents("rh", (8,))]
    store.stage("rh", 100, [], [stored.point for stored in store.contents("rh", (7,))])
    store.stage("rh", 101, [], fleeting)
    assert ids(store, anyone({"rh": tuple(reversed(numbers))})) == named("old", "new")


def test_a_chunk_of_another_corpus_is_refused(store: VectorStore) -> None:
    """What is staged into a corpus belongs to it, and removals reach no other corpus."""
    with pytest.raises(ValueError, match="finances"):
        store.stage("rh", 1, [point("1", corpus="finances")], ())
    store.stage("finances", 1, [point("1", corpus="finances")], ())
    foreign = [stored.point for stored in store.contents("finances", (1,))]
    store.stage("rh", 1, [], foreign)
    assert [stored.removed for stored in store.contents("finances", (1,))] == [()]


def test_removing_what_is_not_there_is_no_error(store: VectorStore) -> None:
    store.stage("rh", 1, [point("1")], [str(uuid.uuid4())])
    assert ids(store, RH1) == named("1")


# --- who sees what -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "clearance", "seen"),
    [
        ((), 0, {"public"}),
        (("agents",), 0, {"public", "agents"}),
        (("agents", "direction"), 1, {"public", "agents", "secret"}),
        (("direction",), 0, {"public"}),
        (("*",), 5, {"public", "public secret"}),
    ],
)
def test_audience(store: VectorStore, groups: tuple[str, ...], clearance: int, seen: set[str]) -> None:
    """A chunk is seen by its groups, everyone's included, from its clearance up; without groups by nobody."""
    store.stage(
        "rh",
        1,
        [
            point("public"),
            point("agents", groups=frozenset({"agents"})),
            point("secret", groups=frozenset({"direction"}), clearance=1),
            point("public secret", clearance=2),
            point("nobody", groups=frozenset()),
        ],
        (),
    )
    assert ids(store, Scope(frozenset(groups), clearance, {"rh": (1,)})) == named(*seen)
    assert len(store.contents("rh", (1,))) == 5


def test_corpora_outside_the_scope_are_not_searched(store: VectorStore) -> None:
    """Numbers of one corpus's series say nothing about another's."""
    store.stage("rh", 1, [point("1")], ())
    store.stage("finances", 1, [point("2", corpus="finances")], ())
    store.stage("finances", 2, [point("3", corpus="finances")], ())
    assert ids(store, RH1) == named("1")
    assert ids(store, anyone({"rh": (1,), "finances": (2,)})) == named("1", "3")
    assert ids(store, anyone({"rh": (), "finances": (1,)})) == named("2")
    assert ids(store, anyone({"finances": ()})) == set()
    assert ids(store, anyone({})) == set()
    assert ids(store, anyone({"unknown": (1,)})) == set()


@pytest.mark.parametrize(
    ("day", "seen"),
    [
        (dt.date(2019, 12, 31), {"unknown", "until"}),
        (dt.date(2020, 1, 1), {"unknown", "until", "during", "from"}),
        (dt.date(2020, 12, 31), {"unknown", "until", "during", "from"}),
        (dt.date(2021, 1, 1), {"unknown", "from"}),
        (dt.date.max, {"unknown", "from"}),
        (None, {"unknown", "until", "during", "from"}),
    ],
)
def test_validity(store: VectorStore, day: dt.date | None, seen: set[str]) -> None:
    """A rule is in force from its first day until before its last; unknown dates are in force always."""
    start, end = dt.date(2020, 1, 1), dt.date(2021, 1, 1)
    spans = {"unknown": (None, None), "until": (None, end), "during": (start, end), "from": (start, None)}
    store.stage("rh", 1, [point(name, validity=Validity(*span)) for name, span in spans.items()], ())
    assert ids(store, anyone({"rh": (1,)}, day)) == named(*seen)


def test_restricting_reaches_every_version_at_once(store: VectorStore) -> None:
    """An audience that is narrowed is narrowed at old snapshots too, and in the chunks that come back."""
    store.stage("rh", 1, [point("1"), point("other", document="autre")], ())
    store.stage("rh", 2, [point("2")], ())
    store.restrict("rh", "conges", ["direction"], 1)
    assert ids(store, anyone({"rh": (2, 1)})) == named("other")
    cleared = Scope(frozenset({"direction"}), 1, {"rh": (2, 1)})
    assert ids(store, cleared) == named("1", "2", "other")
    assert {stored.chunk.groups for stored in store.chunks(cleared, documents=[("rh", "conges")])} == {
        frozenset({"direction"})
    }


def test_a_search_after_restricting_gives_the_new_audience(store: VectorStore) -> None:
    """Nothing read before is given again as it was."""
    store.stage("rh", 1, [point("1")], ())
    assert store.search(EVERYTHING, RH1, 5).dense[0].chunk.groups == {"*"}
    store.restrict("rh", "conges", ["*", "direction"], 0)
    assert store.search(EVERYTHING, RH1, 5).dense[0].chunk.groups == {"*", "direction"}


# --- ranked lists --------------------------------------------------------------------------------------


def test_a_form_that_is_not_asked_is_not_searched(store: VectorStore) -> None:
    store.stage("rh", 1, [point("1", own_references=("art:1",))], ())
    assert store.search(Query(None, None), RH1, 5) == Candidates()
    assert store.search(Query(None, SparseVector((), ())), RH1, 5) == Candidates()
    assert store.search(EVERYTHING, RH1, 0) == Candidates()
    only = store.search(Query(None, None, ("art:1",)), RH1, 5)
    assert (len(only.dense), len(only.sparse), len(only.exact)) == (0, 0, 1)


def test_bm25_has_the_worked_out_scores(store: VectorStore) -> None:
    """ln(1 + (n - df + 0.5) / (df + 0.5)) times both weights; n counts the visible chunks that have terms."""
    store.stage(
        "rh",
        1,
        [
            point("1", sparse=SparseVector((1, 2), (2.0, 0.5))),
            point("2", sparse=SparseVector((1,), (1.0,))),
            point("3", sparse=SparseVector((5,), (1.0,))),
            point("without words", sparse=SparseVector((), ())),
        ],
        (),
    )
    found = store.search(Query(None, SparseVector((1, 2, 9), (1.0, 3.0, 1.0))), RH1, 10).sparse
    idf1, idf2 = np.log(1 + (3 - 2 + 0.5) / 2.5), np.log(1 + (3 - 1 + 0.5) / 1.5)
    assert [scored.chunk.id for scored in found] == [chunk("1").id, chunk("2").id]
    assert [scored.score for scored in found] == pytest.approx([2 * idf1 + 1.5 * idf2, idf1], rel=1e-5)


def test_hidden_texts_do_not_move_scores(store: VectorStore) -> None:
    """Staged, removed, foreign, restricted and expired chunks leave the scores of a scope as they were."""
    store.stage("rh", 1, [point(str(n), sparse=terms(n % 3, 7)) for n in range(9)], ())
    scope = anyone({"rh": (1,)}, dt.date(2024, 1, 1))
    query = Query(towards(0), terms(0, 1, 7))
    before = store.search(query, scope, 20)
    store.stage("rh", 2, [point(f"staged {n}", sparse=terms(0)) for n in range(30)], ())
    store.stage("finances", 1, [point(f"else {n}", corpus="finances", sparse=terms(0)) for n in range(30)], ())
    hidden = [point(f"secret {n}", sparse=terms(1), groups=frozenset({"direction"})) for n in range(10)]
    expired = Validity(None, dt.date(2000, 1, 1))
    hidden += [point(f"expired {n}", sparse=terms(1), validity=expired) for n in range(10)]
    store.stage("rh", 1, hidden, ())
    assert store.search(query, scope, 20) == before


def test_scores_that_are_not_positive_are_not_listed(store: VectorStore) -> None:
    """A word that counts against a chunk, or for nothing, is no find; a negative cosine is a rank like others."""
    store.stage(
        "rh",
        1,
        [
            point("for", sparse=SparseVector((1,), (1.0,))),
            point("nothing", sparse=SparseVector((1,), (0.0,))),
            point("against", sparse=SparseVector((1,), (-1.0,)), dense=-towards(0)),
        ],
        (),
    )
    found = store.search(Query(towards(0), terms(1)), RH1, 10)
    assert [scored.chunk.id for scored in found.sparse] == [chunk("for").id]
    assert found.dense[-1].chunk.id == chunk("against").id
    assert found.dense[-1].score == pytest.approx(-1.0)


@pytest.mark.parametrize("limit", [1, 7, 40])
def test_ties_stand_by_chunk_id(store: VectorStore, limit: int) -> None:
    """Of 120 equal chunks the first by id are listed, whatever the limit; a better one stays on top."""
    same = [point(f"same {n}", own_references=("art:1",)) for n in range(120)]
    best = point("best", dense=towards(0), sparse=terms(1, 2), own_references=("art:1",))
    askew: Vector = (towards(0) + towards(1)) / np.float32(np.sqrt(2))
    store.stage("rh", 1, [*same[:60], best, *same[60:]], ())
    store.stage("rh", 1, [Point(p.chunk, askew, p.sparse) for p in same], ())
    found = store.search(Query(towards(0), terms(1, 2), ("art:1",)), RH1, limit)
    equal = sorted(p.chunk.id for p in same)
    for part in (found.dense, found.sparse):
        assert [scored.chunk.id for scored in part] == [best.chunk.id, *equal][:limit]
    assert [scored.chunk.id for scored in found.exact] == sorted([best.chunk.id, *equal])[:limit]
    assert {scored.score for scored in found.exact} == {1.0}


# --- reading -------------------------------------------------------------------------------------------


def test_chunks_meet_all_conditions_in_reading_order(store: VectorStore) -> None:
    """Documents, ids and references narrow together; an empty choice is nothing, and no choice is everything."""
    points = [
        point("b2", document="b", ordinal=2, own_references=("art:2",)),
        point("b1", document="b", ordinal=1, own_references=("art:1", "art:1er")),
        point("a1", document="a", ordinal=1, own_references=("art:1",)),
    ]
    store.stage("rh", 1, points, ())
    store.stage("finances", 1, [point("f", corpus="finances", document="a", own_references=("art:1",))], ())
    scope = anyone({"rh": (1,), "finances": (1,)})

    def listed(**conditions: Any) -> list[str]:
        return [stored.chunk.reference.removeprefix("Article ") for stored in store.chunks(scope, **conditions)]

    assert listed() == ["f", "a1", "b1", "b2"]
    assert listed(documents=[("rh", "a"), ("rh", "b")]) == ["a1", "b1", "b2"]
    assert listed(documents=[("rh", "a")], references=["art:2"]) == []
    assert listed(references=["art:1er", "art:2"]) == ["b1", "b2"]
    assert listed(ids=[points[0].chunk.id, chunk("f").id], documents=[("rh", "b")]) == ["b2"]
    assert listed(documents=[]) == listed(ids=[]) == listed(references=[]) == []


def test_vectors_are_found_wherever_their_chunk_is(store: VectorStore) -> None:
    """Staged, removed and abandoned chunks give their vectors back; those of another corpus do not."""
    rng = np.random.default_rng(3)
    dense = rng.standard_normal((3, DIMENSION)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    store.stage("rh", 1, [point("1", dense[0])], ())
    store.stage("rh", 2, [point("2", dense[1])], [stored.point for stored in store.contents("rh", (1,))])
    store.stage("finances", 1, [point("3", dense[2], corpus="finances")], ())
    found = store.vectors("rh", [chunk(name).id for name in ("1", "2", "3", "4")])
    assert set(found) == named("1", "2")
    np.testing.assert_allclose(found[chunk("1").id], dense[0], atol=1e-6)
    assert found[chunk("1").id].dtype == np.float32


def test_more_than_a_page_is_read_whole(store: VectorStore) -> None:
    """Lists longer than any page or batch are complete."""
    many = [point(str(n), dense=towards(n % DIMENSION), ordinal=n) for n in range(2500)]
    store.stage("rh", 1, many, ())
    assert [stored.chunk.ordinal for stored in store.contents("rh", (1,))] == list(range(2500))
    assert len(store.vectors("rh", [p.chunk.id for p in many])) == 2500
    store.stage("rh", 2, [], [stored.point for stored in store.contents("rh", (1,))])
    assert store.contents("rh", (2, 1)) == []
    assert store.sweep("rh", [(2, 1)]) == 2500


# --- undoing -------------------------------------------------------------------------------------------


def test_discarding_undoes_a_stage(store: VectorStore) -> None:
    """After discard nothing of the snapshot is left, and doing it again is no error."""
    store.stage("rh", 1, [point("1"), point("2")], ())
    before = store.contents("rh", (1,))
    store.stage("rh", 2, [point("3"), point("1")], [stored.point for stored in before])
    store.stage("finances", 2, [point("4", corpus="finances")], ())
    for _ in range(2):
        store.discard("rh", 2)
        assert store.contents("rh", (1,)) == before
        assert store.contents("rh", (2,)) == []
    assert len(store.contents("finances", (2,))) == 1


def test_sweeping_deletes_what_no_kept_lineage_sees(store: VectorStore) -> None:
    """The number says how much; kept lineages read as before; other corpora are left alone."""
    store.stage("rh", 1, [point("1"), point("2")], ())
    first = {stored.chunk.id: stored.point for stored in store.contents("rh", (1,))}
    store.stage("rh", 2, [point("3")], [first[chunk("1").id]])
    store.stage("rh", 3, [point("abandoned")], ())
    store.stage("finances", 1, [point("4", corpus="finances")], ())
    kept = store.contents("rh", (2, 1))
    assert store.sweep("rh", [(1,), (2, 1)]) == 1
    assert store.sweep("rh", [(2, 1)]) == 1
    assert store.sweep("rh", [(2, 1)]) == 0
    assert store.contents("rh", (2, 1)) == kept
    assert store.sweep("rh", []) == 2
    assert len(store.contents("finances", (1,))) == 1


# --- moving to another store ---------------------------------------------------------------------------


def test_every_point_of_a_corpus_is_read_with_its_vector(store: VectorStore) -> None:
    """Removed and staged ones too; other corpora and, where some are named, other documents are left out."""
    store.stage("rh", 1, [point("1", towards(1)), point("2", towards(2), document="autre")], ())
    store.stage("rh", 2, [point("1", towards(3))], [stored.point for stored in store.contents("rh", (1,))])
    store.stage("finances", 1, [point("4", corpus="finances")], ())
    found = {(s.chunk.id, s.added): (s.removed, int(np.argmax(vector))) for s, vector in store.points("rh")}
    assert found == {
        (chunk("1").id, 1): ((2,), 1),
        (chunk("2").id, 1): ((2,), 2),
        (chunk("1").id, 2): ((), 3),
    }
    assert {stored.chunk.id for stored, _ in store.points("rh", ["autre", "inconnu"])} == named("2")
    assert list(store.points("rh", [])) == []


def test_a_restored_corpus_reads_and_ranks_as_the_first_one(folder: Path) -> None:
    """Marks, audiences and vectors pass from any store to any other, and doing it twice is doing it once."""
    stores = {kind: opened(kind, folder) for kind in STORES}
    first, points = stores["dict"], a_few_thousand(np.random.default_rng(13), 600)
    sparse = {p.chunk.id: p.sparse for p in points}
    own = [p for p in points if p.chunk.corpus == "rh"]
    first.stage("rh", 1, own[:150], ())
    first.stage("rh", 3, own[150:], [s.point for s in first.contents("rh", (1,)) if s.chunk.ordinal % 7 == 0])
    first.restrict("rh", "document 1", ["direction"], 1)
    kept = [
        Marked(Point(stored.chunk, vector, sparse[stored.chunk.id]), stored.added, stored.removed)
        for stored, vector in first.points("rh")
    ]
    query = Query(towards(3), terms(1, 2, 3), ("art:3",))
    for kind in STORES[1:]:
        for _ in range(2):
            stores[kind].restore("rh", kept)
        for lineage in ((1,), (3, 1)):
            assert stores[kind].contents("rh", lineage) == first.contents("rh", lineage)
            scope = Scope(frozenset({"agents"}), 1, {"rh": lineage}, dt.date(2012, 6, 1))
            found, expected = stores[kind].search(query, scope, 30), first.search(query, scope, 30)
            for part in (lambda c: c.dense, lambda c: c.sparse):
                assert_same(part, found, expected)
        with pytest.raises(ValueError, match="rh"):
            stores[kind].restore("finances", kept[:1])
    for store in stores.values():
        store.close()


# --- many threads, and agreement -----------------------------------------------------------------------


def test_searching_while_staging_gives_the_published_results(store: VectorStore) -> None:
    """Threads that search during a stage see the same lists and scores all the time."""
    if isinstance(store, ServerStore):
        pytest.skip("the client's local mode is not made for threads; a server is")
    store.stage("rh", 1, [point(str(n), sparse=terms(1 + n % 5)) for n in range(50)], ())
    expected = store.search(EVERYTHING, RH1, 20)
    removals = [stored.point for stored in store.contents("rh", (1,))]
    with ThreadPoolExecutor(4) as pool:
        staged = pool.submit(store.stage, "rh", 2, [point(f"new {n}") for n in range(600)], removals)
        found = [pool.submit(store.search, EVERYTHING, RH1, 20) for _ in range(30)]
        staged.result()
        assert all(future.result() == expected for future in found)
    assert len(store.contents("rh", (2, 1))) == 600


GROUPS = [frozenset({"*"}), frozenset({"agents"}), frozenset({"direction", "agents"}), frozenset[str]()]


def a_few_thousand(rng: np.random.Generator, count: int = 3000) -> list[Point]:
    """Chunks of three corpora with Zipf-like words; one in twenty repeats the vectors of another."""
    points: list[Point] = []
    for n in range(count):
        indices = np.unique(np.minimum(rng.zipf(1.4, 25), 5000))
        dense = rng.standard_normal(DIMENSION).astype(np.float32)
        sparse = SparseVector(tuple(indices.tolist()), tuple((0.5 + rng.random(len(indices))).tolist()))
        if points and n % 20 == 0:
            dense, sparse = points[-7 % len(points)].dense, points[-7 % len(points)].sparse
        start = dt.date(2000 + int(rng.integers(25)), 1, 1)
        points.append(
            point(
                f"chunk {n}",
                dense / np.float32(np.linalg.norm(dense)),
                sparse if n % 97 else SparseVector((), ()),
                corpus=("rh", "sante", "finances")[n % 3],
                document=f"document {n // 30}",
                ordinal=n,
                groups=GROUPS[int(rng.choice(4, p=[0.7, 0.15, 0.1, 0.05]))],
                clearance=int(rng.choice(3, p=[0.8, 0.1, 0.1])),
                validity=Validity(start if n % 4 else None, start.replace(year=start.year + 9) if n % 3 else None),
                own_references=(f"art:{n % 40}",),
            )
        )
    return points


@pytest.mark.slow
def test_all_stores_agree_list_by_list(folder: Path) -> None:
    """The same calls on a few thousand chunks give the same ids and scores everywhere."""
    stores = {kind: opened(kind, folder) for kind in STORES}
    points = a_few_thousand(np.random.default_rng(11))
    for store in stores.values():
        for corpus in ("rh", "sante", "finances"):
            own = [p for p in points if p.chunk.corpus == corpus]
            store.stage(corpus, 1, own[:700], ())
            removals = [stored.point for stored in store.contents(corpus, (1,)) if stored.chunk.ordinal % 7 == 0]
            store.stage(corpus, 2, own[700:900], removals)
            store.stage(corpus, 4, own[900:], removals[::2])
    rng = np.random.default_rng(12)
    for n in range(16):
        words = np.unique(np.minimum(rng.zipf(1.4, 8), 5000))
        lineage = [(2, 1), (1,), (4, 1), (4, 2, 1)][n % 4]
        scope = Scope(
            groups=GROUPS[n % 4],
            clearance=n % 3,
            lineages={"rh": lineage, "sante": (1,)} | ({"finances": (2, 1)} if n % 2 else {}),
            as_of=dt.date(2012, 6, 1) if n % 5 else None,
        )
        dense = rng.standard_normal(DIMENSION).astype(np.float32)
        query = Query(dense, SparseVector(tuple(words.tolist()), (1.0,) * len(words)), (f"art:{n}", "art:3"))
        answers = {kind: store.search(query, scope, 60) for kind, store in stores.items()}
        contents = {kind: store.chunks(scope, references=["art:3"]) for kind, store in stores.items()}
        for kind in STORES[1:]:
            assert contents[kind] == contents["dict"]
            for part in (lambda c: c.dense, lambda c: c.sparse, lambda c: c.exact):
                assert_same(part, answers[kind], answers["dict"])
    for store in stores.values():
        store.close()


def assert_same(part: Callable[[Candidates], Any], one: Candidates, other: Candidates) -> None:
    assert len(part(other)) > 5
    assert [scored.chunk for scored in part(one)] == [scored.chunk for scored in part(other)]
    assert [s.score for s in part(one)] == pytest.approx([s.score for s in part(other)], rel=1e-5, abs=1e-6)
