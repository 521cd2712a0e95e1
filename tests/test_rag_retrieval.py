"""The search as a whole, over the fakes: what leads, what is seen, and what a reranker may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from rag import lexical, references
from rag.adapters.fake import DictStore, HashEmbedder
from rag.glossary import Glossary
from rag.retrieval import RERANK_DEPTH, Retriever
from rag.types import Chunk, Found, Hit, Point, Scope, Vector

SCOPE = Scope(frozenset(), 0, {"rh": (1,)})


def chunk(name: str, title: str, number: str, text: str) -> Chunk:
    keys = references.article_keys(number, title)
    return Chunk(name, "rh", title, title, f"Article {number}", (), text, 0, "fr", 0, len(text), own_references=keys)


CHUNKS = [
    chunk("t3", "Décision n° 2024-31 relative au télétravail", "3", "Deux jours par semaine au plus."),
    chunk("t4", "Décision n° 2024-31 relative au télétravail", "4", "Le chef de service fixe les jours."),
    chunk("c4", "Décision n° 2023-52 relative aux congés", "4", "Les congés se posent dix jours avant."),
    chunk("v4", "Arrêté n° 2024-31 relatif à la vaccination", "4", "Le vaccin est gratuit."),
    chunk("l1", "Code du travail", "L. 3141-3", "Le salarié a droit à un congé de deux jours et demi ouvrables."),
]


@dataclass(frozen=True)
class Backwards:
    """A reranker that prefers the last."""

    fingerprint: str = "backwards"

    def rerank(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        return [replace(hit, score=(rank + 1) / 100) for rank, hit in enumerate(hits)][::-1]


class Deaf(HashEmbedder):
    """An embedder to whom all questions are one, so that words alone decide."""

    def embed_query(self, text: str) -> Vector:
        return super().embed_query("x")


@pytest.fixture(scope="module")
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture(scope="module")
def store(embedder: HashEmbedder) -> DictStore:
    """A store with five articles published as snapshot 1."""
    made = DictStore(embedder.fingerprint, embedder.dimension)
    vectors = embedder.embed_passages([item.search_text for item in CHUNKS])
    points = [Point(item, vector, lexical.chunk_vector(item)) for item, vector in zip(CHUNKS, vectors, strict=True)]
    made.stage("rh", 1, points, [])
    return made


def found(retriever: Retriever, question: str, limit: int = 10) -> list[str]:
    return [hit.chunk.id for hit in retriever.search(question, SCOPE, limit)]


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("Combien de jours de télétravail par semaine ?", "t3"),
        ("conges dix jours", "c4"),
        ("Que dit l'article 4 de la décision n° 2024-31 ?", "t4"),
        ("Que dit l'article 4 de l'arrêté n° 2024-31 ?", "v4"),
        ("Télétravail : que prévoit l'article 4 ?", "t4"),
        ("que dit le l3141-3", "l1"),
        ("L. 3141-3 : et le vaccin gratuit, la vaccination ?", "l1"),
    ],
)
def test_the_best_hit(store: DictStore, embedder: HashEmbedder, question: str, best: str) -> None:
    """By words, without accents, by reference with and without its text."""
    assert found(Retriever(embedder, store), question)[0] == best


def test_an_exact_hit_says_so(store: DictStore, embedder: HashEmbedder) -> None:
    """The named article is marked; the others are not."""
    hits = Retriever(embedder, store).search("article 4 de la décision n° 2024-31", SCOPE)
    assert [hit.exact for hit in hits] == [True] + [False] * (len(hits) - 1)


def test_limit_and_scope_are_kept(store: DictStore, embedder: HashEmbedder) -> None:
    """No more than asked, and nothing of a corpus that the scope does not name."""
    assert len(found(Retriever(embedder, store), "jours", limit=2)) == 2
    assert Retriever(embedder, store).search("jours", Scope(frozenset(), 0, {})) == []


def test_a_longer_list_begins_like_a_shorter_one(store: DictStore, embedder: HashEmbedder) -> None:
    """Asking for more only adds at the end."""
    retriever = Retriever(embedder, store)
    assert found(retriever, "congés", limit=5)[:2] == found(retriever, "congés", limit=2)


def test_a_reranker_orders_all_but_the_named_article(store: DictStore, embedder: HashEmbedder) -> None:
    """Its order wins, except over an exact reference."""
    plain = found(Retriever(embedder, store), "article 4 de la décision n° 2024-31")
    reranked = found(Retriever(embedder, store, reranker=Backwards()), "article 4 de la décision n° 2024-31")
    assert reranked[0] == plain[0] == "t4"
    assert reranked[1:] == plain[1:][::-1]
    assert (
        found(Retriever(embedder, store, reranker=Backwards()), "congés", 1)
        == found(Retriever(embedder, store), "congés", RERANK_DEPTH)[-1:]
    )


def test_passages_complete_the_best_hit(embedder: HashEmbedder) -> None:
    """Each text once, then the rest of a cut article and the article that it names; hits say how they were found."""
    store = DictStore(embedder.fingerprint, embedder.dimension)
    keys = {number: references.article_keys(number, "Décision n° 2024-8 relative aux repas") for number in "12"}

    def part(name: str, document: str, number: str, text: str, ordinal: int) -> Chunk:
        mentions = references.mentions(text)
        title = "Décision n° 2024-8 relative aux repas"
        return Chunk(
            name, "rh", document, title, f"Article {number}", (), text, ordinal, "fr", 0, len(text),
            own_references=keys[number], mentions=mentions,
        )  # fmt: skip

    parts = [
        part("1a", "repas", "1", "Le repas du soir est remboursé, dans la limite de l'article 2, aux agents qui :", 0),
        part("1b", "repas", "1", "sont en mission après vingt et une heures.", 1),
        part("2", "repas", "2", "Le plafond du repas est de vingt euros.", 2),
        part(
            "copy", "copie", "1", "Le repas du soir est remboursé, dans la limite de l'article 2, aux agents qui :", 0
        ),
    ]
    vectors = embedder.embed_passages([item.search_text for item in parts])
    store.stage("rh", 1, [Point(c, v, lexical.chunk_vector(c)) for c, v in zip(parts, vectors, strict=True)], [])
    shown = Retriever(embedder, store).passages("repas du soir remboursé", SCOPE, 1)
    assert [(hit.chunk.id, hit.found) for hit in shown.hits] == [
        ("1a", Found.SEARCH),
        ("1b", Found.NEIGHBOUR),
        ("2", Found.NAMED),
    ]


def test_a_search_says_what_each_stage_took(store: DictStore, embedder: HashEmbedder) -> None:
    """The cross-encoder's cost is told where there is one."""
    plain = Retriever(embedder, store).passages("congés", SCOPE, 3)
    reranked = Retriever(embedder, store, reranker=Backwards()).passages("congés", SCOPE, 3)
    assert set(plain.seconds) == {"encode", "search", "fuse", "complete"}
    assert set(reranked.seconds) == {"encode", "search", "fuse", "rerank", "complete"}
    assert all(seconds >= 0 for seconds in reranked.seconds.values())


def test_another_name_finds_the_article(store: DictStore, embedder: HashEmbedder) -> None:
    """The glossary of those who ask puts the question in the words of the texts."""
    names = Glossary([("vacances", "congés")], language="fr")
    asked: list[Scope] = []

    def glossary(scope: Scope) -> Glossary:
        asked.append(scope)
        return names

    assert found(Retriever(embedder, store, glossary=glossary), "vacances")[0] == "c4"
    assert asked == [SCOPE]
    assert not any(hit.sparse for hit in Retriever(embedder, store).search("vacances", SCOPE))


def test_a_misspelled_word_is_searched_as_it_was_meant(store: DictStore, embedder: HashEmbedder) -> None:
    """And the reader is told; a word that the texts have is no mistake."""
    shown = Retriever(embedder, store).passages("la vaccinnation", SCOPE, 3)
    assert shown.hits[0].chunk.id == "v4"
    assert [(one.word, one.suggestion) for one in shown.corrections] == [("vaccinnation", "vaccination")]
    assert Retriever(embedder, store).passages("la vaccination", SCOPE, 3).corrections == ()
    odd = Chunk("o", "rh", "o", "Batillage", "", (), "Le batilage des berges.", 0, "fr", 0, 9)
    other = DictStore(embedder.fingerprint, embedder.dimension)
    other.stage("rh", 1, [Point(odd, embedder.embed_query("x"), lexical.chunk_vector(odd))], [])
    assert Retriever(embedder, other).passages("le batilage", SCOPE, 3).corrections == ()


def test_an_english_question_finds_a_french_text(store: DictStore, embedder: HashEmbedder) -> None:
    """By the terms of the administration; and the answer can say that the languages differ."""
    shown = Retriever(embedder, store).passages("How many days of annual leave?", SCOPE, 3)
    assert shown.hits[0].chunk.id == "c4"
    assert shown.foreign
    assert not Retriever(embedder, store).passages("Combien de jours de congés ?", SCOPE, 3).foreign


@pytest.mark.parametrize("change", [str.upper, lexical.fold, lambda text: text.replace("'", "’")])
def test_accents_and_capitals_change_nothing(
    store: DictStore, embedder: HashEmbedder, change: Callable[[str], str]
) -> None:
    """The words of each text, as people type them, find the same in the same order."""
    retriever = Retriever(Deaf(), store)
    for item in CHUNKS:
        question = f"Que dit le texte : {item.title}, l'agent : {item.text}"
        assert found(retriever, change(question)) == found(retriever, question)
