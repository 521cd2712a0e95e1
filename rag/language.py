"""Which of the two languages of the interface a short text is in; pure."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W\d_]+")
_FRENCH = frozenset(
    """
    le la les un une des du de et est sont quel quelle quels quelles combien comment pourquoi quand qui que quoi où
    dans pour par sur avec sans mon ma mes ton votre vos notre nos je tu il elle nous vous ils elles puis peut doit
    faut ai as ont être avoir jours congé au aux ce cette ces en ne pas plus dois peux suis
    """.split()
)
_ENGLISH = frozenset(
    """
    the a an of and is are what which who whom whose when where why how many much do does did can could may must
    should shall would will in on for with without my your our their his her its i you he she we they it this that
    these those to from by at not be have has had am if there
    """.split()
)
_ACCENTS = re.compile(r"[àâçéèêëîïôùûüœæ]", re.IGNORECASE)


def detect(text: str, default: str = "fr") -> str:
    """``fr`` or ``en`` by function words and accents; ``default`` when the text does not tell."""
    words = [word.lower() for word in _WORD.findall(text)]
    french = (
        sum(word in _FRENCH for word in words)
        + 2 * bool(_ACCENTS.search(text))
        + len(re.findall(r"\b[ldjnqs]['’]", text))
    )
    english = sum(word in _ENGLISH for word in words)
    if french == english:
        return default
    return "fr" if french > english else "en"
