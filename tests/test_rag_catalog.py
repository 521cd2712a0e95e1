"""The catalog and the home folder: what is published, who may see it, who owns the store."""

from __future__ import annotations

import datetime as dt
import importlib
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ingest.source import Source
from rag import audit, database, history, keys, sessions
from rag.catalog import ArticleRow, Catalog, DocumentRow, DocumentState, Snapshot, SnapshotState, metadata
from rag.database import HEAD
from rag.errors import Conflict, DiskFull, NotFound, OperatorError, StoreBusy, StoreError
from rag.home import Home, Server
from rag.types import Corpus, Document, NormRank, Outcome, Rejected, RunState, Synonyms, Validity
from tests import older_database
from tests.postgres_server import PostgresServer

TABLES_OF = (audit, history, keys, sessions)
"""The modules that have tables beside the catalog's."""
RH = Corpus("rh", "Ressources humaines", groups=frozenset({"agents"}), contact="drh@atf.example")


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A place for a catalog in each of the databases that may hold one."""
    if request.param == "sqlite":
        return tmp_path / "catalog.sqlite"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def catalog(where: Path | str) -> Iterator[Catalog]:
    opened = Catalog.open(where)
    opened.declare(RH)
    yield opened
    opened.close()


def row(identifier: str, title: str = "Congés", groups: frozenset[str] = frozenset({"*"})) -> DocumentRow:
    document = Document(
        id=identifier,
        corpus="rh",
        title=title,
        language="fr",
        source=f"{identifier}.md",
        sha256=f"sha of {identifier} {title}",
        media_type="text/markdown",
        norm_rank=NormRank.DECREE,
        validity=Validity(dt.date(2024, 1, 1)),
        groups=groups,
        pages=3,
    )
    return DocumentRow(document, digest="d", chunks=4)


def publish(
    catalog: Catalog, *added: DocumentRow, removed: frozenset[str] = frozenset(), stale: frozenset[str] = frozenset()
) -> Snapshot:
    draft = catalog.begin("rh")
    catalog.publish(draft, added=added, removed=removed, stale=stale, chunks=4)
    return draft


def seen(catalog: Catalog) -> dict[str, str]:
    return {r.document.id: r.document.title for r in catalog.documents("rh", catalog.published("rh"))}


def test_a_corpus_is_given_back_as_it_was_declared(catalog: Catalog) -> None:
    """Declaring again changes what is said of it, at once."""
    assert catalog.corpora() == [RH]
    glossary = Synonyms((("CET", "compte épargne-temps"),), (("boulot", "travail"),))
    wider = Corpus("rh", "RH", "en", frozenset({"*"}), 2, "x", NormRank.CODE, 30, glossary)
    catalog.declare(wider)
    assert catalog.corpus("rh") == wider
    with pytest.raises(NotFound) as raised:
        catalog.corpus("rhh")
    assert raised.value.code == "unknown_corpus"


def test_nothing_is_published_before_the_first_publication(catalog: Catalog) -> None:
    """A draft is seen by nobody."""
    assert catalog.lineages() == {}
    draft = catalog.begin("rh")
    assert (draft.number, draft.parent) == (1, None)
    assert catalog.lineages() == {}
    assert catalog.abandoned("rh") == [1]


def test_documents_are_versioned_like_chunks(catalog: Catalog) -> None:
    """A snapshot sees the versions of its lineage; an earlier one keeps its own."""
    publish(catalog, row("a", "A1"), row("b", "B1"))
    publish(catalog, row("a", "A2"), removed=frozenset({"b"}))
    assert catalog.lineages() == {"rh": (2, 1)}
    assert seen(catalog) == {"a": "A2"}
    assert [r.document.title for r in catalog.documents("rh", catalog.lineage("rh", 1))] == ["A1", "B1"]
    found = catalog.document("rh", "a", (2, 1))
    assert found is not None
    assert found == DocumentRow(row("a", "A2").document, "d", 4, added=2)
    assert catalog.document("rh", "b", (2, 1)) is None
    assert catalog.titles("rh", ["a", "b"]) == {"a": frozenset({"A1", "A2"}), "b": frozenset({"B1"})}


def test_numbers_are_never_used_twice(catalog: Catalog) -> None:
    """Also after a draft was discarded and after a rollback."""
    publish(catalog, row("a"))
    catalog.begin("rh")
    catalog.discarded("rh", 2)
    publish(catalog, row("b"))
    catalog.rollback("rh")
    draft = catalog.begin("rh")
    assert (draft.number, draft.parent) == (4, 1)
    assert catalog.abandoned("rh") == [4]


def test_rollback_is_the_parent_and_forward_again(catalog: Catalog) -> None:
    """Twice goes back twice; a later snapshot may be named; automatic syncs are on hold until a publication."""
    for title in ("A1", "A2", "A3"):
        publish(catalog, row("a", title))
    assert catalog.rollback("rh") == 2
    assert catalog.rollback("rh") == 1
    assert seen(catalog) == {"a": "A1"}
    assert catalog.held("rh")
    with pytest.raises(Conflict):
        catalog.rollback("rh")
    assert catalog.rollback("rh", 3) == 3
    assert seen(catalog) == {"a": "A3"}
    with pytest.raises(Conflict):
        catalog.rollback("rh", 3)
    with pytest.raises(NotFound):
        catalog.rollback("rh", 9)
    publish(catalog, row("a", "A4"))
    assert not catalog.held("rh")


def test_what_replaced_after_a_rollback_is_seen_in_its_own_line(catalog: Catalog) -> None:
    """A version removed by an abandoned line stays visible in the other one."""
    publish(catalog, row("a", "A1"), row("b", "B1"))
    publish(catalog, row("a", "A2"))
    catalog.rollback("rh")
    publish(catalog, row("b", "B3"))
    assert catalog.lineages() == {"rh": (3, 1)}
    assert seen(catalog) == {"a": "A1", "b": "B3"}


def test_a_draft_is_refused_when_something_else_was_published(catalog: Catalog) -> None:
    """A sync that was overtaken by a rollback cannot undo it."""
    publish(catalog, row("a", "A1"))
    publish(catalog, row("a", "A2"))
    draft = catalog.begin("rh")
    catalog.rollback("rh")
    with pytest.raises(Conflict):
        catalog.publish(draft, added=[row("a", "A3")], removed=(), stale=(), chunks=1)
    assert seen(catalog) == {"a": "A1"}


def test_rollback_never_widens_access(catalog: Catalog) -> None:
    """An audience is set on every version of a document, and the corpus's own is no part of a snapshot."""
    publish(catalog, row("a", "A1"))
    publish(catalog, row("a", "A2"))
    catalog.restrict("rh", "a", {"encadrement"}, 1)
    catalog.declare(Corpus("rh", "RH", groups=frozenset()))
    catalog.rollback("rh")
    found = catalog.document("rh", "a", catalog.published("rh"))
    assert found is not None
    assert (found.document.groups, found.document.clearance) == (frozenset({"encadrement"}), 1)
    assert catalog.corpus("rh").groups == frozenset()
    assert catalog.audiences("rh") == {"a": frozenset({(frozenset({"encadrement"}), 1)})}


def test_stale_is_a_fact_of_now(catalog: Catalog) -> None:
    """It is set and lifted without a new snapshot."""
    publish(catalog, row("a"), row("b"))
    publish(catalog, row("b", "B2"), stale=frozenset({"a"}))
    states = {r.document.id: r.state for r in catalog.documents("rh", catalog.published("rh"))}
    assert states == {"a": DocumentState.STALE, "b": DocumentState.CURRENT}
    catalog.mark("rh", ())
    assert {r.state for r in catalog.documents("rh", catalog.published("rh"))} == {DocumentState.CURRENT}


def test_retention_counts_from_the_day_a_snapshot_was_replaced(catalog: Catalog) -> None:
    """Then it can no longer be read or rolled back to, and what only it saw is forgotten; the published one stays."""
    for title in ("A1", "A2"):
        publish(catalog, row("a", title))
    now = dt.datetime.now(dt.UTC)
    assert catalog.expire("rh", now + dt.timedelta(days=364)) is None
    later = now + dt.timedelta(days=366)
    assert catalog.expire("rh", later) == [(2, 1)]
    assert catalog.expire("rh", later) == [(2, 1)], "asked again after a crash it answers the same"
    catalog.swept("rh")
    assert catalog.expire("rh", later) is None
    assert catalog.files() == {"sha of a A2"}
    with pytest.raises(NotFound):
        catalog.lineage("rh", 1)
    with pytest.raises(NotFound):
        catalog.rollback("rh", 1)
    assert [(s.number, s.state) for s in catalog.snapshots("rh")] == [
        (2, SnapshotState.PUBLISHED),
        (1, SnapshotState.SWEPT),
    ]
    assert catalog.lineages() == {"rh": (2, 1)}


def test_a_run_keeps_its_rejections(catalog: Catalog) -> None:
    """And one whose process died is told from one that runs."""
    run = catalog.add_run("rh")
    assert catalog.run(run).state is RunState.QUEUED
    catalog.start_run(run)
    rejected = (Rejected("b.pdf", "password", "asks for a password"), Rejected("a.pdf", "corrupt", "cut short"))
    catalog.end_run(run, RunState.DONE, snapshot=1, counts={"added": 2, "seconds": 0.5}, rejected=rejected)
    found = catalog.run(run)
    assert (found.state, found.snapshot, found.rejected) == (RunState.DONE, 1, rejected)
    assert found.counts == {"added": 2, "seconds": 0.5}
    dead = catalog.add_run("rh", RunState.RUNNING)
    catalog.interrupt_runs()
    assert catalog.run(dead).error == "interrupted"
    assert [r.id for r in catalog.runs("rh")] == [dead, run]
    with pytest.raises(NotFound):
        catalog.run("none")


def test_a_run_keeps_what_it_did_to_documents(catalog: Catalog) -> None:
    """In the order of their paths; told twice it is kept once."""
    run = catalog.add_run("rh")
    done = [
        Outcome("b", "b.md", "removed", {"removed": 3}),
        Outcome("a", "a.md", "changed", {"changed": 1, "unchanged": 4}, ("page 2: hardly readable",)),
    ]
    rejected = [Rejected("c.pdf", "corrupt", "cut short")]
    for _ in range(2):
        catalog.end_run(run, RunState.DONE, outcomes=done, rejected=rejected)
    assert catalog.outcomes(run) == done[::-1]
    assert catalog.run(run).rejected == tuple(rejected)
    assert catalog.outcomes("none") == []


def test_a_draft_that_was_abandoned_can_no_longer_be_published(catalog: Catalog) -> None:
    """Whoever still works at it learns that another run has taken it for dead, and leaves it to be discarded again."""
    draft = catalog.begin("rh")
    assert catalog.abandon("rh") == [1]
    catalog.discarded("rh", 1)
    assert catalog.abandoned("rh") == []
    with pytest.raises(Conflict):
        catalog.publish(draft, added=[row("a")], removed=(), stale=(), chunks=4)
    assert catalog.lineages() == {}
    catalog.leave(draft)
    assert catalog.abandoned("rh") == catalog.abandon("rh") == [1]


def test_publishing_may_be_said_twice(catalog: Catalog) -> None:
    """Whoever lost the answer asks again; also when it was rolled back since."""
    publish(catalog, row("a", "A1"))
    draft = publish(catalog, row("a", "A2"))
    catalog.publish(draft, added=[row("a", "A2")], removed=(), stale=(), chunks=4)
    catalog.leave(draft)
    assert seen(catalog) == {"a": "A2"}
    catalog.rollback("rh")
    catalog.publish(draft, added=[row("a", "A2")], removed=(), stale=(), chunks=4)
    assert seen(catalog) == {"a": "A1"}


def test_versions_keep_their_articles(catalog: Catalog) -> None:
    """Each its own, for as long as it is kept; what is read again may bring them later."""
    first = ArticleRow("Article 1er", ("Titre I", "Article 1er"), "d1", Validity(dt.date(2024, 1, 1)))
    second = replace(first, digest="d2", validity=Validity())
    publish(catalog, replace(row("a"), articles=(first, second)), row("b"))
    publish(catalog, replace(row("a", "A2"), articles=(second,)))
    assert catalog.outlines("rh", (2, 1), ["a", "b"]) == {"a": (second,)}
    assert catalog.outlines("rh", (1,), ["a"]) == {"a": (first, second)}
    catalog.refresh("rh", [replace(row("b"), digest="e", articles=(first,))])
    assert catalog.outlines("rh", (2, 1), ["b"]) == {"b": (first,)}
    found = catalog.document("rh", "b", (2, 1))
    assert found is not None
    assert found.digest == "e"


def test_what_people_write_is_kept_whatever_its_characters(catalog: Catalog) -> None:
    """But for those that a database cannot hold."""
    publish(catalog, row("a", "Zéro\0 et \ud800, 🏛️ et « guillemets »"))
    assert seen(catalog) == {"a": "Zéro\ufffd et ?, 🏛️ et « guillemets »"}
    assert catalog.document("rh", "\0", (1,)) is None


def test_two_writers_wait_for_each_other(catalog: Catalog, where: Path | str) -> None:
    """Numbers are given once, however many ask at the same time."""
    other = Catalog.open(where)
    with ThreadPoolExecutor(8) as threads:
        drafts = list(threads.map(lambda n: (catalog, other)[n % 2].begin("rh").number, range(40)))
    other.close()
    assert sorted(drafts) == list(range(1, 41))


def test_everything_is_there_after_opening_again(where: Path | str) -> None:
    """And a second process reads while the first has it open."""
    first = Catalog.open(where)
    first.declare(RH)
    publish(first, row("a"))
    second = Catalog.open(where)
    assert second.lineages() == {"rh": (1,)}
    first.close()
    second.close()


def test_the_migrations_make_the_tables_that_the_code_names(catalog: Catalog, root: Path) -> None:
    """And the newest one is the one that the program says it knows."""
    assert TABLES_OF
    for name in ("rag.audit", "rag.api"):
        importlib.import_module(name)  # whoever has tables of its own in the database names them when it is read
    with catalog._database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert ScriptDirectory(str(root / "rag" / "migrations")).get_current_head() == HEAD


def test_the_corpora_of_an_older_catalog_have_an_empty_glossary(where: Path | str) -> None:
    """Nothing else of them changes when the program is brought up to date."""
    older_database.make(
        where,
        "0002",
        "INSERT INTO corpora (name, title, language, groups, clearance, contact, retention_days, last_snapshot, held)"
        " VALUES ('rh', 'Ressources humaines', 'fr', '[\"agents\"]', 0, 'drh@atf.example', 365, 0, false)",
    )
    again = Catalog.open(where)
    assert again.corpora() == [RH]
    again.close()


def test_a_newer_catalog_is_refused(where: Path | str) -> None:
    """An older program does not touch it."""
    opened = Catalog.open(where)
    with opened._database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    opened.close()
    with pytest.raises(StoreError) as raised:
        Catalog.open(where)
    assert raised.value.code == "newer_catalog"


def test_a_damaged_catalog_is_named(tmp_path: Path) -> None:
    """A file that is no database is an error with a sentence."""
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="damaged"):
        Catalog.open(path)


def test_a_full_disk_leaves_what_was_published(tmp_path: Path) -> None:
    """SQLite's own limit on pages stands for the disk's."""
    opened = Catalog.open(tmp_path / "catalog.sqlite")
    opened.declare(RH)
    publish(opened, row("a"))

    def limit(connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    sa.event.listen(opened._database.engine, "checkout", limit)
    with pytest.raises(DiskFull):
        publish(opened, *[row(f"document {n}", "x" * 500) for n in range(200)])
    sa.event.remove(opened._database.engine, "checkout", limit)
    assert seen(opened) == {"a": "Congés"}
    opened.close()


# --- PostgreSQL


@pytest.fixture
def shared(postgres: PostgresServer) -> Iterator[tuple[Catalog, Catalog]]:
    """One catalog as two hosts have it open."""
    url = postgres.database()
    here, there = Catalog.open(url), Catalog.open(url)
    here.declare(RH)
    yield here, there
    here.close()
    there.close()


def test_a_lost_connection_is_an_error_of_ours_and_the_next_one_works(
    shared: tuple[Catalog, Catalog], postgres: PostgresServer
) -> None:
    """What was not committed is gone, what was is there."""
    here, _ = shared
    publish(here, row("a"))

    def interrupted() -> None:
        with here._database.writing() as connection:
            connection.execute(sa.text("UPDATE corpora SET title = 'x'"))
            assert postgres.disconnect()
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(StoreError) as raised:
        interrupted()
    assert raised.value.code == database.LOST
    assert here.corpus("rh").title == RH.title
    postgres.disconnect()
    assert publish(here, row("b")).number == 2


def test_a_corpus_has_one_writer_over_all_hosts(shared: tuple[Catalog, Catalog]) -> None:
    """Another one is told who writes; other corpora are free, and so is this one afterwards."""
    here, there = shared
    with here.writing_corpus("rh"):
        with (
            pytest.raises(StoreBusy, match=f"`rh` is being written by vauban .* {os.getpid()}"),
            there.writing_corpus("rh"),
        ):
            pass
        with pytest.raises(StoreBusy), here.writing_corpus("rh"):
            pass
        with there.writing_corpus("sante"):
            pass
    with there.writing_corpus("rh"):
        pass


def test_a_dead_writer_keeps_nobody_out(shared: tuple[Catalog, Catalog], postgres: PostgresServer) -> None:
    """Its session ends with it; when only the connection was lost, nothing fails but the exclusion."""
    here, there = shared
    with here.writing_corpus("rh"):
        postgres.disconnect()
        with there.writing_corpus("rh"):
            pass


def test_runs_of_other_hosts_are_left_alone_while_these_live(shared: tuple[Catalog, Catalog]) -> None:
    """Those of a dead one are not, nor those that were here before."""
    here, there = shared
    mine, theirs = here.add_run("rh", RunState.RUNNING), there.add_run("sante")
    here.interrupt_runs()
    assert here.run(mine).error == "interrupted"
    assert here.run(theirs).state is RunState.QUEUED
    there.close()
    here.interrupt_runs(but=[theirs])
    assert here.run(theirs).state is RunState.QUEUED
    here.interrupt_runs()
    assert here.run(theirs).error == "interrupted"


def test_a_database_that_cannot_be_used_is_named_without_its_password(postgres: PostgresServer) -> None:
    """By what to correct."""
    good = postgres.database()
    name = good.rpartition("/")[2]
    cases = {
        postgres.url(name, password="tr0mpé"): "database_refused",
        postgres.url("nowhere"): "database_refused",
        "postgresql://vauban:tr0mpé@127.0.0.1:1/x": database.UNREACHABLE,
        "postgresql://vauban:tr0mpé/@b@127.0.0.1:1/x": database.UNREACHABLE,
        "mysql://vauban:tr0mpé@127.0.0.1/x": "settings",
        "tr0mpé": "settings",
    }
    for url, code in cases.items():
        with pytest.raises(OperatorError) as raised:
            Catalog.open(url)
        assert raised.value.code == code, url
        assert "database_url" in raised.value.en
        assert not any(word in raised.value.en + raised.value.fr for word in ("tr0mpé", "sûr"))


def test_a_database_that_may_only_be_read_says_so(postgres: PostgresServer) -> None:
    """And goes on being read."""
    url = postgres.database()
    name = url.rpartition("/")[2]
    opened = Catalog.open(url)
    opened.declare(RH)
    opened.close()
    postgres.execute("CREATE ROLE reader LOGIN PASSWORD 'lecture'")
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", name)
    opened = Catalog.open(postgres.url(name, "reader", "lecture"))
    assert opened.corpora() == [RH]
    with pytest.raises(StoreError) as raised:
        opened.declare(RH)
    opened.close()
    assert raised.value.code == "database_read_only"


def test_a_full_disk_of_the_server_is_a_full_disk() -> None:
    """By the server's own code for it."""

    class Full(Exception):
        sqlstate = "53100"

    assert isinstance(database.ours(Full()), DiskFull)


# --- the home folder


def test_a_home_is_private_and_keeps_its_version(tmp_path: Path) -> None:
    """Only its user may enter it; a newer one is refused, a damaged one named."""
    home = Home.open(tmp_path / "state")
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    assert Home.open(home.root) == home
    home.version_file.write_text('{"schema": 2, "index": 1}')
    with pytest.raises(StoreError) as raised:
        Home.open(home.root)
    assert raised.value.code == "newer_home"
    home.version_file.write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        Home.open(home.root)


def test_the_store_has_one_owner(tmp_path: Path) -> None:
    """Also inside one process; letting go lets the next one in."""
    home = Home.open(tmp_path)
    with home.own():
        with pytest.raises(StoreBusy) as raised:
            home.own()
        assert raised.value.pid == os.getpid()
    home.own().release()


def test_another_process_is_refused_and_told_who_owns_the_store(tmp_path: Path) -> None:
    """A killed owner keeps nobody out."""
    script = (
        "import sys, time; from pathlib import Path; from rag.home import Home\n"
        "owner = Home.open(Path(sys.argv[1])).own(); print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(StoreBusy, match=str(other.pid)) as raised:
            Home.open(tmp_path).own()
        assert raised.value.pid == other.pid
        other.kill()
    Home.open(tmp_path).own().release()


def _linger(ready: object, leave: object) -> None:
    ready.set()  # type: ignore[attr-defined]  # events have no public type
    leave.wait(30)  # type: ignore[attr-defined]  # as above


def test_a_forked_worker_does_not_hold_the_lock(tmp_path: Path) -> None:
    """Workers that outlive their owner would otherwise keep everyone out."""
    home = Home.open(tmp_path)
    owner = home.own()
    context = multiprocessing.get_context("fork")
    ready, leave = context.Event(), context.Event()
    worker = context.Process(target=_linger, args=(ready, leave))
    worker.start()
    assert ready.wait(10)
    owner.release()
    home.own().release()
    leave.set()
    worker.join()


def test_server_json_is_private_and_a_dead_server_is_none(tmp_path: Path) -> None:
    """A process that got the same pid later does not pass for the server."""
    home = Home.open(tmp_path)
    assert home.server() is None
    server = Server.here("http://127.0.0.1:8080", "secret")
    home.announce(server)
    assert stat.S_IMODE(home.server_file.stat().st_mode) == 0o600
    assert home.server() == server
    home.announce(Server(server.url, server.pid, server.token, server.started - 60))
    assert home.server() is None
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    home.announce(Server(server.url, ended.pid, server.token, server.started))
    assert home.server() is None
    home.withdraw()
    assert home.server_file.exists(), "another server's file is left alone"
    home.announce(server)
    home.withdraw()
    assert not home.server_file.exists()


def test_source_files_are_kept_by_content(tmp_path: Path) -> None:
    """Twice the same is one file; what no version needs is pruned, and half-written ones with it."""
    home = Home.open(tmp_path / "home")
    source = tmp_path / "a.md"
    source.write_bytes(b"Article 1")
    digest = home.keep(Source(source))
    assert home.keep(Source(source)) == digest
    assert home.file(digest).read_bytes() == b"Article 1"
    (home.files / "1-2.part").write_bytes(b"half")
    assert home.prune(lambda: {digest}) == 0
    assert sorted(path.name for path in home.files.rglob("*") if path.is_file()) == [digest]
    assert home.prune(set) == 1


def test_what_another_work_keeps_is_not_pruned(tmp_path: Path) -> None:
    """A sync of one corpus ends while another one has kept files that no catalog names yet."""
    home = Home.open(tmp_path / "home")
    (tmp_path / "a.md").write_bytes(b"Article 1")
    with home.keeping():
        digest = home.keep(Source(tmp_path / "a.md"))
        with home.keeping():
            assert home.prune(set) == 0
        assert home.file(digest).exists()
        assert home.prune(set) == 1


def test_a_full_disk_keeps_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and nothing is left behind."""
    home = Home.open(tmp_path / "home")
    source = tmp_path / "a.md"
    source.write_bytes(b"Article 1")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        home.keep(Source(source))
    assert list(home.files.iterdir()) == []


def test_no_statement_reaches_an_error(catalog: Catalog) -> None:
    """Titles and comments that people wrote stay out of messages."""
    error = database.ours(sqlite3.OperationalError("database is locked"))
    assert "database is locked" in str(error)
    assert catalog._database.engine.hide_parameters
