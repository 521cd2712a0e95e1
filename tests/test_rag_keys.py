"""Keys: secrets nobody can guess, of which only a hash is kept, and whose end counts at once."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from rag import keys as keys_module
from rag.catalog import Catalog
from rag.database import Database
from rag.errors import BadRequest, Conflict, NotFound
from rag.key_commands import app
from rag.keys import DAY, Keys, checked_name, new_secret
from rag.page_tokens import PageTokens
from rag.sessions import Sessions
from rag.standing import Source, Standing
from rag.types import Access, Corpus, Principal, Role
from tests.postgres_server import PostgresServer

MARIE = Principal(
    "Marie",
    frozenset({"agents"}),
    2,
    frozenset({Role.READER, Role.MAINTAINER}),
    frozenset({"rh"}),
    frozenset({"rh", "finances"}),
    frozenset({"vauban-rh"}),
    Access.KEY,
)


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database.open(tmp_path / "catalog.sqlite")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        opened = Database.open(server.database())
    yield opened
    opened.close()


@pytest.fixture
def keys(database: Database, clock: Clock) -> Keys:
    return Keys(database, clock)


def test_a_key_is_recognised_with_all_it_carries(keys: Keys) -> None:
    made, secret = keys.create(MARIE, 30)
    found = keys.recognised(secret)
    assert found == made
    assert found is not None
    assert found.principal == MARIE


def test_a_key_ends_on_its_day(keys: Keys, clock: Clock) -> None:
    key, secret = keys.create(MARIE, 30)
    clock.now += 30 * DAY - 1
    assert keys.recognised(secret)
    clock.now += 1
    assert keys.recognised(secret) is None
    assert keys.valid(key.id) is None


def test_a_revocation_counts_at_once_in_every_process(keys: Keys, database: Database) -> None:
    """Nothing is remembered of a key between two requests."""
    key, secret = keys.create(MARIE, 30)
    assert keys.recognised(secret)
    Keys(database).revoke(key.id)
    assert keys.recognised(secret) is None
    assert keys.valid(key.id) is None


def test_a_key_may_be_revoked_by_its_owner_s_name(keys: Keys) -> None:
    secrets = [keys.create(MARIE, 30, further=True)[1] for _ in range(2)]
    assert len(keys.revoke("Marie")) == 2
    assert not any(keys.recognised(secret) for secret in secrets)
    with pytest.raises(NotFound):
        keys.revoke("Jean")


def test_one_name_is_one_person(keys: Keys) -> None:
    """A second key of a name, whose history it would open, must be asked for; also when the first has ended."""
    key, _ = keys.create(MARIE, 30)
    keys.revoke(key.id)
    with pytest.raises(Conflict):
        keys.create(MARIE, 30)
    assert keys.create(MARIE, 30, further=True)


@pytest.mark.parametrize("name", ["", "  ", "a" * 101, "a\nb", "\x1b[31m"])
def test_a_name_can_be_read(name: str) -> None:
    with pytest.raises(BadRequest):
        checked_name(name)


def test_what_is_kept_signs_nobody_in(keys: Keys, database: Database) -> None:
    """No part of the secret is in the database, and no other row's hash or id opens a key."""
    key, secret = keys.create(MARIE, 30)
    other, other_secret = keys.create(Principal("Jean"), 30)
    with database.reading() as connection:
        rows = [str(tuple(row)) for row in connection.execute(keys_module.keys.select())]
    assert not any(secret[21:] in row for row in rows)
    for forged in (key.id, key.hash, f"vbn_{key.id}_{key.hash[:43]}", secret.replace(key.id, other.id), secret + "A"):
        assert keys.recognised(forged) is None
    with database.writing() as connection:
        connection.execute(sa.update(keys_module.keys).values(hash=other.hash))
    assert keys.recognised(other_secret)
    assert keys.recognised(secret) is None
    assert "hash" not in repr(key)
    assert key.hash not in repr(key)


def test_secrets_are_256_random_bits() -> None:
    """Over 100,000: none twice, each symbol as likely in each place, neighbours independent."""
    made = [new_secret() for _ in range(100_000)]
    assert all(re.fullmatch(rf"vbn_{id_}_[A-Za-z0-9_-]{{43}}", secret) for id_, secret in made[:100])
    drawn = [secret[-43:] for _, secret in made]
    assert len(set(drawn)) == len(drawn)
    for place in (0, 1, 20, 41):
        counts = Counter(one[place] for one in drawn)
        entropy = -sum(n / len(drawn) * math.log2(n / len(drawn)) for n in counts.values())
        assert entropy > 5.99, place
    alike = sum(before[5] == after[5] for before, after in pairwise(drawn))
    assert abs(alike / len(drawn) - 1 / 64) < 0.003


def test_no_secret_derives_from_another() -> None:
    """Neither from the id that is shown, nor from the time, nor from a token that was shared: each is drawn anew."""
    pages = [PageTokens(lambda: 1_000.0) for _ in range(2)]
    standing = Standing(MARIE, Source.KEY, "0123456789abcdef")
    minted = [page.mint(standing) for page in pages]
    assert minted[0] != minted[1]
    assert pages[1].read(minted[0]) is None


def test_a_page_token_lives_for_minutes_and_cannot_be_changed(clock: Clock) -> None:
    pages = PageTokens(clock)
    token = pages.mint(Standing(MARIE, Source.KEY, "0123456789abcdef"))
    assert pages.read(token) is not None
    assert len(token.rpartition(".")[2]) == 43
    for forged in (
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token.replace("vbp_e", "vbp_f"),
        "vbp_",
        "vbp_.",
        "",
    ):
        assert pages.read(forged) is None
    clock.now += 301
    assert pages.read(token) is None


def test_the_last_day_of_use_is_noted(keys: Keys) -> None:
    key, secret = keys.create(MARIE, 30)
    keys.used(key)
    found = keys.recognised(secret)
    assert found is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.last_used or "")


def test_sessions_are_kept_by_either_database(database: Database, clock: Clock) -> None:
    """Begun by one server, they are known to another one, until one of them ends them."""
    first, second = Sessions(database, clock), Sessions(database, clock)
    secret = first.begin(Standing(MARIE, Source.KEY, "0123456789abcdef"))
    found = second.of_cookie(secret)
    assert found is not None
    assert found[1].principal == MARIE
    clock.now += 3_000
    second.used(found[0])
    clock.now += 3_000
    assert first.of_cookie(secret)
    second.end(secret)
    assert first.of_cookie(secret) is None


# --- the commands ---------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAUBAN_HOME", str(tmp_path))
    catalog = Catalog.open(tmp_path / "catalog.sqlite")
    catalog.declare(Corpus("rh", "RH"))
    catalog.close()
    return tmp_path


def run(*words: str) -> str:
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_key_is_made_listed_and_revoked_by_commands(home: Path) -> None:
    """Its secret is in the first output and in no other."""
    made = json.loads(run("create", "app", "--group", "agents", "--corpus", "rh", "--maintain", "rh", "--json"))
    assert (made["roles"], made["corpora"], made["state"]) == (["maintainer", "reader"], ["rh"], "valid")
    listed = run("list", "--json")
    assert json.loads(listed) == [{name: value for name, value in made.items() if name != "secret"}]
    assert made["secret"] not in listed + run("list")
    assert json.loads(run("revoke", made["id"], "--json"))[0]["state"] == "revoked"
    assert "révoquée" in run("revoke", "app")


def test_for_people_the_secret_stands_alone_on_its_line(home: Path) -> None:
    assert re.fullmatch(r"vbn_\S{60}", run("create", "Marie").splitlines()[-1])


@pytest.mark.parametrize("words", [("--corpus", "rg"), ("--maintain", "rg"), ("--assistant", "vauban-rg")])
def test_a_key_for_what_does_not_exist_is_refused(home: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(BadRequest, match=r"there are: .*rh"):
        CliRunner().invoke(app, ["create", "app", *words], catch_exceptions=False)
