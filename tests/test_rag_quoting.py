"""A grammar offers whole sentences of the passages and nothing else, and what was written is found in them again."""

from __future__ import annotations

import pytest

from rag import quoting
from rag.types import Chunk, Passage

RULES = (
    "Le congé annuel est de 25 jours. La demande est déposée quinze jours avant. "
    "Le report est possible jusqu'au 31 mars."
)


def passage(n: int, text: str, *, score: float = 1.0, shown: bool = True) -> Passage:
    chunk = Chunk(f"c{n}", "rh", f"d{n}", "Congés", "Article 1", (), text, 0, "fr", 0, len(text))
    return Passage(n, chunk, score, shown=shown)


def quoted(found: tuple[tuple[int, int, int], ...] | None, passages: list[Passage]) -> list[str]:
    """The words at each place."""
    assert found is not None
    by_number = {one.n: one.chunk.text for one in passages}
    return [by_number[n][start:end] for n, start, end in found]


def test_every_sentence_is_offered_with_its_mark() -> None:
    written = quoting.grammar([passage(1, RULES)], "fr")
    assert quoting.choices(written) == (
        "Le congé annuel est de 25 jours. [1]",
        "La demande est déposée quinze jours avant. [1]",
        "Le report est possible jusqu'au 31 mars. [1]",
    )


def test_what_was_written_is_found_in_the_passages() -> None:
    passages = [passage(1, RULES), passage(2, "Le télétravail est ouvert à tous les agents.")]
    text = "Le report est possible jusqu'au 31 mars. [1] Le télétravail est ouvert à tous les agents. [2]"
    assert quoted(quoting.spans(text, passages), passages) == [
        "Le report est possible jusqu'au 31 mars.",
        "Le télétravail est ouvert à tous les agents.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Le congé annuel est de 30 jours. [1]",
        "Le congé annuel est de 25 jours. [2]",
        "Le congé annuel est de 25 jours. [1] Bonne lecture !",
        "Voici : Le congé annuel est de 25 jours. [1]",
        "Réponse libre d'un serveur qui ignore les grammaires.",
    ],
)
def test_anything_that_is_no_quotation_is_refused_whole(text: str) -> None:
    """A server may ignore a grammar and write freely."""
    assert quoting.spans(text, [passage(1, RULES), passage(2, "Autre règle sans rapport aucun.")]) is None


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_words_that_refuse_are_offered_and_quote_nothing(language: str) -> None:
    written = quoting.grammar([passage(1, RULES)], language)
    assert f'none ::= "{quoting.NONE[language]}"' in written
    assert quoting.spans(quoting.NONE[language], [passage(1, RULES)]) == ()


def test_a_sentence_that_broke_off_is_left_out() -> None:
    passages = [passage(1, RULES)]
    text = "Le congé annuel est de 25 jours. [1] La demande est dép"
    assert quoted(quoting.spans(text, passages), passages) == ["Le congé annuel est de 25 jours."]


def test_a_sentence_said_twice_is_quoted_once() -> None:
    passages = [passage(1, RULES)]
    assert len(quoting.spans("Le congé annuel est de 25 jours. [1] " * 3, passages) or ()) == 1


def test_an_item_brings_its_lead_in() -> None:
    passages = [passage(1, "Le congé est accordé :\n- pour un mariage, cinq jours ;\n- pour un décès, trois jours.")]
    offered = quoting.choices(quoting.grammar(passages, "fr"))
    assert quoted(quoting.spans(offered[1], passages), passages)[0] == "Le congé est accordé :"


def test_the_grammar_stays_small() -> None:
    """Of a great many sentences those of the best passages are offered, in the order of the passages."""
    passages = [
        passage(n, " ".join(f"La règle numéro {n}-{k} est écrite." for k in range(30)), score=n) for n in range(1, 7)
    ]
    written = quoting.grammar(passages, "fr")
    offered = quoting.choices(written)
    assert len(offered) == quoting.SENTENCES
    assert {one[-2] for one in offered} == {"4", "5", "6"}
    assert len(written.splitlines()) <= quoting.SENTENCES * (quoting.MOST + 1) + 2


def test_nothing_is_offered_of_a_passage_that_the_model_does_not_read() -> None:
    assert not quoting.choices(quoting.grammar([passage(1, RULES, shown=False)], "fr"))


def test_without_sentences_only_the_refusal_can_be_written() -> None:
    assert quoting.grammar([], "fr") == 'root ::= none\nnone ::= "AUCUNE RÉPONSE."\n'


@pytest.mark.parametrize(
    "text",
    [
        'Le "mot" \\ dit une règle entière.',
        "L’agent\u00a0: 1\u202f000 € pour l’œuvre 😀 ½.",
        'Une \\" ruse ::= (root) s0 ici même.',
    ],
)
def test_any_printed_character_is_escaped_and_comes_back(text: str) -> None:
    assert quoting.choices(quoting.grammar([passage(1, text)], "fr")) == (f"{text} [1]",)


def test_a_sentence_with_unprinted_characters_is_not_offered() -> None:
    """A zero would end the grammar, and no model writes it."""
    assert not quoting.choices(quoting.grammar([passage(1, "Une règle\x00cachée dans le texte du jour.")], "fr"))
