"""Which corpora are fed by uploads, and the folder that each of them has in the home."""

from __future__ import annotations

from pathlib import Path

from ingest import manifest
from rag.errors import Conflict
from rag.home import Home


def folder_of(home: Home, corpus: str) -> Path:
    """The managed folder of a corpus, which exists when uploads feed it."""
    return home.uploads / manifest.checked_name(corpus)


def is_fed(home: Home, corpus: str) -> bool:
    """Whether uploads feed a corpus."""
    return (folder_of(home, corpus) / manifest.CORPUS_FILE).is_file()


def check_fed(home: Home, corpus: str) -> Path:
    """The managed folder of a corpus.

    Raises:
        Conflict: it is synced from a folder of somebody's.
    """
    if not is_fed(home, corpus):
        raise Conflict(
            f"`{corpus}` is synced from a folder on the server's side; change it there",
            f"« {corpus} » est synchronisé depuis un dossier du serveur ; modifiez-le là-bas",
            code="fed_from_folder",
        )
    return folder_of(home, corpus)


def check_not_fed(home: Home, corpus: str, folder: Path | None = None) -> None:
    """Refuse to publish from elsewhere than ``folder`` what uploads feed: the next upload would undo it.

    Raises:
        Conflict: uploads feed the corpus, and ``folder`` is not its managed one.
    """
    if is_fed(home, corpus) and (folder is None or folder.resolve() != folder_of(home, corpus).resolve()):
        raise Conflict(
            f"`{corpus}` is fed by uploads; send documents to /v1/corpora/{corpus}/documents, or choose another name",
            f"« {corpus} » est alimenté par envois ; envoyez les documents à /v1/corpora/{corpus}/documents, "
            "ou choisissez un autre nom",
            code="fed_by_uploads",
        )
