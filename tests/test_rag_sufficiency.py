"""Thin evidence is told from evidence about the question, before any model is asked."""

from __future__ import annotations

import time
from dataclasses import fields, replace

import pytest

from rag.glossary import Glossary
from rag.lexical import terms
from rag.references import asked as asked_references
from rag.sufficiency import SUFFICIENT, Features, Regression, features, names_article, sufficiency
from rag.types import Chunk, Passage

TEXTS = {
    "Règlement des congés": "Les agents titulaires ont droit à 25 jours ouvrés de congés annuels. La demande est "
    "adressée au chef de service quinze jours avant le départ. Aucun report n'est accordé aux stagiaires.",
    "Accès aux sites": "La perte d'un badge est signalée au poste de sécurité dans les vingt-quatre heures. Le badge "
    "est personnel.",
    "Barème des missions": "Grade | Repas | Nuit\nCadre | 20 € | 110 €\nAgent de maîtrise | 18 € | 90 €",
    "Temps de travail": "La réduction du temps de travail donne dix jours par an aux agents à temps complet.",
}


def searched(question: str, words: tuple[str, ...] = ()) -> list[Passage]:
    """The passages as a search scores them: by the words that they share with the question, or ``words``."""
    asked = {stem for text in (question, *words) for stem in terms(text, "fr")}
    passages = []
    for n, (title, text) in enumerate(TEXTS.items(), 1):
        chunk = Chunk(
            id=f"c{n}", corpus="rh", document=f"d{n}", title=title, reference="Article 4", path=(), text=text,
            ordinal=0, language="fr", start=0, end=len(text),
        )  # fmt: skip
        count = len(asked.intersection(terms(chunk.search_text, "fr")))
        passages.append(Passage(n, chunk, count / 5, sparse=4.0 * count, dense=0.4 + count / 20))
    return passages


@pytest.mark.parametrize(
    ("question", "answered"),
    [
        ("Combien de jours de congés annuels ont les titulaires ?", True),
        ("Sous quel délai signaler la perte d'un badge ?", True),
        ("Quel télescope acheter pour voir les anneaux de Saturne ?", False),
        ("Quelle prime est versée avec la médaille d'honneur ?", False),
        ("Combien de jours pour une cure thermale ?", False),
        ("Combien de jours de congé pour faire de la télépathie ?", False),
    ],
)
def test_evidence_is_sufficient_or_not(question: str, answered: bool) -> None:
    """A passage must hold what the question is about, not only its common words."""
    assert (sufficiency(question, searched(question)) >= SUFFICIENT) is answered


def test_no_passage_is_no_evidence() -> None:
    """Without passages the answer is a refusal."""
    assert sufficiency("Combien de jours de congés ?", []) == 0.0


def test_a_rare_noun_that_no_passage_has_tells_more_than_a_common_verb() -> None:
    """What is missing weighs by how rare it is in everyday language."""
    noun = features("Combien de jours de congé pour la télépathie ?", searched("jours de congé"))
    verb = features("Combien de jours de congé peut-on regarder ?", searched("jours de congé"))
    assert noun is not None
    assert verb is not None
    assert noun.largest_any > 3 * verb.largest_any


def test_another_name_of_the_glossary_counts_as_the_word() -> None:
    """An acronym is found where the rule writes it out."""
    question = "Combien de RTT à temps complet ?"
    passages = searched(question, ("réduction du temps de travail",))
    plain = features(question, passages, glossary=Glossary())
    helped = features(question, passages, glossary=Glossary([("RTT", "réduction du temps de travail")]))
    assert plain is not None
    assert helped is not None
    assert helped.passage > plain.passage
    assert helped.lacking_any == plain.lacking_any - 1


def test_the_article_that_is_named_suffices() -> None:
    """Who asks for an article by its number gets it, whatever its words."""
    question = "Que dit l'article 4 de la décision n° 2024-31 ?"
    exact, _ = asked_references(question)
    first, *rest = searched(question)
    named = replace(first, chunk=replace(first.chunk, own_references=exact))
    assert names_article(question, [named])
    assert sufficiency(question, [named, *rest]) == 1.0
    assert not names_article(question, rest)


def test_a_regression_is_a_probability_on_standardised_values() -> None:
    """One half at the means, and more where a weight says so."""
    model = Regression(0.0, (1.0, 2.0), (1.0, 0.5), (1.0, -1.0))
    assert model.probability((1.0, 2.0)) == 0.5
    assert model.probability((2.0, 2.0)) == pytest.approx(0.7311, abs=1e-4)
    assert model.probability((1.0, 1e9)) < 1e-9


def test_the_judgement_takes_little_time() -> None:
    """Refusing costs a hundredth of what a model does, also with full passages."""
    question = "Combien de jours de congés annuels ont les titulaires ?"
    long = [replace(one, chunk=replace(one.chunk, text=one.chunk.text * 6)) for one in searched(question)]
    sufficiency(question, long)  # the lists are read once
    fresh = [replace(one, chunk=replace(one.chunk, text=f"Dispositions. {one.chunk.text}")) for one in long]
    start = time.process_time()
    sufficiency(question, fresh)
    assert time.process_time() - start < 0.1


def test_every_feature_is_explained() -> None:
    """The docstring names what is weighed; a star stands for the pairs."""
    said = str(Features.__doc__)
    missing = [one.name for one in fields(Features) if one.name not in said and one.name.split("_")[0] not in said]
    assert missing == []
