"""What is said of the versions of what is cited: each notice from the texts that the asker may see, and no other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import pytest

from ingest.chunk import split_text
from rag import lexical, versions
from rag.adapters.fake import DictStore, HashEmbedder
from rag.references import Period
from rag.timing import asked_day
from rag.types import PUBLIC, Chunk, Hit, LegalStatus, Notice, NoticeKind, Passage, Point, Scope, Validity

TODAY = dt.date(2026, 11, 23)
OLD = "Décision n° 2020-44 du 26 novembre 2020 relative aux congés annuels"
NEW = "Décision n° 2023-52 du 30 novembre 2023 relative aux congés annuels"


def _day(text: str | None) -> dt.date | None:
    return None if text is None else dt.date.fromisoformat(text)


def _chunk(
    document: str,
    title: str,
    start: str | None,
    end: str | None = None,
    *,
    article: str = "4",
    status: LegalStatus | None = None,
    groups: frozenset[str] = frozenset({PUBLIC}),
) -> Chunk:
    (chunk,) = split_text(document, title, f"Le congé est de {article} jours.", corpus="rh", article=article)
    return replace(chunk, validity=Validity(_day(start), _day(end)), legal_status=status, groups=groups)


def _told(
    cited: Sequence[Chunk], siblings: Sequence[Chunk], as_of: dt.date = TODAY, language: str = "fr"
) -> tuple[Notice, ...]:
    passages = [Passage(n, chunk, 1.0) for n, chunk in enumerate(cited, start=1)]
    return versions.notices(passages, siblings, as_of, TODAY, language)


def test_a_text_that_was_replaced_says_since_when() -> None:
    """The span of the version that is cited, its last day included, and the day of the one that applies now."""
    old, new = _chunk("a", OLD, "2021-01-01", "2024-01-01"), _chunk("b", NEW, "2024-01-01")
    (notice,) = _told([old], [new], dt.date(2022, 6, 1))
    assert (notice.kind, notice.day, notice.passages) == (NoticeKind.NEWER_VERSION, dt.date(2024, 1, 1), (1,))
    assert notice.text == (
        "Décision n° 2020-44 du 26 novembre 2020 : version en vigueur du 1er janvier 2021 au 31 décembre 2023 ; "
        "une version plus récente s'applique depuis le 1er janvier 2024."
    )
    (english,) = _told([old], [new], dt.date(2022, 6, 1), "en")
    assert english.text.endswith(
        "from 1 January 2021 to 31 December 2023; a newer version has applied since 1 January 2024."
    )


def test_a_text_in_force_today_needs_no_notice() -> None:
    """Its older version is nobody's news."""
    assert _told([_chunk("b", NEW, "2024-01-01")], [_chunk("a", OLD, "2021-01-01", "2024-01-01")]) == ()


def test_the_latest_of_several_versions_is_named() -> None:
    """Between the version cited and that of today others may have come and gone."""
    cited = _chunk("a", OLD, "2019-01-01", "2021-01-01")
    chain = [_chunk("b", NEW, "2021-01-01", "2024-01-01"), _chunk("c", NEW, "2024-01-01")]
    (notice,) = _told([cited], chain, dt.date(2020, 1, 1))
    assert notice.day == dt.date(2024, 1, 1)


def test_passages_of_one_version_share_a_notice() -> None:
    """Two articles of one text are told of once, with the numbers of both."""
    cited = [_chunk("a", OLD, "2021-01-01", "2024-01-01", article=number) for number in ("4", "5")]
    (notice,) = _told(cited, [_chunk("b", NEW, "2024-01-01")], dt.date(2022, 6, 1))
    assert notice.passages == (1, 2)


@pytest.mark.parametrize(
    "other",
    [
        _chunk("b", "Décision n° 2024-31 du 12 décembre 2024 relative au télétravail", "2024-01-01"),
        _chunk("b", "Note n° 2023-52 relative aux congés annuels", "2024-01-01"),
        _chunk("b", "Décision n° 2020-44 du 3 mars 2020 relative au télétravail", "2024-01-01"),
        _chunk("b", NEW, "2027-06-01", "2028-01-01"),
        _chunk("b", NEW, "2022-01-01"),
        replace(_chunk("b", NEW, "2024-01-01"), corpus="finances"),
    ],
    ids=["subject", "kind", "number alone", "long after", "beside it", "corpus"],
)
def test_what_only_resembles_a_text_does_not_replace_it(other: Chunk) -> None:
    """Another subject, kind or corpus, or dates that do not follow on: the text is over, and nothing is named."""
    told = _told([_chunk("a", OLD, "2021-01-01", "2024-01-01")], [other], dt.date(2022, 6, 1))
    assert [notice.kind for notice in told] == [NoticeKind.NOT_IN_FORCE]
    assert told[0].text.endswith("elle ne s'applique plus aujourd'hui.")


def test_versions_of_an_article_within_one_document_are_known() -> None:
    """A consolidated text holds the wordings of an article side by side."""
    first = _chunk("code", "Recueil", "2019-01-01", "2022-01-01")
    second = _chunk("code", "Recueil", "2022-01-01")
    neighbour = _chunk("code", "Recueil", "2022-01-01", article="5")
    assert [notice.kind for notice in _told([first], [second], dt.date(2020, 1, 1))] == [NoticeKind.NEWER_VERSION]
    assert [notice.kind for notice in _told([first], [neighbour], dt.date(2020, 1, 1))] == [NoticeKind.NOT_IN_FORCE]


def test_versions_of_an_article_of_a_code_are_known_across_documents() -> None:
    """The same article of the same code, whatever document holds it."""
    old = _chunk("1", "Code du travail — article L1 (version antérieure)", "2019-01-01", "2022-01-01", article="L1")
    new = _chunk("2", "Code du travail — article L1", "2022-01-01", article="L1")
    (notice,) = _told([old], [new], dt.date(2020, 1, 1))
    assert notice.kind is NoticeKind.NEWER_VERSION


def test_a_version_to_come_is_announced() -> None:
    """Also where nobody has ended the one in force yet; a text that will end without one says that."""
    cited = _chunk("a", OLD, "2021-01-01")
    (notice,) = _told([cited], [_chunk("b", NEW, "2027-01-01")])
    assert (notice.kind, notice.day) == (NoticeKind.FUTURE_VERSION, dt.date(2027, 1, 1))
    assert notice.text.endswith("une autre version entre en vigueur le 1er janvier 2027.")
    (ending,) = _told([replace(cited, validity=Validity(dt.date(2021, 1, 1), dt.date(2027, 3, 1)))], [])
    assert ending.text.endswith("ce texte cesse de s'appliquer le 1er mars 2027.")
    (early,) = _told([_chunk("b", NEW, "2027-01-01")], [], dt.date(2027, 6, 1))
    assert early.text.endswith("cette version n'entre en vigueur que le 1er janvier 2027.")


@pytest.mark.parametrize(
    ("status", "end", "words"),
    [
        (LegalStatus.REPEALED, "2024-01-01", "ce texte est abrogé depuis le 1er janvier 2024."),
        (LegalStatus.ANNULLED, None, "ce texte est annulé, selon son éditeur."),
        (LegalStatus.EXPIRED, None, "ce texte est périmé, selon son éditeur."),
    ],
)
def test_what_its_publisher_says_is_over_is_told(status: LegalStatus, end: str | None, words: str) -> None:
    """The day too, where it is known."""
    (notice,) = _told([_chunk("a", OLD, "2021-01-01", end, status=status)], [], dt.date(2022, 1, 1))
    assert notice.kind is NoticeKind.NOT_IN_FORCE
    assert notice.text.endswith(words)


def test_unknown_dates_are_said() -> None:
    """Such a text is found on every day, and the reader is told."""
    (notice,) = _told([_chunk("a", OLD, None)], [])
    assert notice.kind is NoticeKind.UNKNOWN_VALIDITY


@pytest.mark.parametrize(
    ("start", "end", "status", "words"),
    [
        ("2024-01-01", None, None, "En vigueur depuis le 1er janvier 2024"),
        ("2021-01-01", "2024-01-01", LegalStatus.AMENDED, "En vigueur du 1er janvier 2021 au 31 décembre 2023"),
        (None, "2024-01-01", None, "En vigueur jusqu'au 31 décembre 2023"),
        ("2027-01-01", None, LegalStatus.DEFERRED, "Entrera en vigueur le 1er janvier 2027"),
        ("2021-01-01", "2024-01-01", LegalStatus.REPEALED, "Abrogé depuis le 1er janvier 2024"),
        ("2021-01-01", "2027-01-01", LegalStatus.REPEALED, "En vigueur du 1er janvier 2021 au 31 décembre 2026"),
        (None, None, None, "Dates de validité inconnues"),
    ],
)
def test_a_passage_states_its_version_in_one_line(
    start: str | None, end: str | None, status: LegalStatus | None, words: str
) -> None:
    """What stands beside a passage on screen."""
    assert versions.statement(_chunk("a", OLD, start, end, status=status), TODAY, "fr") == words


def test_a_passage_states_its_version_in_english_too() -> None:
    """The reader's language, not the text's."""
    assert versions.statement(_chunk("a", OLD, "2024-03-02"), TODAY, "en") == "In force since 2 March 2024"


def test_a_rule_that_changed_within_the_period_is_flagged() -> None:
    """« en 2023 » is 31 December; the reader is told that another rule held before 1 April."""
    question = "En 2023, combien de jours fallait-il ?"
    asked = asked_day(question, TODAY)
    assert asked is not None
    assert asked.day is not None
    old, new = _chunk("a", OLD, "2021-01-01", "2023-04-01"), _chunk("b", NEW, "2023-04-01")
    notice = versions.asked_notice(question, asked, asked.day, [Passage(1, new, 1.0)], [old], "fr")
    assert notice.text == (
        "Réponse au 31 décembre 2023, d'après votre question (« En 2023 »). "
        "La règle a changé pendant cette période, le 1er avril 2023."
    )
    alone = versions.asked_notice(question, asked, asked.day, [Passage(1, new, 1.0)], [], "en")
    assert alone.text == "Answer as of 31 December 2023, as your question says (“En 2023”)."


def test_changes_on_the_edges_of_a_period_are_none_within() -> None:
    """A version from 1 January on is that of the whole year."""
    old, new = _chunk("a", OLD, "2021-01-01", "2024-01-01"), _chunk("b", NEW, "2024-01-01")
    passages = [Passage(1, new, 1.0)]
    assert versions.changes_within(Period(dt.date(2024, 1, 1), dt.date(2025, 1, 1), 0, 0), passages, [old]) == ()
    spring = Period(dt.date(2023, 12, 1), dt.date(2024, 3, 1), 0, 0)
    assert versions.changes_within(spring, passages, [old]) == (dt.date(2024, 1, 1),)


def test_before_the_reform_is_the_day_before_the_best_passages_version() -> None:
    """The best passage whose text has an older version says when the change was; without one nobody can."""
    old, new = _chunk("a", OLD, "2021-01-01", "2024-01-01"), _chunk("b", NEW, "2024-01-01")
    other = Passage(1, _chunk("c", "Note n° 3 sur le télétravail des agents", "2025-01-01"), 0.9)
    assert versions.day_before_change([other, Passage(2, new, 0.5)], [old]) == dt.date(2023, 12, 31)
    assert versions.day_before_change([other], [old]) is None


def test_the_newest_wording_of_a_named_article_leads() -> None:
    """Where the dates of two wordings overlap; other hits and all scores stay where they are."""
    old, new = (
        _chunk("1", "Code du travail", "2019-01-01", article="L1"),
        _chunk("2", "Code du travail", "2022-01-01", article="L1"),
    )
    other = _chunk("3", "Code de la route", "2024-01-01", article="L1")
    hits = [Hit(other, 0.9, exact=True), Hit(old, 0.8, exact=True), Hit(new, 0.7, exact=True), Hit(other, 0.6)]
    ordered = versions.newest_first(hits)
    assert [hit.chunk.document for hit in ordered] == ["3", "2", "1", "3"]
    assert [hit.score for hit in ordered] == [0.9, 0.8, 0.7, 0.6]
    found_by_words = [replace(hit, exact=False) for hit in hits]
    assert versions.newest_first(found_by_words) == found_by_words


def _store(*chunks: Chunk) -> DictStore:
    embedder = HashEmbedder()
    store = DictStore(embedder.fingerprint, embedder.dimension)
    points = [Point(chunk, embedder.embed_query(chunk.text), lexical.chunk_vector(chunk)) for chunk in chunks]
    store.stage("rh", 1, points, ())
    return store


def _siblings(store: DictStore, cited: Chunk, scope: Scope) -> list[Chunk]:
    return [
        stored.chunk
        for wanted in versions.wanted([Passage(1, cited, 1.0)], scope)
        for stored in store.chunks(wanted.scope, documents=wanted.documents, references=wanted.references)
    ]


def test_the_store_gives_the_versions_of_other_days() -> None:
    """The day of the scope goes, and nothing else of it."""
    old, new = _chunk("a", OLD, "2021-01-01", "2024-01-01"), _chunk("b", NEW, "2024-01-01")
    scope = Scope(frozenset({"agents"}), 2, {"rh": (1,)}, dt.date(2022, 6, 1))
    assert new in _siblings(_store(old, new), old, scope)
    assert all(
        (one.scope.groups, one.scope.clearance, one.scope.lineages) == (scope.groups, 2, scope.lineages)
        for one in versions.wanted([Passage(1, old, 1.0)], scope)
    )


def test_a_version_that_the_asker_may_not_see_is_not_told_of() -> None:
    """The text they may see is over, as its own dates say; that there is a newer one stays hidden."""
    old = _chunk("a", OLD, "2021-01-01", "2024-01-01")
    hidden = _chunk("b", NEW, "2024-01-01", groups=frozenset({"encadrement"}))
    scope = Scope(frozenset(), 0, {"rh": (1,)}, dt.date(2022, 6, 1))
    told = _told([old], _siblings(_store(old, hidden), old, scope), dt.date(2022, 6, 1))
    assert [notice.kind for notice in told] == [NoticeKind.NOT_IN_FORCE]
    assert "plus récente" not in told[0].text


def test_a_chunk_without_keys_asks_the_store_for_nothing() -> None:
    """A preamble of a text whose title says little has no versions that could be known."""
    (bare,) = split_text("x", "Note", "Texte.", corpus="rh")
    assert versions.wanted([Passage(1, bare, 1.0)], Scope(frozenset(), 0, {"rh": (1,)})) == ()
