"""Tokens of an identity provider: what proves somebody's identity, what does not, and where its keys may come from."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from jwt.algorithms import RSAAlgorithm

from rag import entitlements, oidc
from rag.entitlements import Entitlements
from rag.errors import SettingsError, StoreError
from rag.identity import AT_ONCE
from rag.oidc import AGAIN, FRESH, PLACES, STALE, KeySet, Verifier, checked_place
from rag.types import Access, Principal, Role
from tests.identity_provider import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    ISSUER,
    KEYS,
    OTHER,
    RSA_KEY,
    claims,
    encoded,
    public,
    token,
)

TABLE = Entitlements.model_validate(
    {
        "claims": {"name": "sub", "groups": "groups", "clearance": "level", "roles": "realm.roles"},
        "groups": {"/agents": ["agents"], "/rh": ["rh", "agents"]},
        "clearance": {"restreint": 1, "secret": 2},
        "roles": {"audit": "auditor"},
        "maintains": {"/redaction": ["rh"]},
    }
)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": KEYS}), encoding="utf-8")
    return path


@pytest.fixture
def verifier(key_file: Path) -> Verifier:
    return Verifier(ISSUER, (AUDIENCE, "other"), KeySet(str(key_file)), TABLE)


def test_a_token_brings_what_the_table_makes_of_its_claims(verifier: Verifier) -> None:
    """And nothing else: groups and roles that it does not name give nothing."""
    said: dict[str, Any] = {
        "groups": ["/rh", "/redaction", "direction", "*", 7, None, {"a": 1}],
        "level": ["secret", "restreint", "cosmique"],
        "realm": {"roles": ["audit", "administrator", "maintainer"]},
    }
    found = verifier.principal(token(**said))
    assert found is not None
    assert found[0] == Principal(
        "marie",
        frozenset({"rh", "agents"}),
        2,
        frozenset({Role.READER, Role.AUDITOR, Role.MAINTAINER}),
        frozenset({"rh"}),
        access=Access.OIDC,
    )


@pytest.mark.parametrize(
    "said", [{}, {"groups": "direction"}, {"groups": {"/rh": 1}}, {"level": 2}, {"level": True}, {"realm": "audit"}]
)
def test_a_token_without_known_claims_reads_what_is_open_to_all(verifier: Verifier, said: dict[str, Any]) -> None:
    found = verifier.principal(token(**said))
    assert found is not None
    assert found[0] == Principal("marie", access=Access.OIDC)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA_KEY, "RS512", "rsa"), (RSA_KEY, "PS256", "rsa"), (EC_KEY, "ES256", "ec"), (ED_KEY, "EdDSA", "ed")],
)
def test_each_kind_of_key_signs_in_its_own_ways(verifier: Verifier, key: Any, algorithm: str, kid: str) -> None:
    assert verifier.principal(token(key, algorithm, kid))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": int(time.time()) - 61},
        {"exp": None},
        {"exp": "tomorrow"},
        {"nbf": int(time.time()) + 86_400},
        {"iat": int(time.time()) + 86_400},
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"aud": None},
        {"aud": ""},
        {"iss": "https://idp.exemple.evil.test"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": " marie"},
        {"sub": "marie\n"},
        {"sub": 7},
        {"sub": "a" * 101},
    ],
)
def test_a_token_that_is_over_or_meant_for_another_is_nothing(verifier: Verifier, changes: dict[str, Any]) -> None:
    assert verifier.principal(token(**changes)) is None


def test_clocks_may_differ_by_a_minute(verifier: Verifier) -> None:
    now = int(time.time())
    assert verifier.principal(token(exp=now - 30, nbf=now + 30))
    assert verifier.principal(token(aud=["another", "other"]))


def test_what_is_not_signed_by_the_provider_is_nothing(verifier: Verifier) -> None:
    """By another key, by none, cut, changed, or signed with the public key as if it were a shared secret."""
    right = token()
    head, body, signature = right.split(".")
    other = encoded(claims(sub="directrice"))
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged = [
        token(OTHER),
        token(OTHER, kid=None),
        token(OTHER, kid="ec"),
        f"{head}.{other}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{encoded({'alg': 'none', 'kid': 'rsa'})}.{body}.",
        f"{encoded({'alg': 'None'})}.{body}.{signature}",
        f"{encoded({'alg': ['RS256'], 'kid': 'rsa'})}.{body}.{signature}",
        f"{encoded({'kid': 'rsa'})}.{body}.{signature}",
        "",
        "..",
        "a.b.c",
        right + "=",
        "x" * 20_000,
    ]
    for secret in (pem, pem.strip(), json.dumps(KEYS[0]).encode(), KEYS[0]["n"].encode(), b""):
        for algorithm, digest in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
            signed = f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'rsa'})}.{body}"
            forged.append(f"{signed}.{encoded(hmac.new(secret, signed.encode(), digest).digest())}")
    for one in forged:
        assert verifier.principal(one) is None, one[:60]


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": public(OTHER, "rsa")},
        {"jku": "http://127.0.0.1:1/keys", "kid": "evil"},
        {"x5u": "http://127.0.0.1:1/x", "kid": "../../etc/passwd"},
        {"kid": "rsa' OR '1'='1"},
        {"kid": ["rsa"]},
        {"kid": {"$ne": ""}},
        {"kid": "rsa\x00"},
        {"kid": ""},
        {"crit": ["exp"]},
    ],
)
def test_the_header_of_a_token_chooses_nothing_but_a_known_key(verifier: Verifier, header: dict[str, Any]) -> None:
    """Keys that it carries or points to are not used, and its `kid` is a name and nothing more."""
    key = RSA_KEY if "crit" in header else OTHER
    body = f"{encoded({'alg': 'RS256', 'kid': 'rsa', **header})}.{encoded(claims())}"
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(body.encode(), key)
    assert verifier.principal(f"{body}.{encoded(signature)}") is None


def test_a_key_signs_only_as_the_provider_says(tmp_path: Path) -> None:
    """One for encryption, a shared secret, or another algorithm than the one that it names: nothing."""
    path = tmp_path / "jwks.json"
    shared = {"kty": "oct", "kid": "oct", "k": encoded(b"s" * 32)}
    keys = [public(RSA_KEY, "enc") | {"use": "enc"}, shared, public(RSA_KEY, "rs512", alg="RS512")]
    path.write_text(json.dumps({"keys": keys}), encoding="utf-8")
    verifier = Verifier(ISSUER, (AUDIENCE,), KeySet(str(path)), TABLE)
    assert verifier.principal(token(kid="enc")) is None
    assert verifier.principal(token(b"s" * 32, "HS256", "oct")) is None
    assert verifier.principal(token(kid="rs512")) is None
    assert verifier.principal(token(algorithm="RS512", kid="rs512"))
    assert verifier.principal(token(algorithm="RS512", kid=None))  # the only key there is


# --- where the keys come from ---------------------------------------------------------------------------


class Provider(http.server.ThreadingHTTPServer):
    """Serves a key set on loopback, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.keys = KEYS
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.answers.set()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_address[1]}/keys"


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        provider = self.server
        assert isinstance(provider, Provider)
        provider.asked.append(f"{self.path} {self.headers['Host']}")
        provider.answers.wait(10)
        self.send_response(provider.status)
        for name, value in provider.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps({"keys": provider.keys}).encode())

    def log_message(self, *_: object) -> None:
        """Said to nobody."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.answers.set()
        served.shutdown()
        thread.join()


def wait_until(so: Callable[[], bool]) -> None:
    over = time.monotonic() + 5
    while not so():
        assert time.monotonic() < over
        time.sleep(0.005)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_keys_are_read_once_and_again_for_a_new_one(provider: Provider) -> None:
    """Names that somebody makes up cause one reading in half a minute, however many they are."""
    clock = Clock()
    keys = KeySet(provider.url, clock)
    assert keys.named("rsa")
    assert keys.named("ec")
    assert len(provider.asked) == 1
    provider.keys = [*KEYS, public(OTHER, "new")]
    clock.now += AGAIN + 1
    assert keys.named("new")
    for n in range(1_000):
        assert keys.named(f"made up {n}") is None
    assert len(provider.asked) == 2


def test_a_slow_provider_holds_up_nobody_whose_key_is_known(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while their keys are read again, nor while names that somebody makes up are waited for."""
    monkeypatch.setattr(oidc, "PATIENCE", 2.0)
    monkeypatch.setattr(oidc, "BRIEF", 0.05)
    clock = Clock()
    keys = KeySet(provider.url, clock)
    assert keys.named("rsa")
    provider.answers.clear()
    clock.now += AGAIN + 1
    with ThreadPoolExecutor(AT_ONCE) as threads:
        waiting = [threads.submit(keys.named, f"made up {n}") for n in range(AT_ONCE - 1)]
        wait_until(lambda: len(provider.asked) == 2)
        wait_until(lambda: sum(one.done() for one in waiting) == AT_ONCE - 1 - PLACES)
        began = time.monotonic()
        for kid in ("rsa", "ec", "ed"):
            assert threads.submit(keys.named, kid).result()
        clock.now += FRESH
        assert threads.submit(keys.named, "rsa").result()
        assert time.monotonic() - began < 1.0
        provider.answers.set()
        outcomes = [one.exception() or one.result() for one in waiting]
    assert [one for one in outcomes if one is not None and not isinstance(one, StoreError)] == []
    assert outcomes.count(None) == PLACES
    assert len(provider.asked) == 2


def test_a_provider_that_fails_is_not_asked_again_by_everyone(provider: Provider) -> None:
    """Once in half a minute, by whoever comes first, and never twice at a time."""
    provider.status = 500
    clock = Clock()
    keys = KeySet(provider.url, clock)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in range(3):
            told = [threads.submit(keys.named, "rsa") for _ in range(50)]
            assert all(isinstance(one.exception(), StoreError) for one in told)
            clock.now += AGAIN + 1
    assert len(provider.asked) == 3


def test_keys_that_come_late_count_for_whoever_comes_after(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever came first is told to come again, and the reading goes on without them."""
    monkeypatch.setattr(oidc, "PATIENCE", 0.05)
    provider.answers.clear()
    keys = KeySet(provider.url, Clock())
    with pytest.raises(StoreError):
        keys.named("rsa")
    provider.answers.set()
    wait_until(lambda: keys._reading is None)
    assert keys.named("rsa")
    assert len(provider.asked) == 1


def test_an_answer_that_trickles_is_given_up(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part within the time for a step, and never an end."""
    monkeypatch.setattr(oidc, "LONGEST_READING", -1.0)
    with pytest.raises(StoreError):
        KeySet(provider.url, Clock()).named("rsa")


def test_a_key_that_the_provider_withdrew_counts_no_longer(provider: Provider) -> None:
    clock = Clock()
    keys = KeySet(provider.url, clock)
    assert keys.named("rsa")
    provider.keys = KEYS[1:]
    clock.now += FRESH + 1
    assert keys.named("rsa") is None


def test_a_provider_that_is_away_is_missed_after_an_hour(provider: Provider) -> None:
    """Until then its keys count; then nobody is recognised, and the operator is told."""
    clock = Clock()
    keys = KeySet(provider.url, clock)
    assert keys.named("rsa")
    provider.status = 500
    clock.now += STALE - 1
    assert keys.named("rsa")
    clock.now += 2
    with pytest.raises(StoreError):
        keys.named("rsa")


@pytest.mark.parametrize(
    ("status", "keys"), [(302, KEYS), (200, []), (200, [{"kty": "oct", "k": "AAAA"}]), (404, KEYS)]
)
def test_what_is_no_key_set_is_not_one(provider: Provider, status: int, keys: list[dict[str, Any]]) -> None:
    """A redirect is not followed, wherever it leads."""
    provider.status, provider.keys = status, keys
    provider.headers = {"Location": provider.url + "2"}
    with pytest.raises(StoreError):
        KeySet(provider.url, Clock()).named("rsa")
    assert len(provider.asked) == 1


def test_no_proxy_of_the_environment_is_used(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert KeySet(provider.url, Clock()).named("rsa")
    assert provider.asked == [f"/keys localhost:{provider.server_address[1]}"]


@pytest.mark.parametrize(
    "place",
    [
        "https://8.8.8.8/keys",
        "http://169.254.169.254/latest/meta-data",
        "http://[2001:4860:4860::8888]/keys",
        "http://[::ffff:8.8.8.8]/keys",
        "http://0.0.0.0/keys",
        "http://224.0.0.1/keys",
        "file:///etc/passwd",
        "ftp://127.0.0.1/keys",
        "http://user:word@127.0.0.1/keys",
        "http:///keys",
        "http://127.0.0.1:port/keys",
        "/nowhere/jwks.json",
    ],
)
def test_keys_from_outside_stop_the_start(place: str) -> None:
    with pytest.raises(SettingsError):
        checked_place(place)


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:9/k", "https://10.1.2.3/k", "http://[::1]/k", "http://[fd00::1]/k"]
)
def test_an_internal_url_may_give_the_keys(place: str) -> None:
    assert checked_place(place) == place


def test_a_name_that_leads_outside_later_is_refused_at_each_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """One public address among internal ones is enough."""
    found = [(2, 1, 6, "", (address, 80)) for address in ("10.0.0.1", "8.8.8.8")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(StoreError):
        KeySet("http://idp.exemple/keys", Clock()).named("rsa")


# --- the table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[groups", "cannot read"),
        ('[group]\na = "b"', "`group`"),
        ('[roles]\na = "king"', "roles.a"),
        ('[clearance]\na = "2"x', "cannot read"),
        ("[clearance]\na = -1", "clearance.a"),
        ('[claims]\nname = ""', "claims.name"),
    ],
)
def test_a_table_that_means_nothing_stops_the_start(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "login.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        Entitlements.load(path)


def test_the_table_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "login.toml"
    path.write_text((entitlements.__doc__ or "").partition("::\n")[2], encoding="utf-8")
    assert Entitlements.load(path).groups["/services/rh"] == {"agents", "rh"}
