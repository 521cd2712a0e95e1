"""Every text of the page, French first with its English beside it, and the forms of dates; pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final, Literal

Language = Literal["fr", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")

_MONTHS: Final = (
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
    "January February March April May June July August September October November December".split(),
)

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    # The page
    "title": ("Vauban, questions sur les règlements", "Vauban, questions about regulations"),
    "tagline": (
        "Posez une question sur les règlements : chaque phrase de la réponse renvoie au texte qui la fonde.",
        "Ask about the regulations: every sentence of the answer points to the text it rests on.",
    ),
    "skip": ("Aller à la question", "Skip to the question"),
    "account": ("Mon compte et déconnexion", "My account and signing out"),
    "session_over": (
        "Votre session est terminée. {} (nouvel onglet), puis revenez ici : votre conversation y est encore.",
        "Your session has ended. {} (new tab), then come back here: your conversation is still there.",
    ),
    "sign_in_again": ("Reconnectez-vous", "Sign in again"),
    "session_over_meanwhile": (
        "Votre session s'est terminée entre-temps : reconnectez-vous, puis reposez la question.",
        "Your session has ended meanwhile: sign in again, then ask once more.",
    ),
    "connection_lost": (
        "La connexion avec le service est interrompue. {} ; ce qui a été répondu est dans « Mes conversations ».",
        "The connection with the service is broken. {}; what was answered is in “My conversations”.",
    ),
    "reload": ("Rechargez la page", "Reload the page"),
    "other_language": ("English", "Français"),
    "conversation": ("Conversation", "Conversation"),
    "new": ("Nouvelle conversation", "New conversation"),
    # Asking
    "question": ("Votre question", "Your question"),
    "placeholder": ("Écrivez votre question en une phrase", "Write your question in one sentence"),
    "ask": ("Demander", "Ask"),
    "stop": ("Arrêter", "Stop"),
    "narrow": ("Préciser la recherche", "Narrow the search"),
    "corpora": ("Textes à consulter", "Texts to search"),
    "day": ("Règles en vigueur le", "Rules in force on"),
    "day_hint": (
        "Par exemple 15/01/2026 ; laissez vide pour aujourd'hui.",
        "For example 2026-01-15; leave empty for today.",
    ),
    "examples": ("Exemples de questions", "Example questions"),
    "welcome": ("Quelle règle cherchez-vous ?", "Which rule are you looking for?"),
    "welcome_hint": (
        "Écrivez-la comme vous la diriez à un collègue. Vous pourrez ensuite demander une précision.",
        "Write it as you would say it to a colleague. You may then ask a follow-up question.",
    ),
    "empty_question": ("Écrivez d'abord votre question.", "Write your question first."),
    "no_corpus": (
        "Choisissez au moins un ensemble de textes dans « Préciser la recherche ».",
        "Choose at least one set of texts under “Narrow the search”.",
    ),
    "bad_day": (
        "La date « {} » n'est pas reconnue. Écrivez-la JJ/MM/AAAA, par exemple 15/01/2026.",
        "The date “{}” is not understood. Write it YYYY-MM-DD, for example 2026-01-15.",
    ),
    "no_service": (
        "Le service ne répond pas. Réessayez dans un instant ; si cela dure, prévenez l'exploitant.",
        "The service does not answer. Try again in a moment; if it lasts, tell its operator.",
    ),
    "nothing_to_search": (
        "Aucun ensemble de textes ne vous est ouvert pour l'instant.",
        "No set of texts is open to you for now.",
    ),
    "failed": ("La question n'a pas abouti : {}", "The question could not be answered: {}"),
    # Earlier conversations
    "past": ("Mes conversations", "My conversations"),
    "past_none": ("Vos conversations apparaîtront ici.", "Your conversations will appear here."),
    "past_untitled": ("Sans titre", "Untitled"),
    "past_export": ("Télécharger mes données", "Download my data"),
    "past_clear": ("Tout supprimer", "Delete all"),
    "past_delete": ("Supprimer la conversation « {} »", "Delete the conversation “{}”"),
    "past_sure": ("Supprimer définitivement la conversation « {} » ?", "Delete the conversation “{}” for good?"),
    "past_sure_all": (
        "Supprimer définitivement toutes vos conversations ?",
        "Delete all your conversations for good?",
    ),
    "past_withheld": (
        "cette réponse s'appuie sur un texte que vous ne pouvez plus consulter, elle n'est plus affichée.",
        "this answer rests on a text that you may no longer read, and is shown no more.",
    ),
    # While an answer is made
    "searching": ("Recherche dans les textes…", "Searching the texts…"),
    "drafting": (
        "Textes trouvés. Rédaction et vérification de la réponse…",
        "Texts found. Drafting and checking the answer…",
    ),
    "writing": ("Rédaction et vérification en cours…", "Drafting and checking…"),
    "next": (
        "Votre question est la prochaine : elle commence dès que la précédente est finie.",
        "Your question is next: it starts as soon as the one before is finished.",
    ),
    "waiting": ("En attente : position {} dans la file.", "Waiting: place {} in the queue."),
    "soon": ("Attente estimée : moins d'une demi-minute.", "Estimated wait: less than half a minute."),
    "in_a_minute": ("Attente estimée : environ une minute.", "Estimated wait: about a minute."),
    "in_minutes": ("Attente estimée : environ {} minutes.", "Estimated wait: about {} minutes."),
    "stopped": ("Réponse arrêtée à votre demande.", "Answer stopped at your request."),
    "said_start": ("Recherche en cours.", "Searching."),
    "said_end": ("La réponse est prête. {}", "The answer is ready. {}"),
    # The status of an answer, in words
    "answered": (
        "Réponse vérifiée : chaque phrase s'appuie sur un passage cité.",
        "Checked answer: every sentence rests on a passage that it cites.",
    ),
    "flagged": (
        "Attention : les phrases soulignées en pointillé ne sont pas vérifiées.",
        "Careful: the sentences with a dotted underline are not verified.",
    ),
    "extracts": (
        "Extraits mot pour mot : aucune rédaction n'a pu être vérifiée.",
        "Extracts word for word: no draft could be verified.",
    ),
    "insufficient_evidence": (
        "Pas de réponse dans les textes consultés.",
        "No answer in the texts that were searched.",
    ),
    "conflicting_sources": (
        "Les textes se contredisent : la norme la plus élevée est citée en premier.",
        "The texts contradict each other: the higher norm is cited first.",
    ),
    "needs_clarification": ("Question à préciser.", "The question needs to be made clearer."),
    "out_of_scope": ("Question hors du champ des textes consultés.", "Question outside the texts that were searched."),
    "refused": ("Demande refusée.", "Request refused."),
    # Around an answer
    "understood": ("Question comprise : {}", "Understood as: {}"),
    "as_of": ("Règles en vigueur au {}", "Rules in force on {}"),
    "as_of_read": (
        "Règles en vigueur au {} (date lue dans la question)",
        "Rules in force on {} (date read in the question)",
    ),
    "choices": ("Préciser la question", "Make the question clearer"),
    "notices": ("À savoir", "Good to know"),
    "found": ("Textes trouvés", "Texts found"),
    "copy": ("Copier avec les sources", "Copy with sources"),
    "copied": ("Copié", "Copied"),
    "copy_failed": ("La copie n'est pas permise par ce navigateur", "This browser does not allow copying"),
    "useful": ("Utile", "Useful"),
    "useless": ("Pas utile", "Not useful"),
    "feedback": ("Votre avis sur la réponse", "Your opinion of the answer"),
    "why": ("Pourquoi ?", "Why?"),
    "comment": ("Précision (facultatif)", "Details (optional)"),
    "send": ("Envoyer l'avis", "Send"),
    "cancel": ("Annuler", "Cancel"),
    "thanks": ("Merci, votre avis est enregistré.", "Thank you, your opinion is recorded."),
    "not_recorded": ("Votre avis n'a pas pu être enregistré : {}", "Your opinion could not be recorded: {}"),
    "reason_wrong": ("La réponse est fausse", "The answer is wrong"),
    "reason_incomplete": ("La réponse est incomplète", "The answer is incomplete"),
    "reason_outdated": ("Le texte n'est plus à jour", "The text is out of date"),
    "reason_source": ("La source ne convient pas", "The source does not fit"),
    "reason_unclear": ("La réponse n'est pas claire", "The answer is not clear"),
    "reason_other": ("Autre raison", "Another reason"),
    # Sources
    "sources": ("Sources", "Sources"),
    "sources_empty": (
        "Les passages des règlements s'affichent ici, avant même la réponse.",
        "The passages of the regulations show here, even before the answer.",
    ),
    "sources_none": ("Aucun passage trouvé pour cette question.", "No passage was found for this question."),
    "sources_of": ("Pour la question : {}", "For the question: {}"),
    "source": ("Source {} : {}", "Source {}: {}"),
    "cited": ("Citée", "Cited"),
    "not_read": (
        "Trouvé, mais trop long pour être lu avec les autres lors de la rédaction.",
        "Found, but too long to be read with the others while drafting.",
    ),
    "duplicate": ("Même contenu qu'un autre passage.", "Same content as another passage."),
    "back": ("Retour à la réponse", "Back to the answer"),
    "place": ("Emplacement", "Place"),
    "validity": ("Validité", "In force"),
    "since": ("en vigueur depuis le {}", "since {}"),
    "until": ("jusqu'au {} inclus", "until {}"),
    "between": ("du {} au {} inclus", "from {} to {}"),
    "unknown_validity": ("validité inconnue", "unknown"),
    "legal_status": ("État", "State"),
    "deferred": ("entrée en vigueur différée", "not yet in force when published"),
    "amended": ("version modifiée depuis", "amended since"),
    "repealed": ("abrogé", "repealed"),
    "expired": ("périmé", "expired"),
    "annulled": ("annulé", "annulled"),
    "transferred": ("transféré sous un autre numéro", "transferred to another number"),
    "reading": ("Lecture", "Reading"),
    "poor_reading": (
        "document numérisé peu lisible : vérifiez ces mots sur l'original",
        "poor scan: check these words against the original",
    ),
    "found_by": ("Trouvé", "Found"),
    "found_named": (
        "parce qu'un passage mieux classé y renvoie",
        "because a better passage refers to it",
    ),
    "found_neighbour": (
        "parce qu'il est la suite d'un passage mieux classé",
        "because it goes on from a better passage",
    ),
    "norm": ("Rang", "Rank"),
    "code": ("Code", "Code"),
    "decree": ("Décret", "Decree"),
    "order": ("Arrêté", "Order"),
    "circular": ("Circulaire", "Circular"),
    "internal_note": ("Note interne", "Internal note"),
    "file_page": ("Page", "Page"),
    "passage": ("Passage", "Passage"),
    "supporting": (
        "Les mots surlignés sont ceux sur lesquels la réponse s'appuie.",
        "The highlighted words are those that the answer rests on.",
    ),
    "picture": ("Voir la page {} du document", "See page {} of the document"),
    "picture_of": ("Image de la page {} de « {} »", "Picture of page {} of “{}”"),
    "file": ("Télécharger le document d'origine", "Download the source document"),
    # What the reader should know
    "notice": ("Comment lire ces réponses, et ce qui est enregistré", "How to read the answers, and what is recorded"),
    "notice_machine": (
        "Rédigé par une machine. Les réponses sont rédigées automatiquement à partir des passages affichés ; une "
        "phrase que ces passages ne soutiennent pas n'est pas montrée comme vérifiée. Les extraits entre guillemets "
        "sont recopiés mot pour mot. Seul le texte officiel fait foi.",
        "Drafted by machine. Answers are drafted automatically from the passages shown; a sentence that these passages "
        "do not support is not shown as verified. Extracts between quotation marks are copied word for word. Only the "
        "official text is authoritative.",
    ),
    "notice_kept": (
        "Ce qui est enregistré. Vos questions et les réponses le sont avec votre compte, pour que chaque réponse "
        "puisse être expliquée plus tard. Les auditeurs habilités consultent ces traces, et chaque consultation est "
        "tracée. Vos conversations, si ce service en conserve, ne sont visibles que de vous : vous pouvez les "
        "télécharger et les supprimer.",
        "What is recorded. Your questions and the answers are, with your account, so that each answer can be explained "
        "later. Authorised auditors read these records, and each reading is recorded. Your conversations, if this "
        "service keeps any, are seen by you alone: you can download and delete them.",
    ),
    "notice_feedback": (
        "Votre avis. Si vous le donnez sont enregistrés : le pouce, le motif, votre commentaire, la date, votre "
        "compte, le numéro de la réponse et les documents qu'elle cite, sans son texte. Les responsables de ces textes "
        "lisent votre avis sans votre nom. Il est conservé un an au plus. N'y écrivez rien de personnel.",
        "Your opinion. If you give it, what is recorded: the thumb, the reason, your comment, the date, your account, "
        "the number of the answer and the documents that it cites, without its text. The maintainers of these texts "
        "read your opinion without your name. It is kept for a year at most. Write nothing personal in it.",
    ),
    "notice_local": (
        "Rien ne sort d'ici. Cette page ne fait appel à aucun service extérieur.",
        "Nothing leaves this place. This page calls no outside service.",
    ),
    # The copied text
    "copied_question": ("Question : {}", "Question: {}"),
    "copied_sources": ("Sources :", "Sources:"),
    "copied_nearest": ("Textes les plus proches :", "Nearest texts:"),
    "copied_notice": (
        "Réponse rédigée par une machine (Vauban) à partir des textes cités ; seul le texte officiel fait foi.",
        "Answer drafted by machine (Vauban) from the texts cited; only the official text is authoritative.",
    ),
    "copied_extracts": (
        "Extraits réunis par une machine (Vauban), mot pour mot ; seul le texte officiel fait foi.",
        "Extracts gathered by machine (Vauban), word for word; only the official text is authoritative.",
    ),
    "copied_page": ("p. {}", "p. {}"),
}

EXAMPLES: Final[Mapping[str, tuple[str, str]]] = {
    "rh": ("Combien de jours de congés annuels ai-je à temps plein ?", "Can I work remotely from another country?"),
    "finances": (
        "Jusqu'à combien une nuit d'hôtel à Paris est-elle remboursée ?",
        "Who may hold a corporate card?",
    ),
    "sante": ("Qui prévenir en cas d'accident sur le lieu de travail ?", "How many first aiders must a site have?"),
    "infrastructures": (
        "Que dois-je faire si je perds mon badge d'accès ?",
        "What must visitors do before they enter a site?",
    ),
}
"""A question for each corpus of the samples; others have subjects of their own, and no example beats a bad one."""

REASONS: Final = ("wrong", "incomplete", "outdated", "source", "unclear", "other")
"""The reasons of :class:`rag.schemas.FeedbackRequest`, in the order in which they are offered."""


_WIDE: Final = re.compile(r" (?=[?!:;»])|(?<=«) ")
"""Where French sets a space that no line may end at."""


def say(key: str, language: str, *values: object) -> str:
    """The text for ``key`` in ``language``, its ``{}`` filled in order; ``values`` are not escaped."""
    french, english = _WORDS[key]
    text = spaced(french) if language == "fr" else english
    return text.format(*values) if values else text


def spaced(text: str) -> str:
    """``text`` with the blanks of French punctuation kept on one line; as long as before."""
    return _WIDE.sub("\u00a0", text)


def example(corpus: str, language: str) -> str:
    """A question to try on a corpus of the samples; empty for any other."""
    french, english = EXAMPLES.get(corpus, ("", ""))
    return spaced(french) if language == "fr" else english


def day(date: dt.date, language: str) -> str:
    """A date as people write it: ``1er janvier 2026``, ``1 January 2026``."""
    first = "1er" if date.day == 1 and language == "fr" else str(date.day)
    return f"{first} {_MONTHS[0 if language == 'fr' else 1][date.month - 1]} {date.year}"


def known() -> frozenset[str]:
    """The names of all texts."""
    return frozenset(_WORDS)
