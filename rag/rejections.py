"""What is said to the person whose file was not taken in, by its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rag.errors import RejectReason
from rag.problems import Refusal

SENTENCES: Final[Mapping[RejectReason, tuple[str, str]]] = {
    RejectReason.UNSUPPORTED: (
        "this kind of file is not read; send one document as PDF, office file, text, mail or picture",
        "ce type de fichier n'est pas lu ; envoyez un seul document : PDF, bureautique, texte, courriel ou image",
    ),
    RejectReason.EMPTY: ("the file is empty", "le fichier est vide"),
    RejectReason.PASSWORD: (
        "the file is protected by a password; send it without",
        "le fichier est protégé par un mot de passe ; envoyez-le sans protection",
    ),
    RejectReason.CORRUPT: (
        "the file is damaged; open it, save it again, and send that",
        "le fichier est abîmé ; ouvrez-le, enregistrez-le de nouveau et renvoyez-le",
    ),
    RejectReason.NO_TEXT: (
        "no text can be read in the file; send a better scan, or the original",
        "aucun texte n'est lisible dans le fichier ; envoyez une meilleure numérisation, ou l'original",
    ),
    RejectReason.TOO_LARGE: (
        "the file, or what it unpacks to, is too large",
        "le fichier, ou son contenu, est trop gros",
    ),
    RejectReason.TOO_LONG: ("the file has too many pages; divide it", "le fichier a trop de pages ; divisez-le"),
    RejectReason.TOO_DEEP: (
        "too many files stand inside each other in it",
        "trop de fichiers y sont imbriqués les uns dans les autres",
    ),
    RejectReason.TIMEOUT: (
        "reading the file takes too long; make it simpler or divide it",
        "la lecture du fichier prend trop de temps ; simplifiez-le ou divisez-le",
    ),
    RejectReason.MEMORY: (
        "reading the file takes too much memory; make it simpler or divide it",
        "la lecture du fichier prend trop de mémoire ; simplifiez-le ou divisez-le",
    ),
    RejectReason.CRASHED: (
        "the file made its reader crash; save it again in another format",
        "le fichier a fait tomber son lecteur ; enregistrez-le dans un autre format",
    ),
    RejectReason.UNREADABLE: ("the file could not be read", "le fichier n'a pas pu être lu"),
    RejectReason.OUTSIDE: ("the file leads elsewhere", "le fichier mène ailleurs"),
    RejectReason.BAD_METADATA: (
        "what is said of the document, beside it or in it, is wrong",
        "la description du document, à côté ou à l'intérieur, est incorrecte",
    ),
    RejectReason.DUPLICATE_ID: (
        "another document has this id; send another `id`",
        "un autre document a cet identifiant ; donnez un autre « id »",
    ),
}


def refusal(reason: RejectReason, en: str = "", fr: str = "") -> Refusal:
    """422 with the reason as its code; ``en`` and ``fr`` say more than the reason where they are known."""
    english, french = SENTENCES[reason]
    said = (f"{english}: {en}", f"{french} : {fr}") if en and fr else (english, french)
    return Refusal(*said, code=reason.value, status=422)
