"""Settings: typed, read once, and strict about names."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag.errors import SettingsError
from rag.settings import Settings


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vauban.toml"
    file.write_text('port = 9000\nlanguage = "en"\n', encoding="utf-8")
    settings = Settings.load({"VAUBAN_PORT": "9001", "PATH": "/bin"}, file)
    assert (settings.port, settings.language) == (9001, "en")


def test_lists_are_separated_by_commas() -> None:
    settings = Settings.load({"VAUBAN_LOCAL_GROUPS": "agents, encadrement ,", "VAUBAN_SOURCES": "/a,/b"})
    assert settings.local_groups == {"agents", "encadrement"}
    assert settings.sources == (Path("/a"), Path("/b"))


def test_an_unknown_name_stops_the_start_and_the_near_one_is_suggested() -> None:
    with pytest.raises(SettingsError, match=r"unknown setting `prot` \(VAUBAN_PROT\); did you mean `port`"):
        Settings.load({"VAUBAN_PROT": "1"})


def test_a_wrong_value_is_named_in_both_languages() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({"VAUBAN_PORT": "eighty"})
    assert "VAUBAN_PORT" in caught.value.said("en")
    assert "réglage" in caught.value.said("fr")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "vauban.toml"
    file.write_text("port = = 1", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"vauban\.toml"):
        Settings.load({}, file)


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    settings = Settings.load({"VAUBAN_API_KEY": "s3cret-s3cret-s3cret-s3cret", "VAUBAN_QDRANT_API_KEY": "other"})
    assert "s3cret" not in repr(settings)
    assert "other" not in repr(settings)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_does(name: str) -> None:
    assert (Settings.model_fields[name].description or "").endswith(".")


@pytest.mark.parametrize("name", ["models", "login_map", "audit_key"])
def test_a_path_that_is_empty_is_none(name: str) -> None:
    """A compose file can only pass an empty one on; it must not name the working folder."""
    assert getattr(Settings.load({f"VAUBAN_{name.upper()}": ""}), name) is None
