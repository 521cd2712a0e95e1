"""Words that are written so that people and filters do not read them: what they say once the disguise is off. Pure.

Look-alike letters of other alphabets, figures for letters, letters apart, invisible marks, codes (base64, hexadecimal,
ROT13, escapes) and text written backwards. Some disguises have no place in a regulation and tell by themselves.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

_INVISIBLE: Final = re.compile("[\u200b\u2060-\u2064\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
_SPLITTING: Final = re.compile("[\u00ad\u034f\u200c\u200d\ufe00-\ufe0f\ufeff]")
_USUAL: Final = re.compile("[\u00a0\u202f\u2009…°º²³ª½¼¾™ﬁﬂﬀ\u2190-\u21ff\u25a0-\u25ff\u2713-\u2718]")
"""Signs of ordinary typesetting that another form of Unicode writes in other letters."""
_PICTURES: Final = "[\u2190-\u2bff\U0001f000-\U0001faff]"
_PICTURED: Final = re.compile(rf"[a-zà-ÿ]{_PICTURES}\ufe0f?[a-zà-ÿ].*[a-zà-ÿ]{_PICTURES}\ufe0f?[a-zà-ÿ]")
_PICTURE: Final = re.compile(_PICTURES)
_ESCAPES: Final = re.compile(
    r"(?:\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|&#x?[0-9a-f]{2,5};){3}|(?:%[2-7][0-9a-f]){4}", re.IGNORECASE
)
_ESCAPED: Final = re.compile(r"\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|%([2-7][0-9a-f])", re.IGNORECASE)
_ALIKE: Final = str.maketrans(
    "аеорсухіјѕԁһԛԝнктмвАВЕКМНОРСТХУІЈЅοανιρτυκχεΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijsdhqwhktmbABEKMHOPCTXYIJSoavipTukxeABEZHIKMNOPTYX".replace("T", "t", 1),
)
_MIXED: Final = re.compile(
    r"[A-Za-zÀ-ÿ][\u0400-\u052f]|[\u0400-\u052f][A-Za-zÀ-ÿ]|[A-Za-zÀ-ÿ]{2}[ονιρτυκχε][A-Za-zÀ-ÿ]"
)
_STYLED: Final = re.compile("[\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff\u24b6-\u24e9\U0001f130-\U0001f189]")
_APART: Final = re.compile(r"(?<![a-z\d'’])[a-z](?:(?: |[._*·/-]| [._*·/-] )[a-z]){4,}(?![a-z\d'’])")
_FEW_APART: Final = re.compile(
    r"[^a-z][a-z][ ._*·/-]{1,3}[a-z][ ._*·/-]{1,3}[a-z][ ._*·/-]|^[a-z][ ._*·/-][a-z][ ._*·/-]"
)
_FIGURES: Final = str.maketrans("0134578@$!", "oieastbasi")
_FIGURE: Final = re.compile(r"[a-z][013457@$]|[013457@$][a-z]")
_FIGURED: Final = re.compile(r"(?<![\w-])(?=[\w@$]*[a-z])(?=[\w@$]*[013457@$])[\w@$]{3,}")
_INSIDE: Final = re.compile(r"(?<![\w-])(?=[a-z\d]{5,}\b)(?:[a-z]+(?:[013457][a-z]+)+|[01][a-z]+\d[a-z]+)\b")
"""Words with a figure between their letters."""
_LONG: Final = re.compile(r"[A-Za-z0-9+/]{16}|(?:[0-9a-fA-F]{2} ){8}")
_BASE64: Final = re.compile(r"(?<![\w+/=])[A-Za-z0-9+/]{16,}={0,2}(?![\w+/])")
_HEX: Final = re.compile(r"(?<![0-9a-zA-Z])(?:[0-9a-fA-F]{2} ?){10,}(?![0-9a-zA-Z])")
_BLOB: Final = re.compile(r"(?<![\w+/=])(?=[A-Za-z0-9+/]*[a-z])(?=[A-Za-z0-9+/]*[A-Z])(?=[A-Za-z0-9+/]*\d)"
                          r"[A-Za-z0-9+/]{40,}={0,2}")  # fmt: skip
_COMMON: Final = frozenset(
    "le la les de des du un une et est que qui pour dans par sur au aux the of and to is are for that all in a il ne "
    "en on se ce sa son leur ou with by not be".split()
)
_TURNED: Final = frozenset(
    "yr yrf ar qr qrf rfg dhr cbhe har qnaf gur naq sbe gung fne fhe ercbaqf vtaber wbhef gbhg zbaqr pbatr "
    "cynsbaq".split()
)
_BACKWARDS: Final = frozenset("ed tse euq ruop snad sed enu eht dna fo siort siuq selur erongi sdnoper".split())
_LETTERS: Final = re.compile(r"[a-zà-ÿ]+")


def unmasked(sentence: str) -> tuple[bool, tuple[str, ...]]:
    """Whether ``sentence`` is written as only what hides is, and what else it may say: readings that differ from it."""
    plain, hidden, readings = sentence, False, []
    if not sentence.isascii():
        usual = unicodedata.normalize("NFC", _USUAL.sub(" ", sentence))
        plain = _PICTURE.sub("", _SPLITTING.sub("", unicodedata.normalize("NFKC", usual))).translate(_ALIKE)
        hidden = bool(
            _INVISIBLE.search(sentence)
            or _MIXED.search(sentence)
            or len(_STYLED.findall(sentence)) > 2
            or _PICTURED.search(sentence.lower())
        )
        if usual != plain:
            readings.append(plain)
    if "\\" in plain or "%" in plain or "&#" in plain:
        hidden = hidden or _ESCAPES.search(plain) is not None
        readings.append(
            _ESCAPED.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), html.unescape(plain))
        )
    lowered = plain.lower()
    if _FEW_APART.search(lowered):
        together = [_together(found) for found in _APART.findall(lowered)]
        if together:
            readings.append(_APART.sub(lambda found: _together(found[0]), lowered))
        hidden = hidden or any("".join(sorted(found)) != found for found in map(_together, _APART.findall(plain)))
    if _FIGURE.search(lowered):
        readings.append(_FIGURED.sub(lambda found: found[0].translate(_FIGURES), lowered))
        hidden = hidden or len(_INSIDE.findall(lowered)) > 2
    if _LONG.search(plain):
        decoded = tuple(_decoded(plain))
        hidden = hidden or bool(decoded) or _BLOB.search(plain) is not None
        readings += decoded
    words = set(_LETTERS.findall(lowered))
    for turned, back in ((words & _TURNED, False), (words & _BACKWARDS, True)):
        if len(turned) > 1:
            hidden = hidden or (len(words) > 3 and not words & _COMMON)
            readings.append(plain[::-1] if back else codecs.decode(plain, "rot13"))
    return hidden, tuple(readings)


def _together(letters: str) -> str:
    return re.sub(r"[^a-z]", "", letters)


def _decoded(sentence: str) -> Iterator[str]:
    """The text of codes in the sentence that are text."""
    if len(sentence) < 16:
        return
    for found in _BASE64.findall(sentence):
        try:
            raw = base64.b64decode(found.rstrip("=") + "=" * (-len(found.rstrip("=")) % 4))
        except (binascii.Error, ValueError):
            continue
        if (text := _text(raw)) is not None:
            yield text
    for found in _HEX.findall(sentence):
        digits = found.replace(" ", "")
        if (text := _text(bytes.fromhex(digits[: len(digits) // 2 * 2]))) is not None and re.search("[a-z]{3}", text):
            yield text


def _text(raw: bytes) -> str | None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and " " in text else None
