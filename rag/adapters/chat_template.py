"""Read a model's chat template, which is a program that came with the model, without trusting it.

Jinja2 renders it in its immutable sandbox, and in a process of its own with limits on time, memory and output: the
sandbox stops code that reaches out, not a loop or a string without end. The process never sees what people wrote.
It renders *marks* in place of the messages' texts, so that the caller can tokenise the template's own words, where
``<|im_start|>`` is a role, apart from texts, where it is only characters.

This file is also that process's program, so it imports nothing of ours.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

SECONDS: Final = 5
"""Longest time for one rendering; a real template takes milliseconds, starting the process a tenth of a second."""
MEMORY: Final = 512 * 2**20
LONGEST: Final = 64 * 1024
"""Characters of a template, and of what it renders; real ones have at most some thousands."""

_MARK: Final = re.compile(r"@@vauban-(\d+)@@")


class TemplateError(ValueError):
    """The template is broken, hostile, or does not give the messages back in their order."""


class Refused(TemplateError):
    """The template itself says that it does not take these messages, with ``raise_exception``."""


def layout(template: str, roles: Sequence[str], bos: str, eos: str) -> tuple[str | int, ...]:
    """The prompt for messages with these roles: the template's own texts, and the number of each message's text.

    It ends where the assistant's answer begins.

    Raises:
        TemplateError, Refused: see there.
    """
    if len(template) > LONGEST:
        raise TemplateError(f"the template has {len(template)} characters")
    if "@@vauban-" in template:
        raise TemplateError("the template imitates our marks")
    request = json.dumps({"template": template, "roles": list(roles), "bos": bos, "eos": eos})
    try:
        # By its path and with -P: as a module it would import our package, and its folder's names shadow libraries.
        process = subprocess.run(
            [sys.executable, "-P", __file__], input=request.encode(), capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TemplateError(f"the template ran for more than {SECONDS} seconds") from error
    try:
        reply = json.loads(process.stdout)
    except ValueError as error:
        raise TemplateError(f"the template broke its process (exit status {process.returncode})") from error
    if "refused" in reply:
        raise Refused(reply["refused"])
    if "error" in reply:
        raise TemplateError(reply["error"])
    return split(reply["text"], len(roles))


def mark(number: int) -> str:
    """What stands for the text of message ``number`` while a template is rendered."""
    return f"@@vauban-{number}@@"


def split(text: str, count: int) -> tuple[str | int, ...]:
    """A prompt rendered with marks, as the template's own texts and the numbers of the messages' texts.

    Raises:
        TemplateError: the ``count`` messages are not there once each and in order.
    """
    pieces: list[str | int] = []
    for place, part in enumerate(_MARK.split(text)):
        if place % 2:
            pieces.append(int(part))
        elif part:
            pieces.append(part)
    numbers = [piece for piece in pieces if isinstance(piece, int)]
    if numbers != list(range(count)):
        raise TemplateError("the template does not give each message once and in order")
    return tuple(pieces)


def _render(template: str, roles: list[str], bos: str, eos: str) -> str:
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise _Refusal(str(message))

    environment = ImmutableSandboxedEnvironment(
        autoescape=False, trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    messages = [{"role": role, "content": mark(number)} for number, role in enumerate(roles)]
    pieces, length = [], 0
    stream = environment.from_string(template).generate(
        messages=messages,
        bos_token=bos,
        eos_token=eos,
        add_generation_prompt=True,
        enable_thinking=False,
        raise_exception=refuse,
        # A date would make each day's prompts new ones, and a stale one would mislead: there is none.
        strftime_now=lambda form: "",
    )
    for piece in stream:
        length += len(piece)
        if length > LONGEST:
            raise jinja2.TemplateError("it renders too much")
        pieces.append(piece)
    return "".join(pieces)


class _Refusal(Exception):
    """What ``raise_exception`` raises inside the process."""


def _limit() -> None:
    """Bound this process where the system can."""
    try:
        import resource
    except ImportError:  # not on this system; the caller's timeout remains
        return
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> None:
    """Read a request on standard input, write the reply on standard output."""
    request = json.load(sys.stdin)
    _limit()
    try:
        reply = {"text": _render(**request)}
    except _Refusal as error:
        reply = {"refused": str(error)[:500]}
    except Exception as error:  # noqa: BLE001  a hostile template raises anything; the reply says what it was
        reply = {"error": f"{type(error).__name__}: {error}"[:500]}
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()
