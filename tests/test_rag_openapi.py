"""The description at ``/openapi.json`` is whole, and what it shows is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from rag import audit_schemas, schemas
from rag.api import create_app
from rag.openapi import TAGS, examples
from tests.rag_server import parts

UNSHOWN = {"application/octet-stream", "multipart/form-data", "image/png", "text/plain", "application/x-ndjson"}
"""Media types whose example is no JSON."""


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    vauban = parts(tmp_path_factory.mktemp("openapi"))
    yield create_app(vauban).openapi()
    vauban.database.close()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def model(name: str) -> type[BaseModel]:
    found = getattr(schemas, name, None) or getattr(audit_schemas, name)
    assert issubclass(found, BaseModel)
    return found


def test_every_operation_says_what_it_does(described: dict[str, Any]) -> None:
    """A name of its own, a summary, one of the known tags, and problems as problem documents."""
    known = {name for name, _ in TAGS}
    found = dict(operations(described))
    assert len({operation["operationId"] for operation in found.values()}) == len(found)
    for where, operation in found.items():
        assert operation.get("summary"), where
        assert set(operation.get("tags", ())) <= known and operation.get("tags"), where  # noqa: PT018 one fact
        assert "422" not in operation["responses"] or "application/problem+json" in str(operation["responses"]["422"])
        assert "4XX" in operation["responses"], where


def test_every_parameter_says_what_it_means(described: dict[str, Any]) -> None:
    unsaid = [
        f"{where}: {parameter['name']}"
        for where, operation in operations(described)
        for parameter in operation.get("parameters", ())
        if not parameter.get("description")
    ]
    assert unsaid == []


def test_a_form_of_a_document_says_as_much_of_its_fields_as_the_query(described: dict[str, Any]) -> None:
    """Each by the same name and with the same bounds: what the one may say the other may, but for null."""
    sending = described["paths"]["/v1/corpora/{corpus}/documents"]["post"]
    form = sending["requestBody"]["content"]["multipart/form-data"]["schema"]
    query = {one["name"]: one["schema"] for one in sending["parameters"] if one["in"] == "query"}
    assert set(form["properties"]) == {"file", *query}
    for name, schema in query.items():
        kind = schema.get("anyOf", [schema])[0]
        assert {key: form["properties"][name][key] for key in kind if key in form["properties"][name]} == {
            key: value for key, value in kind.items() if key != "default"
        }, name


def test_every_body_is_shown_by_an_example(described: dict[str, Any]) -> None:
    """Of each JSON request and response, on the way in and out."""
    shown = described["components"]["schemas"]
    lacking = []
    for where, operation in operations(described):
        bodies = {"request": operation.get("requestBody", {})}
        bodies |= {code: response for code, response in operation["responses"].items() if code.startswith("2")}
        for part, body in bodies.items():
            for kind, content in body.get("content", {}).items():
                schema = content.get("schema", {})
                schemas_named = [schema, *schema.get("anyOf", ())]
                named = [shown[one["$ref"].rsplit("/", 1)[1]] for one in schemas_named if "$ref" in one]
                exemplified = "example" in content or "examples" in content or any("examples" in one for one in named)
                if kind == "application/json" and not exemplified:
                    lacking.append(f"{where}: {part}")
    assert lacking == []


def test_every_example_is_one(described: dict[str, Any]) -> None:
    """Each is read by the model that it is an example of, and says nothing that the model does not know."""
    for name, schema in described["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            adapter: TypeAdapter[Any] = TypeAdapter(model(name))
            read = adapter.validate_python(example)
            assert set(example) <= set(type(read).model_fields), name


def test_no_example_is_of_something_that_is_gone(described: dict[str, Any]) -> None:
    assert set(examples()) <= set(described["components"]["schemas"])


def test_the_examples_name_no_machine() -> None:
    """They were taken from a running service, and only what it answers anybody is in them."""
    text = (Path(schemas.__file__).parent / "data" / "openapi_examples.json").read_text(encoding="utf-8")
    assert not [place for place in ("/tmp", "/home", "/root", "/work", "127.0.0.1") if place in text]
