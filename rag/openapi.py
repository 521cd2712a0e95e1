"""What the API says of itself: the document at ``/openapi.json``, with the parts that FastAPI cannot know.

The examples of whole responses are real ones, kept in ``data/openapi_examples.json`` by the name of their schema; a
test reads each with its model, and asks that nothing lacks one.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, Final

from fastapi import FastAPI

from rag import schemas

TAGS: Final = (
    ("chat", "Questions and their answers, in OpenAI's shape."),
    ("search", "Passages without an answer, and the encoders by themselves."),
    ("history", "Conversations and judgements: everybody's own, to be read, exported and deleted."),
    ("documents", "What may be read: corpora, documents, their articles, files and pages."),
    ("ingestion", "For maintainers: corpora, documents and runs."),
    ("audit", "For auditors: the chain of records."),
    ("probes", "For those who run the service."),
)
PARAMETERS: Final = {
    "corpus": "Name of a corpus that the caller may see; any other is not found.",
    "document": "Id of a document as `url` of a passage has it, with `%2F` or `~` in place of slashes.",
    "model": "Id of an assistant, as the list of models has it.",
    "run": "Id of a run, as its `Location` has it.",
    "title": "Title of the document, instead of the one that its text states.",
    "language": "Language of the document, `fr` or `en`, instead of the one that is recognised.",
    "norm_rank": "Rank of the document in the hierarchy of norms.",
    "valid_from": "First day on which the document is in force, YYYY-MM-DD.",
    "valid_to": "First day on which it is in force no more, YYYY-MM-DD.",
    "clearance": "Clearance that a reader of the document needs.",
    "groups": "Groups that may read the document; `*` is everyone who may see the corpus.",
    "limit": "Most items of one page.",
    "offset": "Items to leave out.",
    "status": "How the answer ended: a status of answers, `abandoned` or `failed`.",
    "kind": "What the record tells.",
}
"""What parameters mean wherever they stand; one that says it itself is left as it is."""

_SECURITY: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of the identity provider. Without login none is needed on loopback.",
    },
    "basic": {"type": "http", "scheme": "basic", "description": "An API key as the password; any name."},
}


class Application(FastAPI):
    """FastAPI, whose description of itself is whole."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema:
            return self.openapi_schema
        described = super().openapi()
        described["tags"] = [{"name": name, "description": meaning} for name, meaning in TAGS]
        described["components"]["securitySchemes"] = _SECURITY
        described["security"] = [{}, *({name: []} for name in _SECURITY)]
        for name, schema in described["components"]["schemas"].items():
            _exemplify(name, schema)
        for operations in described["paths"].values():
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    if "description" not in parameter and parameter["name"] in PARAMETERS:
                        parameter["description"] = PARAMETERS[parameter["name"]]
        return described


@cache
def examples() -> dict[str, Any]:
    """The examples of responses, by the name of their schema."""
    found: dict[str, Any] = json.loads(
        (resources.files("rag") / "data" / "openapi_examples.json").read_text(encoding="utf-8")
    )
    return found


def _exemplify(name: str, schema: dict[str, Any]) -> None:
    """Give a schema its example. Those of a model keep their nulls, which are required members and FastAPI drops."""
    if name in examples():
        schema["examples"] = [examples()[name]]
        return
    model = getattr(schemas, name, None)
    if model is not None and "examples" in schema:
        schema["examples"] = model.model_config["json_schema_extra"]["examples"]
