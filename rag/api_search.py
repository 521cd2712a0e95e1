"""Search without an answer, and the encoders by themselves: hits, vectors, and texts ordered by a question."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from fastapi import APIRouter, Depends

from rag import schemas
from rag.api_service import Caller, Served, corpora_of, visible
from rag.errors import BadRequest
from rag.problems import Refusal
from rag.scope import today
from rag.types import Chunk, Hit, Matrix, Moment, Question


def limited(service: Served, principal: Caller) -> Iterator[None]:
    """One person has only so many searches under way."""
    with service.searching.held(principal.owner):
        yield


router = APIRouter(tags=["search"], dependencies=[Depends(limited)])


@router.post("/v1/search", response_model=schemas.SearchResponse, summary="The best passages, no answer")
def search(body: schemas.SearchRequest, service: Served, principal: Caller) -> schemas.SearchResponse:
    """What an answer would be made from, best first."""
    corpora = tuple(dict.fromkeys(body.corpora)) if body.corpora else None
    question = Question(text=body.question, principal=principal, corpora=corpora, as_of=body.as_of)
    engine = service.vauban.engine
    # What is published meanwhile is not mixed in: the hits are of the snapshots that they are said to be of.
    scope = engine.scope(question)
    hits = engine.search(replace(question, moment=Moment(scope.snapshots, today())), body.limit)
    return schemas.SearchResponse(
        hits=schemas.hits(hits, scope.snapshots), as_of=scope.as_of, snapshots=scope.snapshots
    )


@router.post("/v1/embeddings", response_model=schemas.Embeddings, summary="The vectors of texts")
def embed(body: schemas.EmbeddingsRequest, service: Served, principal: Caller) -> schemas.Embeddings:
    """By the embedder that searches. `input_type` is `passage`, or `query` for a question."""
    embedder = service.vauban.embedder
    if body.model not in {service.vauban.settings.embedder, embedder.fingerprint}:
        corpora_of(body.model, visible(service, principal), principal)
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts or len(texts) > schemas.MOST_TEXTS or not all(texts):
        raise Refusal(
            f"`input` takes 1 to {schemas.MOST_TEXTS} texts, none of them empty",
            f"« input » prend 1 à {schemas.MOST_TEXTS} textes, aucun vide",
            code="invalid_request",
            field="input",
        )
    if body.dimensions not in {None, embedder.dimension}:
        raise Refusal(
            f"this embedder has {embedder.dimension} dimensions and no others",
            f"ce modèle de plongement a {embedder.dimension} dimensions, et pas d'autres",
            code="unsupported_parameter",
            field="dimensions",
        )
    if body.input_type == "query":
        vectors: Matrix = np.stack([embedder.embed_query(text) for text in texts])
    else:
        vectors = embedder.embed_passages(texts)
    in_base64 = body.encoding_format == "base64"
    return schemas.Embeddings(
        model=embedder.fingerprint,
        data=[
            schemas.Embedding(
                index=index,
                embedding=base64.b64encode(vector.astype("<f4").tobytes()).decode() if in_base64 else vector.tolist(),
            )
            for index, vector in enumerate(vectors)
        ],
    )


@router.post("/v1/rerank", response_model=schemas.RerankResponse, summary="Texts ordered by a question")
def rerank(body: schemas.RerankRequest, service: Served) -> schemas.RerankResponse:
    """By the cross-encoder of the search; 501 where none is configured."""
    reranker = service.vauban.reranker
    if reranker is None:
        raise Refusal(
            "no reranker is configured on this server",
            "aucun modèle de reclassement n'est configuré sur ce serveur",
            code="no_reranker",
            status=501,
        )
    if not body.query.strip():
        raise BadRequest("the query is empty", "la requête est vide", code="empty_question")
    hits = [Hit(_text_as_chunk(index, text), 0.0) for index, text in enumerate(body.documents)]
    ordered = reranker.rerank(body.query, hits)[: body.top_n]
    return schemas.RerankResponse(
        model=reranker.fingerprint,
        results=[
            schemas.Reranked(
                index=hit.chunk.ordinal,
                relevance_score=hit.score,
                document=schemas.RerankedText(text=hit.chunk.text) if body.return_documents else None,
            )
            for hit in ordered
        ],
    )


def _text_as_chunk(index: int, text: str) -> Chunk:
    """A text that belongs to no document, for the reranker, which orders chunks."""
    return Chunk(
        id=f"{index:06}",
        corpus="",
        document="",
        title="",
        reference="",
        path=(),
        text=text,
        ordinal=index,
        language="",
        start=0,
        end=len(text),
    )
