"""Corpora and documents: what a person may see, the articles, the source file and pictures of its pages.

A document that the caller may not see answers exactly as one that does not exist.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import FileResponse, Response

from rag import pages, schemas, textfolders
from rag.api_service import Caller, Served, Service, visible
from rag.catalog import DocumentRow
from rag.errors import Conflict, NotFound
from rag.scope import may_read
from rag.types import Principal, Scope, Stored

router = APIRouter(tags=["documents"])
pictures = pages.Pages()

MOST_DOCUMENTS = 500
"""Documents of one page of a list."""

Snapshot = Annotated[
    int | None,
    Query(ge=1, le=schemas.LAST_SNAPSHOT, description="An earlier snapshot; default the published one."),
]
Width = Annotated[int, Query(ge=pages.WIDTHS[0], le=pages.WIDTHS[1], description="Width of the picture in pixels.")]
Page = Annotated[int, Path(ge=1, le=100_000, description="Number of the page, counting from 1.")]


@router.get("/v1/corpora", response_model=schemas.Corpora, summary="The corpora that the caller may search")
def list_corpora(service: Served, principal: Caller) -> schemas.Corpora:
    """Each with its human contact and its published snapshot."""
    lineages = service.vauban.catalog.lineages()
    return schemas.Corpora(
        data=[
            schemas.Corpus(
                name=corpus.name,
                title=corpus.title,
                language=corpus.language,
                contact=corpus.contact,
                norm_rank=corpus.norm_rank,
                snapshot=next(iter(lineages.get(corpus.name, ())), None),
            )
            for corpus in visible(service, principal).values()
        ]
    )


@router.get(
    "/v1/documents", response_model=schemas.Documents, summary="The published documents that the caller may see"
)
def list_documents(
    service: Served,
    principal: Caller,
    corpus: Annotated[str | None, Query(description="Only this corpus.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_DOCUMENTS)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> schemas.Documents:
    """By corpus, then by id."""
    seen = visible(service, principal)
    if corpus is not None and corpus not in seen:
        raise _unknown(corpus)
    lineages = service.vauban.catalog.lineages()
    found: list[tuple[DocumentRow, int]] = []
    for name in seen if corpus is None else [corpus]:
        lineage = lineages.get(name)
        if lineage:
            rows = service.vauban.catalog.documents(name, lineage)
            found += [(row, lineage[0]) for row in rows if may_read(principal, row.document)]
    end = offset + limit
    return schemas.Documents(
        data=[schemas.document(row.document, row.state, snapshot) for row, snapshot in found[offset:end]],
        total=len(found),
        next=end if end < len(found) else None,
    )


# One segment names a document in the canonical paths; the short ones take its id as it is, slashes and all.


@router.get(
    "/v1/corpora/{corpus}/documents/{document}", response_model=schemas.DocumentDetail, summary="A document, by article"
)
def read_document(
    corpus: str, document: str, service: Served, principal: Caller, snapshot: Snapshot = None
) -> schemas.DocumentDetail:
    """Its description and all its articles, whole, as they were at a snapshot."""
    row, lineage = _found(service, principal, corpus, schemas.document_id(document), snapshot)
    return _detailed(service, principal, row, lineage)


@router.get(
    "/v1/corpora/{corpus}/documents/{document}/file",
    response_class=FileResponse,
    summary="The source file of a document",
)
def read_file(
    corpus: str, document: str, service: Served, principal: Caller, snapshot: Snapshot = None
) -> FileResponse:
    """To be saved, never shown by the browser: it may hold anything."""
    row, _ = _found(service, principal, corpus, schemas.document_id(document), snapshot)
    return _file(service, row)


@router.get(
    "/v1/corpora/{corpus}/documents/{document}/pages/{page}.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
    summary="The picture of one page of a PDF",
)
def read_page(
    corpus: str,
    document: str,
    page: Page,
    service: Served,
    principal: Caller,
    snapshot: Snapshot = None,
    width: Width = 1_000,
) -> Response:
    """Only documents that are PDF files have pages with pictures."""
    row, _ = _found(service, principal, corpus, schemas.document_id(document), snapshot)
    return _picture(service, row, page, width)


@router.get(
    "/v1/documents/{document:path}/file", response_class=FileResponse, summary="The source file, without its corpus"
)
def read_file_short(document: str, service: Served, principal: Caller, snapshot: Snapshot = None) -> FileResponse:
    row, _ = _found_anywhere(service, principal, document, snapshot)
    return _file(service, row)


@router.get(
    "/v1/documents/{document:path}/pages/{page}.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
    summary="The picture of a page, without its corpus",
)
def read_page_short(
    document: str,
    page: Page,
    service: Served,
    principal: Caller,
    snapshot: Snapshot = None,
    width: Width = 1_000,
) -> Response:
    row, _ = _found_anywhere(service, principal, document, snapshot)
    return _picture(service, row, page, width)


@router.get(
    "/v1/documents/{document:path}", response_model=schemas.DocumentDetail, summary="A document, without its corpus"
)
def read_document_short(
    document: str, service: Served, principal: Caller, snapshot: Snapshot = None
) -> schemas.DocumentDetail:
    """``document`` is an id that only one corpus of the caller has, or ``corpus/id``."""
    row, lineage = _found_anywhere(service, principal, document, snapshot)
    return _detailed(service, principal, row, lineage)


def _found(
    service: Service, principal: Principal, corpus: str, document: str, snapshot: int | None
) -> tuple[DocumentRow, tuple[int, ...]]:
    """A document that the caller may see, and the lineage it is seen at.

    Raises:
        NotFound: no such corpus, snapshot or document for this caller.
    """
    if corpus not in visible(service, principal):
        raise _unknown(corpus)
    catalog = service.vauban.catalog
    lineage = catalog.lineages().get(corpus, ()) if snapshot is None else catalog.lineage(corpus, snapshot)
    row = catalog.document(corpus, document, lineage) if lineage else None
    if row is None or not may_read(principal, row.document):
        raise _absent(document)
    return row, lineage


def _found_anywhere(
    service: Service, principal: Principal, document: str, snapshot: int | None
) -> tuple[DocumentRow, tuple[int, ...]]:
    """The same for ``corpus/id``, or for an id alone, looked for in every corpus that the caller may see.

    Raises:
        Conflict: several corpora have a document with that id.
    """
    document = schemas.document_id(document)
    seen = visible(service, principal)
    corpus, _, rest = document.partition("/")
    places = [(corpus, rest)] if corpus in seen and rest else []
    places += [(name, document) for name in seen]
    found = []
    for name, named in places:
        try:
            found.append(_found(service, principal, name, named, snapshot))
        except NotFound:
            continue
    if not found:
        raise _absent(document)
    if len(found) > 1:
        names = ", ".join(row.document.corpus for row, _ in found)
        raise Conflict(
            f"several corpora have a document `{document}`: {names}; ask for CORPUS/ID",
            f"plusieurs corpus ont un document « {document} » : {names} ; demandez CORPUS/ID",
            code="ambiguous_document",
        )
    return found[0]


def _unknown(corpus: str) -> NotFound:
    return NotFound(
        f"there is no corpus `{corpus}` that you may see",
        f"il n'y a pas de corpus « {corpus} » que vous puissiez voir",
        code="unknown_corpus",
    )


def _absent(document: str) -> NotFound:
    return NotFound(
        f"there is no document `{document}` that you may see",
        f"il n'y a pas de document « {document} » que vous puissiez voir",
        code="unknown_document",
    )


def _detailed(
    service: Service, principal: Principal, row: DocumentRow, lineage: tuple[int, ...]
) -> schemas.DocumentDetail:
    document = row.document
    scope = Scope(principal.groups, principal.clearance, {document.corpus: lineage})
    stored = service.vauban.store.chunks(scope, documents={(document.corpus, document.id)})
    described = schemas.document(document, row.state, lineage[0])
    return schemas.DocumentDetail(**dict(described), articles=_articles(stored))


def _articles(stored: Sequence[Stored]) -> list[schemas.Article]:
    """Chunks in order, gathered under the section that they are parts of."""
    articles = []
    for _, group in groupby(stored, key=lambda one: (one.chunk.path, one.chunk.reference, one.chunk.validity)):
        chunks = [one.chunk for one in group]
        articles.append(
            schemas.Article(
                reference=chunks[0].reference,
                path=list(chunks[0].path),
                valid_from=chunks[0].validity.start,
                valid_to=chunks[0].validity.end,
                legal_status=chunks[0].legal_status,
                parts=[
                    schemas.Part(
                        id=chunk.id,
                        text=chunk.text,
                        start=chunk.start,
                        end=chunk.end,
                        page=chunk.page,
                        page_end=chunk.page_end,
                    )
                    for chunk in chunks
                ],
            )
        )
    return articles


def _file(service: Service, row: DocumentRow) -> FileResponse:
    path = service.vauban.home.file(row.document.sha256)
    if not path.is_file():
        raise NotFound(
            "the source file of this document is no longer kept",
            "le fichier d'origine de ce document n'est plus conservé",
            code="file_not_kept",
        )
    name = PurePosixPath(row.document.source).name
    # Direction marks and control characters in a name disguise its extension.
    name = "".join(char for char in name if unicodedata.category(char)[0] != "C") or "document"
    media_type = row.document.media_type
    if media_type == textfolders.MEDIA_TYPE:  # a folder is one ZIP here
        name, media_type = f"{name}.zip", "application/zip"
    if not re.fullmatch(r"[\w.+-]+/[\w.+-]+", media_type):
        media_type = "application/octet-stream"
    return FileResponse(path, media_type=media_type, filename=name, content_disposition_type="attachment")


def _picture(service: Service, row: DocumentRow, page: int, width: int) -> Response:
    path = service.vauban.home.file(row.document.sha256)
    if row.document.media_type != pages.PDF or not path.is_file():
        raise NotFound(
            "this document is not a PDF, so its pages have no pictures",
            "ce document n'est pas un PDF : ses pages n'ont pas d'image",
            code="no_pages",
        )
    return Response(
        pictures.png(path, row.document.sha256, page, width),
        media_type="image/png",
        headers={"Cache-Control": "private, max-age=300"},
    )
