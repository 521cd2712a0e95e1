"""What the models on the wire take for which kind of value."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rag.schemas import ChatRequest, RerankRequest, UploadSaid

ASKED: dict[str, Any] = {"model": "vauban", "messages": [{"role": "user", "content": "Quel congé ?"}]}
SORTED: dict[str, Any] = {"query": "congé", "documents": ["un congé"]}


@pytest.mark.parametrize("value", [1, 0, 1.0, "true", "no"])
def test_what_json_does_not_call_true_or_false_is_neither(value: Any) -> None:
    """As the description of the API says, in a body that is tolerant of unknown fields too."""
    with pytest.raises(ValidationError, match="bool_type"):
        RerankRequest(**SORTED, return_documents=value)
    with pytest.raises(ValidationError, match="bool_type"):
        ChatRequest(**ASKED, stream=value)


@pytest.mark.parametrize("value", [True, False, "5"])
def test_no_text_and_no_truth_value_is_a_number(value: Any) -> None:
    with pytest.raises(ValidationError, match="int_type"):
        RerankRequest(**SORTED, top_n=value)
    with pytest.raises(ValidationError, match="float_type"):
        ChatRequest(**ASKED, temperature=value)


def test_five_is_a_whole_number_however_it_is_written() -> None:
    """JSON has one kind of number, and ``5.0`` is a whole one."""
    assert RerankRequest.model_validate(SORTED | {"top_n": 5.0}).top_n == 5
    assert ChatRequest(**ASKED, temperature=1).temperature == 1.0


def test_in_a_query_all_is_text() -> None:
    said = UploadSaid.model_validate({"wait": "3", "resume": "true", "clearance": "2"})
    assert (said.wait, said.resume, said.clearance) == (3.0, True, 2)
