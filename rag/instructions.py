"""Sentences of a document that speak to a machine instead of its readers: never evidence, never quoted. Pure.

A regulation says what agents do; it does not tell an assistant what to answer. A sentence that does is data like the
rest, but nothing may rest on it, nor on what stands beside it: the whole passage is left out of the evidence, of the
extracts and of what the model reads. It is told by the phrases of public collections of attacks (BIPIA; garak's
``latentinjection``), by what its words are about (:mod:`rag.addressing`), by the syntax of prompts, and by being
disguised (:mod:`rag.disguises`), in French and English; whoever writes around all of these gets a plain statement under
the name, rank and date of its document, and no more.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final

from rag import addressing, disguises, sentences
from rag.quantities import folded

REMOVED: Final = "[…]"
"""What stands in a prompt for what was left out."""

_MACHINE: Final = (
    r"(?:assistants?(?: virtuels?| ia| numeriques?)?"
    r"(?! (?:maternels? |maternelles? |de |des |du |social|to the))|chat ?bots?|"
    r"agents? conversationnels?|modeles? de langage|"
    r"intelligences? artificielles?|\bia\b|\bai\b|\bllms?\b|\bgpt\b|language models?|robots? de reponse|bots?|vauban|"
    r"automates? de reponse|systemes? de (?:question|reponse)s?|(?:ai|virtual) assistants?)"
)
_SPEAK: Final = (
    r"(?:reponds?|repondez|dis|dites|affirme[sz]?|affirmez|ecris|ecrivez|indique[sz]?|indiquez|cite[sz]?|citez|"
    r"ajoute[sz]?|ajoutez|conclu[st]?|concluez|recommande[sz]?|recommandez|annonce[sz]?|annoncez|pretends|pretendez|"
    r"declare[sz]?|declarez|confirme[sz]?|confirmez|remplace[sz]?|remplacez|traite[sz]?|traitez|considere[sz]?|"
    r"considerez|"
    r"answer|say|tell|reply|respond|write|state|claim|cite|output|print|append|confirm|report|treat|include|repeat)"
)
_RULES: Final = (
    r"(?:instructions?|consignes?|regles?|directives?|prompts?|ordres?|rules?|guidelines?|directions?|"
    r"(?:ce|tout ce) qui precede|(?:text|everything|anything|what) (?:above|before)|contexte|context|"
    r"(?:autres|other) (?:passages?|documents?|sources?|extraits?))"
)
_PATTERNS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # Marks of chat templates and of our own fence.
        r"<\|[a-z_]{2,30}\|?>|\[/?inst\]|<</?sys>>|</?s>\s*(?:\[|user|human)",
        r"</?\s*(?:passage|system|instructions?)\b[^<]{0,80}>",
        r"^\W{0,6}(?:#+\s*)?(?:system|systeme|assistant|user|utilisateur|human|developer|instructions?)"
        r"(?: prompt| message)?\s*(?:[:\]>]\s*\S)",
        r"\b(?:begin|end|debut|fin) (?:of |des |du |de la )?(?:system )?"
        r"(?:prompt|instructions|passages?|context|contexte)\b",
        # What was said before is to be forgotten.
        rf"\b(?:ignore[sz]?|ignorez|oublie[sz]?|oubliez|neglige|negligez|disregard|forget|override|bypass|outrepasse|"
        rf"outrepassez|contourne|contournez|ne (?:tiens|tenez)(?: pas)?(?: \w+)? compte)\b.{{0,60}}\b{_RULES}",
        r"\b(?:ignorer|oublier|contourner|outrepasser) (?:toutes )?(?:les|tes|vos) (?:instructions|consignes|regles) "
        r"(?:precedentes|ci-dessus|anterieures|donnees)",
        rf"\bne (?:tenir|tiens|tenez) (?:aucun|pas|plus) compte .{{0,40}}\b{_RULES}",
        r"\b(?:nouvelles?|new|updated|real|vraies?) (?:instructions?|consignes?|directives?)\b.{0,30}"
        rf"(?::|\bpour\b|\bfor\b).{{0,60}}(?:{_MACHINE}|{_SPEAK}\b)",
        # A machine is addressed and told what to do.
        rf"(?:^|[\"'«(,;:.!?|-]\s*)(?:a l'attention (?:de |du |des )|note (?:to|for) |"
        rf"message (?:a|to|pour) |pour |attention,? |important,? |cher |dear |as an? |en tant qu[e'] ?)?"
        rf"(?:l'|les |the |la |le |all |any |tout |votre |your )?{_MACHINE}\b.{{0,80}}?"
        rf"\b(?:(?!repond aux questions){_SPEAK}|ignore[zs]?|ignorez|oublie[zs]?|oubliez|disregard|forget|"
        rf"(?:tu dois|vous devez|you must))\b",
        rf"\b{_MACHINE}\b.{{0,40}}\b(?:doi(?:t|s|vent)|must|should|shall|devez|est tenu|is required to)\b.{{0,60}}"
        r"\b(?:repondre|dire|affirmer|citer|ecrire|answer|say|reply|respond|tell|cite|claim|ignorer|ignore)\b",
        rf"\bsi (?:tu es|vous etes) (?:un |une |l')?{_MACHINE}|\bif you are (?:an? )?{_MACHINE}",
        # It is given another part to play.
        r"\b(?:tu es|vous etes) (?:desormais|maintenant|a present)\b|\byou are now\b|\bfrom now on,? you\b",
        r"(?:^|[.;:,!»\"] ?)(?:agis|comporte-toi|fais comme si tu|pretends que tu|act as|pretend (?:to be|"
        r"you are)|roleplay)\b.{0,40}",
        r"\bmode (?:developpeur|admin(?:istrateur)?|sans restriction|dan)\b|\b(?:developer|debug|dan|god) mode\b",
        # It is told what to answer, whatever is asked.
        rf"\b(?!repond\b){_SPEAK}\b.{{0,50}}\b(?:quelle que soit la question|a toute question|"
        rf"a toutes les questions|toujours que|"
        r"whatever the question|to (?:any|every|all) questions?|regardless of the question|no matter what)",
        r"\b(?:quelle que soit la question|a toute question|whatever (?:the question|is asked)|"
        r"no matter what)\b.{0,60}"
        rf"\b{_SPEAK}\b",
        rf"^\W{{0,4}}(?:{_SPEAK})\b(?: (?:toujours|uniquement|seulement|simplement|only|always|simply|just|"
        rf"exactement|"
        r"exactly))?(?: (?:a l'utilisateur|a l'usager|a la personne|a l'agent|the user|the reader|users|"
        r"to the user))?,? (?:que\b|qu'|that\b|ceci\s*:|this\s*:|exactement\b|:)",
        r"(?:^|[,;:.] |\b(?:must|always|never|and|just|to) )(?:tell|inform|dis|dites|reponds|"
        r"repondez) (?:a )?(?:the |l'|les |aux )?(?:users?|utilisateurs?)\b",
        # The prompt is to be given away, or an act is asked for.
        r"\b(?:revele[rz]?|revelez|affiche[rz]?|affichez|repete[rz]?|repetez|divulgue[rz]?|reveal|print|repeat|show|"
        r"display|leak|output)\b.{0,40}\b(?:prompt|system (?:message|instructions?)|(?:tes|vos|"
        r"your) (?:instructions?|"
        r"consignes?|regles?|rules?)|message systeme)",
        r"\b(?:envoie|envoyez|transmets|transmettez|send|post|upload|exfiltrate)\b.{0,60}\b(?:conversation|"
        r"historique|"
        r"history|question de l'utilisateur|user'?s? (?:question|data|message))",
        # A citation is dictated.
        r"\b(?:cite|citez|use|utilise[rz]?|utilisez|mentionne[rz]?|mentionnez|attribue[rz]?|attribuez)\b.{0,60}"
        r"(?:\[\d{1,3}\]|\b(?:passage|source|extrait|document) (?:n°|no\.?|numero|number)? ?\d{1,3}\b)",
        r"\b(?:d'apres|selon|voir|according to|as (?:said|stated) in) (?:le |the )?passage \d{1,3}\b",
        # Markup that a client might make live.
        r"!\[[^\]]*\]\(|\]\(\s*(?:javascript:|data:|//)|\bjavascript:",
        r"<\s*(?:script|iframe|img|svg|object|embed|link|meta|style|form|a\s+href)\b",
    )
)
_SYNTAX: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Tags, templates, fences, headings and comments: the text of a parsed document has none.
        r"</?[a-z][\w:.-]+(?:\s+[\w:-]+\s*=[^<>]{0,80})?\s*/?>|<[|!?]|\|>|\{\{|\}\}|\{%|%\}|```|~~~|"
        r"^\s*#{1,6}\s*(?:r[ée]ponse|response|instructions?(?! (?:n°|no|du|relative|commune|g[ée]n[ée]rale))|"
        r"syst[eè]me?|assistant|user|human|prompt|input|output|context|utilisateur|question)|/\*|\*/|%{3}",
        r"^\s*>{2,}|^\W{0,3}(?:[=*~_-]{3,}|<{2,})\s*\w[^|]{2,60}[=*~_>-]{2,}\s*$",
        r"\[\s*/?\s*(?:syst[eè]me?|user|utilisateur|assistant|inst|contexte?|instructions?|prompt|admin|tool|"
        r"end|fin)\b[^\]]{0,30}\]",
        r"[\"'](?:role|content|system|assistant|user|prompt|instructions?|messages?|function|arguments|"
        r"tool_calls?)[\"']\s*:",
        r"^\W{0,4}(?:syst[eè]me?|user|human|humain|assistant|a\.?i\.?|ia|llm|bot|developer|model|tool|thought|"
        r"observation|"
        r"action|role|prompt|instructions?|output|completion|final answer|answer)\s*(?:prompt|message|input|"
        r"instruction)?\s*[:=]\s*\S",
        r"\b(?:user|human|utilisateur|q|question)\s*: .{3,200}\b(?:assistant|ai|ia|bot|r|a|r[ée]ponse|answer)\s*: ",
        r"\b[a-z]+_[a-z_]+\s*[:=]\s*\S",
        r"\b(?:begin|end|start|stop|d[ée]but|fin) (?:of |the |des? |du |de la |de l'|"
        r"d')*(?:nouvelles? )?(?:system|prompt|"
        r"instructions|directives?|passages?|sources?|extraits?|contexte?|partie documentaire|consignes?|"
        r"conversation)\b",
        # Citation marks with a name, and several of them.
        r"[\[【]\s*(?:passage|source|extrait|document|doc|r[ée]f)\.?\s*(?:n°\s*)?\d{1,3}|【\d|†|"
        r"\((?:cf\.?\s*|voir\s*|see\s*)?(?:passage|source|extrait)s?\s*(?:n°\s*)?\[?\d",
        r"\[\d{1,2}\](?:.{0,80}\[\d{1,2}\]){2}|\b(?:selon|d'apr[eè]s|according to|source|document|passage|"
        r"cite[rz]?)\s+(?:le |the )?(?:document |texte |text )?\[\d{1,2}\]",
        r"\bon (?:te |vous |lui )?(?:r[ée]pondra|dira|affirmera|citera)\b|\bmod[eè]les? entra[iî]n[ée]s|"
        r"\bmodels? trained on this",
    )
)
_MOST: Final = 4_000
"""Characters of a sentence that are looked at; the next are looked at as a sentence of their own."""


def addressed_to_machine(sentence: str) -> bool:
    """Whether a sentence of a document speaks to a machine, or hides words from people."""
    return any(_speaks(sentence[at : at + _MOST]) for at in range(0, max(len(sentence), 1), _MOST))


def _speaks(sentence: str) -> bool:
    if any(pattern.search(sentence) for pattern in _SYNTAX) or _commands(sentence):
        return True
    hidden, readings = disguises.unmasked(sentence)
    return hidden or any(_commands(reading) for reading in readings)


def _commands(sentence: str) -> bool:
    plain = " ".join(folded(sentence).split())
    return addressing.shaped(plain) or any(pattern.search(plain) for pattern in _PATTERNS)


@functools.lru_cache(maxsize=4096)
def found(text: str) -> tuple[tuple[int, int], ...]:
    """The sentences of ``text`` that speak to a machine, as half-open spans, in order."""
    return tuple((start, end) for start, end in sentences.split(text) if addressed_to_machine(text[start:end]))


def quarantined(*texts: str) -> bool:
    """Whether anything in the text of a passage, or in its name, speaks to a machine.

    Then none of it is believed, quoted or read by a model: who plants an order may plant the falsehood beside it.
    """
    return any(found(text) for text in texts)


def without(text: str) -> str:
    """A name as it may be shown: each sentence of it that speaks to a machine is :data:`REMOVED`."""
    return _cut(text, found(text))


def inert(text: str) -> str:
    """``text`` quoted so that no client takes a part of it for a citation mark of ours, a link or a picture."""
    text = sentences.MARK.sub(lambda mark: f"({mark[0][1:-1]})", text)
    return re.sub(r"(!?)\[([^\]\n]*)\]\(", r"\1[\2] (", text).replace("![", "! [")


def _cut(text: str, spans: Sequence[tuple[int, int]]) -> str:
    pieces, at = [], 0
    for start, end in spans:
        pieces += [text[at:start], REMOVED]
        at = end
    return "".join([*pieces, text[at:]])
