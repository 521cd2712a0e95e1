"""The page: its layout, which function each control calls, and how it is put under the API's application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Protocol

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from ui import handlers, past, render
from ui.client import ApiError, Client
from ui.handlers import Asked, Conversation, Mistake, Stops
from ui.shell import Shell
from ui.words import say

RUNNING_AT_ONCE = 64
"""Questions that this page passes on together; the API's own queue is shorter, and is the one that says so."""
WAITING_AT_MOST = 256
LONGEST_QUESTION = 20_000
"""Characters that the box takes: more than the API accepts, so that a pasted text is refused with its reason."""


Token = Callable[[MutableMapping[str, Any]], str]
"""Makes the token with which the API is called for the person of a request, given what ASGI says of that request."""


@dataclass(frozen=True)
class Calling:
    """How the page reaches the API."""

    url: str
    token: Token = field(repr=False)

    def by(self, request: gr.Request) -> Client:
        """The API as the person of a request may use it."""
        scope = request.request.scope
        return Client(self.url, lambda: self.token(scope))


class PageSettings(Protocol):
    """What the page needs to know of the settings."""

    @property
    def language(self) -> str: ...
    @property
    def signs_in(self) -> bool: ...


def mount(app: FastAPI, settings: PageSettings, url: str, token: Token) -> FastAPI:
    """``app`` with the page under ``/``; it calls the API at ``url``, with the ``token`` of whoever has it open.

    Every other route must be there already. To be called outside an event loop.
    """
    # In a running loop, because Gradio makes one for each of its locks otherwise, and closes none.
    mounted = asyncio.run(_mounted(app, Calling(url, token), settings))
    last = mounted.router.routes[-1]
    assert isinstance(last, Mount)
    last.app = Shell(last.app, settings.language)
    return mounted


async def _mounted(app: FastAPI, calling: Calling, settings: PageSettings) -> FastAPI:
    """Gradio's part, every switch that would open more than this page closed."""
    made: FastAPI = gr.mount_gradio_app(
        app,
        build(calling, settings.language, account=settings.signs_in),
        path="/",
        footer_links=[],
        run_history=False,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        allowed_paths=[],
        show_error=False,
        max_file_size=0,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=_asset("page.css"),
    )
    return made


def build(calling: Calling, start: str, *, account: bool = False) -> gr.Blocks:
    """The layout and its events; ``start`` is the language before anyone chose, ``account`` links to signing out."""
    stops = Stops()
    with gr.Blocks(title=say("title", start), analytics_enabled=False, fill_width=True) as page:
        language = gr.State(start)
        turns = gr.State(())
        place = gr.State("")
        offered = gr.State([])
        with gr.Row(elem_id="top"):
            header = _html("header", render.header(start, account=account))
            other = gr.Button(say("other_language", start), elem_id="other-language", size="sm")
        with gr.Row(elem_id="main"):
            with gr.Column(elem_id="talk"):
                conversation = _html("conversation", render.conversation((), start), js_on_load=_asset("page.js"))
                with gr.Column(elem_id="ask"):
                    question = gr.Textbox(
                        label=say("question", start),
                        placeholder=say("placeholder", start),
                        max_lines=8,
                        max_length=LONGEST_QUESTION,
                        elem_id="question",
                    )
                    fault = _html("fault", "")
                    with gr.Row(elem_id="buttons"):
                        send = gr.Button(say("ask", start), variant="primary", elem_id="send")
                        stop = gr.Button(say("stop", start), visible=False, elem_id="stop")
                        new = gr.Button(say("new", start), visible=False, elem_id="new")
                    with gr.Accordion(say("narrow", start), open=False, elem_id="narrow") as narrow:
                        corpora = gr.CheckboxGroup([], label=say("corpora", start), elem_id="corpora")
                        day = gr.Textbox(
                            label=say("day", start), info=say("day_hint", start), max_lines=1, elem_id="day"
                        )
                    with gr.Accordion(say("past", start), open=False, elem_id="history") as history:
                        kept = _html("past", "", js_on_load=_asset("past.js"))
                examples = _html("examples", "")
            with gr.Column(elem_id="aside"):
                sources = _html("sources", render.sources((), start))
        notice = _html("notice", render.notice(start))

        answer = [conversation, sources, turns, question, fault, send, stop, new, examples, place, kept]

        async def on_load(shown: str, request: gr.Request) -> tuple[Any, ...]:
            try:
                found = await calling.by(request).corpora(shown)
            except ApiError as error:
                return gr.skip(), gr.skip(), render.fault(handlers.told(error, shown)), "", gr.skip()
            names = [corpus.name for corpus in found]
            choices = [(render.plain(corpus.title), corpus.name) for corpus in found]
            wrong = "" if found else say("nothing_to_search", shown)
            listed = await earlier_ones(calling.by(request), "", shown)
            offer = gr.update(choices=choices, value=names)
            return offer, names, render.fault(wrong), render.examples(names, shown), listed

        async def on_ask(
            asked: str | None,
            chosen: list[str],
            names: list[str],
            on: str | None,
            before: Conversation,
            shown: str,
            here: str,
            request: gr.Request,
        ) -> AsyncGenerator[tuple[Any, ...], None]:
            session = request.session_hash or ""
            ending = stops.begin(session)
            last = ""
            client, wanted = calling.by(request), Asked(asked or "", chosen, names, on or "")
            try:
                wanted.checked(shown)
                here = here or await handlers.begun(client, shown)
                async for now in handlers.ask(client, ending, before, wanted, shown, here):
                    started, over = not last, now[-1].phase.final
                    beside = render.sources(now, shown)
                    yield (
                        render.conversation(now, shown),
                        gr.skip() if beside == last else beside,
                        now,
                        "" if started else gr.skip(),
                        "" if started else gr.skip(),
                        gr.update(visible=over),
                        gr.update(visible=not over),
                        gr.update(visible=True),
                        "" if started else gr.skip(),
                        here,
                        # In this event and not in one behind it: Gradio may lose what is clicked between the two.
                        await earlier_ones(client, here, shown) if over else gr.skip(),
                    )
                    last = beside
            except Mistake as mistake:
                yield (*[gr.skip()] * 4, render.fault(str(mistake)), *[gr.skip()] * 6)
            finally:
                stops.end(session, ending)

        def on_example(event: gr.EventData) -> str:
            return str(event.question)

        async def on_stop(request: gr.Request) -> None:
            stops.stop(request.session_hash or "")

        async def on_leave(request: gr.Request) -> None:
            stops.stop(request.session_hash or "", forget=True)

        async def on_new(shown: str, names: list[str], request: gr.Request) -> tuple[Any, ...]:
            stops.stop(request.session_hash or "", forget=True)
            return *anew((), "", shown, names), await earlier_ones(calling.by(request), "", shown)

        def anew(now: Conversation, here: str, shown: str, names: list[str]) -> tuple[Any, ...]:
            """The page with this conversation, nothing being asked."""
            buttons = [gr.update(visible=visible) for visible in (True, False, bool(now))]
            below = "" if now else render.examples(names, shown)
            return render.conversation(now, shown), render.sources(now, shown), now, "", "", *buttons, below, here

        async def earlier_ones(client: Client, here: str, shown: str) -> str:
            try:
                return past.listed(await client.conversations(past.LISTED, shown), here, shown)
            except ApiError as error:
                return render.fault(handlers.told(error, shown))

        async def on_past(
            here: str, shown: str, names: list[str], event: gr.EventData, request: gr.Request
        ) -> tuple[Any, ...]:
            client, named = calling.by(request), str(event.conversation)
            try:
                if event.act == "open":
                    stops.stop(request.session_hash or "", forget=True)
                    now = await past.reopened(client, named, shown)
                    return *anew(now, named, shown, names), await earlier_ones(client, named, shown)
                await client.delete(named, shown)
            except ApiError as error:
                told = render.fault(handlers.told(error, shown))
                return *[gr.skip()] * 4, told, *[gr.skip()] * 6
            if named in {"", here}:  # what is on screen is gone
                stops.stop(request.session_hash or "", forget=True)
                return *anew((), "", shown, names), await earlier_ones(client, "", shown)
            return *[gr.skip()] * 10, await earlier_ones(client, here, shown)

        async def on_opinion(
            before: Conversation, shown: str, event: gr.EventData, request: gr.Request
        ) -> tuple[Any, ...]:
            given = {name: getattr(event, name, None) for name in ("turn", "thumb", "reason", "comment")}
            now = await handlers.judge(calling.by(request), before, given, shown)
            return render.conversation(now, shown), now

        async def on_language(
            shown: str, now: Conversation, names: list[str], here: str, request: gr.Request
        ) -> tuple[Any, ...]:
            shown = "en" if shown == "fr" else "fr"
            return (
                shown,
                render.header(shown, account=account),
                say("other_language", shown),
                render.conversation(now, shown),
                render.sources(now, shown),
                gr.update(label=say("question", shown), placeholder=say("placeholder", shown)),
                "",
                say("ask", shown),
                say("stop", shown),
                say("new", shown),
                gr.update(label=say("narrow", shown)),
                gr.update(label=say("corpora", shown)),
                gr.update(label=say("day", shown), info=say("day_hint", shown)),
                gr.update(label=say("past", shown)),
                "" if now else render.examples(names, shown),
                render.notice(shown),
                await earlier_ones(calling.by(request), here, shown),
            )

        form = [question, corpora, offered, day, turns, language, place]
        _on(page.load, on_load, [language], [corpora, offered, fault, examples, kept])
        _on([send.click, question.submit, day.submit], on_ask, form, answer, concurrency_limit=RUNNING_AT_ONCE)
        chosen = _on(conversation.select, on_example, None, [question])
        _on(chosen.then, on_ask, form, answer, concurrency_limit=RUNNING_AT_ONCE)
        _on(kept.select, on_past, [place, language, offered], answer)
        _on(stop.click, on_stop, None, None)
        _on(new.click, on_new, [language, offered], answer)
        _on(conversation.submit, on_opinion, [turns, language], [conversation, turns])
        everything = [
            header,
            other,
            conversation,
            sources,
            question,
            fault,
            send,
            stop,
            new,
            narrow,
            corpora,
            day,
            history,
            examples,
        ]
        _on(other.click, on_language, [language, turns, offered, place], [language, *everything, notice, kept])
        page.unload(on_leave)
        page.queue(max_size=WAITING_AT_MOST, default_concurrency_limit=RUNNING_AT_ONCE, api_open=False)
    return page


def _html(name: str, value: str, js_on_load: str | None = None) -> gr.HTML:
    return gr.HTML(value, js_on_load=js_on_load, apply_default_css=False, elem_id=name)


def _on(trigger: Any, fn: Any, inputs: Sequence[Any] | None, outputs: Sequence[Any] | None, **more: Any) -> Any:
    """An event without a name in any API and without Gradio's own progress marks."""
    shared = {"api_visibility": "private", "show_progress": "hidden", **more}
    if isinstance(trigger, list):
        return gr.on(trigger, fn, inputs, outputs, **shared)
    return trigger(fn, inputs, outputs, **shared)


def _asset(name: str) -> str:
    return resources.files("ui").joinpath("assets", name).read_text(encoding="utf-8")
