"""JSON lines in the layout of our own export, or the plain one of retrieval data sets: :mod:`ingest.records`."""

from __future__ import annotations

from ingest import records
from ingest.parsers import Limits
from ingest.parsers.text import decode
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Parsed


class RecordsParser:
    """What ``vauban ingest export`` wrote of one document."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.RECORDS

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        try:
            return records.read(decode(file.read()), Kind.RECORDS.value)
        except records.NewerLayout as error:
            raise DocumentError(
                RejectReason.UNSUPPORTED,
                "the export was written by a newer program",
                "l'export vient d'une version plus récente du programme",
            ) from error
        except records.WrongRecord as error:
            raise DocumentError(
                RejectReason.CORRUPT,
                f"line {error.line} is no record of the export",
                f"la ligne {error.line} n'est pas un enregistrement de l'export",
            ) from error
