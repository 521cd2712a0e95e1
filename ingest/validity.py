"""What a regulation's own words say of its force: from when, until when, of what rank, repealed or not; pure.

Only a sentence whose subject is the text itself (« le présent arrêté », "this policy"), a line of its head (« Date
d'application : … ») or, for an article, a sentence about that article of the same text sets anything. A sentence
about another text (« l'arrêté du 3 mai 2010 est abrogé »), a quotation, a day that is not given as a date (« le
lendemain de sa publication ») and two sentences that disagree set nothing: what is unknown stays unknown. The day on
which a text was signed is not the day on which it enters into force.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ingest.outline import recognise
from rag import references, sentences
from rag.types import Block, BlockKind, LegalStatus, NormRank, Section, SectionKind, Stated, Validity

_HEAD: Final = 40
"""Blocks at the beginning among which the lines of a circular's head stand."""
_DAY: Final = dt.timedelta(days=1)

# --- what a text calls itself ---------------------------------------------------------------------------

_TYPES: Final = (
    r"(?:arrêté|décret|décision|circulaire|instruction|note(?: de service| d['’]information)?|loi|ordonnance|"
    r"délibération|"
    r"règlement|directive|charte|texte|document|code|politique|protocole|accord|convention|barème|guide|avenant|plan)s?"
)
_QUALIFIED: Final = (
    r"(?:\s+(?:interne|intérieur|général|générale|interministériel|interministérielle|conjoint|conjointe|modificatif|"
    r"organique))?(?:\s+et\s+(?:ses|son|sa|leurs?)\s+annexes?)?"
)
_SUBJECT_FR: Final = (
    rf"(?P<of>(?:Les|l['’]ensemble\s+des)\s+(?:dispositions|règles|mesures|stipulations)\s+)?"
    rf"(?P<the>les?|la|du|de\s+la|des)\s+présente?s?\s+(?:{_TYPES}|dispositions){_QUALIFIED}"
)
_SUBJECT_EN: Final = (
    r"(?:this|the\s+present|these)\s+(?:\w+\s+){0,2}?(?:act|order|decree|decision|polic(?:y|ies)|circular|regulations?|notes?|"
    r"memo(?:randum)?|instructions?|handbook|document|text|guide|guidelines|procedure|rules|code|directive|by-laws?)"
)
_ASIDE: Final = r"(?:\s*,[^,;.]{1,160},)?\s+"
_STARTS_FR: Final = (
    r"(?:(?:entr(?:e|ent|era|eront)\s+en\s+(?:vigueur|application)|pren(?:d|nent|dra|dront)\s+effet"
    r"|produi(?:t|sent|ra|ront)\s+(?:ses\s+|leurs\s+)?effets?)\s+"
    r"(?:(?:à\s+(?:compter|partir|dater|la\s+date)\s+du|dès\s+le|depuis\s+le|le|au)\s+)"
    r"|(?:(?:est|sont|sera|seront)\s+(?:applicables?|en\s+vigueur)|s['’]appliqu(?:e|ent|era|eront))\s+"
    r"(?:(?:à\s+(?:compter|partir|dater)\s+du|dès\s+le|depuis\s+le|du)\s+))"
)
_STARTS_EN: Final = (
    r"(?:(?:(?:shall|will)\s+)?(?:comes?|enters?)\s+into\s+(?:force|effect|operation)\s+(?:(?:on|from|as\s+(?:of|from))\s+)"
    r"|(?:(?:shall|will)\s+)?takes?\s+effect\s+(?:(?:on|from|as\s+(?:of|from))\s+)"
    r"|(?:is|are|shall\s+be|becomes?)\s+(?:effective|applicable|in\s+force)\s+(?:(?:on|from|since|as\s+(?:of|from))\s+)"
    r"|(?:(?:shall|will)\s+)?(?:appl(?:y|ies)|ha(?:s|ve)\s+effect)\s+(?:(?:from|as\s+(?:of|from))\s+))"
)
_ENDS_FR: Final = (
    r"(?:(?:(?:est|sont|sera|seront)\s+(?:applicables?|valables?|en\s+vigueur)|s['’]appliqu(?:e|ent|era|eront)"
    r"|(?:reste|restent|demeure|demeurent)\s+(?:applicables?|valables?|en\s+vigueur))\s+(?P<until_fr>jusqu['’]au)\s+"
    r"|(?P<expires_fr>expir(?:e|ent|era|eront)|pren(?:d|nent|dra|dront)\s+fin)\s+(?:le|au)\s+"
    r"|(?:(?:est|sont|sera|seront)\s+abrogée?s?|cess(?:e|ent|era|eront)\s+(?:de\s+(?:s['’]appliquer|produire\s+(?:ses\s+|leurs\s+)?"
    r"effets?)|d['’]être\s+(?:applicables?|en\s+vigueur)|d['’]avoir\s+effet))\s+(?:à\s+(?:compter|partir)\s+du|le|au)\s+)"
)
_ENDS_EN: Final = (
    r"(?:(?:(?:shall\s+|will\s+)?(?:remains?|continues?)\s+(?:to\s+(?:apply|have\s+effect)|in\s+(?:force|effect)|applicable)"
    r"|appl(?:y|ies)|(?:is|are)\s+(?:valid|in\s+force))\s+(?P<until_en>until)\s+(?:and\s+including\s+)?"
    r"|(?P<expires_en>(?:shall\s+|will\s+)?expires?)\s+on\s+"
    r"|(?:(?:(?:shall|will)\s+)?ceases?\s+to\s+(?:have\s+effect|apply|be\s+in\s+force)|(?:is|are|shall\s+be)\s+(?:repealed|revoked))"
    r"\s+(?:on|from|as\s+(?:of|from)|with\s+effect\s+from)\s+)"
)
_STARTS: Final = rf"(?P<start>{_STARTS_FR}|{_STARTS_EN})"
_ENDS: Final = rf"(?P<end>{_ENDS_FR}|{_ENDS_EN})"
_FORCE: Final = rf"(?:{_STARTS}|{_ENDS})"
_OF_ITSELF: Final = re.compile(rf"(?<![\w'’])(?:{_SUBJECT_FR}|{_SUBJECT_EN}){_ASIDE}{_FORCE}", re.IGNORECASE)
_PRONOUN: Final = re.compile(rf"(?:(?:et|and)\s+)?(?:Ils?|Elles?|It|They)\s+{_FORCE}", re.IGNORECASE)
_NAMED: Final = re.compile(rf"(?:le|la|l['’])\s?(?P<type>{_TYPES})\s+{_FORCE}", re.IGNORECASE)
_AT_FIRST: Final = re.compile(
    r"à\s+(?:compter|partir)\s+du\s+|with\s+effect\s+from\s+|as\s+(?:of|from)\s+|from\s+", re.IGNORECASE
)
_THEN_ITSELF: Final = re.compile(
    rf"\s*,\s+(?:{_SUBJECT_FR}|{_SUBJECT_EN})\s+(?:s['’]appliqu|(?:est|sont)\s+applicables?|entr\w+\s+en\s+(?:vigueur|application)"
    r"|pren\w+\s+effet|appl(?:y|ies)\b|(?:is|are)\s+(?:in\s+force|effective))",
    re.IGNORECASE,
)
_TO: Final = re.compile(r"\s+(?:et\s+)?(?:jusqu['’]au|au|to|until|till)\s+", re.IGNORECASE)
_ENTRY: Final = re.compile(
    r"entrée\s+en\s+(?:vigueur|application)|prise\s+d['’]effet|date\s+d['’](?:effet|application)|entry\s+into\s+force|commencement"
    r"|effective\s+date",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"«[^»]*(?:»|$)|“[^”]*(?:”|$)")

# --- lines of a head ------------------------------------------------------------------------------------

_START_LABEL: Final = re.compile(
    r"(?:date\s+(?:d['’](?:application|effet|entrée\s+en\s+(?:vigueur|application))|of\s+(?:entry\s+into\s+force|effect))"
    r"|entrée\s+en\s+(?:vigueur|application)|prise\s+d['’]effet|applicable|en\s+vigueur|effective(?:\s+date)?|entry\s+into\s+force"
    r"|commencement(?:\s+date)?|in\s+force)\s*[:—–|-]?\s*"
    rf"(?:(?:le|la)\s+{_TYPES}\s+(?:entre\s+en\s+vigueur|s['’]applique|prend\s+effet)\s+)?"
    r"(?:(?:à\s+(?:compter|partir)\s+du|depuis\s+le|dès\s+le|le|au|on|from|since|as\s+(?:of|from))\s+)?",
    re.IGNORECASE,
)
_END_LABEL: Final = re.compile(
    r"(?P<last>(?:date\s+de\s+)?fin\s+(?:d['’]application|d['’]effet|de\s+validité)|(?:valable|applicable|valid|en\s+vigueur)\s+"
    r"(?:jusqu['’]au|until)|expiry(?:\s+date)?|expires|date\s+d['’]expiration)\s*[:—–|-]?\s*(?:(?:le|au|on)\s+)?"
    r"|(?:date\s+d['’]abrogation|abrogée?|repealed|date\s+of\s+repeal)\s*[:—–|-]?\s*(?:(?:à\s+compter\s+du|le|au|on|from)\s+)?",
    re.IGNORECASE,
)
_SPAN_LABEL: Final = re.compile(
    r"(?:validité|période\s+(?:de\s+validité|d['’]application)|applicable|valable|valid(?:ity)?|in\s+force)\s*[:—–|-]?\s*(?:du|from)\s+",
    re.IGNORECASE,
)
_REPEALED: Final = re.compile(
    r"[\W_]*(?:abrogée?s?|supprimée?s?|sans\s+objet\s+\(abrogé\)|repealed|revoked|omitted|deleted)[\W_]*$",
    re.IGNORECASE,
)
_REPEALED_BY: Final = re.compile(
    r"[(\[]?\s*(?:(?:article|section)\s+)?(?:abrogée?|supprimée?|repealed|revoked)\s+"
    r"(?:par|by|à\s+compter|depuis|le|on|from|with\s+effect)\b[^.;]{0,160}[.)\]]*$",
    re.IGNORECASE,
)
_REPEALED_TITLE: Final = re.compile(r"[(\[]\s*(?:texte\s+)?(?:abrogée?|repealed|revoked)\s*[)\]]\s*$", re.IGNORECASE)
_REPEALED_STAMP: Final = re.compile(
    rf"(?:{_TYPES}\s+)?(?:abrogée?|repealed)|(?:repealed|revoked)\s+(?:text|act|order|policy)", re.IGNORECASE
)

# --- ranks ----------------------------------------------------------------------------------------------

_RANKS: Final = (
    (
        NormRank.CODE,
        r"code\b(?!\s+(?:de\s+(?:conduite|déontologie|bonne)|of\s+(?:conduct|practice|ethics)|postal|couleur))"
        r"|(?:projet\s+de\s+)?loi\b(?!\s+type)|ordonnance\b|règlement\s+\((?:UE|CE|CEE)\)|[\w\s,'’-]{3,80}\bAct\s+(?:\d{4}|no)",
    ),
    (NormRank.DECREE, r"décret\b|decree\b"),
    (NormRank.ORDER, r"arrêté\b"),
    (NormRank.CIRCULAR, r"circulaire\b|circular\b"),
    (
        NormRank.INTERNAL_NOTE,
        r"note\s+(?:de\s+service|interne|d['’]information|d['’]instruction|aux\s+services|n°)|internal\s+(?:note|memo)|service\s+note"
        r"|memo(?:randum)?\b",
    ),
)
_RANK: Final = [(rank, re.compile(pattern, re.IGNORECASE)) for rank, pattern in _RANKS]


def stated(blocks: Sequence[Block], title: str, language: str) -> Stated:
    """What the text says of itself as a whole; ``blocks`` as the parser gave them, ``title`` as it is known by then.

    ``language`` is that of the text; it is not judged here, and what is read is the same for French and English.
    """
    del language
    starts: set[dt.date] = set()
    ends: set[dt.date] = set()
    for found in (*_of_head(blocks[:_HEAD]), *_of_sentences(blocks, _rank_word(title))):
        starts |= {found.start} if found.start else set()
        ends |= {found.end} if found.end else set()
    validity = Validity(_only(starts), _only(ends))
    if validity.start is not None and validity.end is not None and validity.start >= validity.end:
        validity = Validity()
    opening = [title, *(block.text for block in blocks[:6])]
    return Stated(
        norm_rank=next((rank for line in opening[:4] if (rank := _rank(line)) is not None), None),
        validity=validity,
        legal_status=LegalStatus.REPEALED if any(_is_repealed(line) for line in opening) else None,
    )


def of_sections(sections: Sequence[Section]) -> list[Section]:
    """``sections`` with what the text says of single ones: « L'article 4 entre en vigueur le… », « (Abrogé) ».

    What a section has of its format is left as it is.
    """
    said = _of_articles(sections)
    result = []
    for index, section in enumerate(sections):
        own = section
        if own.validity is None and index in said:
            own = replace(own, validity=said[index])
        if own.legal_status is None and _says_repealed(own):
            own = replace(own, legal_status=LegalStatus.REPEALED)
        result.append(own)
    return result


# --- the text as a whole --------------------------------------------------------------------------------


def _only(dates: set[dt.date]) -> dt.date | None:
    return next(iter(dates)) if len(dates) == 1 else None


def _rank(line: str) -> NormRank | None:
    """The rank that a title names by its first word. Decisions and instructions are of the rank their author has."""
    text = line.strip()
    return next((rank for rank, pattern in _RANK if pattern.match(text)), None)


def _rank_word(title: str) -> str:
    return title.split()[0].casefold() if title.split() else ""


def _is_repealed(line: str) -> bool:
    return bool(_REPEALED_TITLE.search(line)) or bool(_REPEALED_STAMP.fullmatch(line.strip(" .!*—–-")))


def _of_head(blocks: Iterable[Block]) -> Iterator[Validity]:
    """What the lines of the head say: « Date d'application : 1er avril 2024 », also as a row of a table."""
    for block in blocks:
        lines = [" : ".join(cell for cell in row if cell.strip()) for row in block.rows] or block.text.splitlines()
        for line in lines:
            text = " ".join(line.split())
            if len(text) > 120:
                continue
            for label, last in ((_SPAN_LABEL, None), (_END_LABEL, "last"), (_START_LABEL, None)):
                match = label.match(text)
                day = _day(text, match.end()) if match else None
                if match is None or day is None:
                    continue
                until = _until(text, day.end)
                rest = text[until.end if until else day.end :]
                if rest.strip(" .;)") in {"", "inclus", "included"}:
                    if label is _END_LABEL:
                        yield Validity(end=day.first + _DAY if last and match[last] else day.first)
                    elif label is not _SPAN_LABEL or until:
                        yield Validity(day.first, until.first + _DAY if until else None)
                break


def _of_sentences(blocks: Sequence[Block], kind: str) -> Iterator[Validity]:
    """What sentences say whose subject is the text itself; ``kind`` is what its title calls it."""
    heading = ""
    for block in blocks:
        if block.kind is BlockKind.TABLE:
            continue
        before = False
        for sentence in _sentences(block.text):
            found = recognise(sentence)
            if block.kind is BlockKind.HEADING or found is not None:
                heading = sentence
            entry = _ENTRY.search(heading) is not None
            match = _subject(sentence)
            if match is None and (before or entry):
                match = _PRONOUN.match(sentence)
            if match is None:
                named = _NAMED.match(sentence)
                match = named if named and (entry or named["type"].casefold() == kind) else None
            read = _read(sentence, match) if match is not None else _read_first(sentence)
            before = match is not None or _OF_ITSELF_NOW.match(sentence) is not None
            if read is not None:
                yield read


_OF_ITSELF_NOW: Final = re.compile(rf"(?:{_SUBJECT_FR}|{_SUBJECT_EN})(?!\w)", re.IGNORECASE)


def _sentences(text: str) -> Iterator[str]:
    """The sentences of a text, what they quote blanked out: quoted words are those of another text."""
    plain = _QUOTED.sub(lambda match: " " * len(match.group()), text)
    for start, end in sentences.split(plain):
        yield " ".join(plain[start:end].split())


def _subject(sentence: str) -> re.Match[str] | None:
    """Where the sentence says of the text itself, and not of a part of it, when it is in force."""
    for match in _OF_ITSELF.finditer(sentence):
        before = sentence[: match.start()].rstrip()
        whole = match["of"] or (match["the"] or "the").casefold() in {"le", "la", "les", "the"}
        if whole and (not before or before.endswith((",", ";", ":", " et", " and", ")"))):
            return match
    return None


def _read(sentence: str, match: re.Match[str]) -> Validity | None:
    """The dates behind the verb of ``match``, where they are the only ones that the sentence gives."""
    day = _day(sentence, match.end())
    if day is None:
        return None
    until = _until(sentence, day.end) if match["start"] else None
    if _others(sentence, (day, until)):
        return None
    if match["end"]:
        return Validity(end=_end(match, day))
    return Validity(day.first, until.first + _DAY if until else None)


def _read_first(sentence: str) -> Validity | None:
    """« À compter du 1er janvier 2025, la présente décision est applicable… »."""
    match = _AT_FIRST.match(sentence)
    day = _day(sentence, match.end()) if match else None
    if day is None or not _THEN_ITSELF.match(sentence, day.end) or _others(sentence, (day, None)):
        return None
    return Validity(day.first)


def _day(text: str, start: int) -> references.Period | None:
    """The single day that ``text`` names at ``start``."""
    near = references.periods(text[start : start + 40])
    if not near or near[0].start != 0 or near[0].last - near[0].first != _DAY:
        return None
    return replace(near[0], start=start, end=start + near[0].end)


def _until(text: str, start: int) -> references.Period | None:
    match = _TO.match(text, start)
    return _day(text, match.end()) if match else None


def _others(sentence: str, read: Iterable[references.Period | None]) -> bool:
    """Whether the sentence names further days: not those of texts, nor those of single articles."""
    taken = [(one.start, one.end) for one in read if one is not None]
    for named in references.references(sentence):
        after = re.match(r"\s+(?:du|of|dated)\s+", sentence[named.end :])
        day = _day(sentence, named.end + after.end()) if after else None
        taken.append((named.start, day.end if day else named.end))
    taken += [(clause.start, clause.end) for clause in _clauses(sentence)]
    return any(
        period.last - period.first == _DAY and not any(low <= period.start < high for low, high in taken)
        for period in references.periods(sentence)
    )


def _end(match: re.Match[str], day: references.Period) -> dt.date:
    """The first day without force. « Jusqu'au » and « expire le » include the day that they name."""
    groups = match.groupdict()
    included = any(groups.get(name) for name in ("until_fr", "until_en", "expires_fr", "expires_en"))
    ceases = re.search(r"\s(?:le|au|on)\s+$", match.group(), re.IGNORECASE)
    last_of_month = (day.first + _DAY).day == 1
    return day.first + _DAY if included or (ceases and last_of_month) else day.first


# --- single articles ------------------------------------------------------------------------------------

_ARTICLE_FORCE: Final = re.compile(
    rf"(?:\s+(?:du\s+présent|de\s+la\s+présente|des\s+présentes|of\s+this)\s+\w+)?(?:\s*,[^,;.]{{1,80}},)?(?:\s*,?\s+(?:qui|which))?\s+{_FORCE}",
    re.IGNORECASE,
)
_THIS_ARTICLE: Final = re.compile(
    rf"(?:(?:Les\s+dispositions\s+du|Le)\s+présent\s+article|This\s+(?:section|article)){_ASIDE}{_FORCE}", re.IGNORECASE
)


_OWN: Final = re.compile(r"(?:article|annexe|section):|(?:lo|[lrda])\d[^#]*$")
"""Keys of articles, annexes and sections that no other text is named with."""


@dataclass(frozen=True, slots=True)
class _Clause:
    """Characters ``[start, end)`` of a sentence say when the articles ``keys`` are in force."""

    keys: tuple[str, ...]
    validity: Validity
    start: int
    end: int


def _clauses(sentence: str) -> list[_Clause]:
    """What a sentence says of articles of its own text: « L'article 4 entre en vigueur le… »."""
    found = []
    run: list[references.Reference] = []
    for named in references.references(sentence):
        together = run and re.fullmatch(
            r"[\s,]*(?:et|ou|and|or|à|to)?[\s,]*(?:l['’])?", sentence[run[-1].end : named.start]
        )
        run = [*run, named] if together or (run and named.start < run[-1].end) else [named]
        match = _ARTICLE_FORCE.match(sentence, max(one.end for one in run))
        day = _day(sentence, match.end()) if match else None
        if match is None or day is None or not all(_OWN.match(one.key) for one in run):
            continue
        validity = Validity(end=_end(match, day)) if match["end"] else Validity(day.first)
        if match["end"] and re.search(r"abrog|repeal|revoke", match["end"], re.IGNORECASE):
            continue  # an amending text repeals the articles of another one
        found.append(_Clause(tuple(one.key for one in run), validity, run[0].start, day.end))
    return found


def _of_articles(sections: Sequence[Section]) -> dict[int, Validity]:
    """The validity of single sections by their index, as sentences of the same text give it."""
    own: dict[str, list[int]] = {}
    annexes = {section.heading for section in sections if section.kind is SectionKind.ANNEX}
    for index, section in enumerate(sections):
        if section.number is None or (section.kind is SectionKind.ARTICLE and annexes & set(section.path)):
            continue
        if section.kind in {SectionKind.ARTICLE, SectionKind.ANNEX}:
            for key in references.article_keys(section.number, "", section.kind)[:1]:
                own.setdefault(key, []).append(index)
    said: dict[int, set[Validity]] = {}
    for index, section in enumerate(sections):
        for sentence in (one for block in section.blocks for one in _sentences(block.text)):
            if not _MAY_SAY.search(sentence):
                continue
            match = _THIS_ARTICLE.match(sentence) if section.kind is SectionKind.ARTICLE else None
            read = _read(sentence, match) if match else None
            if read is not None:
                said.setdefault(index, set()).add(read)
            for clause in _clauses(sentence):
                for key in clause.keys:
                    if len(own.get(key, ())) == 1:
                        said.setdefault(own[key][0], set()).add(clause.validity)
    return {index: merged for index, all_ in said.items() if (merged := _merged(all_)) is not None}


_MAY_SAY: Final = re.compile(
    r"vigueur|effet|applica|appliqu|expir|prend|cess|force|effect|appl(?:y|ies)|operation|until", re.IGNORECASE
)


def _merged(all_: set[Validity]) -> Validity | None:
    """What several sentences say together; ``None`` where they disagree."""
    counted = Counter((bool(one.start), bool(one.end)) for one in all_)
    if any(count > 1 for count in counted.values()):
        return None
    merged = Validity(_only({one.start for one in all_ if one.start}), _only({one.end for one in all_ if one.end}))
    return merged if merged.known else None


def _says_repealed(section: Section) -> bool:
    """Whether the heading or the whole body says that nothing of a section is left."""
    if section.kind is SectionKind.PREAMBLE or not section.heading:
        return False
    found = recognise(section.heading, loose=True)
    rest = section.heading[len(found.label) :] if found is not None else ""
    if rest.strip() and _REPEALED.match(rest):
        return True
    if len(section.blocks) != 1 or section.kind is SectionKind.DIVISION:
        return False
    body = section.blocks[0].text.strip()
    return bool(_REPEALED.match(body)) or bool(_REPEALED_BY.match(body))
