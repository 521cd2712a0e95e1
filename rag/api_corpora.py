"""Corpora: which ones a person may search, and the declaration of those that uploads feed.

Who may see a corpus acts at once. A corpus that is synced from a folder is declared there, in its ``corpus.toml``.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from rag import etags, schemas
from rag.api_idempotency import Repeatable
from rag.api_service import Administrator, Caller, Served, Service, check_maintains, inbox_of, unknown_corpus, visible
from rag.errors import NotFound
from rag.scope import may_read
from rag.types import Access, Corpus, Principal, Role

router = APIRouter(tags=["documents"], route_class=Repeatable)


@router.get("/v1/corpora", response_model=schemas.Corpora, summary="The corpora that the caller may search")
def list_corpora(service: Served, principal: Caller, request: Request) -> Response:
    """Each with its human contact and its published snapshot."""
    lineages = service.vauban.catalog.lineages()
    found = schemas.Corpora(
        data=[_corpus(one, lineages.get(one.name, ())) for one in visible(service, principal).values()]
    )
    return etags.shown(request, principal, found)


@router.post(
    "/v1/corpora",
    status_code=201,
    response_model=schemas.CorpusDetail,
    summary="Declare a corpus that is fed document by document",
)
def create_corpus(
    body: schemas.CorpusRequest, service: Served, principal: Administrator, response: Response
) -> schemas.CorpusDetail:
    """By an administrator. 409 `corpus_exists` when there is one of that name, whoever sees it."""
    check_maintains(principal, body.name)  # a credential may be limited to other corpora
    corpus = Corpus(
        name=body.name,
        title=body.title.strip() or body.name,
        language=body.language,
        groups=frozenset(body.groups),
        clearance=body.clearance,
        contact=body.contact,
        norm_rank=body.norm_rank,
        retention_days=body.retention,
    )
    inbox_of(service).declare(corpus, new=True)
    response.headers["Location"] = f"/v1/corpora/{urllib.parse.quote(corpus.name, safe='')}"
    return _detailed(service, principal, service.vauban.catalog.corpus(corpus.name))


@router.get("/v1/corpora/{corpus}", response_model=schemas.CorpusDetail, summary="One corpus")
def read_corpus(corpus: str, service: Served, principal: Caller, request: Request) -> Response:
    """With the number of the documents that the caller may read."""
    found = visible(service, principal).get(corpus)
    if found is None:
        raise unknown_corpus(corpus)
    return etags.shown(request, principal, _detailed(service, principal, found))


@router.patch(
    "/v1/corpora/{corpus}", response_model=schemas.CorpusDetail, summary="Change what is said of a corpus, at once"
)
def change_corpus(
    corpus: str, body: schemas.CorpusChange, service: Served, principal: Administrator, request: Request
) -> Response:
    """By an administrator, who need not be among its readers. 409 `fed_from_folder` where a folder declares it."""
    found = _administered(service, principal, corpus)
    etags.check_match(request, etags.of(principal, request.url.path, _detailed(service, principal, found)))
    given = body.model_dump(exclude_none=True)
    changes: dict[str, Any] = {name: given[name] for name in ("title", "clearance", "contact") if name in given}
    if "groups" in given:
        changes["groups"] = frozenset(given["groups"])
    if "retention" in given:
        changes["retention_days"] = given["retention"]
    inbox_of(service).declare(replace(found, **changes), new=False)
    return etags.answered(request, principal, _detailed(service, principal, service.vauban.catalog.corpus(corpus)))


def _administered(service: Service, principal: Principal, corpus: str) -> Corpus:
    """A corpus that an administrator may change.

    Raises:
        NotFound: there is none, or the credential is limited to others.
    """
    if principal.corpora is not None and corpus not in principal.corpora:
        raise unknown_corpus(corpus)
    try:
        return service.vauban.catalog.corpus(corpus)
    except NotFound as error:
        raise unknown_corpus(corpus) from error


def _corpus(corpus: Corpus, lineage: tuple[int, ...]) -> schemas.Corpus:
    return schemas.Corpus(
        name=corpus.name,
        title=corpus.title,
        language=corpus.language,
        contact=corpus.contact,
        norm_rank=corpus.norm_rank,
        snapshot=next(iter(lineage), None),
    )


def _detailed(service: Service, principal: Principal, corpus: Corpus) -> schemas.CorpusDetail:
    catalog = service.vauban.catalog
    lineage = catalog.published(corpus.name)
    rows = catalog.documents(corpus.name, lineage) if lineage else []
    told = principal.access is Access.SERVER or Role.ADMINISTRATOR in principal.roles
    told = told or principal.may_maintain(corpus.name)
    fed = service.inbox is not None and service.inbox.fed_by_uploads(corpus.name)
    return schemas.CorpusDetail(
        **dict(_corpus(corpus, lineage)),
        documents=sum(may_read(principal, row.document) for row in rows),
        fed="uploads" if fed else "folder",
        held=catalog.held(corpus.name),
        groups=sorted(corpus.groups) if told else None,
        clearance=corpus.clearance if told else None,
        retention=corpus.retention_days if told else None,
    )
