"""The story of an answer, told with fakes: passages first, verified sentences, extracts, honest refusals."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rag.adapters import fake
from rag.adapters.fake import QuotingGenerator, ScriptedGenerator
from rag.adapters.langchain import VaubanRetriever, answerer
from rag.engine import HOPELESS, LONGEST_QUESTION
from rag.errors import BadRequest, Cancelled, NotFound
from rag.seams import Generator
from rag.types import (
    Answer,
    Message,
    Moment,
    PassagesFound,
    Policy,
    Principal,
    Question,
    Sentence,
    Status,
    Turn,
    Verdict,
)
from tests.rag_server import LEAVE, QUESTION, Parts, chunk, document, parts

AGENT = Principal("local", frozenset({"agents"}))
Ask = Callable[..., Answer]


def says(*sentences: str) -> ScriptedGenerator:
    """A model that writes these sentences whatever it is shown."""

    def script(prompt: Sequence[Message]) -> Iterator[str]:
        yield " ".join(sentences)

    return ScriptedGenerator(script)


def number_of(vauban: Parts, document: str) -> int:
    """The number under which the passage of a document is cited for :data:`QUESTION`."""
    found = next(iter(vauban.engine.answer(Question(QUESTION, AGENT))))
    assert isinstance(found, PassagesFound)
    return next(p.n for p in found.passages if p.chunk.document == document and p.chunk.text == LEAVE)


@pytest.fixture
def vauban(tmp_path: Path) -> Callable[..., Parts]:
    def build(generator: Generator | None = None, **settings: object) -> Parts:
        (tmp_path / "run").mkdir(exist_ok=True)
        return parts(tmp_path / "run", generator, **settings)

    return build


def rewired(built: Parts, generator: Generator, policy: Policy = Policy.STRICT) -> Parts:
    """The same library with another model or policy."""
    built.engine.generator = generator
    built.engine._policy = policy
    return built


def test_passages_come_first_then_sentences_then_the_answer(vauban: Callable[..., Parts]) -> None:
    events = list(vauban(QuotingGenerator()).engine.answer(Question(QUESTION, AGENT)))
    assert [type(event) for event in events] == [PassagesFound, Sentence, Sentence, Answer]


def test_the_text_is_exactly_the_sentences_joined_and_citations_point_into_it(vauban: Callable[..., Parts]) -> None:
    events = list(vauban(QuotingGenerator()).engine.answer(Question(QUESTION, AGENT)))
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert answer.text == "".join(event.text for event in events if isinstance(event, Sentence))
    assert answer.status is Status.ANSWERED
    (citation,) = answer.citations
    cited = answer.text[citation.start : citation.end]
    assert "25 jours ouvrés" in cited
    assert cited.endswith(f"[{citation.passage}]")


def test_a_claim_points_at_the_words_that_support_it(vauban: Callable[..., Parts]) -> None:
    answer = vauban(QuotingGenerator()).engine.finish(Question(QUESTION, AGENT))
    (placed,) = answer.claims
    (span,) = placed.claim.spans
    text = next(passage.chunk.text for passage in answer.passages if passage.n == span.passage)
    assert "25 jours ouvrés" in text[span.start : span.end]


def test_strict_shows_no_sentence_that_its_passage_does_not_support(vauban: Callable[..., Parts]) -> None:
    built = vauban()
    n = number_of(built, "conges")
    lie = f"La durée du congé annuel est de 30 jours ouvrés par année civile [{n}]."
    truth = f"{LEAVE.rstrip('.')} [{n}]."
    answer = rewired(built, says(lie, truth)).engine.finish(Question(QUESTION, AGENT))
    assert answer.status is Status.ANSWERED
    assert "30 jours" not in answer.text
    verdicts = [(placed.claim.verdict, placed.start is None) for placed in answer.claims]
    assert verdicts == [(Verdict.UNSUPPORTED, True), (Verdict.SUPPORTED, False)]
    assert answer.claims[0].claim.text == ""


def test_flag_shows_it_marked_and_never_as_supported(vauban: Callable[..., Parts]) -> None:
    built = vauban()
    lie = f"La durée du congé annuel est de 30 jours ouvrés par année civile [{number_of(built, 'conges')}]."
    answer = rewired(built, says(lie), Policy.FLAG).engine.finish(Question(QUESTION, AGENT))
    assert "30 jours ouvrés" in answer.text
    assert "(non vérifié)" in answer.text
    assert not any("30 jours" in answer.text[cited.start : cited.end] for cited in answer.citations)


@pytest.mark.parametrize("script", [fake.crashes, fake.endless, fake.echoes])
def test_a_hopeless_model_leaves_the_extracts(
    vauban: Callable[..., Parts], script: Callable[[Sequence[Message]], Iterator[str]]
) -> None:
    answer = vauban(ScriptedGenerator(script)).engine.finish(Question(QUESTION, AGENT))
    assert answer.status is Status.EXTRACTS
    assert f"« {LEAVE} »" in answer.text
    assert "drh@exemple.test" in answer.text


def test_a_hopeless_model_is_given_up_early(vauban: Callable[..., Parts]) -> None:
    answer = vauban(ScriptedGenerator(fake.endless)).engine.finish(Question(QUESTION, AGENT))
    unsupported = [placed for placed in answer.claims if not placed.claim.supported]
    assert len(unsupported) <= HOPELESS


def test_without_a_model_the_extracts_are_verbatim(vauban: Callable[..., Parts]) -> None:
    answer = vauban(None).engine.finish(Question(QUESTION, AGENT))
    assert answer.status is Status.EXTRACTS
    assert answer.model is None
    for placed in answer.claims:
        (span,) = placed.claim.spans
        text = next(passage.chunk.text for passage in answer.passages if passage.n == span.passage)
        assert placed.claim.text == text[span.start : span.end]


def test_a_question_that_no_text_answers_is_refused_with_the_contact(vauban: Callable[..., Parts]) -> None:
    question = Question("Quel jardinier taille les rosiers de la cour ?", AGENT, corpora=("rh",))
    answer = vauban(QuotingGenerator()).engine.finish(question)
    assert answer.status is Status.INSUFFICIENT_EVIDENCE
    assert "drh@exemple.test" in answer.text
    assert not answer.citations
    assert answer.completion_tokens == 0


def test_an_english_question_is_refused_in_english(vauban: Callable[..., Parts]) -> None:
    answer = vauban(None).engine.finish(Question("Who won the village chess tournament?", AGENT))
    assert answer.language == "en"
    assert answer.text.startswith("I cannot find")


def test_nobody_reads_what_their_scope_does_not_hold(vauban: Callable[..., Parts]) -> None:
    guest = Principal("guest")
    answer = vauban(ScriptedGenerator(fake.echoes)).engine.finish(Question(QUESTION, guest))
    assert {passage.chunk.corpus for passage in answer.passages} == {"rh"}
    assert not any("secrète" in passage.chunk.text or "secrets" in passage.chunk.text for passage in answer.passages)


def test_a_corpus_that_is_hidden_is_not_found(vauban: Callable[..., Parts]) -> None:
    with pytest.raises(NotFound, match="secret"):
        vauban(None).engine.finish(Question(QUESTION, AGENT, corpora=("secret",)))


@pytest.mark.parametrize("text", ["", "   \n", "?!…"])
def test_an_empty_question_is_a_bad_request(vauban: Callable[..., Parts], text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        vauban(None).engine.finish(Question(text, AGENT))
    assert caught.value.code == "empty_question"


def test_a_question_that_is_too_long_is_a_bad_request(vauban: Callable[..., Parts]) -> None:
    with pytest.raises(BadRequest) as caught:
        vauban(None).engine.search(Question("mot " * LONGEST_QUESTION, AGENT))
    assert caught.value.code == "question_too_long"


def test_a_follow_up_is_answered_by_what_it_follows(vauban: Callable[..., Parts]) -> None:
    history = (Turn("user", QUESTION), Turn("assistant", "25 jours ouvrés [1]."))
    answer = vauban(None).engine.finish(Question("Et pour quelle année ?", AGENT, history=history))
    assert "congé annuel" in answer.question
    assert LEAVE in answer.text


def test_a_reader_who_leaves_stops_the_answer(vauban: Callable[..., Parts]) -> None:
    built = vauban(ScriptedGenerator(fake.endless, delay=0.01))
    with pytest.raises(Cancelled):
        list(built.engine.answer(Question(QUESTION, AGENT), cancelled=lambda: True))


def test_an_answer_says_which_snapshots_and_which_day_it_rests_on(vauban: Callable[..., Parts]) -> None:
    day = dt.date(2024, 5, 1)
    answer = vauban(QuotingGenerator()).engine.finish(Question(QUESTION, AGENT, as_of=day))
    assert answer.snapshots == {"finances": 1, "rh": 1}
    assert answer.as_of == day
    assert answer.model == "fake-quoting"
    assert answer.prompt
    assert {"search", "generation", "total"} <= set(answer.timings)


def test_an_answer_is_given_again_at_the_moment_of_then(vauban: Callable[..., Parts]) -> None:
    """The snapshots and the day of a question that names its moment are those of then, whatever was published since."""
    built = vauban(QuotingGenerator())
    then = built.engine.finish(Question(QUESTION, AGENT))
    rule = document("rh", "conges", "Règlement des congés")
    built.publish("rh", [(rule, [chunk(rule, "Article 4", LEAVE.replace("25", "30"))])])
    moment = Moment(then.snapshots, dt.date(2024, 5, 1))
    again = built.engine.finish(Question(QUESTION, AGENT, moment=moment))
    assert built.engine.finish(Question(QUESTION, AGENT)).snapshots["rh"] == 2
    assert (again.snapshots, again.text, again.as_of) == (then.snapshots, then.text, moment.today)


def test_a_moment_brings_no_wider_access_back(vauban: Callable[..., Parts]) -> None:
    """What a person may no longer see is not seen at an earlier moment either."""
    built = vauban()
    moment = Moment({"rh": 1, "finances": 1}, dt.date(2024, 5, 1))
    nobody = Principal("local")
    assert built.engine.finish(Question(QUESTION, nobody, moment=moment)).snapshots == {"rh": 1}


def test_langchain_finds_the_same_passages(vauban: Callable[..., Parts]) -> None:
    built = vauban(None)
    documents = VaubanRetriever(engine=built.engine, principal=AGENT, limit=3).invoke(QUESTION)
    hits = built.engine.search(Question(QUESTION, AGENT), 3)
    assert [document.id for document in documents] == [hit.chunk.id for hit in hits]
    assert {"corpus", "document", "title", "reference", "page"} <= set(documents[0].metadata)


def test_langchain_gets_the_verified_answer(vauban: Callable[..., Parts]) -> None:
    answer = answerer(vauban(QuotingGenerator()).engine, AGENT).invoke(QUESTION)
    assert answer.status is Status.ANSWERED
