"""Where sentences end, and that a stream ends them at the same places as the whole text."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.sentences import split, stream

CASES = [
    ("Le congé est de 25 jours [1]. Il est annuel [2].", ["Le congé est de 25 jours [1].", "Il est annuel [2]."]),
    ("Le congé est annuel. [1][2] Il est payé [1].", ["Le congé est annuel. [1][2]", "Il est payé [1]."]),
    ("Voir l'art. R. 12-3 du code. Fin.", ["Voir l'art. R. 12-3 du code.", "Fin."]),
    (
        "L'article L. 3141-3 fixe 2.5 jours. M. Martin signe.",
        ["L'article L. 3141-3 fixe 2.5 jours.", "M. Martin signe."],
    ),
    ("Le décret n° 2012-1246 s'applique. [1, 2]", ["Le décret n° 2012-1246 s'applique. [1, 2]"]),
    ("1° le premier ;\n2° le second.", ["1° le premier ;", "2° le second."]),
    ("- Un point [1]\n- Un autre [2]", ["- Un point [1]", "- Un autre [2]"]),
    ("Le délai court.\n[1]\nIl est bref.", ["Le délai court.\n[1]", "Il est bref."]),
    ("[1] Le délai court. [2] Il est bref.", ["[1] Le délai court.", "[2] Il est bref."]),
    ("« Tout est payé. » Vraiment ? Oui !", ["« Tout est payé. »", "Vraiment ?", "Oui !"]),
    (
        "Leave must be requested, e.g. by e-mail. It is paid.",
        ["Leave must be requested, e.g. by e-mail.", "It is paid."],
    ),
    ("Without a stop [1]", ["Without a stop [1]"]),
    ("   \n ", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "sentences"), CASES)
def test_a_text_is_cut_into_its_sentences(text: str, sentences: list[str]) -> None:
    """Abbreviations, decimals and references end nothing; marks stay with their sentence."""
    assert [text[start:end] for start, end in split(text)] == sentences


@given(st.sampled_from([text for text, _ in CASES]), st.lists(st.integers(0, 80)))
def test_a_stream_cuts_where_the_whole_text_is_cut(text: str, cuts: list[int]) -> None:
    """However the model's pieces fall, the sentences are the same."""
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    assert list(stream(pieces)) == [text[start:end] for start, end in split(text)]


@given(st.text(alphabet="aB1. \n[]!;°«»", max_size=60))
def test_nothing_but_white_space_is_lost(text: str) -> None:
    """Sentences are disjoint, in order, and hold every character that can be seen."""
    spans = split(text)
    assert sum(not c.isspace() for a, b in spans for c in text[a:b]) == sum(not c.isspace() for c in text)


def test_a_sentence_is_given_before_the_model_stops() -> None:
    """The first sentence does not wait for the second to be complete."""

    def pieces() -> object:
        yield "Le congé est de 25 jours [1]. I"
        raise AssertionError("asked for more before giving the first sentence")

    assert next(stream(pieces())) == "Le congé est de 25 jours [1]."  # type: ignore[arg-type]  # a generator of text


@pytest.mark.parametrize("piece", ["L. ", "I. – ", "[1] ", "a. [ ", "l. [1] ", "M.\n[1] b\n"])
def test_a_hostile_text_is_cut_in_time_that_grows_with_its_length(piece: str) -> None:
    """Neither stops that end nothing nor runs of marks are looked at again for each of them, or nested."""
    text = "a. " + piece * 40_000
    start = time.process_time()
    split(text)
    assert time.process_time() - start < 5
