"""The compose file keeps its promises: valid by the specification, closed, unprivileged. No engine runs it here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_pydantic.models import ComposeSpecification

SERVICES = {"vauban", "qdrant", "llama", "llama-gpu", "worker", "reader", "postgres", "valkey"}


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((root / "docker-compose.yml").read_text(encoding="utf-8"))
    return content


def test_it_is_valid_by_the_compose_specification(compose: dict[str, Any]) -> None:
    """The models are generated from the specification's own JSON schema and refuse unknown keys (but its `x-` ones)."""
    spec = ComposeSpecification.model_validate({k: v for k, v in compose.items() if not k.startswith("x-")})
    assert set(spec.services or {}) == SERVICES


def test_a_misspelt_key_is_refused_by_the_same_check(compose: dict[str, Any]) -> None:
    """The check above can fail."""
    with pytest.raises(ValueError, match="heathcheck"):
        ComposeSpecification.model_validate({"services": {"vauban": {"image": "x", "heathcheck": {}}}})


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_read_only_unprivileged_and_watched(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"].split(":")[0] not in {"0", "root"}
    assert service["healthcheck"]


def test_only_vauban_publishes_a_port_and_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if service.get("ports")}
    assert published == {"vauban": ["${PUBLISH_ADDRESS:-127.0.0.1:8080}:8080"]}


def test_no_service_has_a_route_out(compose: dict[str, Any]) -> None:
    """All are on the internal network; the one that lets the page in does not masquerade."""
    assert compose["networks"]["inside"]["internal"] is True
    assert compose["networks"]["front"]["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
    for name, service in compose["services"].items():
        networks = set(service.get("networks") or ())
        assert networks <= ({"inside", "front"} if name == "vauban" else {"inside"})
        assert networks or service["network_mode"] == "service:vauban"


def test_the_worker_can_find_the_running_server(compose: dict[str, Any]) -> None:
    """In the home, by the address and by the process that ``server.json`` names."""
    worker = compose["services"]["worker"]
    assert worker["network_mode"] == worker["pid"] == "service:vauban"
    assert compose["services"]["vauban"]["volumes"][0] in worker["volumes"]


def test_qdrant_needs_a_key_and_sends_no_telemetry(compose: dict[str, Any]) -> None:
    environment = compose["services"]["qdrant"]["environment"]
    assert environment["QDRANT__SERVICE__API_KEY"].startswith("${QDRANT_API_KEY:?")
    assert environment["QDRANT__TELEMETRY_DISABLED"] == "true"


def test_every_setting_it_gives_to_vauban_exists(compose: dict[str, Any]) -> None:
    from rag.settings import Settings

    for service in ("vauban", "worker", "reader"):
        for name in compose["services"][service]["environment"]:
            assert name.removeprefix("VAUBAN_").lower() in Settings.model_fields


def test_readers_see_the_documents_where_the_server_sees_them(compose: dict[str, Any]) -> None:
    """At the same path and for reading only, and stage into the same store; they need the broker that is started."""
    server, reader = compose["services"]["vauban"], compose["services"]["reader"]
    assert server["volumes"][1] in reader["volumes"]
    assert all(volume["read_only"] for volume in reader["volumes"])
    for name in ("VAUBAN_QDRANT_URL", "VAUBAN_QDRANT_API_KEY", "VAUBAN_SOURCES", "VAUBAN_BROKER_URL"):
        assert reader["environment"][name] == server["environment"][name]
    assert set(reader["depends_on"]) == {"qdrant", "valkey"}
    assert all("cluster" in compose["services"][name]["profiles"] for name in ("reader", "valkey", "postgres"))


def test_nobody_is_let_in_unknown(compose: dict[str, Any]) -> None:
    """Everyone has a key of their own unless the operator says otherwise; none is for all."""
    environment = compose["services"]["vauban"]["environment"]
    assert environment["VAUBAN_LOGIN"] == "${VAUBAN_LOGIN:-keys}"
    assert "VAUBAN_API_KEY" not in environment


@pytest.mark.parametrize("name", ["llama", "llama-gpu"])
def test_the_writing_server_keeps_conversations_apart_and_needs_the_key_that_vauban_sends(
    compose: dict[str, Any], name: str
) -> None:
    environment = compose["services"][name]["environment"]
    assert environment["LLAMA_ARG_CACHE_RAM"] == "0"
    assert environment["LLAMA_API_KEY"] == compose["services"]["vauban"]["environment"]["VAUBAN_LLAMA_API_KEY"]


def test_every_name_that_must_be_filled_in_stands_in_the_example(root: Path) -> None:
    text = (root / "docker-compose.yml").read_text(encoding="utf-8")
    example = (root / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?([A-Z_]+)=", example, re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+):\?", text)) <= named <= set(re.findall(r"\$\{([A-Z_]+):", text))


def test_with_the_keys_filled_in_every_value_is_one_that_the_settings_take(compose: dict[str, Any]) -> None:
    from rag.settings import Settings

    given = compose["services"]["vauban"]["environment"]
    settings = Settings.load(
        {name: re.sub(r"\$\{\w+:([-?])([^}]*)\}", _filled, value) for name, value in given.items()}
    )
    assert settings.signs_in
    assert settings.proxies == ()


def _filled(match: re.Match[str]) -> str:
    return match[2] if match[1] == "-" else "0" * 64
