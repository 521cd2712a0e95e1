"""The chain of records: nothing of it changes unnoticed, and what was erased is gone while the chain stays whole."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.audit import Records
from rag.database import Database
from rag.erasure import Erasing
from rag.errors import BadRequest, NotFound, SettingsError, StoreError
from rag.heads import HEAD_FILE, HEADS, Head
from rag.recording import Asked, finish
from rag.records import CONTENTS, RECORDS, Draft, RecordKind, Wanted, ranges
from rag.sealing import KEY_FILE, canonical
from rag.tampers import Tamper
from rag.types import Access, Principal, Question
from tests import chain_tampers
from tests.chain_tampers import Forger
from tests.postgres_server import PostgresServer
from tests.rag_server import Writer, parts

TAMPERS = int(os.environ.get("VAUBAN_TEST_TAMPERS", "60"))
ERASURE = Draft(RecordKind.ERASURE, {}, {"name": "operator"}, "server:local")


@dataclass
class Kept:
    """A chain, where it is kept, and its files."""

    where: Path | str
    home: Path
    database: Database
    records: Records

    def verify(self) -> list[tuple[Tamper, int | None]]:
        return [(one.tamper, one.seq) for one in self.records.verify().findings]

    def fill(self, count: int, start: int = 0) -> None:
        for number in range(start, start + count):
            self.records.append(answer(number))


def answer(number: int, owner: str = "key:alice") -> Draft:
    content = {"question": f"canari-{number} ?", "text": "é" * 50}
    body = {"passages": [number], "score": 0.1}
    return Draft(RecordKind.ANSWER, body, content, owner, f"chatcmpl-{number}", "answered", ("rh",))


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    home = tmp_path / "home"
    home.mkdir()
    where: Path | str = home / "catalog.sqlite"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        where = server.database()
    database = Database.open(where)
    yield Kept(where, home, database, Records.open(database, home))
    database.close()


# --- the chain ------------------------------------------------------------------------------------------


def test_an_untouched_chain_is_whole(kept: Kept) -> None:
    """Also an empty one."""
    assert kept.verify() == []
    kept.fill(3)
    assert kept.verify() == []
    assert kept.records.head.count == 3


def test_a_record_is_read_by_its_number_or_by_the_id_of_its_answer(kept: Kept) -> None:
    """And what there is not is not found."""
    kept.fill(2)
    found = kept.records.read("chatcmpl-1")
    assert (found.seq, found.content) == (2, answer(1).content)
    assert kept.records.read("2") == found
    for unknown in ("3", "chatcmpl-7", "", "0", "9" * 30):
        with pytest.raises(NotFound):
            kept.records.read(unknown)


@pytest.mark.parametrize("seed", range(TAMPERS))
def test_every_tamper_is_found(tampered: Kept, seed: int) -> None:
    """Whatever is altered, removed, cut off, exchanged, doubled or invented."""
    dice = random.Random(seed)
    what = dice.choice(chain_tampers.ALL)
    told = what(Forger(tampered.database, tampered.home), dice)
    assert tampered.verify(), f"{what.__name__}: {told}"


@pytest.mark.bench
def test_a_thousand_tampers_with_a_thousand_answers_are_all_found(tmp_path: Path) -> None:
    """Real answers, with erasures among them; each tamper on a copy of its own."""
    vauban = parts(tmp_path, Writer())
    words = ("congé annuel", "repas en mission", "régisseur", "horaires d'été", "café", "report des congés")
    started = time.perf_counter()
    for number in range(1_000):
        person = Principal(f"p{number % 37}", frozenset({"agents"}), access=Access.KEY)
        question = Question(f"Quelle est la règle {number} : {words[number % 6]} ?", person)
        finish(vauban, Asked(f"chatcmpl-{number}", question), vauban.engine.answer(question))
    print(f"\n1,000 answers in {time.perf_counter() - started:.1f} s")
    vauban.records.erase(Erasing(person="p5"), ERASURE)
    started = time.perf_counter()
    assert vauban.records.verify().whole
    print(f"verified in {time.perf_counter() - started:.3f} s")
    vauban.database.close()
    missed = []
    found: Counter[str] = Counter()
    for seed in range(1_000):
        home = tmp_path / "copy"
        home.mkdir()
        for name in ("catalog.sqlite", KEY_FILE, HEAD_FILE):
            shutil.copy(vauban.home.root / name, home / name)
        database = Database.open(home / "catalog.sqlite")
        records = Records.open(database, home)
        dice = random.Random(seed)
        what = dice.choice(chain_tampers.ALL)
        told = what(Forger(database, home), dice)
        findings = records.verify().findings
        found[what.__name__] += bool(findings)
        if not findings:
            missed.append((seed, what.__name__, told))
        database.close()
        shutil.rmtree(home)
    print(dict(found))
    assert missed == []


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a chain of some answers, one of them erased."""
    home = tmp_path_factory.mktemp("pristine")
    database = Database.open(home / "catalog.sqlite")
    made = Kept(home / "catalog.sqlite", home, database, Records.open(database, home))
    made.fill(24)
    made.records.erase(Erasing(answer="chatcmpl-5"), ERASURE)
    made.fill(6, 24)
    assert made.verify() == []
    database.close()
    return home


@pytest.fixture
def tampered(pristine: Path, tmp_path: Path) -> Iterator[Kept]:
    """A copy of it that may be spoilt."""
    home = tmp_path / "home"
    shutil.copytree(pristine, home)
    database = Database.open(home / "catalog.sqlite")
    yield Kept(home / "catalog.sqlite", home, database, Records.open(database, home))
    database.close()


def test_the_record_that_was_tampered_with_is_named(kept: Kept) -> None:
    """Each way has its name."""
    kept.fill(9)
    forger = Forger(kept.database, kept.home)
    forger.set(RECORDS, 2, status="refused")
    forger.set(CONTENTS, 3, content='{"question":"autre"}')
    forger.delete(CONTENTS, 4)
    forger.delete(RECORDS, 6)
    assert set(kept.verify()) == {
        (Tamper.ALTERED, 2),
        (Tamper.CONTENT_ALTERED, 3),
        (Tamper.CONTENT_REMOVED, 4),
        (Tamper.REMOVED, 6),
        (Tamper.UNLINKED, 7),
        (Tamper.CONTENT_STRAY, 6),
    }


def test_every_column_of_every_table_is_held(tampered: Kept) -> None:
    """A column that is added to a table and not to what is sealed would be found here."""
    forger = Forger(tampered.database, tampered.home)
    for table, key in ((RECORDS, 7), (CONTENTS, 7), (HEADS, 1)):
        before = forger.one(table, key)
        for column in table.columns:
            changed = f"{before[column.name]}0" if isinstance(before[column.name], str) else 999
            forger.set(table, key, **{column.name: changed})
            assert tampered.verify(), f"{table.name}.{column.name}"
            forger.set(table, changed if column.primary_key else key, **{column.name: before[column.name]})
    assert tampered.verify() == []


def test_a_cut_at_the_end_is_found_even_when_the_head_is_put_back(kept: Kept) -> None:
    """The database's head as it was then is signed; the file beside it has a later one."""
    kept.fill(5)
    forger = Forger(kept.database, kept.home)
    head = forger.rows(HEADS)
    kept.fill(3, 5)
    for seq in (6, 7, 8):
        forger.delete(RECORDS, seq)
        forger.delete(CONTENTS, seq)
    forger.write(HEADS, head)
    assert kept.verify() == [(Tamper.TRUNCATED, 6)]


def test_a_home_put_back_whole_is_found_by_a_head_noted_elsewhere(tampered: Kept, pristine: Path) -> None:
    """Nothing in the home can tell."""
    tampered.fill(2, 30)
    noted = tampered.records.head
    database = Database.open(pristine / "catalog.sqlite")
    older = Records.open(database, pristine)
    assert older.verify().whole
    assert [one.tamper for one in older.verify([noted]).findings] == [Tamper.TRUNCATED]
    older.append(answer(90))
    older.append(answer(91))
    assert [one.tamper for one in older.verify([noted]).findings] == [Tamper.OTHER_HISTORY]
    database.close()


def test_a_program_that_goes_on_over_a_tampered_end_raises_an_alarm_that_stays(kept: Kept) -> None:
    """The evidence would be overwritten otherwise."""
    kept.fill(4)
    forger = Forger(kept.database, kept.home)
    forger.delete(RECORDS, 4)
    forger.delete(CONTENTS, 4)
    kept.records.append(answer(8))
    assert kept.records.page(Wanted(kind=RecordKind.ALARM))[0].body == {"found": "truncated"}
    assert (Tamper.REMOVED, 4) in kept.verify()
    kept.fill(2, 9)
    assert (Tamper.ALARM, 5) in kept.verify()


def test_a_head_behind_the_database_is_no_tamper(kept: Kept) -> None:
    """A program that is killed between the two, or a power cut, leaves it so."""
    kept.fill(3)
    file = (kept.home / HEAD_FILE).read_bytes()
    kept.fill(3, 3)
    (kept.home / HEAD_FILE).write_bytes(file)
    assert kept.verify() == []
    Records.open(kept.database, kept.home).append(answer(9))
    assert kept.verify() == []


def test_a_torn_line_of_the_head_leaves_the_other(kept: Kept) -> None:
    """The file is written without waiting for the disk."""
    kept.fill(4)
    path = kept.home / HEAD_FILE
    path.write_bytes(b"\0" * 60 + path.read_bytes()[60:])
    assert kept.verify() == []


def test_the_second_record_may_come_before_the_head_of_the_first_is_noted(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two first questions at once are no tampering: the file of the head is there before any record."""
    with monkeypatch.context() as slow:
        slow.setattr(kept.records._file, "note", lambda head: None)
        kept.fill(1)
    Records.open(kept.database, kept.home).append(answer(1))
    assert kept.records.head.count == 2
    assert kept.verify() == []


def test_many_threads_write_one_chain(kept: Kept) -> None:
    """Of two programs as well."""
    other = Records.open(kept.database, kept.home)
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda n: (kept.records, other)[n % 2].append(answer(n)), range(40)))
    assert sorted(numbers) == list(range(1, 41))
    assert kept.verify() == []


def test_programs_of_several_hosts_write_one_chain(postgres: PostgresServer, tmp_path: Path) -> None:
    """Each has a home; they share the database and the file of the secret."""
    url, secret = postgres.database(), tmp_path / "shared.key"
    databases = [Database.open(url) for _ in range(2)]
    chains = []
    for name, database in zip("ab", databases, strict=True):
        (tmp_path / name).mkdir()
        chains.append(Records.open(database, tmp_path / name, secret))
    for number in range(6):
        chains[number % 2].append(answer(number))
    assert [one.verify().findings for one in chains] == [(), ()]
    (tmp_path / "c").mkdir()
    with pytest.raises(SettingsError, match="audit_key"):
        Records.open(databases[0], tmp_path / "c")
    for database in databases:
        database.close()


def test_an_altered_record_is_not_believed(kept: Kept) -> None:
    """It cannot be read, nor replayed; in a list an alarm stands in its place."""
    kept.fill(3)
    forger = Forger(kept.database, kept.home)
    forger.set(RECORDS, 1, body="[]")
    forger.set(CONTENTS, 2, content='{"question":"autre"}')
    for number in "12":
        with pytest.raises(StoreError):
            kept.records.read(number)
    first, second, third = kept.records.page(Wanted())
    assert (first.kind, first.body) == (second.kind, second.body)
    assert (first.kind, first.body) == (RecordKind.ALARM, {"found": "altered"})
    assert second.content is None
    assert third.content == answer(2).content


# --- the secret -----------------------------------------------------------------------------------------


def test_the_secret_is_this_users_alone(kept: Kept) -> None:
    """256 bits; a file that others may read is refused."""
    path = kept.home / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        Records.open(kept.database, kept.home)


@pytest.mark.parametrize("written", [None, "", "abc", "zz" * 32, "ab" * 32])
def test_another_secret_or_none_is_refused(kept: Kept, written: str | None) -> None:
    """What was sealed with the first could not be verified, and a new one would hide that."""
    path = kept.home / KEY_FILE
    path.unlink()
    if written is not None:
        path.write_text(written)
        path.chmod(0o600)
    with pytest.raises(SettingsError):
        Records.open(kept.database, kept.home)
    assert path.exists() == (written is not None)


# --- erasure --------------------------------------------------------------------------------------------


def test_what_is_erased_is_gone_and_the_chain_stays_whole(kept: Kept) -> None:
    """And the erasure is a record that does not say whose."""
    kept.fill(3)
    done = kept.records.erase(Erasing(answer="chatcmpl-1"), ERASURE)
    assert (done.count, done.seq) == (1, 4)
    record = kept.records.read("2")
    assert record.erased
    assert record.content is None
    assert kept.records.read("4").body == {"reason": "answer", "records": [[2, 2]]}
    verified = kept.records.verify()
    assert (verified.whole, verified.erased) == (True, 1)
    assert kept.records.erase(Erasing(answer="chatcmpl-1"), ERASURE).seq is None


def test_a_person_is_erased_by_owner_or_by_name(kept: Kept) -> None:
    """By name whichever way they came in, and nobody whose name only ends so."""
    owners = ["key:alice", "oidc:alice", "key:malice", "key:bob", "local:local"]
    for number, owner in enumerate(owners):
        kept.records.append(answer(number, owner))
    kept.records.append(Draft(RecordKind.VIEW, {}, {"name": "alice"}, "key:alice"))
    assert kept.records.erase(Erasing(person="oidc:alice"), ERASURE).count == 1
    assert kept.records.erase(Erasing(person="alice"), ERASURE).count == 1
    assert kept.records.erase(Erasing(person="%"), ERASURE).count == 0
    left = [record.seq for record in kept.records.page(Wanted(kind=RecordKind.ANSWER)) if not record.erased]
    assert left == [3, 4, 5]
    assert kept.verify() == []


def test_what_is_older_than_a_moment_is_erased(kept: Kept) -> None:
    """Also who looked at it."""
    kept.fill(2)
    kept.records.append(Draft(RecordKind.VIEW, {}, {"name": "zoe"}, "key:zoe"))
    before = kept.records.read("3").at
    kept.fill(1, 2)
    assert kept.records.erase(Erasing(before=before), ERASURE).count == 2
    assert kept.records.erase(Erasing(before=kept.records.read("4").at), ERASURE).count == 1
    assert not kept.records.read("4").erased


def test_what_was_erased_cannot_come_back(kept: Kept) -> None:
    """A content from a backup, put in its place again, is a finding."""
    kept.fill(2)
    forger = Forger(kept.database, kept.home)
    row = forger.one(CONTENTS, 1)
    kept.records.erase(Erasing(answer="chatcmpl-0"), ERASURE)
    forger.insert(CONTENTS, row)
    assert kept.verify() == [(Tamper.CONTENT_RESTORED, 1)]


def test_no_byte_of_what_was_erased_is_left_in_the_home(tmp_path: Path) -> None:
    """In no file, however the rows were moved about before."""
    database = Database.open(tmp_path / "catalog.sqlite")
    records = Records.open(database, tmp_path)
    dice = random.Random(1)
    canaries = [f"CANARI{number:04d}QQ" for number in range(150)]
    for number, canary in enumerate(canaries):
        content = {"name": canary, "question": canary * dice.randint(1, 400), "text": "x" * dice.randint(0, 3_000)}
        records.append(Draft(RecordKind.ANSWER, {}, content, f"key:{canary}", f"chatcmpl-{number}", "answered"))
    assert b"CANARI0007QQ" in _bytes(tmp_path)
    erased = dice.sample(canaries, 60)
    for canary in erased:
        done = records.erase(Erasing(person=canary), ERASURE)
        assert (done.count, done.scrubbed) == (1, True)
    left = _bytes(tmp_path)
    assert not [canary for canary in erased if canary.encode() in left]
    assert all(canary.encode() in left for canary in canaries if canary not in erased)
    assert records.verify().whole
    database.close()


def test_what_was_erased_is_written_over_in_a_database_server_too(postgres: PostgresServer, tmp_path: Path) -> None:
    """The file of the contents is another one afterwards."""
    url = postgres.database()
    name = url.rpartition("/")[2]
    database = Database.open(url)
    records = Records.open(database, tmp_path)
    records.append(answer(1))
    before = postgres.execute("SELECT pg_relation_filepath('record_contents')", name)
    assert records.erase(Erasing(person="key:alice"), ERASURE).scrubbed
    assert postgres.execute("SELECT pg_relation_filepath('record_contents')", name) != before
    database.close()


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# --- pages, heads, words --------------------------------------------------------------------------------


def test_records_are_found_by_what_is_asked_of_them(kept: Kept) -> None:
    """From, to, owner, status, corpus and kind, a page at a time, in either order."""
    kept.fill(5)
    kept.records.append(answer(5, "key:bob"))
    kept.records.append(Draft(RecordKind.ANSWER, {}, {}, "key:bob", "x", "refused", ("finances", "rh_2")))

    def found(**conditions: object) -> list[int]:
        return [one.seq for one in kept.records.page(Wanted(**conditions))]  # type: ignore[arg-type]  # a test's values

    assert found(owner="key:bob") == [6, 7]
    assert found(status="refused") == [7]
    assert (found(corpus="rh"), found(corpus="rh_2"), found(corpus="%")) == ([1, 2, 3, 4, 5, 6], [7], [])
    third = kept.records.read("3").at
    assert (found(start=third), found(end=third)) == ([3, 4, 5, 6, 7], [1, 2])
    assert [one.seq for one in kept.records.page(Wanted(), after=3, limit=2)] == [4, 5]
    assert [one.seq for one in kept.records.page(Wanted(), limit=2, newest=True)] == [7, 6]
    assert [one.seq for one in kept.records.page(Wanted(), after=6, limit=2, newest=True)] == [5, 4]


@pytest.mark.parametrize(
    "written", ["", "3", "3:abc", f"x:{'a' * 64}", f"-1:{'a' * 64}", f"3:{'A' * 64}", "²:" + "a" * 64]
)
def test_a_head_that_is_none_is_refused(written: str) -> None:
    """With how one is written."""
    with pytest.raises(BadRequest):
        Head.parse(written)


def test_a_head_is_read_as_it_is_written() -> None:
    """By a person, from paper."""
    head = Head(12, "ab" * 32)
    assert Head.parse(f" {head}\n") == head


TEXTS = st.text(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.tuples(st.dictionaries(TEXTS, JSON, max_size=4), TEXTS), min_size=1, max_size=4), st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_recorded_verifies_and_is_read_back(
    kept: Kept, drafts: list[tuple[dict[str, object], str]], data: st.DataObject
) -> None:
    """Any words, numbers and signs, on either database; what was erased is erased, and the rest is as it was."""
    first = kept.records.head.count + 1
    for content, owner in drafts:
        kept.records.append(Draft(RecordKind.ANSWER, content, content, owner, "id", "s"))
    gone = data.draw(st.integers(0, len(drafts) - 1))
    for place, (content, _) in enumerate(drafts):
        record = kept.records.read(str(first + place))
        whole = canonical(content)
        assert canonical(record.body) == whole
        assert record.content is not None
        assert canonical(record.content) == whole
    with kept.database.writing() as connection:
        row = connection.execute(sa.select(CONTENTS.c.owner).where(CONTENTS.c.seq == first + gone)).one()
    if row.owner:
        kept.records.erase(Erasing(person=row.owner), ERASURE)
    assert kept.verify() == []


@given(st.sets(st.integers(1, 60)))
def test_ranges_hold_exactly_their_numbers(numbers: set[int]) -> None:
    """And no two of them touch."""
    found = ranges(numbers)
    assert {number for first, last in found for number in range(first, last + 1)} == numbers
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(found))
