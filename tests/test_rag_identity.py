"""Who is admitted, and as whom."""

from __future__ import annotations

import base64

import pytest

from rag.errors import SettingsError
from rag.identity import Identity, check_exposure
from rag.settings import Settings
from rag.types import Principal

KEY = "0123456789abcdef0123456789abcdef"
LOCAL = Principal("local", frozenset({"agents"}))
CLOSED = Identity(Settings.load({"VAUBAN_API_KEY": KEY}), LOCAL)
OPEN = Identity(Settings.load({}), LOCAL)


def basic(password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


def test_without_a_key_everyone_on_this_machine_is_the_local_person() -> None:
    assert OPEN.admit("/v1/models", {}) is None
    assert OPEN.identify({}) == LOCAL


def test_with_a_key_nothing_but_the_probe_answers_without_it() -> None:
    assert CLOSED.admit("/healthz", {}) is None
    for path in ("/", "/v1/models", "/gradio_api/info", "/metrics", "/openapi.json", "/healthz/"):
        refusal = CLOSED.admit(path, {})
        assert refusal is not None
        assert refusal.status == 401


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {KEY}"}, basic(KEY)])
def test_the_key_is_a_bearer_token_or_a_browser_s_password(headers: dict[str, str]) -> None:
    assert CLOSED.admit("/v1/models", headers) is None


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {KEY}x"}, {"authorization": "Bearer "}, basic(""), {"authorization": "Basic ¤"}],
)
def test_a_wrong_key_is_refused(headers: dict[str, str]) -> None:
    assert CLOSED.admit("/v1/models", headers) is not None


def test_only_the_server_s_own_user_may_name_groups() -> None:
    named = {"vauban-as": "medecine, agents"}
    assert OPEN.identify(named) == LOCAL
    assert OPEN.identify(named | {"authorization": f"Bearer {KEY}"}) == LOCAL
    trusted = named | {"authorization": f"Bearer {OPEN.server_token}"}
    assert OPEN.identify(trusted).groups == {"medecine", "agents"}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "vauban.example"])
def test_listening_beyond_loopback_needs_a_key(host: str) -> None:
    with pytest.raises(SettingsError, match="VAUBAN_API_KEY"):
        check_exposure(Settings.load({"VAUBAN_HOST": host}))
    check_exposure(Settings.load({"VAUBAN_HOST": host, "VAUBAN_API_KEY": KEY}))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    check_exposure(Settings.load({"VAUBAN_HOST": host}))


def test_a_short_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="fewer than 24"):
        check_exposure(Settings.load({"VAUBAN_API_KEY": "short"}))
