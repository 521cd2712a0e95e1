"""The manifest of models: names, places, hashes, and what happens when a file is not the expected one."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import struct
import tomllib
from pathlib import Path

import pytest

from rag.errors import ModelError, NotFound
from rag.models import (
    LOCK,
    Entry,
    Kind,
    Locked,
    Manifest,
    hash_files,
    install,
    locate,
    read_lock,
    verify,
    write_lock,
)

SHIPPED = Manifest.load()
GGUF = b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + b"weights"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A folder of models with one generator of the operator's own, hash and all."""
    folder = tmp_path / "models"
    (folder / "own").mkdir(parents=True)
    (folder / "own" / "weights.gguf").write_bytes(GGUF)
    (folder / "models.toml").write_text(
        f'[models.own]\nkind = "generator"\n[models.own.sha256]\n"weights.gguf" = "{sha(GGUF)}"\n'
    )
    return folder


def test_the_demo_pair_is_in_the_manifest_with_its_hashes() -> None:
    """The default models are known by the hashes that were published for them."""
    weights = SHIPPED.entry("minilm").sha256["model.safetensors"]
    assert (weights[:8], weights[-5:]) == ("53aa5117", "8d9db")
    assert SHIPPED.entry("smollm2").sha256["SmolLM2-135M-Instruct.Q4_1.gguf"].startswith("b179c952")


@pytest.mark.parametrize("box", ["small-cpu", "large-cpu", "gpu"])
@pytest.mark.parametrize("kind", [Kind.GENERATOR, Kind.EMBEDDER])
def test_every_box_has_a_recommended_generator_and_embedder(box: str, kind: Kind) -> None:
    """Each kind of machine has a choice that speaks French, with licence, context and memory stated."""
    [entry] = [entry for entry in SHIPPED.entries if entry.box == box and entry.kind is kind]
    assert entry.speaks("fr")
    assert entry.repository
    assert entry.licence in {"Apache-2.0", "MIT"}
    assert entry.context
    assert entry.memory


def test_a_model_says_which_languages_it_was_made_for() -> None:
    """The demo embedder is an English one, and says so; search lowers its weight on French."""
    assert not SHIPPED.entry("minilm").speaks("fr")
    assert SHIPPED.entry("minilm").speaks("en")


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    """A misspelt name is answered by the list of names."""
    with pytest.raises(NotFound, match="smollm2") as caught:
        SHIPPED.entry("smolm2", Kind.GENERATOR)
    assert caught.value.code == "unknown_model"


def test_a_model_of_the_wrong_kind_is_refused() -> None:
    """An embedder cannot be chosen to write."""
    with pytest.raises(ModelError, match="embedder and not a generator"):
        SHIPPED.entry("minilm", Kind.GENERATOR)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_the_installed_demo_models_are_the_expected_ones(name: str, tmp_path: Path) -> None:
    """The packages carry exactly the files that the manifest names."""
    entry = SHIPPED.entry(name)
    if importlib.util.find_spec(entry.package) is None:
        pytest.skip(f"the package {entry.distribution} is not installed")
    found = install(name, entry.kind, models_dir=tmp_path, home=tmp_path)
    assert found.fingerprint.startswith(f"{name}@")
    assert found.path.exists()


def test_an_operators_own_model_is_found_and_checked(models_dir: Path) -> None:
    """A `models.toml` in the folder of models adds models of one's own."""
    found = install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)
    assert found.path == models_dir / "own" / "weights.gguf"


def test_a_shipped_name_cannot_be_redefined(models_dir: Path) -> None:
    """An operator's manifest cannot swap the files behind a known name."""
    (models_dir / "models.toml").write_text('[models.smollm2]\nkind = "generator"\n')
    with pytest.raises(ModelError, match="redefines smollm2"):
        Manifest.load(models_dir)


def test_a_missing_model_says_how_to_get_it(tmp_path: Path) -> None:
    """The message names the command for the connected machine."""
    with pytest.raises(ModelError, match="vauban models pull qwen3-4b"):
        locate(SHIPPED.entry("qwen3-4b"), tmp_path)


def test_a_missing_package_says_which_to_install(tmp_path: Path) -> None:
    """A model that a package carries names the distribution."""
    entry = Entry(name="x", kind=Kind.EMBEDDER, package="no_such_package", distribution="no-such-package")
    with pytest.raises(ModelError, match="install the package no-such-package"):
        locate(entry, tmp_path)


def test_a_changed_file_is_refused_with_both_hashes(models_dir: Path) -> None:
    """The message names the file, what was expected and what was found."""
    changed = GGUF[:-1] + b"S"
    (models_dir / "own" / "weights.gguf").write_bytes(changed)
    with pytest.raises(ModelError) as caught:
        install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)
    for part in ("weights.gguf", sha(GGUF), sha(changed)):
        assert part in caught.value.en
        assert part in caught.value.fr


def test_an_unchanged_file_is_read_once(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash of a file of the same size, times and inode comes from the home: the second start is quick."""
    first = install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)
    monkeypatch.setattr("rag.models._hash", lambda file: pytest.fail(f"read {file} again"))
    assert install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir) == first


def test_a_file_changed_behind_an_old_date_is_read_again(models_dir: Path) -> None:
    """Setting the old date on a file of the same size does not hide the change."""
    file = models_dir / "own" / "weights.gguf"
    install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)
    times = file.stat()
    file.write_bytes(GGUF[:-1] + b"S")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ModelError, match="not the expected one"):
        install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_a_damaged_memory_of_hashes_is_forgotten(models_dir: Path, text: str) -> None:
    """Only time is lost when the file of remembered hashes is broken."""
    (models_dir / "hashes.json").write_text(text)
    install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)
    assert json.loads((models_dir / "hashes.json").read_text())


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"PK\x03\x04" + bytes(40), b"GGUF" + struct.pack("<IQQ", 99, 0, 0), b"\x80\x04pickle" * 4]
)
def test_a_file_that_is_no_gguf_is_refused_before_any_library_reads_it(models_dir: Path, content: bytes) -> None:
    """Whatever its hash, a file whose first bytes are wrong never reaches a C++ parser."""
    (models_dir / "own" / "weights.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.gguf is corrupt"):
        install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)


def test_weights_of_an_unsafe_format_are_refused(tmp_path: Path) -> None:
    """A pickle is refused even when its hash is the recorded one."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "weights.bin").write_bytes(b"x")
    hashes = {"weights.bin": sha(b"x"), "model.safetensors": sha(b"")}
    entry = Entry(name="x", kind=Kind.EMBEDDER, sha256=hashes)
    with pytest.raises(ModelError, match="unsafe format"):
        verify(entry, tmp_path / "x", models_dir=tmp_path)


def test_files_nobody_vouched_for_are_refused(models_dir: Path) -> None:
    """Without a hash in the manifest or the lock nothing is loaded."""
    (models_dir / "models.toml").write_text('[models.own]\nkind = "generator"\n')
    with pytest.raises(ModelError, match="no hash is recorded"):
        install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)


def test_another_gguf_beside_the_recorded_one_is_not_loaded(models_dir: Path) -> None:
    """A second file in the folder cannot take the place of the checked one."""
    (models_dir / "own" / "another.gguf").write_bytes(GGUF)
    with pytest.raises(ModelError, match="2 GGUF files"):
        install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)
    (models_dir / "own" / "weights.gguf").unlink()
    with pytest.raises(ModelError, match="no hash of the weights"):
        install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)


def test_a_lock_gives_the_hashes_and_survives_another_pull(models_dir: Path) -> None:
    """What one pull recorded is still there after the next, and is what loading checks."""
    (models_dir / "models.toml").write_text('[models.own]\nkind = "generator"\n')
    write_lock(models_dir, "own", Locked("owner/own", "abc", hash_files(models_dir / "own")))
    write_lock(models_dir, "b.c", Locked("owner/b", "def", {}))
    assert read_lock(models_dir)["own"] == Locked("owner/own", "abc", {"weights.gguf": sha(GGUF)})
    assert list(tomllib.loads((models_dir / LOCK).read_text())["models"]) == ["b.c", "own"]
    assert install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)


@pytest.mark.parametrize("name", ["../weights.gguf", "/etc/passwd"])
def test_a_lock_cannot_point_outside_its_folder(models_dir: Path, name: str) -> None:
    """A doctored lock names no file elsewhere."""
    write_lock(models_dir, "own", Locked("o/o", "abc", {name: "0" * 64}))
    with pytest.raises(ModelError, match="outside its folder"):
        read_lock(models_dir)


def test_a_broken_lock_is_an_error_and_not_an_empty_one(models_dir: Path) -> None:
    """A lock that cannot be read stops the start and is named."""
    (models_dir / LOCK).write_text("models = 3 3")
    with pytest.raises(ModelError, match=LOCK):
        install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir)


def test_the_fingerprint_follows_the_files(models_dir: Path) -> None:
    """Other weights under the same name have another fingerprint."""
    first = install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir).fingerprint
    changed = GGUF + b"!"
    (models_dir / "own" / "weights.gguf").write_bytes(changed)
    toml = models_dir / "models.toml"
    toml.write_text(toml.read_text().replace(sha(GGUF), sha(changed)))
    assert install("own", Kind.GENERATOR, models_dir=models_dir, home=models_dir).fingerprint != first


def test_only_models_of_some_size_rewrite_questions() -> None:
    """A small model answers a question that it should rewrite; the demo's is not asked."""
    rewriting = {entry.name for entry in Manifest.load().entries if entry.capable}
    assert rewriting == {"qwen3-4b", "mistral-small-24b"}
