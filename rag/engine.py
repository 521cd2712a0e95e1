"""The story: from a question to a cited answer, in the order it happens.

``Engine.answer`` yields the passages first, then each sentence once it is verified, then the finished
:class:`~rag.types.Answer`, whose text is exactly the sentences joined. It is synchronous; surfaces run it in
a thread.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
import time
from collections import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

import prompts
from rag import (
    claims,
    clarify,
    conflicts,
    context,
    extracts,
    intents,
    language,
    quoting,
    references,
    repair,
    replies,
    rewrite,
    scope,
    sentences,
    spelling,
    structured,
    telling,
    timing,
    versions,
)
from rag.busy import Busy
from rag.cosines import Cosines
from rag.errors import BadRequest, Cancelled, GenerationError, NotFound, Overloaded
from rag.intents import Intent
from rag.queue import never, nobody
from rag.retrieval import Retrieved, Retriever
from rag.seams import Embedder, Generator
from rag.structured import Keyed
from rag.types import (
    Answer,
    AsOfSource,
    Chunk,
    Claim,
    Conflict,
    Corpus,
    Dropped,
    Event,
    Hit,
    Message,
    Notice,
    NoticeKind,
    Passage,
    PassagesFound,
    Policy,
    Question,
    Quotes,
    Reading,
    Reason,
    Sampling,
    Scope,
    Span,
    Status,
    Told,
)

log = logging.getLogger("vauban.engine")

LONGEST_QUESTION = 4_000
"""Characters of a question; longer ones are documents pasted by mistake and would fill any context."""
PASSAGES = 6
"""Passages that the search gives a reader; the model reads the best of them (``context.MOST``)."""
EXTRACTS = 4
"""Verbatim extracts given when no sentence of the draft survives."""
UNCITED = 2
"""Sentences in a row without any citation after which the model is taken not to understand what is asked of it."""
HOMONYMS = 24
"""Hits among which articles of one number are looked for: more texts than a reader can choose from."""
PROBED = 6
"""Hits of each search for a text that contradicts the likely answer."""
HOPELESS = 3
"""Unsupported sentences in a row after which the draft is given up and the extracts are given instead."""


def unseen(hits: Sequence[Hit]) -> None:
    """What a search has found, of which nobody keeps count."""


def unkept(corpus: str, snapshot: int) -> tuple[int, ...]:
    """No snapshot but the published one is kept."""
    raise NotFound(
        f"snapshot {snapshot} of the corpus `{corpus}` is not kept",
        f"l'instantané {snapshot} du corpus « {corpus} » n'est pas conservé",
        code="unknown_snapshot",
    )


@dataclass(frozen=True, slots=True)
class Library:
    """What the catalog says at one moment: the corpora, and the published lineage of each."""

    corpora: tuple[Corpus, ...]
    lineages: Mapping[str, tuple[int, ...]]


class Engine:
    """Answers questions over the published corpora. Safe to use from several threads.

    ``lineage`` gives that of an earlier snapshot, for answers that are given again. ``quotes`` says who chooses
    verbatim extracts, ``capable`` whether the model may use words of its own: of any other, only what a passage says
    nearly word for word is shown, and no mark is repaired.
    """

    def __init__(
        self,
        *,
        library: Callable[[], Library],
        retriever: Retriever,
        embedder: Embedder,
        generator: Generator | None,
        policy: Policy = Policy.STRICT,
        quotes: Quotes = Quotes.RANKED,
        capable: bool = False,
        language: str = "fr",
        found: Callable[[Sequence[Hit]], None] = unseen,
        lineage: Callable[[str, int], tuple[int, ...]] = unkept,
    ) -> None:
        self._library = library
        self._lineage = lineage
        self._found = found
        self._retriever = retriever
        self._similarity = Cosines(embedder)
        self.generator = generator
        self._policy = policy
        self._quotes = quotes
        self._capable = capable
        self._language = language
        self.busy = Busy()

    def scope(self, question: Question) -> Scope:
        """The scope of a question: what this person may see today, or on its as-of date.

        Raises:
            NotFound: a corpus that was asked for does not exist, or the person may not see it; or the snapshot of the
                question's moment is no longer kept.
        """
        library = self._library()
        lineages = library.lineages
        if question.moment is not None:
            lineages = {name: self._lineage(name, number) for name, number in question.moment.snapshots.items()}
        return scope.resolve(
            question.principal,
            library.corpora,
            lineages,
            requested=question.corpora,
            as_of=question.as_of or _today(question),
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
        cancelled: Callable[[], bool] = never,
        waiting: Callable[[Told], None] = nobody,
        seconds: float = math.inf,
        form: Keyed | None = None,
        counted: bool = True,
    ) -> Iterator[Event]:
        """Yield the passages, then each sentence that may be shown, then the finished Answer.

        The passages come once more, numbered anew, when a text joins them that contradicts the likely answer.

        In ``strict`` no sentence is yielded that its passages do not support. A model that is missing, busy,
        broken, hopeless or not done after ``seconds`` only makes the answer an ``extracts`` one.
        With a ``form`` the text of an ``extracts`` answer is that form as JSON, filled with sentences of the
        passages; any other answer is in words. What it finds counts as found by people, unless it is not ``counted``:
        questions of Vauban's own would make texts look read that nobody asked for.

        Raises:
            BadRequest, NotFound: before anything is yielded.
            Cancelled: the reader went away.
        """
        with self.busy.held():
            reader = _Reader(question.principal.owner, cancelled, waiting, time.monotonic() + seconds)
            yield from self._answer(question, sampling or Sampling(), reader, form, counted=counted)

    def _answer(
        self, question: Question, sampling: Sampling, reader: _Reader, form: Keyed | None, *, counted: bool
    ) -> Iterator[Event]:
        clock = _Clock()
        # 1. What is no question has a fixed reply; a follow-up and its history become a question that stands alone.
        said = _checked(question.text)
        wanted = intents.intent(said)
        if wanted is not Intent.QUESTION:
            yield from self._reply(question, said, wanted, clock)
            return
        with clock.stage("rewrite"):
            text = _whole(self._standalone(said, question, reader))
        speech = question.language or language.detect(text, self._language)
        # 2-3. Search inside the scope, on the day that is asked about. The reader has the passages before it is looked
        # for what contradicts the likely answer, which takes as long again, and may add one.
        found = self._gather(question, text, said, speech, clock)
        shown = PassagesFound(found.passages, text, found.scope.as_of, found.scope.snapshots)
        yield shown
        if found.sufficient:
            found = self._weighed(found, text, speech, clock)
            if found.passages != shown.passages:
                yield replace(shown, passages=found.passages)
        if counted:
            self._found([Hit(passage.chunk, passage.score) for passage in found.passages])
        blank = Answer(
            status=Status.INSUFFICIENT_EVIDENCE,
            text="",
            language=speech,
            question=text,
            passages=found.passages,
            snapshots=found.scope.snapshots,
            as_of=found.scope.as_of,
            as_of_source=found.source,
            contact=self._contact(found.passages, question.corpora),
            conflicts=found.conflicts,
        )
        written = telling.Text()
        # What hangs on something unsaid is asked back; whether the evidence suffices is decided before a token is
        # spent.
        if found.unclear is not None:
            yield written.say(found.unclear.text)
            blank = replace(blank, choices=found.unclear.choices)
            yield self._finished(blank, Status.NEEDS_CLARIFICATION, written, found, clock)
        elif not found.sufficient:
            yield from self._refuse(blank, written, found, clock)
        elif found.conflicts:
            yield from telling.contradictions(written, found.conflicts, found.passages, found.today, speech)
            yield from self._reach(blank, written)
            yield self._finished(blank, Status.CONFLICTING_SOURCES, written, found, clock)
        elif form is not None:
            yield from self._fill(form, blank, sampling, written, found, clock, reader)
        else:
            # 4-6. Fit the passages, let the model write, show what is verified.
            draft = _Draft()
            if self.generator is not None:
                yield from self._write(self.generator, blank, sampling, written, draft, clock, reader)
            blank = draft.noted(blank)
            if written.supported:
                yield telling.sources(written, blank.passages, found.today, speech)
                if any(not placed.claim.supported for placed in written.claims):
                    yield from self._reach(blank, written)
                yield self._finished(blank, Status.ANSWERED, written, found, clock)
            else:
                # 7. Nothing survived: the best verbatim extracts, or an honest refusal.
                yield from self._extract(blank, written, found, clock, reader)

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

    def _standalone(self, said: str, question: Question, reader: _Reader) -> str:
        """The question as it will be searched and shown: rewritten by a model that can, else by rules."""
        if self._capable and self.generator is not None:
            speech = question.language or language.detect(said, self._language)
            try:
                written = rewrite.by_model(
                    self.generator, said, question.history, speech, reader.over, reader.told, reader.owner
                )
            except Cancelled:
                if reader.cancelled():
                    raise
                written = None  # the time was up, and the rules take none
            if written is not None:
                return written
        return rewrite.standalone(said, question.history)

    def _gather(self, question: Question, text: str, said: str, speech: str, clock: _Clock) -> _Found:
        """What the search finds, and what can be told of it before anything is written."""
        asked, dated, today = None, text, _today(question)
        if question.as_of is None:
            # « Et en 2022 ? » tells the day more plainly than the question that it becomes.
            readings = ((timing.asked_day(words, today, speech), words) for words in (text, said))
            asked, dated = next(((day, words) for day, words in readings if day is not None), (None, text))
        source = AsOfSource.ASKED if question.as_of else AsOfSource.TODAY
        # The texts of a day do not hold the words that name it.
        sought = timing.undated(text, asked) if asked is not None and dated is text else text
        seen = self.scope(question)
        if asked is not None and asked.day is not None:
            seen, source = replace(seen, as_of=asked.day), AsOfSource.QUESTION
        retrieved = self._search(sought, seen, clock)
        if asked is not None and asked.kind is timing.DayKind.BEFORE_CHANGE:
            passages = context.canonical(retrieved.hits)
            day = versions.day_before_change(passages, self._siblings(passages, seen))
            if day is not None:
                seen, source = replace(seen, as_of=day), AsOfSource.QUESTION
                retrieved = self._search(sought, seen, clock)
        passages = context.canonical(retrieved.hits)
        # What follows reads the words as they were searched.
        meant = spelling.corrected(sought, retrieved.corrections)
        found = _Found(passages, seen, today, source, retrieved, asked, dated, meant)
        with clock.stage("homonyms"):
            homonyms = self._homonyms(sought, seen)
        if homonyms:
            labels = list(dict.fromkeys(references.text_title(hit.chunk) for hit in homonyms))[: clarify.MOST]
            unclear = clarify.asking(clarify.About.TEXT, text, labels, speech)
            found = replace(found, passages=context.canonical(homonyms), unclear=unclear)
        else:
            with clock.stage("sufficiency"):
                enough = bool(passages) and extracts.sufficiency(meant, passages, speech) >= extracts.SUFFICIENT
            found = replace(found, sufficient=enough)
        return found

    def _weighed(self, found: _Found, text: str, speech: str, clock: _Clock) -> _Found:
        """What was found with what contradicts the likely answer, and whether something must be asked back."""
        with clock.stage("conflicts"):
            passages, contradictions = self._conflicts(
                found.meant, found.retrieved.hits, found.passages, found.scope, speech
            )
        found = replace(found, passages=passages, conflicts=contradictions)
        if not contradictions:
            with clock.stage("clarity"):
                found = replace(found, unclear=clarify.clarification(text, passages, speech))
        return found

    def _homonyms(self, text: str, seen: Scope) -> tuple[Hit, ...]:
        """The articles of several texts that have the number asked for, where nothing says which text is meant."""
        exact, weak = references.asked(text)
        if not (exact or weak) or any("#" in key for key in (*exact, *weak)):
            return ()
        return references.homonyms(text, self._retriever.search(text, seen, HOMONYMS))

    def _search(self, text: str, seen: Scope, clock: _Clock) -> Retrieved:
        retrieved = self._retriever.passages(text, seen, PASSAGES)
        for stage, seconds in retrieved.seconds.items():
            clock.add(stage, seconds)
        return retrieved

    def _conflicts(
        self, text: str, hits: Sequence[Hit], passages: tuple[Passage, ...], seen: Scope, speech: str
    ) -> tuple[tuple[Passage, ...], tuple[Conflict, ...]]:
        """The passages and the contradictions among them, with texts added that contradict what they say.

        Such a text need not hold the words of the question, so it is looked for with the sentences that answer; it is
        added only where it does contradict one of them.
        """
        known = {hit.chunk.id for hit in hits}
        floor = min((hit.score for hit in hits), default=0.0)
        more: dict[str, Hit] = {}
        for probe in conflicts.probes(text, passages, speech):
            for hit in self._retriever.search(probe, seen, PROBED):
                if hit.chunk.id not in known:
                    more.setdefault(hit.chunk.id, replace(hit, score=floor))
        wider = context.canonical([*hits, *more.values()])
        found = conflicts.conflicts(text, wider, speech)
        if not found:
            return passages, ()
        by_number = {passage.n: passage.chunk.id for passage in wider}
        named = {by_number[side.passage] for one in found for side in (one.first, one.second)}
        kept = context.canonical([*hits, *(hit for key, hit in more.items() if key in named)])
        renumbered = {passage.chunk.id: passage.n for passage in kept}

        def moved(side: Span) -> Span:
            return replace(side, passage=renumbered[by_number[side.passage]])

        return kept, tuple(replace(one, first=moved(one.first), second=moved(one.second)) for one in found)

    def _siblings(self, passages: Sequence[Passage], seen: Scope) -> list[Chunk]:
        """Other versions of what is shown, as far as the reader may see them."""
        return self._retriever.versions(versions.wanted(passages, seen))

    def _write(
        self,
        generator: Generator,
        blank: Answer,
        sampling: Sampling,
        written: telling.Text,
        draft: _Draft,
        clock: _Clock,
        reader: _Reader,
    ) -> Iterator[Event]:
        """Draft with the model; yield each sentence that the policy lets through, and note the rest."""
        try:
            fitted = _fitted(generator, blank, sampling, "answer")
        except GenerationError as error:
            log.warning("generation failed: %s", error.code)
            return
        if fitted is None:
            return
        draft.note(fitted, generator, sampling, prompts.digest("answer", blank.language))
        shown = draft.shown
        failures = uncited = 0
        seen: set[str] = set()
        try:
            with (
                clock.stage("generation"),
                closing(_counted(generator, fitted.prompt, sampling, reader, draft)) as pieces,
            ):
                for sentence in sentences.stream(pieces):
                    claim = self._judged(sentence, shown)
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
            if reader.cancelled():
                raise
            log.warning("generation failed: %s", error.code)

    def _judged(self, sentence: str, shown: Sequence[Passage]) -> Claim:
        if self._capable:
            return repair.judged(sentence, shown, similarity=self._similarity)
        return claims.judge(sentence, shown, similarity=self._similarity, thresholds=claims.VERBATIM)

    def _extract(
        self,
        blank: Answer,
        written: telling.Text,
        found: _Found,
        clock: _Clock,
        reader: _Reader,
    ) -> Iterator[Event]:
        """The best sentences of the passages, word for word; a refusal when there is none."""
        spans: Sequence[tuple[int, int, int]] | None = None
        if self._quotes is Quotes.GRAMMAR and self.generator is not None:
            with clock.stage("quotes"):
                spans = self._quoted(self.generator, blank, reader)
        if not spans:
            with clock.stage("extracts"):
                spans = extracts.extracts(found.meant, blank.passages, limit=EXTRACTS, language=blank.language)
        if not spans:
            yield from self._refuse(blank, written, found, clock)
            return
        # Sentences of the draft that were shown under policy ``flag`` stay above the extracts.
        yield written.say(written.gap + replies.lead(Status.EXTRACTS, blank.language))
        yield from telling.quotations(written, spans, blank.passages, found.today, blank.language)
        yield from self._reach(blank, written)
        yield self._finished(blank, Status.EXTRACTS, written, found, clock)

    def _fill(
        self,
        form: Keyed,
        blank: Answer,
        sampling: Sampling,
        written: telling.Text,
        found: _Found,
        clock: _Clock,
        reader: _Reader,
    ) -> Iterator[Event]:
        """The form, filled with sentences that the model chose from the passages; a refusal when it chose none."""
        draft = _Draft()
        said = ""
        if self.generator is not None:
            with clock.stage("generation"):
                said = self._chosen(self.generator, form, blank, sampling, draft, reader)
        blank = draft.noted(blank)
        filled = structured.filled(said, form, [passage for passage in blank.passages if passage.shown])
        if filled is None:
            yield from self._refuse(blank, written, found, clock)
            return
        yield written.place(filled.text, filled.claims)
        yield self._finished(blank, Status.EXTRACTS, written, found, clock)

    def _chosen(
        self,
        generator: Generator,
        form: Keyed,
        blank: Answer,
        sampling: Sampling,
        draft: _Draft,
        reader: _Reader,
    ) -> str:
        """What the model writes under the grammar of the form; empty when it fails."""
        try:
            fitted = _fitted(generator, blank, sampling, "form", {"form": structured.keys(form)})
            if fitted is None:
                return ""
            draft.note(fitted, generator, sampling, prompts.digest("form", blank.language))
            held = replace(sampling, grammar=structured.grammar(form, draft.shown, blank.language))
            return "".join(_counted(generator, fitted.prompt, held, reader, draft))
        except Overloaded:
            raise
        except GenerationError as error:
            if reader.cancelled():
                raise
            log.warning("generation failed: %s", error.code)
            return ""

    def _quoted(self, generator: Generator, blank: Answer, reader: _Reader) -> tuple[tuple[int, int, int], ...] | None:
        """What the model quotes when it can write nothing but sentences of the passages; ``None`` when it fails."""
        sampling = Sampling()
        try:
            fitted = _fitted(generator, blank, sampling, "quote")
            if fitted is None:
                return None
            held = replace(sampling, grammar=quoting.grammar(fitted.passages, blank.language))
            pieces = generator.stream(fitted.prompt, held, cancelled=reader.over, told=reader.told, owner=reader.owner)
            return quoting.spans("".join(pieces), fitted.passages)
        except Overloaded:
            raise
        except GenerationError as error:
            if reader.cancelled():
                raise
            log.warning("generation failed: %s", error.code)
            return None

    def _refuse(self, blank: Answer, written: telling.Text, found: _Found, clock: _Clock) -> Iterator[Event]:
        reply = replies.refusal(blank.language, near=bool(blank.passages), contact=blank.contact)
        yield written.say(written.gap + reply)
        yield self._finished(blank, Status.INSUFFICIENT_EVIDENCE, written, found, clock)

    def _reply(self, question: Question, said: str, wanted: Intent, clock: _Clock) -> Iterator[Event]:
        """A fixed, polite reply to what is no question about the texts; nothing is searched."""
        seen = self.scope(question)
        speech = question.language or language.detect(said, self._language)
        contact = self._contact((), question.corpora or sorted(seen.lineages))
        yield PassagesFound((), said, seen.as_of, seen.snapshots)
        written = telling.Text()
        yield written.say(replies.fixed(wanted, speech, contact))
        blank = Answer(
            status=intents.STATUS[wanted],
            text="",
            language=speech,
            question=said,
            snapshots=seen.snapshots,
            as_of=seen.as_of,
            contact=contact,
        )
        found = _Found((), seen, _today(question), AsOfSource.ASKED if question.as_of else AsOfSource.TODAY)
        yield self._finished(blank, blank.status, written, found, clock)

    def _reach(self, blank: Answer, written: telling.Text) -> Iterator[Event]:
        """Name the person to ask, where the corpus names one."""
        if blank.contact:
            yield written.say(f"\n\n{replies.reach(blank.contact, blank.language)}")

    def _finished(self, blank: Answer, status: Status, written: telling.Text, found: _Found, clock: _Clock) -> Answer:
        with clock.stage("notices"):
            notices = self._notices(blank, written, found)
        return replace(
            blank,
            status=status,
            text=written.text,
            claims=tuple(written.claims),
            citations=tuple(written.citations),
            notices=notices,
            timings=clock.timings(),
        )

    def _notices(self, blank: Answer, written: telling.Text, found: _Found) -> tuple[Notice, ...]:
        """What the reader should know of the day, of the versions that are cited, and of the languages."""
        cited = [passage for passage in blank.passages if passage.n in written.cited]
        siblings = self._siblings(cited, found.scope) if cited else []
        notices: list[Notice] = []
        day = found.scope.as_of or found.today
        if found.asked is not None and found.source is AsOfSource.QUESTION and day != found.today:
            notices.append(versions.asked_notice(found.dated, found.asked, day, cited, siblings, blank.language))
        notices += versions.notices(cited, siblings, day, found.today, blank.language)
        shown = {key for passage in blank.passages for key in passage.chunk.own_references}
        if missing := versions.named(found.meant) - shown:
            wanted = versions.Wanted(replace(found.scope, as_of=None), missing)
            away = self._retriever.versions([wanted])
            notices += versions.out_of_force(away, day, found.today, blank.language)
        if corrections := [(one.word, one.suggestion) for one in found.retrieved.corrections]:
            notices.append(Notice(NoticeKind.SPELLING, replies.respelled(corrections, blank.language)))
        if found.retrieved.foreign:
            notices.append(Notice(NoticeKind.LANGUAGE, replies.other_language(blank.language)))
        return tuple(notices)

    def _contact(self, passages: Sequence[Passage], requested: Sequence[str] | None) -> str:
        """Whom to ask: the contact of the best passage's corpus, else of the corpora that were asked for, if it is one.

        Nobody is sent to an office that only comes first in the alphabet.
        """
        best = max(passages, key=lambda passage: passage.score, default=None)
        names = {best.chunk.corpus} if best else set(requested or ())
        contacts = {corpus.contact for corpus in self._library().corpora if corpus.name in names and corpus.contact}
        return contacts.pop() if len(contacts) == 1 else ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Whoever waits for an answer: whose it is, whether they have left, how they hear of their place, until when."""

    owner: str
    cancelled: Callable[[], bool]
    waiting: Callable[[Told], None]
    deadline: float

    def over(self) -> bool:
        """Whether the model has to stop: nobody waits any more, or it took too long."""
        return self.cancelled() or time.monotonic() > self.deadline

    def told(self, heard: Told) -> None:
        self.waiting(heard)


_NOTHING: Final = Retrieved(())


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known before anything is written.

    ``source`` and ``asked`` say where the day of the scope comes from, ``dated`` in which words it was read;
    ``meant`` is the question without them, its spelling corrected; ``unclear`` is what must be asked back.
    """

    passages: tuple[Passage, ...]
    scope: Scope
    today: dt.date
    source: AsOfSource = AsOfSource.TODAY
    retrieved: Retrieved = _NOTHING
    asked: timing.AskedDay | None = None
    dated: str = ""
    meant: str = ""
    sufficient: bool = False
    conflicts: tuple[Conflict, ...] = ()
    unclear: clarify.Clarification | None = None


@dataclass(slots=True)
class _Draft:
    """What is known of the model's part once it has run."""

    passages: tuple[Passage, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    model: str | None = None
    prompt: str | None = None
    prompt_tokens: int = 0
    prompt_budget: int = 0
    completion_tokens: int = 0
    reused_tokens: int = 0

    @property
    def shown(self) -> list[Passage]:
        """The passages that the model read."""
        return [passage for passage in self.passages if passage.shown]

    def note(self, fitted: context.Fitted, generator: Generator, sampling: Sampling, prompt: str) -> None:
        """What the model is about to be given."""
        self.passages, self.dropped = fitted.passages, fitted.dropped
        self.model, self.prompt = generator.fingerprint, prompt
        self.prompt_tokens = fitted.tokens
        self.prompt_budget = generator.context - sampling.max_tokens

    def noted(self, blank: Answer) -> Answer:
        """The answer with what the model was given and what it cost."""
        return replace(
            blank,
            passages=self.passages or blank.passages,
            dropped=self.dropped,
            model=self.model,
            prompt=self.prompt,
            prompt_tokens=self.prompt_tokens,
            prompt_budget=self.prompt_budget,
            completion_tokens=self.completion_tokens,
            reused_tokens=self.reused_tokens,
        )


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
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 4)

    def timings(self) -> dict[str, float]:
        return self.seconds | {"total": round(time.perf_counter() - self._start, 4)}


def _today(question: Question) -> dt.date:
    """The day on which the question is asked."""
    return question.moment.today if question.moment else scope.today()


def _checked(text: str) -> str:
    """A question that can be searched.

    Raises:
        BadRequest: it is empty, longer than :data:`LONGEST_QUESTION`, or holds half a character.
    """
    text = _whole(text).strip()
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


def _whole(text: str) -> str:
    """The text, of whole characters: a terminal in another encoding than UTF-8 gives halves of some.

    Raises:
        BadRequest: nothing below could read it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(
            "the question is not written in UTF-8; set your terminal to it",
            "la question n'est pas écrite en UTF-8 ; réglez votre terminal sur ce codage",
            code="invalid_request",
        ) from error
    return text


def _fitted(
    generator: Generator, blank: Answer, sampling: Sampling, task: str, more: Mapping[str, str] | None = None
) -> context.Fitted | None:
    """The prompt of a task, with the passages that leave the model room to write; ``None`` when not one does."""
    return context.fit(
        blank.passages,
        blank.question,
        blank.language,
        budget=generator.context - sampling.max_tokens,
        count=generator.count_prompt,
        task=task,
        more=more,
    )


def _counted(
    generator: Generator,
    prompt: Sequence[Message],
    sampling: Sampling,
    reader: _Reader,
    draft: _Draft,
) -> abc.Generator[str, None, None]:
    """The model's pieces, counted as tokens as they pass."""

    def told(heard: Told) -> None:
        if isinstance(heard, Reading):
            draft.reused_tokens = heard.reused
        reader.told(heard)

    for piece in generator.stream(prompt, sampling, cancelled=reader.over, told=told, owner=reader.owner):
        draft.completion_tokens += 1
        yield piece


def _marked(claim: Claim) -> str:
    """The sentence as it is shown: its words, then the numbers of the passages it cites."""
    marks = "".join(f"[{n}]" for n in claim.cited)
    return f"{claim.text} {marks}" if marks else claim.text
