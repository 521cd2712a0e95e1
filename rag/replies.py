"""What Vauban itself says around an answer, in French and English; pure.

Every status has words of its own: a lead that opens what the texts say, or a whole reply where they are not asked.
What a person wrote is never repeated in a reply, but for a word that was searched in another spelling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rag.intents import Intent
from rag.types import Status

_LEADS: Final = {
    Status.ANSWERED: {"fr": "", "en": ""},
    Status.EXTRACTS: {
        "fr": "Voici les extraits des textes qui se rapportent à votre question.",
        "en": "Here are the extracts of the texts that bear on your question.",
    },
    Status.CONFLICTING_SOURCES: {
        "fr": "Les textes en vigueur se contredisent sur ce point ; la norme la plus élevée est citée en premier.",
        "en": "The texts in force contradict each other on this point; the higher norm is quoted first.",
    },
    Status.NEEDS_CLARIFICATION: {
        "fr": "La réponse dépend d'une précision que votre question ne donne pas. Laquelle de ces situations est la "
        "vôtre ?",
        "en": "The answer depends on something that your question does not say. Which of these is your case?",
    },
    Status.INSUFFICIENT_EVIDENCE: {
        "fr": "Je ne trouve pas la réponse dans les textes que vous pouvez consulter.",
        "en": "I cannot find the answer in the texts that you may read.",
    },
    Status.OUT_OF_SCOPE: {
        "fr": "Je réponds seulement aux questions sur les textes que vous pouvez consulter.",
        "en": "I only answer questions about the texts that you may read.",
    },
    Status.REFUSED: {
        "fr": "Je ne peux pas répondre à cette demande.",
        "en": "I cannot answer this request.",
    },
}
_EXAMPLE: Final = {
    "fr": "Posez-moi une question sur une règle, par exemple : « Combien de jours de congé pour un enfant malade ? »",
    "en": "Ask me about a rule, for example: “How many days of leave for a sick child?”",
}
_FIXED: Final = {
    Intent.GREETING: {
        "fr": f"Bonjour ! {_EXAMPLE['fr']}",
        "en": f"Hello! {_EXAMPLE['en']}",
    },
    Intent.THANKS: {
        "fr": "Avec plaisir. Je reste à votre disposition pour une autre question sur les textes.",
        "en": "You are welcome. Ask me anything else about the texts.",
    },
    Intent.GOODBYE: {"fr": "Au revoir, et bonne journée.", "en": "Goodbye, and have a good day."},
    Intent.ABOUT: {
        "fr": "Je suis Vauban, un assistant de recherche dans les textes réglementaires. Je cherche dans les textes "
        "que vous pouvez consulter, je cite l'article sur lequel je m'appuie, et je le dis quand je ne trouve pas. Je "
        f"ne suis pas une personne et je ne donne pas d'avis juridique. {_EXAMPLE['fr']}",
        "en": "I am Vauban, an assistant that searches regulations. I look in the texts that you may read, I cite the "
        "article that I rely on, and I say so when I find nothing. I am not a person and I give no legal advice. "
        f"{_EXAMPLE['en']}",
    },
    Intent.OFF_TOPIC: {
        "fr": f"{_LEADS[Status.OUT_OF_SCOPE]['fr']} {_EXAMPLE['fr']}",
        "en": f"{_LEADS[Status.OUT_OF_SCOPE]['en']} {_EXAMPLE['en']}",
    },
    Intent.PERSONAL_ADVICE: {
        "fr": "Je ne donne pas d'avis sur une situation personnelle ou un litige, et je ne rédige pas de recours : "
        "adressez-vous à un juriste ou à un représentant du personnel. Je peux en revanche "
        "chercher ce que disent les textes, par exemple les délais ou la procédure.",
        "en": "I give no advice on a personal case or a dispute, and I draft no appeal: please turn to a lawyer "
        "or a staff representative. I can search what the texts say, for example time limits or the "
        "procedure.",
    },
    Intent.ABUSE: {
        "fr": "Je ne réponds pas aux propos injurieux ou menaçants. Je reste disponible pour une question sur les "
        "textes.",
        "en": "I do not answer insults or threats. I am still here for a question about the texts.",
    },
    Intent.DISTRESS: {
        "fr": "Ce que vous écrivez est grave, et vous n'avez pas à y faire face sans aide. En cas de danger immédiat, "
        "appelez le 15 (Samu), le 17 (police), le 18 (pompiers) ou le 112 (urgences en Europe). Si vous pensez au "
        "suicide, le 3114 répond jour et nuit, gratuitement et en toute confidentialité. Je ne suis qu'un outil de "
        "recherche : parlez-en dès maintenant à un proche, au médecin du travail ou à une personne de confiance.",
        "en": "What you write is serious, and you do not have to face it without help. If you are in danger now, call "
        "15 (ambulance), 17 (police), 18 (fire brigade) or 112 (emergencies in Europe). If you think of suicide, 3114 "
        "answers in France day and night, free of charge and in confidence. I am only a search tool: please talk now "
        "to somebody close, to the occupational doctor or to a person you trust.",
    },
    Intent.INSTRUCTION: {
        "fr": "Je ne change pas mes règles et je ne les récite pas. Posez-moi une question sur les textes.",
        "en": "I do not change my rules, nor recite them. Ask me a question about the texts.",
    },
}
_NEAREST: Final = {
    "fr": "Les textes les plus proches sont indiqués à côté, sans garantie qu'ils répondent à votre question.",
    "en": "The nearest texts are shown beside this message, with no promise that they answer your question.",
}
_CONTACT: Final = {"fr": "Pour une réponse humaine : {}", "en": "To reach a person: {}"}
_QUOTES: Final = {"fr": ("« ", " »"), "en": ("“", "”")}
_FLAG: Final = {"fr": "(non vérifié)", "en": "(not verified)"}
_LANGUAGE: Final = {
    "fr": "Votre question est en français et les textes sont en anglais : la recherche a pu en manquer.",
    "en": "Your question is in English and the texts are in French: the search may have missed some.",
}
_RESPELLED: Final = {
    "fr": "Aucun texte ne contient {} ; la recherche a porté sur {}.",
    "en": "No text holds {}; {} was searched instead.",
}
_WITHOUT_CONTACT: Final = frozenset(
    {Intent.GREETING, Intent.THANKS, Intent.GOODBYE, Intent.OFF_TOPIC, Intent.INSTRUCTION}
)


def lead(status: Status, language: str) -> str:
    """The sentence that opens an answer of this status; empty for ``answered``, which opens with what the texts say."""
    return _LEADS[status][language]


def fixed(intent: Intent, language: str, contact: str = "") -> str:
    """The whole reply to what is no question; its status is ``intents.STATUS[intent]``.

    ``contact`` is named where a person can do more than Vauban; who is in danger is told of it in any case.

    Raises:
        KeyError: ``intent`` is ``question``, which has no fixed reply.
    """
    text = _FIXED[intent][language]
    return f"{text}\n\n{reach(contact, language)}" if contact and intent not in _WITHOUT_CONTACT else text


def refusal(language: str, *, near: bool, contact: str) -> str:
    """The whole text of an ``insufficient_evidence`` answer; ``near`` when texts are shown all the same."""
    parts = [lead(Status.INSUFFICIENT_EVIDENCE, language)]
    if near:
        parts.append(_NEAREST[language])
    text = " ".join(parts)
    return f"{text}\n\n{reach(contact, language)}" if contact else text


def reach(contact: str, language: str) -> str:
    """The line that names the human contact of a corpus."""
    return _CONTACT[language].format(contact)


def other_language(language: str) -> str:
    """The warning that a question in ``language`` met texts in the other one."""
    return _LANGUAGE[language]


def respelled(corrections: Sequence[tuple[str, str]], language: str) -> str:
    """That words of the question were searched as others: each ``(word, what was searched)``."""
    opening, closing = _QUOTES[language]
    pairs = ", ".join(f"{opening}{meant}{closing}" for _, meant in corrections)
    words = ", ".join(f"{opening}{word}{closing}" for word, _ in corrections)
    return _RESPELLED[language].format(words, pairs)


def quoted(text: str, language: str) -> str:
    """A verbatim extract between the quotation marks of the language."""
    opening, closing = _QUOTES[language]
    return f"{opening}{text}{closing}"


def flag(language: str) -> str:
    """The mark after a sentence that is shown though nothing supports it (policy ``flag``)."""
    return _FLAG[language]
