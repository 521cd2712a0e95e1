"""What Vauban itself says around an answer: refusals, leads and notes, in French and English; pure."""

from __future__ import annotations

from rag.types import Status

_LEADS = {
    "fr": "Voici les extraits des textes qui se rapportent à votre question.",
    "en": "Here are the extracts of the texts that bear on your question.",
}
_CONFLICT = {
    "fr": "Les textes en vigueur se contredisent sur ce point ; la norme la plus élevée est citée en premier.",
    "en": "The texts in force contradict each other on this point; the higher norm is quoted first.",
}
_INSUFFICIENT = {
    "fr": "Je ne trouve pas la réponse dans les textes que vous pouvez consulter.",
    "en": "I cannot find the answer in the texts that you may read.",
}
_NEAREST = {
    "fr": "Les textes les plus proches sont indiqués à côté, sans garantie qu'ils répondent à votre question.",
    "en": "The nearest texts are shown beside this message, with no promise that they answer your question.",
}
_CONTACT = {"fr": "Pour une réponse humaine : {}", "en": "To reach a person: {}"}
_QUOTES = {"fr": ("« ", " »"), "en": ("“", "”")}
_FLAG = {"fr": "(non vérifié)", "en": "(not verified)"}


def lead(status: Status, language: str) -> str:
    """The sentence that opens an answer made of extracts."""
    return (_CONFLICT if status is Status.CONFLICTING_SOURCES else _LEADS)[language]


def refusal(language: str, *, near: bool, contact: str) -> str:
    """The whole text of an ``insufficient_evidence`` answer; ``near`` when texts are shown all the same."""
    parts = [_INSUFFICIENT[language]]
    if near:
        parts.append(_NEAREST[language])
    text = " ".join(parts)
    return f"{text}\n\n{reach(contact, language)}" if contact else text


def reach(contact: str, language: str) -> str:
    """The line that names the human contact of a corpus."""
    return _CONTACT[language].format(contact)


def quoted(text: str, language: str) -> str:
    """A verbatim extract between the quotation marks of the language."""
    opening, closing = _QUOTES[language]
    return f"{opening}{text}{closing}"


def flag(language: str) -> str:
    """The mark after a sentence that is shown though nothing supports it (policy ``flag``)."""
    return _FLAG[language]
