"""Who is admitted, by which credential, and as whom."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from rag.database import Database
from rag.errors import SettingsError
from rag.identity import MOST_NOTES, Identity, check_exposure
from rag.keys import Keys
from rag.problems import Refusal
from rag.sessions import IDLE, LONGEST, Sessions
from rag.settings import Settings
from rag.standing import Source, Standing
from rag.types import Access, Principal, Role

KEY = "0123456789abcdef0123456789abcdef"
LOCAL = Principal("local", frozenset({"agents"}))
SHARED = Identity(Settings.load({"VAUBAN_API_KEY": KEY}), LOCAL)
OPEN = Identity(Settings.load({}), LOCAL)
MARIE = Principal("Marie", frozenset({"rh"}), 1, access=Access.KEY)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def basic(password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


def cookie(secret: str) -> dict[str, str]:
    return {"cookie": f"vauban_session={secret}"}


def who(identity: Identity, headers: Mapping[str, str] | None = None) -> Standing:
    return identity.authenticate(Headers(dict(headers or {})))


def refused(identity: Identity, headers: Mapping[str, str]) -> bool:
    try:
        who(identity, headers)
    except Refusal as refusal:
        return refusal.status == 401
    return False


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path / "catalog.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def identity(database: Database) -> Iterator[Identity]:
    made = Identity(Settings.load({"VAUBAN_LOGIN": "keys"}), LOCAL, database)
    yield made
    made.close()


def scope(standing: Standing) -> dict[str, object]:
    return {"state": {"standing": standing}}


def test_without_login_everyone_on_this_machine_is_the_local_person() -> None:
    """Clients that must send some key may send any."""
    assert who(OPEN).principal == LOCAL
    assert who(OPEN, bearer("unused")).principal == LOCAL


@pytest.mark.parametrize("headers", [bearer(KEY), basic(KEY)])
def test_the_shared_key_is_a_bearer_token_or_a_program_s_password(headers: dict[str, str]) -> None:
    assert who(SHARED, headers).principal == LOCAL


@pytest.mark.parametrize(
    "headers",
    [{}, bearer(KEY + "x"), bearer(KEY[:-1]), bearer(""), basic(""), {"authorization": "Basic ¤"}, {"api-key": KEY}],
)
def test_a_wrong_key_is_refused(headers: dict[str, str]) -> None:
    assert refused(SHARED, headers)


def test_only_the_server_s_own_user_may_name_groups() -> None:
    named = {"vauban-as": "medecine, agents"}
    assert who(OPEN, named).principal == LOCAL
    assert who(OPEN, named | bearer(KEY)).principal == LOCAL
    assert who(SHARED, named | bearer(KEY)).principal == LOCAL
    assert who(OPEN, named | bearer(OPEN.server_token)).principal.groups == {"medecine", "agents"}


def test_the_token_of_server_json_may_do_everything_and_is_not_for_the_page() -> None:
    principal = who(SHARED, bearer(SHARED.server_token)).principal
    assert (principal.access, principal.roles) == (Access.SERVER, frozenset(Role))
    assert SHARED.sign_in(SHARED.server_token) is None


# --- keys, sessions, and what is minted from them --------------------------------------------------------


def test_a_key_brings_its_person(identity: Identity, database: Database) -> None:
    _, secret = Keys(database).create(MARIE, 1)
    assert who(identity, bearer(secret)).principal == MARIE
    assert refused(identity, bearer(secret[:-1]))
    assert refused(identity, {})


def test_a_key_for_single_assistants_reaches_only_their_corpora(identity: Identity, database: Database) -> None:
    """Whichever way it asks: search and documents know no assistant."""
    for name, assistants, corpora, reached in [
        ("a", {"vauban-rh", "vauban-finances"}, None, {"rh", "finances"}),
        ("b", {"vauban-rh", "vauban-finances"}, {"rh", "sante"}, {"rh"}),
        ("c", {"vauban", "vauban-rh"}, None, None),
    ]:
        limited = Principal(
            name, corpora=frozenset(corpora) if corpora else None, assistants=frozenset(assistants), access=Access.KEY
        )
        _, secret = Keys(database).create(limited, 1)
        assert who(identity, bearer(secret)).principal.corpora == reached


def test_signing_in_begins_a_session_of_the_same_person(identity: Identity, database: Database) -> None:
    _, secret = Keys(database).create(MARIE, 1)
    session = identity.sign_in(secret)
    assert session is not None
    assert who(identity, cookie(session)).principal == MARIE
    assert who(identity, cookie(session)).ambient
    assert identity.sign_in(secret + "x") is None
    assert identity.sign_in(identity.server_token) is None


def test_a_revoked_key_ends_its_sessions_and_the_tokens_of_the_page(identity: Identity, database: Database) -> None:
    """At the next request, whatever stands on it."""
    key, secret = Keys(database).create(MARIE, 1)
    session = identity.sign_in(secret)
    assert session is not None
    by_session = identity.page_token(scope(who(identity, cookie(session))))
    by_key = identity.page_token(scope(who(identity, bearer(secret))))
    channels = [bearer(secret), cookie(session), bearer(by_session), bearer(by_key)]
    assert [who(identity, channel).principal for channel in channels] == [MARIE] * 4
    Keys(database).revoke(key.id)
    assert all(refused(identity, channel) for channel in channels)


def test_only_a_cookie_is_sent_unasked(identity: Identity, database: Database) -> None:
    """A token of the page is not, although it stands on the same session: the page calls without any origin."""
    _, secret = Keys(database).create(MARIE, 1)
    by_cookie = who(identity, cookie(identity.sign_in(secret) or ""))
    minted = who(identity, bearer(identity.page_token(scope(by_cookie))))
    assert (by_cookie.source, minted.source) == (Source.SESSION, Source.SESSION)
    assert [by_cookie.ambient, minted.ambient, who(identity, bearer(secret)).ambient] == [True, False, False]


def test_signing_out_ends_the_session_and_its_tokens(identity: Identity, database: Database) -> None:
    _, secret = Keys(database).create(MARIE, 1)
    session = identity.sign_in(secret) or ""
    minted = identity.page_token(scope(who(identity, cookie(session))))
    assert identity.sessions is not None
    identity.sessions.end(session)
    assert refused(identity, cookie(session))
    assert refused(identity, bearer(minted))
    assert who(identity, bearer(secret)).principal == MARIE


def test_a_wrong_credential_never_falls_back_to_another(identity: Identity, database: Database) -> None:
    """Nor do two cookies that differ: one of them somebody else has set."""
    _, secret = Keys(database).create(MARIE, 1)
    session = identity.sign_in(secret) or ""
    assert refused(identity, cookie(session) | bearer("vbn_0123456789abcdef_" + "A" * 43))
    assert refused(identity, cookie(session) | {"authorization": "Negotiate x"})
    assert refused(identity, {"cookie": f"vauban_session={session}; vauban_session=other"})
    assert refused(identity, {"cookie": f"vauban_session=other; vauban_session={session}"})
    assert not refused(identity, {"cookie": f"theirs=a b; vauban_session={session};x={{}}"})
    assert refused(identity, {"cookie": f"other={session}"})


def test_a_session_that_was_not_begun_here_is_nobody_s(identity: Identity) -> None:
    """A cookie that somebody else chose stays without a meaning: nothing adopts it."""
    for chosen in ("fixed", "A" * 43, "", "a;b"):
        assert refused(identity, cookie(chosen))


def test_a_session_ends_when_idle_and_at_the_end_of_the_day(database: Database) -> None:
    now = 1_800_000_000.0
    sessions = Sessions(database, lambda: now)
    standing = Standing(LOCAL, Source.SHARED, "mark")
    idle = sessions.begin(standing)
    now += IDLE
    assert sessions.of_cookie(idle) is None
    busy = sessions.begin(standing)
    for _ in range(int(LONGEST // (IDLE / 2)) - 1):
        now += IDLE / 2
        found = sessions.of_cookie(busy)
        assert found is not None
        sessions.used(found[0])
    now += IDLE / 2
    assert sessions.of_cookie(busy) is None


def test_a_session_ends_with_the_credential_it_was_begun_with(database: Database) -> None:
    now = 1_800_000_000.0
    sessions = Sessions(database, lambda: now)
    begun = sessions.begin(Standing(LOCAL, Source.STATED, until=now + 60))
    now += 61
    assert sessions.of_cookie(begun) is None


def test_the_cookie_is_not_in_the_database(database: Database, identity: Identity) -> None:
    _, secret = Keys(database).create(MARIE, 1)
    session = identity.sign_in(secret) or ""
    with database.reading() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM sessions").all())
    assert session not in stored
    assert secret not in stored


def test_another_shared_key_ends_the_sessions_of_the_one_before(database: Database) -> None:
    made = [Identity(Settings.load({"VAUBAN_API_KEY": key}), LOCAL, database) for key in (KEY, KEY[::-1])]
    session = made[0].sign_in(KEY) or ""
    assert who(made[0], cookie(session)).principal == LOCAL
    assert refused(made[1], cookie(session))


def test_a_mode_that_is_switched_off_takes_its_sessions_along(identity: Identity, database: Database) -> None:
    _, secret = Keys(database).create(MARIE, 1)
    session = identity.sign_in(secret) or ""
    other = Identity(Settings.load({"VAUBAN_API_KEY": KEY}), LOCAL, database)
    assert refused(other, cookie(session))
    assert refused(other, bearer(secret))


def test_a_database_that_hangs_lets_no_notes_pile_up(
    identity: Identity, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """People are recognised all the same; what is too many is dropped, counted and said once, and then noted again."""
    noted: list[object] = []
    hangs = threading.Event()

    def used(_: Keys, key: object) -> None:
        hangs.wait(5)
        noted.append(key)

    monkeypatch.setattr(Keys, "used", used)
    _, secret = Keys(database).create(MARIE, 1, further=True)
    for _ in range(MOST_NOTES + 50):
        assert who(identity, bearer(secret)).principal.name == MARIE.name
    assert identity.notes_dropped == 50
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    hangs.set()
    over = time.monotonic() + 5
    while len(noted) < MOST_NOTES and time.monotonic() < over:
        time.sleep(0.01)
    who(identity, bearer(secret))
    identity.close()
    assert len(noted) == MOST_NOTES + 1


@pytest.mark.parametrize("name", ["X_Remote_User", "X-Remote_User", "X Remote User", "X-Remote-User:", "é"])
def test_a_header_that_servers_drop_or_take_for_another_stops_the_start(tmp_path: Path, name: str) -> None:
    """Whatever it is to say, and in whichever mode: with it, somebody's groups would be nobody's, or anybody's."""
    for place in ("name", "groups", "clearance", "roles"):
        table = tmp_path / f"{place}.toml"
        said = {"name": "X-User", place: name}
        table.write_text("\n".join(["[headers]", *(f'{key} = "{value}"' for key, value in said.items())]), "utf-8")
        with pytest.raises(SettingsError, match=rf"headers\.{place}") as refused:
            check_exposure(Settings.load({"VAUBAN_LOGIN_MAP": str(table)}))
        assert name in refused.value.fr


def test_nothing_of_it_shows_when_it_is_printed(identity: Identity, database: Database) -> None:
    key, secret = Keys(database).create(MARIE, 1)
    shown = repr(identity) + repr(key) + repr(identity.__dict__.get("_pages"))
    assert identity.server_token not in repr(identity)
    assert secret not in shown


# --- where a server may listen --------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "vauban.example"])
def test_listening_beyond_loopback_needs_a_login(host: str) -> None:
    with pytest.raises(SettingsError, match="VAUBAN_LOGIN"):
        check_exposure(Settings.load({"VAUBAN_HOST": host}))
    for login in (
        {"VAUBAN_API_KEY": KEY},
        {"VAUBAN_LOGIN": "keys"},
        {"VAUBAN_LOGIN": "proxy", "VAUBAN_PROXIES": "::1"},
    ):
        check_exposure(Settings.load({"VAUBAN_HOST": host} | login))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    check_exposure(Settings.load({"VAUBAN_HOST": host}))


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"API_KEY": "short"}, "fewer than 24"),
        ({"LOGIN": "none,keys"}, "cannot be none and something else"),
        ({"LOGIN": "proxy"}, "VAUBAN_PROXIES"),
        ({"LOGIN": "proxy", "PROXIES": "10.0.0.1,gateway"}, "`gateway`"),
        ({"LOGIN": "proxy", "PROXIES": "0.0.0.0/0"}, "every address"),
        ({"LOGIN": "proxy", "PROXIES": "::/0"}, "every address"),
        ({"LOGIN": "oidc"}, "VAUBAN_OIDC_ISSUER"),
        ({"LOGIN_MAP": "/nowhere.toml"}, "login_map"),
    ],
)
def test_modes_that_cannot_work_stop_the_start(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check_exposure(Settings.load({f"VAUBAN_{name}": value for name, value in environ.items()}))


def test_an_unknown_mode_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="VAUBAN_LOGIN"):
        Settings.load({"VAUBAN_LOGIN": "saml"})
