"""The story: from a question to a cited answer, in the order it happens.

``Engine.answer`` yields the passages first, then each sentence once it is verified, then the finished
:class:`~rag.types.Answer`, whose text is exactly the sentences joined. It is synchronous; surfaces run it in
a thread.
"""

from __future__ import annotations

import logging
import time
from collections import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace

from rag import claims, context, extracts, language, replies, rewrite, scope, sentences
from rag.busy import Busy
from rag.errors import BadRequest, GenerationError, Overloaded
from rag.retrieval import Retriever
from rag.seams import Embedder, Generator
from rag.types import (
    Answer,
    Citation,
    Claim,
    Corpus,
    Dropped,
    Event,
    Hit,
    Matrix,
    Message,
    Passage,
    PassagesFound,
    PlacedClaim,
    Policy,
    Question,
    Reason,
    Sampling,
    Scope,
    Sentence,
    Span,
    Status,
    Verdict,
)

log = logging.getLogger("vauban.engine")

LONGEST_QUESTION = 4_000
"""Characters of a question; longer ones are documents pasted by mistake and would fill any context."""
PASSAGES = 6
"""Passages that the reader is shown; the model reads the best of them (``context.MOST``)."""
EXTRACTS = 4
"""Verbatim extracts given when no sentence of the draft survives."""
UNCITED = 2
"""Sentences in a row without any citation after which the model is taken not to understand what is asked of it."""
HOPELESS = 3
"""Unsupported sentences in a row after which the draft is given up and the extracts are given instead."""


@dataclass(slots=True)
class _Text:
    """The answer's text as it grows, with the places of claims and citations in it."""

    pieces: list[str] = field(default_factory=list)
    length: int = 0
    claims: list[PlacedClaim] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)

    def say(self, text: str, claim: Claim | None = None) -> Sentence:
        """Append ``text``; a claim is placed at it, and cites from it, without the blanks around."""
        if claim is not None:
            start = self.length + len(text) - len(text.lstrip())
            end = self.length + len(text.rstrip())
            self.claims.append(PlacedClaim(claim, start, end))
            if claim.supported:
                self.citations += [Citation(start, end, n) for n in claim.cited]
        self.pieces.append(text)
        self.length += len(text)
        return Sentence(text, claim)

    def drop(self, claim: Claim) -> None:
        """Keep the verdict of a claim that is not shown, and not its words."""
        self.claims.append(PlacedClaim(replace(claim, text=""), None, None))

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def unseen(hits: Sequence[Hit]) -> None:
    """What a search has found, of which nobody keeps count."""


@dataclass(frozen=True, slots=True)
class Library:
    """What the catalog says at one moment: the corpora, and the published lineage of each."""

    corpora: tuple[Corpus, ...]
    lineages: Mapping[str, tuple[int, ...]]


class Engine:
    """Answers questions over the published corpora. Safe to use from several threads."""

    def __init__(
        self,
        *,
        library: Callable[[], Library],
        retriever: Retriever,
        embedder: Embedder,
        generator: Generator | None,
        policy: Policy = Policy.STRICT,
        language: str = "fr",
        found: Callable[[Sequence[Hit]], None] = unseen,
    ) -> None:
        self._library = library
        self._found = found
        self._retriever = retriever
        self._embedder = embedder
        self.generator = generator
        self._policy = policy
        self._language = language
        self.busy = Busy()

    def scope(self, question: Question) -> Scope:
        """The scope of a question: what this person may see today, or on its as-of date.

        Raises:
            NotFound: a corpus that was asked for does not exist, or the person may not see it.
        """
        library = self._library()
        return scope.resolve(
            question.principal,
            library.corpora,
            library.lineages,
            requested=question.corpora,
            as_of=question.as_of or scope.today(),
        )

    def search(self, question: Question, limit: int = 10) -> list[Hit]:
        """The best hits for a question, best first.

        Raises:
            BadRequest: the question is empty or too long.
            NotFound: see :meth:`scope`.
        """
        hits: list[Hit] = self._retriever.search(_checked(question.text), self.scope(question), limit)
        self._found(hits)
        return hits

    def answer(
        self,
        question: Question,
        *,
        sampling: Sampling | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        waiting: Callable[[int], None] = lambda position: None,
    ) -> Iterator[Event]:
        """Yield the passages, then each sentence that may be shown, then the finished Answer.

        In ``strict`` no sentence is yielded that its passages do not support. A model that is missing, busy,
        broken or hopeless only makes the answer an ``extracts`` one.

        Raises:
            BadRequest, NotFound: before anything is yielded.
            Cancelled: the reader went away.
        """
        with self.busy.held():
            yield from self._answer(question, sampling, cancelled, waiting)

    def _answer(
        self,
        question: Question,
        sampling: Sampling | None,
        cancelled: Callable[[], bool],
        waiting: Callable[[int], None],
    ) -> Iterator[Event]:
        clock = _Clock()
        # 1. A follow-up and its history become a question that stands alone.
        text = rewrite.standalone(_checked(question.text), question.history)
        speech = question.language or language.detect(text, self._language)
        # 2-3. Search, inside the scope.
        with clock.stage("search"):
            seen = self.scope(question)
            hits = self._retriever.search(text, seen, PASSAGES)
        self._found(hits)
        passages = context.canonical(hits)
        yield PassagesFound(passages, text, seen.as_of, seen.snapshots)
        blank = Answer(
            status=Status.INSUFFICIENT_EVIDENCE,
            text="",
            language=speech,
            question=text,
            passages=passages,
            snapshots=seen.snapshots,
            as_of=seen.as_of,
            contact=self._contact(passages, question.corpora),
        )
        # Whether the evidence suffices is decided before a token is spent.
        with clock.stage("sufficiency"):
            enough = bool(passages) and extracts.sufficiency(text, passages, speech) >= extracts.SUFFICIENT
        if not enough:
            yield from self._refuse(blank, clock)
            return
        # 4-6. Fit the passages, let the model write, show what is verified.
        written = _Text()
        draft = _Draft()
        if self.generator is not None:
            yield from self._write(
                self.generator, blank, question, sampling or Sampling(), written, draft, clock, cancelled, waiting
            )
        blank = replace(
            blank,
            passages=draft.passages or passages,
            dropped=draft.dropped,
            model=draft.model,
            prompt=draft.prompt,
            prompt_tokens=draft.prompt_tokens,
            completion_tokens=draft.completion_tokens,
        )
        if any(placed.claim.supported for placed in written.claims):
            if blank.contact and any(not placed.claim.supported for placed in written.claims):
                yield written.say(f"\n\n{replies.reach(blank.contact, speech)}")
            yield _finished(blank, Status.ANSWERED, written, clock)
            return
        # 7. Nothing survived: the best verbatim extracts, or an honest refusal.
        yield from self._extract(blank, written, clock)

    def warm(self) -> None:
        """Let the model read the public system prompt, so that the first question finds it read already.

        A model that fails now will fail, and be reported, when it is asked.
        """
        if self.generator is not None:
            prompt = context.render((), "", self._language)[:1]
            with suppress(GenerationError, BadRequest):
                for _ in self.generator.stream((*prompt, Message("user", "")), Sampling(max_tokens=1)):
                    break

    def finish(self, question: Question, *, sampling: Sampling | None = None) -> Answer:
        """The finished answer alone, for callers that do not stream; raises what :meth:`answer` raises."""
        *_, last = self.answer(question, sampling=sampling)
        assert isinstance(last, Answer)
        return last

    def _write(
        self,
        generator: Generator,
        blank: Answer,
        question: Question,
        sampling: Sampling,
        written: _Text,
        draft: _Draft,
        clock: _Clock,
        cancelled: Callable[[], bool],
        waiting: Callable[[int], None],
    ) -> Iterator[Event]:
        """Draft with the model; yield each sentence that the policy lets through, and note the rest."""
        try:
            fitted = context.fit(
                blank.passages,
                blank.question,
                blank.language,
                budget=generator.context - sampling.max_tokens,
                count=generator.count_prompt,
                history=question.history,
            )
        except GenerationError as error:
            log.warning("generation failed: %s", error.code)
            return
        if fitted is None:
            return
        draft.passages, draft.dropped = fitted.passages, fitted.dropped
        draft.model, draft.prompt = generator.fingerprint, context.prompt_digest(blank.language)
        draft.prompt_tokens = fitted.tokens
        shown = [passage for passage in fitted.passages if passage.shown]
        failures = uncited = 0
        seen: set[str] = set()
        try:
            with (
                clock.stage("generation"),
                closing(_counted(generator, fitted.prompt, sampling, cancelled, waiting, draft)) as pieces,
            ):
                for sentence in sentences.stream(pieces):
                    claim = claims.judge(sentence, shown, similarity=self._similarity)
                    uncited = 0 if claim.cited else uncited + 1
                    if claim.text in seen:  # a small model going round in circles
                        failures += 1
                    elif claim.supported or (self._policy is Policy.FLAG and claim.reason is not Reason.NOT_A_CLAIM):
                        failures = 0
                        seen.add(claim.text)
                        mark = "" if claim.supported else f" {replies.flag(blank.language)}"
                        gap = " " if written.pieces else ""
                        yield written.say(f"{gap}{_marked(claim)}{mark}", claim)
                    else:
                        failures += 1
                        written.drop(claim)
                    if failures >= HOPELESS or uncited >= UNCITED:
                        break
        except Overloaded:
            raise
        except GenerationError as error:
            if cancelled():
                raise
            log.warning("generation failed: %s", error.code)

    def _extract(self, blank: Answer, written: _Text, clock: _Clock) -> Iterator[Event]:
        """The best sentences of the passages, word for word; a refusal when there is none."""
        with clock.stage("extracts"):
            spans = extracts.extracts(blank.question, blank.passages, limit=EXTRACTS, language=blank.language)
        if not spans:
            yield from self._refuse(blank, clock, written)
            return
        # Sentences of the draft that were shown under policy ``flag`` stay above the extracts.
        gap = "\n\n" if written.pieces else ""
        yield written.say(gap + replies.lead(Status.EXTRACTS, blank.language))
        by_number = {passage.n: passage for passage in blank.passages}
        for n, start, end in spans:
            quote = by_number[n].chunk.text[start:end]
            claim = Claim(quote, (n,), Verdict.SUPPORTED, spans=(Span(n, start, end),))
            yield written.say(f"\n\n{replies.quoted(quote, blank.language)} [{n}]", claim)
        if blank.contact:
            yield written.say(f"\n\n{replies.reach(blank.contact, blank.language)}")
        yield _finished(blank, Status.EXTRACTS, written, clock)

    def _refuse(self, blank: Answer, clock: _Clock, written: _Text | None = None) -> Iterator[Event]:
        written = written or _Text()
        gap = "\n\n" if written.pieces else ""
        yield written.say(gap + replies.refusal(blank.language, near=bool(blank.passages), contact=blank.contact))
        yield _finished(blank, Status.INSUFFICIENT_EVIDENCE, written, clock)

    def _contact(self, passages: Sequence[Passage], requested: Sequence[str] | None) -> str:
        """Whom to ask: the contact of the best passage's corpus, else of the corpus that was asked for."""
        best = max(passages, key=lambda passage: passage.score, default=None)
        names = [best.chunk.corpus] if best else list(requested or ())
        contacts = {corpus.name: corpus.contact for corpus in self._library().corpora}
        return next((contacts[name] for name in names if contacts.get(name)), "")

    def _similarity(self, left: Sequence[str], right: Sequence[str]) -> Matrix:
        """Cosines of texts with texts, shape ``(left, right)``."""
        cosines: Matrix = self._embedder.embed_passages(left) @ self._embedder.embed_passages(right).T
        return cosines


@dataclass(slots=True)
class _Draft:
    """What is known of the model's part once it has run."""

    passages: tuple[Passage, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    model: str | None = None
    prompt: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Clock:
    """Seconds by stage of one answer; ``total`` runs from its making."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 4)

    def timings(self) -> dict[str, float]:
        return self.seconds | {"total": round(time.perf_counter() - self._start, 4)}


def _checked(text: str) -> str:
    """A question that can be searched.

    Raises:
        BadRequest: it is empty, or longer than :data:`LONGEST_QUESTION`.
    """
    text = text.strip()
    if not any(character.isalnum() for character in text):
        raise BadRequest(
            "the question is empty; write what you want to know",
            "la question est vide ; écrivez ce que vous voulez savoir",
            code="empty_question",
        )
    if len(text) > LONGEST_QUESTION:
        raise BadRequest(
            f"the question has {len(text)} characters and {LONGEST_QUESTION} is the most; shorten it",
            f"la question compte {len(text)} caractères pour {LONGEST_QUESTION} au plus ; raccourcissez-la",
            code="question_too_long",
        )
    return text


def _counted(
    generator: Generator,
    prompt: Sequence[Message],
    sampling: Sampling,
    cancelled: Callable[[], bool],
    waiting: Callable[[int], None],
    draft: _Draft,
) -> abc.Generator[str, None, None]:
    """The model's pieces, counted as tokens as they pass."""
    for piece in generator.stream(prompt, sampling, cancelled=cancelled, waiting=waiting):
        draft.completion_tokens += 1
        yield piece


def _marked(claim: Claim) -> str:
    """The sentence as it is shown: its words, then the numbers of the passages it cites."""
    marks = "".join(f"[{n}]" for n in claim.cited)
    return f"{claim.text} {marks}" if marks else claim.text


def _finished(blank: Answer, status: Status, written: _Text, clock: _Clock) -> Answer:
    return replace(
        blank,
        status=status,
        text=written.text,
        claims=tuple(written.claims),
        citations=tuple(written.citations),
        timings=clock.timings(),
    )
