"""The ``vauban`` command in processes of its own: the way of a user, and a clear end to every wrong turn."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rag.home import Home
from tests.vauban_command import FAKES, Command, Done, Serving

QUESTION = "Combien de jours de congés annuels pour un agent à temps plein ?"
KEY = "0123456789abcdef0123456789abcdef"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Command, Done]:
    """A home into which one sample corpus was taken, and what that printed. Tests read it and leave it as it is."""
    vauban = Command(tmp_path_factory.mktemp("filled"))
    done = vauban("ingest", "sync", root / "ingest/samples/rh", "--corpus", "rh", "--json")
    assert done.code == 0, done.err
    return vauban, done


@pytest.fixture(scope="module")
def vauban(filled: tuple[Command, Done]) -> Command:
    return filled[0]


@pytest.fixture(scope="module")
def served(vauban: Command, tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[tuple[Command, Serving]]:
    """The same home, copied, with a server that owns it."""
    copied = Command(tmp_path_factory.mktemp("served"))
    shutil.copytree(vauban.home, copied.home)
    with copied.serving(VAUBAN_SOURCES=str(root / "ingest/samples")) as server:
        yield copied, server


@pytest.fixture
def fresh(tmp_path: Path) -> Command:
    """A command whose home does not exist yet."""
    return Command(tmp_path)


# --- the way of a user ----------------------------------------------------------------------------------


def test_a_folder_is_taken_in_once(filled: tuple[Command, Done], root: Path) -> None:
    """The report has the keys of the contract; the second sync finds nothing to do and computes no vector."""
    vauban, done = filled
    first = done.json
    keys = "snapshot added changed removed unchanged rejected chunks embedded seconds moved articles glossary".split()
    assert list(first) == keys
    assert (first["snapshot"], first["added"], first["unchanged"], first["rejected"]) == (1, 11, 0, [])
    assert first["embedded"] > 0
    second = vauban("ingest", "sync", root / "ingest/samples/rh", "--corpus", "rh", "--json")
    again = {"snapshot": 1, "added": 0, "changed": 0, "removed": 0, "unchanged": 11, "embedded": 0}
    assert (second.code, {name: second.json[name] for name in again}) == (0, again)


def test_a_question_is_answered_with_its_sources(vauban: Command) -> None:
    """Each displayed claim and each citation lies where the JSON says, and rests on a passage that is given."""
    done = vauban("ask", QUESTION, "--json")
    assert (done.code, done.err) == (0, "")
    check_answer(done.json)


def check_answer(asked: dict[str, object]) -> None:
    status, text, passages = asked["status"], asked["text"], asked["passages"]
    claims, citations = asked["claims"], asked["citations"]
    assert status in {"answered", "extracts"}
    assert isinstance(text, str)
    assert isinstance(passages, list)
    assert isinstance(claims, list)
    assert isinstance(citations, list)
    numbers = {passage["n"] for passage in passages}
    assert citations
    for citation in citations:
        assert set(citation) >= {"start", "end", "passage", "document", "reference", "page"}
        assert citation["passage"] in numbers
        assert 0 <= citation["start"] < citation["end"] <= len(text)
    for claim in claims:
        if claim["verdict"] == "supported":
            assert set(claim["passages"]) <= numbers
            assert claim["spans"]
    assert asked["snapshots"] == {"rh": 1}


def test_a_search_gives_hits_without_writing(vauban: Command) -> None:
    """The keys of the contract come first; the article with the number of days is among the first hits."""
    done = vauban("search", QUESTION, "--corpus", "rh", "--limit", 5, "--json")
    assert (done.code, done.err) == (0, "")
    assert [hit["rank"] for hit in done.json] == [1, 2, 3, 4, 5]
    assert list(done.json[0])[:8] == "rank score corpus document title reference page text".split()
    assert any("25 jours" in hit["text"] for hit in done.json)


def test_people_read_the_answer_and_where_it_stands(vauban: Command) -> None:
    """Without --json: the status, the text, and one line for each passage."""
    done = vauban("ask", QUESTION)
    assert done.code == 0
    assert done.out.splitlines()[0] in {"answered", "extracts"}
    assert "[1] Décision" in done.out


def test_rules_of_another_day_are_other_rules(vauban: Command) -> None:
    """--as-of sees the texts in force on that day only."""
    then = {hit["document"] for hit in vauban("search", QUESTION, "--as-of", "2022-06-01", "--json").json}
    now = {hit["document"] for hit in vauban("search", QUESTION, "--as-of", "2025-06-01", "--json").json}
    assert "rh-conges-2021" in then - now
    assert "rh-conges-2024" in now - then


def test_other_groups_see_other_texts(vauban: Command) -> None:
    """--as names the groups to answer for; the corpus is for agents and nobody else sees it."""
    assert vauban("search", QUESTION, "--as", "agents", "--json").json
    assert not vauban("search", QUESTION, "--as", "visiteurs", "--json").json


# --- the same through a running server ------------------------------------------------------------------


def test_commands_go_through_the_server_that_owns_the_home(served: tuple[Command, Serving], root: Path) -> None:
    """Asking, searching and taking in give what they give without it, and nobody has to stop it."""
    vauban, _ = served
    asked = vauban("ask", QUESTION, "--json")
    assert (asked.code, asked.err) == (0, "")
    check_answer(asked.json)
    found = vauban("search", QUESTION, "--corpus", "rh", "--limit", 3, "--json")
    assert list(found.json[0])[:8] == "rank score corpus document title reference page text".split()
    synced = vauban("ingest", "sync", root / "ingest/samples/rh", "--corpus", "rh", "--json")
    assert (synced.code, synced.json["snapshot"], synced.json["unchanged"], synced.json["embedded"]) == (0, 1, 11, 0)
    assert not vauban("search", QUESTION, "--as", "visiteurs", "--json").json


def test_the_server_passes_on_what_is_wrong_with_a_question(served: tuple[Command, Serving]) -> None:
    """With the exit codes that the command has alone."""
    vauban, _ = served
    assert vauban("ask", " ").code == 2
    done = vauban("ask", QUESTION, "--corpus", "nulle-part")
    assert (done.code, "nulle-part" in done.err) == (2, True)


def test_a_second_server_of_the_same_home_is_refused(served: tuple[Command, Serving]) -> None:
    """Exit 4, naming the process that owns the home."""
    vauban, server = served
    done = vauban("serve", "--port", 0)
    assert done.code == 4
    assert str(server.process.pid) in done.err


def test_a_question_of_200000_characters_is_refused_by_its_length(served: tuple[Command, Serving]) -> None:
    """At once, and with a code."""
    _, server = served
    body = {"model": "vauban", "messages": [{"role": "user", "content": "é" * 200_000}]}
    refused = server.call("POST", "/v1/chat/completions", body)
    assert (refused.status_code, refused.json()["code"]) == (400, "question_too_long")


def test_the_page_is_there(served: tuple[Command, Serving]) -> None:
    """At the root of the same address as the API."""
    _, server = served
    page = server.call("GET", "/")
    assert page.status_code == 200
    assert "Vauban" in page.text


def test_a_server_that_is_told_to_stop_takes_its_announcement_back(fresh: Command) -> None:
    """Its end is exit 0, and the file that named it is gone."""
    with fresh.serving():
        assert json.loads((fresh.home / "server.json").read_text())["pid"]
        assert (fresh.home / "server.json").stat().st_mode & 0o077 == 0
    assert not (fresh.home / "server.json").exists()


# --- wrong settings and wrong words ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"VAUBAN_PROT": "1"}, "did you mean `port`"),
        ({"VAUBAN_PORT": "http"}, "`port` (VAUBAN_PORT) is wrong"),
        ({"VAUBAN_EMBEDDER": "nulle-part"}, "« nulle-part »"),
        ({"VAUBAN_EMBEDDER": "smollm2"}, "« smollm2 » est de type generator"),
    ],
)
def test_a_wrong_setting_is_named(vauban: Command, environ: dict[str, str], said: str) -> None:
    """Before anything else is done."""
    done = vauban("search", QUESTION, **environ)
    assert done.code in {1, 2}
    assert said in done.err
    assert done.out == ""


def test_a_wrong_settings_file_is_named(fresh: Command) -> None:
    """``vauban.toml`` of the working folder counts as the environment does."""
    (fresh.folder / "vauban.toml").write_text('prot = "1"\n')
    done = fresh("doctor")
    assert (done.code, "did you mean `port`" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ask", ""], "la question est vide"),
        (["ask", "a" * 100_000], "100000 caractères"),
        (["ask", QUESTION, "--as-of", "2024-13-01"], "« 2024-13-01 » n'est pas une date"),
        (["ask", QUESTION, "--corpus", "nulle-part"], "il n'y a pas de corpus « nulle-part »"),
        (["search", QUESTION, "--limit", "0"], "--limit"),
        (["ingest", "sync", "nulle-part", "--corpus", "rh"], "il n'y a pas de dossier"),
        (["ingest", "sync", ".", "--corpus", "../rh"], "ne peut pas nommer un corpus"),
        (["ingest", "sync", ".", "--corpus", "autre"], "n'a pas de corpus.toml"),
        (["ingest", "status", "--corpus", "nulle-part"], "« nulle-part »"),
        (["models", "verify", "nulle-part"], "« nulle-part »"),
        (["serve", "--host", "0.0.0.0"], "VAUBAN_LOGIN"),
        (["nulle-part"], "No such command"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_makes_no_sense_ends_with_2(vauban: Command, words: list[str], said: str) -> None:
    """And with one sentence on standard error that names what is wrong."""
    done = vauban(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err) < 1000


def test_a_port_in_use_is_known_before_anything_is_loaded(fresh: Command) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = fresh("serve", "--port", port)
    assert done.code == 2
    assert f"port {port} de 127.0.0.1 est déjà utilisé" in done.err
    assert not fresh.home.exists()


def test_a_folder_that_may_not_be_read_is_named(fresh: Command) -> None:
    """Nothing of it is taken for removed. Root reads everything, so it runs here without that right."""
    folder = fresh.folder / "rh"
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\n')
    folder.chmod(0)
    if os.geteuid() == 0:
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode:
            pytest.skip("root cannot give up reading everything here")
        fresh = Command(fresh.folder, prefix=prefix)
    try:
        done = fresh("ingest", "sync", folder, "--corpus", "rh")
    finally:
        folder.chmod(0o700)
    assert done.code in {1, 2}
    assert str(folder) in done.err


# --- homes ----------------------------------------------------------------------------------------------


def test_a_home_that_another_process_owns_is_left_alone(fresh: Command, root: Path) -> None:
    """Exit 4, naming that process; whatever wants to own it is refused alike."""
    with Home.open(fresh.home).own():
        for words in (["ask", QUESTION], ["ingest", "sync", root / "ingest/samples/rh", "--corpus", "rh"]):
            done = fresh(*words)
            assert (done.code, str(os.getpid()) in done.err) == (4, True)


def test_a_home_of_a_newer_program_is_refused(fresh: Command) -> None:
    home = Home.open(fresh.home)
    home.version_file.write_text(json.dumps({"schema": 99, "index": 1}))
    done = fresh("search", QUESTION)
    assert done.code == 1
    assert "plus récent" in done.err


def test_another_embedder_than_the_one_that_filled_the_store_is_refused(vauban: Command) -> None:
    """Vectors of two models cannot be compared; the message names both, and what to do."""
    done = vauban("search", QUESTION, VAUBAN_EMBEDDER="minilm")
    assert done.code == 1
    assert "fake-hash-256" in done.err
    assert "minilm@" in done.err


ON_A_SMALL_DISK = 'mount -t tmpfs -o size=1m,mode=700 small "$0" && exec "$@"'


def test_a_full_disk_is_said_and_publishes_nothing(fresh: Command, root: Path) -> None:
    """Not even a traceback: exit 1 and a sentence."""
    fresh.home.mkdir()
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, str(fresh.home)]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets us mount nothing")
    small = Command(fresh.folder, prefix=prefix)
    done = small("ingest", "sync", root / "ingest/samples/rh", "--corpus", "rh", "--json")
    assert (done.code, done.out) == (1, "")
    assert "plus de place" in done.err


# --- writing models that cannot be used -----------------------------------------------------------------


def own_model(vauban: Command, content: bytes | None, digest: str | None = None) -> dict[str, str]:
    """The settings that choose a model of the operator's own, whose file holds ``content``."""
    folder = vauban.folder / "models" / "own"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "own.gguf"
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content)
    digest = digest or hashlib.sha256(content or b"").hexdigest()
    (vauban.folder / "models" / "models.toml").write_text(
        f'[models.own]\nkind = "generator"\n\n[models.own.sha256]\n"own.gguf" = "{digest}"\n'
    )
    return {"VAUBAN_MODELS": str(vauban.folder / "models"), "VAUBAN_GENERATOR": "own"}


HEADER = b"GGUF" + (3).to_bytes(4, "little") + bytes(8)


@pytest.mark.parametrize(
    ("content", "digest", "said"),
    [
        (None, None, "n’est pas installé"),
        (b"<html>Not found</html>", None, "est corrompu"),
        (HEADER + b"rubbish" * 1000, None, "own.gguf"),
        (HEADER, "0" * 64, f"attendu {'0' * 64}"),
    ],
    ids=["missing", "no model", "broken inside", "other hash"],
)
def test_without_its_model_vauban_answers_by_extracts(
    vauban: Command, content: bytes | None, digest: str | None, said: str
) -> None:
    """And says on standard error why there is none."""
    done = vauban("ask", QUESTION, "--json", **own_model(vauban, content, digest))
    assert done.code == 0
    assert said in done.err
    assert done.json["status"] == "extracts"


def test_a_server_without_its_model_starts_and_says_so(fresh: Command) -> None:
    """On standard error, and in /readyz as failed: it is not the same as wanting none."""
    with fresh.serving(**own_model(fresh, b"<html>Not found</html>")) as server:
        assert "est corrompu" in server.err
        ready = server.call("GET", "/readyz")
        assert (ready.status_code, ready.json()["parts"]["generator"]) == (200, "failed")


def test_without_its_embedder_vauban_does_not_start(fresh: Command) -> None:
    """Nothing can be searched without it; the message says how to get it."""
    done = fresh("serve", "--port", 0, VAUBAN_EMBEDDER="multilingual-e5-small")
    assert done.code == 1
    assert "vauban models pull multilingual-e5-small" in done.err


# --- keys -----------------------------------------------------------------------------------------------


def test_with_a_key_every_caller_needs_it(vauban: Command, tmp_path: Path) -> None:
    """As a bearer token, or as the password of any name; the commands of the server's own user need none."""
    own = Command(tmp_path, environ={**FAKES, "VAUBAN_API_KEY": KEY})
    shutil.copytree(vauban.home, own.home)
    with own.serving() as server:
        for path in ("/v1/models", "/", "/openapi.json", "/metrics", "/gradio_api/info"):
            refused = server.call("GET", path)
            assert refused.status_code == 401, path
            assert refused.headers["WWW-Authenticate"].startswith("Bearer")
        assert server.call("GET", "/healthz").status_code == 200
        assert server.call("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        assert server.call("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}x"}).status_code == 401
        assert server.call("GET", "/v1/models", auth=("anyone", KEY)).status_code == 200
        assert server.call("GET", "/", auth=("anyone", KEY)).status_code == 200
        assert server.call("GET", "/", auth=(KEY, "wrong")).status_code == 401
        assert own("search", QUESTION, "--json").json


def test_a_key_that_can_be_guessed_is_refused(fresh: Command) -> None:
    done = fresh("serve", "--host", "0.0.0.0", VAUBAN_API_KEY="secret")
    assert done.code == 2
    assert "openssl rand -hex 32" in done.err
    assert "secret" not in done.err.replace("« api_key »", "")
