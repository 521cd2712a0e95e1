"""Vauban inside a LangChain program: the search as a retriever, the answer as a runnable.

An outlet only: nothing of LangChain enters the core. Both keep the scope of the person they were made for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import ConfigDict
from typing_extensions import override

from rag.engine import Engine
from rag.types import Answer, Hit, Principal, Question


class VaubanRetriever(BaseRetriever):
    """Scoped, hybrid search: gives at most ``limit`` documents, best first, with what is needed to cite them.

    ``metadata`` of each document: ``id, score, corpus, document, title, reference, path, page``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Engine
    principal: Principal
    corpora: tuple[str, ...] | None = None
    as_of: dt.date | None = None
    limit: int = 10

    @override
    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        question = Question(query, self.principal, corpora=self.corpora, as_of=self.as_of)
        return [_document(hit) for hit in self.engine.search(question, self.limit)]


def answerer(engine: Engine, principal: Principal, corpora: tuple[str, ...] | None = None) -> Runnable[str, Answer]:
    """A runnable from a question to a finished, verified :class:`~rag.types.Answer`."""
    return RunnableLambda(_answering(engine, principal, corpora))


def _answering(engine: Engine, principal: Principal, corpora: tuple[str, ...] | None) -> Callable[[str], Answer]:
    def answer(question: str) -> Answer:
        return engine.finish(Question(question, principal, corpora=corpora))

    return answer


def _document(hit: Hit) -> Document:
    chunk = hit.chunk
    metadata: dict[str, Any] = {
        "id": chunk.id,
        "score": hit.score,
        "corpus": chunk.corpus,
        "document": chunk.document,
        "title": chunk.title,
        "reference": chunk.reference,
        "path": list(chunk.path),
        "page": chunk.page,
    }
    return Document(page_content=chunk.text, metadata=metadata, id=chunk.id)
