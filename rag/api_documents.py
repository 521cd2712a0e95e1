"""Documents: what a person may see, the articles, the source file and pictures of its pages.

A document that the caller may not see answers exactly as one that does not exist.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import FileResponse, Response

from rag import etags, pages, paging, schemas, textfolders
from rag.api_service import Caller, Served, Service, unknown_corpus, visible
from rag.catalog import DocumentRow
from rag.errors import Conflict, NotFound
from rag.limits import EachAtOnce
from rag.paging import After
from rag.scope import may_read, today
from rag.types import Principal, Scope, Stored, Validity

router = APIRouter(tags=["documents"])
MOST_DOCUMENTS = 500
"""Documents of one page of a list."""
PICTURES_AT_ONCE = 4
"""Pictures that one person may be waiting for. Few are drawn at a time, and who waits for one keeps a thread that
everybody's requests need."""

pictures = pages.Pages()
drawing = EachAtOnce(PICTURES_AT_ONCE)

Snapshot = Annotated[
    int | None,
    Query(ge=1, le=schemas.LAST_SNAPSHOT, description="An earlier snapshot; default the published one."),
]
Width = Annotated[int, Query(ge=pages.WIDTHS[0], le=pages.WIDTHS[1], description="Width of the picture in pixels.")]
Page = Annotated[int, Path(ge=1, le=100_000, description="Number of the page, counting from 1.")]


@router.get(
    "/v1/documents", response_model=schemas.Documents, summary="The published documents that the caller may see"
)
def list_documents(
    service: Served,
    principal: Caller,
    request: Request,
    corpus: Annotated[str | None, Query(description="Only this corpus.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_DOCUMENTS, description="How many at most.")] = 100,
    after: After = None,
) -> Response:
    """By corpus, then by id; ``total`` counts those that the caller may see."""
    start = paging.place(after, str, str)
    seen = visible(service, principal)
    if corpus is not None and corpus not in seen:
        raise unknown_corpus(corpus)
    lineages = service.vauban.catalog.lineages()
    rows: list[tuple[DocumentRow, int]] = []
    for name in seen if corpus is None else [corpus]:
        lineage = lineages.get(name)
        if lineage:
            published = service.vauban.catalog.documents(name, lineage)
            rows += [(row, lineage[0]) for row in published if may_read(principal, row.document)]
    rows.sort(key=lambda found: _place(found[0]))
    following = [found for found in rows if start is None or _place(found[0]) > start]
    page = paging.page(following[: limit + 1], limit, lambda found: _place(found[0]))
    shown = schemas.Documents(
        data=[schemas.document(row.document, row.state, snapshot) for row, snapshot in page.items],
        total=len(rows),
        has_more=page.more,
        next=page.next,
    )
    return etags.shown(request, principal, shown)


def _place(row: DocumentRow) -> tuple[str, str]:
    """Where a document stands in the list."""
    return row.document.corpus, row.document.id


# One segment names a document in the canonical paths; the short ones take its id as it is, slashes and all.


@router.get(
    "/v1/corpora/{corpus}/documents/{document}", response_model=schemas.DocumentDetail, summary="A document, by article"
)
def read_document(
    corpus: str, document: str, service: Served, principal: Caller, request: Request, snapshot: Snapshot = None
) -> Response:
    """Its description and all its articles, whole, as they were at a snapshot."""
    row, lineage = found(service, principal, corpus, schemas.document_id(document), snapshot)
    return etags.shown(request, principal, detailed(service, principal, row, lineage))


@router.get(
    "/v1/corpora/{corpus}/documents/{document}/articles/{reference}",
    response_model=schemas.ArticleAt,
    summary="An article, by an address that survives its versions",
)
def read_article(
    corpus: str,
    document: str,
    reference: Annotated[str, Path(max_length=200, description="Its number: `4`, `l3141-3`, `annexe-2`.")],
    service: Served,
    principal: Caller,
    request: Request,
    snapshot: Snapshot = None,
    as_of: Annotated[schemas.Day | None, Query(description="The day it is to be in force; default today.")] = None,
) -> Response:
    """The version in force on a day, and which others the document has."""
    row, lineage = found(service, principal, corpus, schemas.document_id(document), snapshot)
    return etags.shown(request, principal, _article(service, principal, row, lineage, reference, as_of or today()))


@router.get(
    "/v1/corpora/{corpus}/documents/{document}/file",
    response_class=FileResponse,
    summary="The source file of a document",
)
def read_file(
    corpus: str, document: str, service: Served, principal: Caller, request: Request, snapshot: Snapshot = None
) -> Response:
    """To be saved, never shown by the browser: it may hold anything. Takes `Range`."""
    row, _ = found(service, principal, corpus, schemas.document_id(document), snapshot)
    return _file(service, principal, request, row)


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
    request: Request,
    snapshot: Snapshot = None,
    width: Width = 1_000,
) -> Response:
    """Only documents that are PDF files have pages with pictures."""
    row, _ = found(service, principal, corpus, schemas.document_id(document), snapshot)
    return _picture(service, principal, request, row, page, width)


@router.get(
    "/v1/documents/{document:path}/file", response_class=FileResponse, summary="The source file, without its corpus"
)
def read_file_short(
    document: str, service: Served, principal: Caller, request: Request, snapshot: Snapshot = None
) -> Response:
    row, _ = _found_anywhere(service, principal, document, snapshot)
    return _file(service, principal, request, row)


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
    request: Request,
    snapshot: Snapshot = None,
    width: Width = 1_000,
) -> Response:
    row, _ = _found_anywhere(service, principal, document, snapshot)
    return _picture(service, principal, request, row, page, width)


@router.get(
    "/v1/documents/{document:path}", response_model=schemas.DocumentDetail, summary="A document, without its corpus"
)
def read_document_short(
    document: str, service: Served, principal: Caller, request: Request, snapshot: Snapshot = None
) -> Response:
    """``document`` is an id that only one corpus of the caller has, or ``corpus/id``."""
    row, lineage = _found_anywhere(service, principal, document, snapshot)
    return etags.shown(request, principal, detailed(service, principal, row, lineage))


def found(
    service: Service, principal: Principal, corpus: str, document: str, snapshot: int | None
) -> tuple[DocumentRow, tuple[int, ...]]:
    """A document that the caller may see, and the lineage it is seen at.

    Raises:
        NotFound: no such corpus, snapshot or document for this caller.
    """
    if corpus not in visible(service, principal):
        raise unknown_corpus(corpus)
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
    several = []
    for name, named in places:
        try:
            several.append(found(service, principal, name, named, snapshot))
        except NotFound:
            continue
    if not several:
        raise _absent(document)
    if len(several) > 1:
        names = ", ".join(row.document.corpus for row, _ in several)
        raise Conflict(
            f"several corpora have a document `{document}`: {names}; ask for CORPUS/ID",
            f"plusieurs corpus ont un document « {document} » : {names} ; demandez CORPUS/ID",
            code="ambiguous_document",
        )
    return several[0]


def _absent(document: str) -> NotFound:
    return NotFound(
        f"there is no document `{document}` that you may see",
        f"il n'y a pas de document « {document} » que vous puissiez voir",
        code="unknown_document",
    )


def detailed(
    service: Service, principal: Principal, row: DocumentRow, lineage: tuple[int, ...]
) -> schemas.DocumentDetail:
    """A document with all its articles, as one person sees them at a lineage."""
    document = row.document
    scope = Scope(principal.groups, principal.clearance, {document.corpus: lineage})
    stored = service.vauban.store.chunks(scope, documents={(document.corpus, document.id)})
    described = schemas.document(document, row.state, lineage[0])
    return schemas.DocumentDetail(**dict(described), articles=_articles(stored))


def _article(
    service: Service,
    principal: Principal,
    row: DocumentRow,
    lineage: tuple[int, ...],
    reference: str,
    day: dt.date,
) -> schemas.ArticleAt:
    """The version of an article that is in force on ``day``.

    Raises:
        NotFound: the document has no such article that this person may see.
    """
    wanted = schemas.article_slug(reference)
    whole = detailed(service, principal, row, lineage)
    versions = [one for one in whole.articles if one.reference and schemas.article_slug(one.reference) == wanted]
    if not versions:
        raise NotFound(
            f"the document has no article `{reference}`",
            f"le document n'a pas d'article « {reference} »",
            code="unknown_article",
        )
    versions.sort(key=lambda one: (one.valid_from or dt.date.min, one.valid_to or dt.date.max))
    in_force = [one for one in versions if Validity(one.valid_from, one.valid_to).covers(day)]
    permalink = schemas.article_url(whole.corpus, whole.id, reference)
    return schemas.ArticleAt(
        corpus=whole.corpus,
        document=whole.id,
        title=whole.title,
        reference=versions[0].reference,
        as_of=day,
        snapshot=lineage[0],
        permalink=permalink,
        article=in_force[-1] if in_force else None,
        versions=[
            schemas.ArticleVersion(
                valid_from=one.valid_from,
                valid_to=one.valid_to,
                legal_status=one.legal_status,
                url=f"{permalink}?as_of={_day_in(one, day)}&snapshot={lineage[0]}",
            )
            for one in versions
        ],
    )


def _day_in(article: schemas.Article, day: dt.date) -> dt.date:
    """A day on which a version is in force: ``day`` where it is, else its first or last."""
    if Validity(article.valid_from, article.valid_to).covers(day):
        return day
    if article.valid_from is not None:
        return article.valid_from
    return day if article.valid_to is None else article.valid_to - dt.timedelta(days=1)


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


def _file(service: Service, principal: Principal, request: Request, row: DocumentRow) -> Response:
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
    etag = etags.tag(principal, "file", row.document.sha256, row.document.corpus, row.document.id, name)
    if etags.unchanged(request, etag):
        return etags.not_modified(etag)
    headers = {"ETag": etag, **etags.PRIVATE}
    return FileResponse(
        path, headers=headers, media_type=media_type, filename=name, content_disposition_type="attachment"
    )


def _picture(
    service: Service, principal: Principal, request: Request, row: DocumentRow, page: int, width: int
) -> Response:
    path = service.vauban.home.file(row.document.sha256)
    if row.document.media_type != pages.PDF or not path.is_file():
        raise NotFound(
            "this document is not a PDF, so its pages have no pictures",
            "ce document n'est pas un PDF : ses pages n'ont pas d'image",
            code="no_pages",
        )
    etag = etags.tag(principal, "page", row.document.sha256, row.document.corpus, row.document.id, page, width)
    if etags.unchanged(request, etag):
        return etags.not_modified(etag)
    with drawing.held(principal.owner):
        picture = pictures.png(path, row.document.sha256, page, width)
    return Response(
        picture,
        media_type="image/png",
        headers={"ETag": etag, "Cache-Control": "private, max-age=300", "Vary": etags.PRIVATE["Vary"]},
    )
