"""A corpus fed document by document: each change is published whole, or leaves no trace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ingest import discover, uploads
from ingest.managed import check_not_fed, folder_of, is_fed
from ingest.pipeline import sync, unseen
from ingest.uploads import Asked, Settled
from rag.catalog import DocumentState
from rag.errors import BadRequest, Conflict, DocumentError, NotFound, VaubanError
from rag.home import INCOMING
from rag.types import Corpus, Matrix, RunKind, RunState, RunStatus, Said, SyncOptions, Upload, UploadKind
from tests.corpus_world import World, world

CORPUS = Corpus("envois", "Envois", groups=frozenset({"*"}))


class Fed:
    """A corpus that uploads feed, and what was sent to it."""

    def __init__(self, one: World, tmp_path: Path) -> None:
        self.world, self.tmp_path = one, tmp_path
        uploads.declare(one.home, one.catalog, CORPUS, new=True)
        self.folder = folder_of(one.home, "envois")
        self.settled = Settled()

    def upload(self, name: str, text: str = "", kind: UploadKind = UploadKind.ADD, **more: object) -> Upload:
        file = None
        if kind is not UploadKind.REMOVE:
            file = self.world.home.uploads / INCOMING / f"sent {name}"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return replace(Upload("envois", name, kind, name, file), **more)  # type: ignore[arg-type]  # a test's values

    def send(self, upload: Upload, cancelled: Callable[[], bool] = lambda: False) -> RunStatus:
        run = self.world.catalog.add_run("envois", kind=RunKind.UPLOAD)
        with suppress(VaubanError):
            uploads.take_in([Asked(upload, run, cancelled)], self.world.parts, progress=unseen, settled=self.settled)
        return self.world.catalog.run(run)

    def send_together(self, *sent: Upload, **more: Callable[[], bool]) -> list[RunStatus]:
        """``more`` says of a document when its change was cancelled."""
        catalog = self.world.catalog
        asked = [
            Asked(one, catalog.add_run("envois", kind=RunKind.UPLOAD), more.get(one.document, lambda: False))
            for one in sent
        ]
        uploads.take_in(asked, self.world.parts, progress=unseen, settled=self.settled)
        return [catalog.run(one.run) for one in asked]

    def add(self, name: str, text: str = "# Article 1\n\nTexte.", **more: object) -> RunStatus:
        return self.send(self.upload(name, text, UploadKind.ADD, **more))

    def put(self, name: str, text: str, **more: object) -> RunStatus:
        return self.send(self.upload(name, text, UploadKind.REPLACE, **more))

    @property
    def published(self) -> dict[str, DocumentState]:
        catalog = self.world.catalog
        return {row.document.id: row.state for row in catalog.documents("envois", catalog.published("envois"))}

    @property
    def files(self) -> dict[str, str]:
        return {file.name: file.read_text() for file in self.folder.iterdir()}

    def left(self) -> list[str]:
        """What lies beside the folder of the corpus."""
        home = self.world.home.uploads
        return [str(path) for name in (INCOMING, uploads.CHANGES) for path in (home / name).rglob("*")]


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Fed]:
    with world(tmp_path, documents=0) as one:
        yield Fed(one, tmp_path)


def test_a_document_is_added_replaced_and_removed(fed: Fed) -> None:
    """Each in a snapshot of its own, under an id that stays; what is said of it goes into its sidecar."""
    said = Said(title='Le "titre"\x7f', groups=frozenset({"direction"}), clearance=2)
    done = fed.add("a.md", document="le texte", said=said)
    assert (done.state, done.snapshot, done.counts["added"]) == (RunState.DONE, 1, 1)
    row = fed.world.catalog.document("envois", "le texte", (1,))
    assert row is not None
    assert (row.document.title, row.document.groups, row.document.clearance) == (
        'Le "titre"\x7f',
        frozenset({"direction"}),
        2,
    )
    assert fed.put("b.md", "# Article 1\n\nNeuf.", document="le texte").snapshot == 2
    assert sorted(fed.files) == ["b.md", "b.md.meta.toml", "corpus.toml"]
    assert fed.send(Upload("envois", "le texte", UploadKind.REMOVE)).snapshot == 3
    assert (fed.published, sorted(fed.files), fed.left()) == ({}, ["corpus.toml"], [])


def test_a_file_that_cannot_be_read_changes_nothing(fed: Fed) -> None:
    """Its run has the reason; the version before stays, and is not stale."""
    fed.add("a.md")
    before = fed.files
    for run in (fed.add("b.md", "BAD"), fed.put("a.md", "BAD", said=Said(title="Autre"))):
        assert (run.state, run.error, [row.reason for row in run.rejected]) == (RunState.FAILED, "corrupt", ["corrupt"])
    assert (fed.files, fed.left()) == (before, [])
    assert fed.published == {"a.md": DocumentState.CURRENT}
    assert fed.world.catalog.published("envois") == (1,)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "a.md"}, "document_exists"),
        ({"name": "x.md", "document": "a.md"}, "document_exists"),
        ({"name": "a.md", "document": "autre"}, "name_taken"),
        ({"name": "a.md.txt"}, "name_taken"),
        ({"name": "a"}, "name_taken"),
        ({"name": "a.md", "kind": UploadKind.REPLACE, "expected": "0" * 64}, "changed_meanwhile"),
        ({"name": "b.md", "kind": UploadKind.REPLACE}, "unknown_document"),
        ({"name": "b.md", "kind": UploadKind.REMOVE}, "unknown_document"),
        ({"name": "../b.md"}, "bad_name"),
        ({"name": "b.md", "corpus": "rh"}, "fed_from_folder"),
    ],
)
def test_what_speaks_against_a_change_is_said_before_it_waits(fed: Fed, change: dict[str, object], code: str) -> None:
    """With a name for programs; a sidecar that would fit two documents is refused as well."""
    fed.add("a.md", document="plan secret" if code == "name_taken" else "a.md")
    values = {"document": change["name"], **change}
    upload = replace(Upload("envois", "", UploadKind.ADD), **values)  # type: ignore[arg-type]  # a table's values
    with pytest.raises((Conflict, NotFound, BadRequest)) as refused:
        uploads.check(upload, fed.world.home, fed.world.catalog)
    assert refused.value.code == code
    assert "plan secret" not in refused.value.en + refused.value.fr


@pytest.mark.parametrize("text", ["BAD", "# Article 1\n\nNeuf."])
def test_a_change_that_fails_leaves_readers_as_they_were(fed: Fed, text: str) -> None:
    """Who may read acts before a file is read, and must not outlive its refusal, nor a cancel."""
    fed.add("a.md", said=Said(groups=frozenset({"direction"}), clearance=3))
    wide = fed.upload("a.md", text, UploadKind.REPLACE, said=Said(groups=frozenset({"*"})))
    assert fed.send(wide, cancelled=lambda: text != "BAD").state is not RunState.DONE
    row = fed.world.catalog.document("envois", "a.md", (1,))
    assert row is not None
    assert (row.document.groups, row.document.clearance) == (frozenset({"direction"}), 3)
    assert {stored.chunk.groups for stored in fed.world.store.contents("envois", (1,))} == {frozenset({"direction"})}


def test_what_is_said_of_a_document_is_checked(fed: Fed) -> None:
    """As a sidecar is."""
    upload = Upload("envois", "a", UploadKind.ADD, "a.md", said=Said(language="français"))
    with pytest.raises(DocumentError):
        uploads.check(upload, fed.world.home, fed.world.catalog)


def test_after_a_rollback_a_change_says_whether_it_brings_everything_back(fed: Fed) -> None:
    """What was rolled back is published again only by a person who means it."""
    fed.add("a.md")
    fed.add("b.md")
    fed.world.catalog.rollback("envois")
    assert (fed.add("c.md").error, fed.published) == ("held_after_rollback", {"a.md": DocumentState.CURRENT})
    assert "c.md" not in fed.files
    assert fed.add("c.md", resume=True).state is RunState.DONE
    assert set(fed.published) == {"a.md", "b.md", "c.md"}
    fed.world.catalog.rollback("envois", 1)
    run = fed.world.catalog.add_run("envois")
    uploads.publish_as_they_stand("envois", fed.world.parts, progress=unseen, cancelled=lambda: False, run=run)
    assert set(fed.published) == {"a.md", "b.md", "c.md"}


def test_a_rolled_back_name_can_be_sent_again(fed: Fed) -> None:
    """Its file still lies in the folder, and is not what is published."""
    fed.add("a.md")
    fed.add("b.md", "# Article 1\n\nFaux.")
    fed.world.catalog.rollback("envois")
    assert fed.add("b.md", "# Article 1\n\nJuste.", resume=True).state is RunState.DONE
    assert "Juste" in fed.files["b.md"]


def test_a_cancelled_change_is_undone(fed: Fed) -> None:
    """Nothing of it stays in the folder."""
    fed.add("a.md")
    before = fed.files
    assert (
        fed.send(fed.upload("a.md", "# Article 1\n\nX.", UploadKind.REPLACE), lambda: True).state is RunState.CANCELLED
    )
    assert (fed.files, fed.left()) == (before, [])


@pytest.mark.parametrize("kind", list(UploadKind))
@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_a_kill_leaves_the_old_or_the_new(
    fed: Fed, monkeypatch: pytest.MonkeyPatch, kind: UploadKind, when: str
) -> None:
    """Whenever it comes: the next start makes the folder what is published."""
    fed.add("a.md")
    name = "b.md" if kind is UploadKind.ADD else "a.md"
    upload = fed.upload(name, "# Article 1\n\nNeuf.", kind)
    before = fed.files

    class Killed(BaseException):
        """No code of ours hears of a kill."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(uploads._Change, "_forget", killed)
        if when == "before":
            real, times = Path.replace, []

            def once(self: Path, target: Path) -> Path:
                if uploads.CHANGES in str(target) or self.name.startswith("sent"):
                    times.append(1)
                    raise Killed
                return real(self, target)

            patch.setattr(Path, "replace", once)
        elif when == "between":
            patch.setattr(uploads, "publish", killed)
        patch.setattr(uploads._Change, "undo", killed)
        patch.setattr(uploads._Change, "settle", lambda *_: None)
        with pytest.raises(Killed):
            uploads.take_in(
                [Asked(upload, fed.world.catalog.add_run("envois"))],
                fed.world.parts,
                progress=unseen,
                settled=fed.settled,
            )
    uploads.tidy(fed.world.home, fed.world.catalog, fed.world.store)
    assert fed.left() == []
    if when != "after":
        assert fed.files == before
    report = sync(fed.folder, "envois", fed.world.parts, SyncOptions(confirm_removals=True))
    assert (report.added, report.changed, report.removed) == (0, 0, 0)
    assert set(fed.published) == {one for one in fed.files if one.endswith(".md")}


def test_a_file_that_was_lost_is_no_removal(fed: Fed) -> None:
    """The folder is on a disk as others are: the next upload, and the first after a start, must not publish losses."""
    fed.add("a.md")
    (fed.folder / "a.md").unlink()
    assert fed.add("b.md").state is RunState.DONE
    fed.settled = Settled()
    assert fed.add("c.md").error == "uploads_missing"
    assert set(fed.published) == {"a.md", "b.md"}


def test_nothing_else_publishes_what_uploads_feed(fed: Fed) -> None:
    """A sync of another folder, or an import, would be undone by the next upload."""
    (fed.world.folder / "corpus.toml").write_text('name = "envois"\n')
    with pytest.raises(Conflict) as refused:
        sync(fed.world.folder, "envois", fed.world.parts)
    assert refused.value.code == "fed_by_uploads"
    with pytest.raises(Conflict):
        check_not_fed(fed.world.home, "envois")
    assert not is_fed(fed.world.home, "rh")


def test_who_may_see_a_corpus_acts_at_once(fed: Fed) -> None:
    """And stands in its folder, so that no later upload takes it back."""
    uploads.declare(fed.world.home, fed.world.catalog, replace(CORPUS, groups=frozenset({"rh"})), new=False)
    assert fed.world.catalog.corpus("envois").groups == {"rh"}
    fed.add("a.md")
    assert fed.world.catalog.corpus("envois").groups == {"rh"}
    with pytest.raises(Conflict) as refused:
        uploads.declare(fed.world.home, fed.world.catalog, CORPUS, new=True)
    assert refused.value.code == "corpus_exists"
    for wrong in (replace(CORPUS, name="../x"), replace(CORPUS, name="n", language="français")):
        with pytest.raises(BadRequest):
            uploads.declare(fed.world.home, fed.world.catalog, wrong, new=True)


def test_a_link_in_the_folder_is_not_followed(fed: Fed) -> None:
    """An upload under its name takes its place, and what it led to stays as it is."""
    outside = fed.tmp_path / "secret"
    outside.write_text("secret")
    os.symlink(outside, fed.folder / "b.md")
    assert fed.add("b.md").state is RunState.DONE
    assert outside.read_text() == "secret"
    assert not (fed.folder / "b.md").is_symlink()


def test_a_full_disk_is_an_error_of_the_operator(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left half-made."""
    before = fed.files
    monkeypatch.setattr(uploads, "write_atomically", _full)
    assert fed.add("a.md").error == "disk_full"
    assert (fed.files, fed.left()) == (before, [])


# --- changes made together ------------------------------------------------------------------------------


def test_changes_that_wait_are_published_in_one_step(fed: Fed) -> None:
    """Each run tells of its own document, and of the snapshot that all share."""
    fed.add("a.md")
    fed.add("b.md")
    done = fed.send_together(
        fed.upload("a.md", "# Article 1\n\nNeuf.", UploadKind.REPLACE),
        fed.upload("b.md", kind=UploadKind.REMOVE),
        fed.upload("c.md", "# Article 1\n\nC."),
    )
    assert [run.snapshot for run in done] == [3, 3, 3]
    assert [(run.counts["changed"], run.counts["removed"], run.counts["added"]) for run in done] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
    ]
    outcomes = [fed.world.catalog.outcomes(run.id) for run in done]
    assert [[row.document for row in rows] for rows in outcomes] == [["a.md"], ["b.md"], ["c.md"]]
    assert (sorted(fed.published), fed.left()) == (["a.md", "c.md"], [])


def test_what_cannot_be_taken_in_hurts_no_change_beside_it(fed: Fed) -> None:
    """Neither a broken file, nor one whose document has changed meanwhile, nor one that was cancelled."""
    fed.add("a.md", said=Said(groups=frozenset({"direction"})))
    fed.add("b.md")
    before = fed.files
    done = fed.send_together(
        fed.upload("a.md", "BAD", UploadKind.REPLACE, said=Said(groups=frozenset({"*"}))),
        fed.upload("b.md", "# Article 1\n\nX.", UploadKind.REPLACE, expected="0" * 64),
        fed.upload("c.md", "# Article 1\n\nC."),
        fed.upload("d.md", "# Article 1\n\nD."),
        **{"d.md": lambda: True},
    )
    assert [run.error for run in done] == ["corrupt", "changed_meanwhile", None, "cancelled"]
    assert fed.published == dict.fromkeys(["a.md", "b.md", "c.md"], DocumentState.CURRENT)
    assert {name: text for name, text in fed.files.items() if not name.startswith("c.md")} == before
    row = fed.world.catalog.document("envois", "a.md", fed.world.catalog.published("envois"))
    assert row is not None
    assert (row.document.groups, fed.left()) == (frozenset({"direction"}), [])


def test_a_defect_that_one_document_meets_is_not_the_others(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails together is tried one by one."""
    real = fed.world.embedder.embed_passages

    def embed(texts: list[str]) -> Matrix:
        if any("poison" in text for text in texts):
            raise ZeroDivisionError("poison")
        return real(texts)

    monkeypatch.setattr(fed.world.embedder, "embed_passages", embed)
    done = fed.send_together(fed.upload("a.md", "# Article 1\n\npoison"), fed.upload("b.md", "# Article 1\n\nB."))
    assert [(run.state, run.error) for run in done] == [(RunState.FAILED, "ZeroDivisionError"), (RunState.DONE, None)]
    assert (set(fed.published), "poison" in done[0].detail, fed.left()) == ({"b.md"}, False, [])


def test_a_change_looks_at_nothing_but_itself(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the folder is known to be what is published: a document costs the same however many there are."""
    hashed: list[str] = []
    real = discover._digest

    def digest(file: Path) -> tuple[str, bytes]:
        hashed.append(file.name)
        return real(file)

    monkeypatch.setattr(discover, "_digest", digest)
    fed.send_together(*(fed.upload(f"{n}.md", f"# Article 1\n\nTexte {n}.") for n in range(9)))
    hashed.clear()
    done = fed.add("neuf.md", "# Article 1\n\nTexte. Suite.")
    assert hashed == ["neuf.md"]
    assert (done.counts["added"], done.counts["unchanged"], done.counts["chunks"]) == (1, 9, 10)
    fed.settled = Settled()
    again = fed.put("neuf.md", "# Article 1\n\nAutre.")
    assert (len(hashed), again.counts["unchanged"], again.counts["chunks"]) == (11, 9, 10)


def test_what_a_rollback_took_back_is_seen_by_the_next_change(fed: Fed) -> None:
    """The folder is no longer what is published."""
    fed.add("a.md")
    fed.add("b.md")
    fed.world.catalog.rollback("envois")
    fed.add("c.md", resume=True)
    assert set(fed.published) == {"a.md", "b.md", "c.md"}


def test_a_stale_document_stays_so_when_another_is_changed(fed: Fed) -> None:
    """Also where nobody looks at it."""
    fed.add("a.md")
    fed.add("b.md")
    fed.world.catalog.mark("envois", {"a.md"})
    fed.add("c.md")
    assert fed.published["a.md"] is DocumentState.STALE
    fed.put("a.md", "# Article 1\n\nMieux.")
    assert set(fed.published.values()) == {DocumentState.CURRENT}


def test_a_kill_among_changes_keeps_those_that_were_published(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """And undoes the one whose file was not taken in."""

    class Killed(BaseException):
        """No code of ours hears of a kill."""

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(uploads._Change, "undo", killed)
        patch.setattr(uploads._Change, "settle", lambda *_: None)
        with pytest.raises(Killed):
            fed.send_together(fed.upload("a.md", "BAD"), fed.upload("b.md", "# Article 1\n\nB."))
    uploads.tidy(fed.world.home, fed.world.catalog, fed.world.store)
    assert set(fed.published) == {"b.md"}
    assert (sorted(fed.files), fed.left()) == (["b.md", "b.md.meta.toml", "corpus.toml"], [])


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
