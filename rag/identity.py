"""Who calls: decided once for each request, from the one credential that counts, before anything else is done.

The modes (setting ``login``) can be combined. Credentials are looked at in a fixed order, and the first that is there
decides: one that is wrong is refused, and never falls back to another.

1. ``Authorization``: the token of ``server.json``, one of the page's own, a key, the shared ``api_key``, a token of the
   identity provider;
2. the headers of a trusted reverse proxy;
3. the cookie of a session of the page.

Without any login, on loopback only, everyone is the local person.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from rag import oidc
from rag.api_guard import is_loopback_name
from rag.api_service import ALL, standing_of
from rag.database import Database
from rag.entitlements import Entitlements
from rag.errors import SettingsError, VaubanError
from rag.keys import PREFIX as KEY_PREFIX
from rag.keys import Keys
from rag.live import AS_HEADER
from rag.page_tokens import PREFIX as PAGE_PREFIX
from rag.page_tokens import PageTokens
from rag.problems import Refusal
from rag.proxies import Proxies, networks
from rag.sessions import Sessions
from rag.settings import Login, Settings
from rag.standing import Source, Standing
from rag.types import EVERY, Access, Principal, Role

log = logging.getLogger("vauban.api")

SHORTEST_KEY: Final = 24
"""Characters of the shared API key: 24 hexadecimal digits are 96 bits, beyond guessing over a network."""
AT_ONCE: Final = 8
"""Requests whose credentials are looked at together."""
MOST_NOTES: Final = 256
"""Notes that a credential is used which wait for the database; beyond them they are dropped. The next request notes it
again, and that one was last used a minute earlier costs nobody anything."""
COOKIE: Final = "vauban_session"
SECURE_COOKIE: Final = f"__Host-{COOKIE}"
"""The name where cookies are ``Secure``: browsers then let no other host or path set it."""


def new_token() -> str:
    """256 random bits, for a URL or a header."""
    return secrets.token_urlsafe(32)


class Identity:
    """Says whose a request is. Safe to use from several threads.

    Without a ``database`` there are neither keys nor sessions. ``server_token`` is the one of ``server.json``.
    """

    def __init__(
        self, settings: Settings, local: Principal, database: Database | None = None, *, server_token: str = ""
    ) -> None:
        self.server_token = server_token or new_token()
        self.modes = settings.login
        self._signs_in = settings.signs_in
        self.sessions = None if database is None else Sessions(database)
        self._local = local
        self._shared = settings.api_key
        self._keys = Keys(database) if database is not None and Login.KEYS in self.modes else None
        self._pages = PageTokens()
        table = Entitlements.load(settings.login_map)
        self._secure_cookies = settings.secure_cookies
        self._proxies = Proxies(networks(settings.proxies), table, Login.PROXY in self.modes)
        self._provider = None if Login.OIDC not in self.modes else provider(settings, table)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="identity")
        self._notes = ThreadPoolExecutor(1, thread_name_prefix="identity-notes")
        self._places = threading.Semaphore(MOST_NOTES)
        self.notes_dropped = 0

    @property
    def open(self) -> bool:
        """Whether everyone who reaches this server is the local person."""
        return not self._signs_in

    @property
    def takes_secrets(self) -> bool:
        """Whether a key or a token can be given on the sign-in page."""
        return bool(self._shared) or bool(self.modes & {Login.KEYS, Login.OIDC})

    def forwarded(self, scope: Scope) -> Principal | None:
        """Take the headers of reverse proxies out of a request; whom a trusted one says it is for.

        To be called first, and once: nothing after it sees what an untrusted client wrote there.

        Raises:
            Refusal: 400, a trusted proxy contradicts itself.
        """
        return self._proxies.admit(scope)

    async def standing(self, scope: Scope, through: Principal | None) -> Standing:
        """What :meth:`authenticate` says, without the event loop waiting for a database."""
        headers = Headers(scope=scope)
        if len(headers.getlist("authorization")) > 1 and not self.open:
            raise _nobody()  # nobody can say which of them a proxy before this server has looked at
        if self.open:
            return self.authenticate(headers, through)
        cookie = cookie_name(self._secure_cookies, scope.get("scheme", "http"), headers)
        # Threads of its own: searches that take long must not keep people from being recognised.
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self.authenticate, headers, through, cookie
        )

    def close(self) -> None:
        """Write down what was noted, and end the threads."""
        self._threads.shutdown()
        self._notes.shutdown()

    def authenticate(self, headers: Headers, through: Principal | None = None, cookie: str = COOKIE) -> Standing:
        """Whose a request is; ``through`` is whom a trusted proxy named, ``cookie`` the one that may be of a session.

        May wait for the database.

        Raises:
            Refusal: 401, nobody's.
            OperatorError: the database or the identity provider's keys cannot be read.
        """
        given = _secret(headers)
        standing = self._by_secret(given, headers) if given else None
        if standing is None and self.open:
            return Standing(self._local, Source.LOCAL)
        if standing is None and through is not None and not self._claims(given, headers):
            return Standing(through, Source.STATED)
        if standing is None and not headers.get("authorization"):
            standing = self._by_cookie(headers, cookie)
        if standing is None:
            raise _nobody()
        return standing

    def sign_in(self, secret: str) -> str | None:
        """A session of the page for whoever gives a key or a token; its secret. ``None``: it proves nothing.

        The tokens of ``server.json`` and of the page itself are for programs, and begin no session.
        """
        standing = self._by_key(secret) or self._by_shared(secret) or self._by_provider(secret)
        if standing is None or self.sessions is None:
            return None
        return self.sessions.begin(standing)

    def sign_out(self, secret: str) -> None:
        """End the session of a cookie, if it is one."""
        if self.sessions is not None and secret:
            self.sessions.end(secret)

    def still(self, standing: Standing) -> Standing | None:
        """The same standing as things are now, for what goes on for long; ``None``: it has ended. May wait for the
        database."""
        if standing.until is not None and time.time() >= standing.until:
            return None
        return self._still(standing)

    def page_token(self, scope: Scope) -> str:
        """A token of minutes with which the page calls the API for the person of one of its own requests."""
        standing = standing_of(scope)
        return "" if standing is None else self._pages.mint(standing)

    # --- each kind of credential

    def _claims(self, given: str, headers: Mapping[str, str]) -> bool:
        """Whether a secret that proved nothing was meant for us: a proxy passes on others, which are its own."""
        ours = given.startswith((KEY_PREFIX, PAGE_PREFIX))
        bearer = headers.get("authorization", "")[:7].lower() == "bearer "
        return ours or (bearer and self._provider is not None)

    def _by_secret(self, given: str, headers: Mapping[str, str]) -> Standing | None:
        if _same(given, self.server_token):
            return Standing(self._of_server(headers), Source.SERVER)
        return self._by_page(given) or self._by_key(given) or self._by_shared(given) or self._by_provider(given)

    def _of_server(self, headers: Mapping[str, str]) -> Principal:
        """The user who runs the server: in full, or as the groups that they name."""
        named = headers.get(AS_HEADER.lower())
        if named is None:
            return replace(self._local, roles=frozenset(Role), maintains=frozenset({EVERY}), access=Access.SERVER)
        groups = frozenset(group.strip() for group in named.split(",") if group.strip())
        return replace(self._local, groups=groups)

    def _by_page(self, given: str) -> Standing | None:
        stated = self._pages.read(given) if given.startswith(PAGE_PREFIX) else None
        return None if stated is None else self._still(stated)

    def _by_key(self, given: str) -> Standing | None:
        if self._keys is None or not given.startswith(KEY_PREFIX):
            return None
        key = self._keys.recognised(given)
        if key is None:
            return None
        self._note(self._keys.used, key)
        return Standing(_within_assistants(key.principal), Source.KEY, key.id, key.expires)

    def _by_shared(self, given: str) -> Standing | None:
        if not _same(given, self._shared):
            return None
        return Standing(self._local, Source.SHARED, _mark(self._shared))

    def _by_provider(self, given: str) -> Standing | None:
        # Our own secrets are never shown to the code of others.
        if self._provider is None or given.startswith((KEY_PREFIX, PAGE_PREFIX)):
            return None
        found = self._provider.principal(given)
        return None if found is None else Standing(found[0], Source.STATED, until=found[1])

    def _by_cookie(self, headers: Headers, name: str) -> Standing | None:
        secret = session_cookie(headers, name)
        found = None if self.sessions is None or not secret else self.sessions.of_cookie(secret)
        if found is None or self.sessions is None:
            return None
        id_, began = found
        still = self._still(began)
        if still is None:
            return None
        self._note(self.sessions.used, id_)
        return Standing(still.principal, Source.SESSION, id_, began.until, ambient=True)

    def _still(self, was: Standing) -> Standing | None:
        """The same standing as it is now: what it rests on is looked at again, and its person read anew."""
        if was.source is Source.KEY:
            key = self._keys.valid(was.reference) if self._keys is not None else None
            return None if key is None else replace(was, principal=_within_assistants(key.principal))
        if was.source is Source.SESSION:
            began = self.sessions.standing(was.reference) if self.sessions is not None else None
            still = None if began is None else self._still(began)
            return None if still is None else replace(was, principal=still.principal)
        if was.source is Source.SHARED:
            return was if self._shared and hmac.compare_digest(was.reference, _mark(self._shared)) else None
        if was.source is Source.STATED:
            mode = Login.PROXY if was.principal.access is Access.PROXY else Login.OIDC
            return was if mode in self.modes else None
        return was if was.source is Source.SERVER or self.open else None

    def _note(self, write: Callable[..., None], what: object) -> None:
        """Write down that something is used, after the request: a busy database makes nobody wait for that."""
        if not self._places.acquire(blocking=False):
            if not self.notes_dropped:
                log.warning("notes of the use of credentials are dropped: the database is slow")
            self.notes_dropped += 1  # roughly: two at once may count as one
            return
        try:
            self._notes.submit(self._noted, write, what)
        except RuntimeError:  # the server stops
            self._places.release()

    def _noted(self, write: Callable[..., None], what: object) -> None:
        try:
            write(what)
        except VaubanError as error:
            log.warning("the use of a credential could not be noted: %s", error.code)
        finally:
            self._places.release()


def provider(settings: Settings, table: Entitlements) -> oidc.Verifier:
    """What checks the tokens of the identity provider.

    Raises:
        SettingsError: a setting that it needs is missing or wrong.
    """
    for name, value in (
        ("oidc_issuer", settings.oidc_issuer),
        ("oidc_audience", settings.oidc_audience),
        ("oidc_jwks", settings.oidc_jwks),
    ):
        if not value:
            raise SettingsError(
                f"`login` names oidc, which needs the setting `{name}` (VAUBAN_{name.upper()})",
                f"« login » contient oidc, qui demande le réglage « {name} » (VAUBAN_{name.upper()})",
            )
    keys = oidc.KeySet(oidc.checked_place(settings.oidc_jwks))
    return oidc.Verifier(settings.oidc_issuer, settings.oidc_audience, keys, table)


def check_exposure(settings: Settings) -> None:
    """Refuse to listen where others could call without saying who they are, and modes that cannot work.

    Raises:
        SettingsError: the host is not loopback and there is no login, a mode lacks what it needs, or the key is short.
    """
    if settings.api_key and len(settings.api_key) < SHORTEST_KEY:
        raise SettingsError(
            f"`api_key` has fewer than {SHORTEST_KEY} characters; make one with: openssl rand -hex 32",
            f"« api_key » compte moins de {SHORTEST_KEY} caractères ; créez-en une avec : openssl rand -hex 32",
        )
    if Login.NONE in settings.login and len(settings.login) > 1:
        raise SettingsError(
            "`login` cannot be none and something else; leave none out",
            "« login » ne peut pas valoir à la fois none et autre chose ; retirez none",
        )
    if Login.PROXY in settings.login and not settings.proxies:
        raise SettingsError(
            "`login` names proxy: list the addresses of the reverse proxies in `VAUBAN_PROXIES`",
            "« login » contient proxy : indiquez les adresses des serveurs mandataires dans « VAUBAN_PROXIES »",
        )
    table = Entitlements.load(settings.login_map)
    Proxies(networks(settings.proxies), table, Login.PROXY in settings.login)
    if Login.OIDC in settings.login:
        provider(settings, table)
    if not settings.signs_in and not is_loopback(settings.host):
        raise SettingsError(
            f"`host` {settings.host} can be reached from other machines: set `VAUBAN_LOGIN` first (keys, oidc or "
            "proxy), or `VAUBAN_API_KEY`, or listen on 127.0.0.1",
            f"« host » {settings.host} est joignable depuis d'autres machines : définissez d'abord « VAUBAN_LOGIN » "
            "(keys, oidc ou proxy) ou « VAUBAN_API_KEY », ou écoutez sur 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def secure_cookies(setting: str, scheme: str, headers: Headers) -> bool | None:
    """Whether the cookies of a request's answer are for HTTPS only; ``None`` where a key would cross the network in
    the open.

    On this machine's own plain HTTP they are not, because some browsers would then never send them back; nothing
    leaves the machine there.
    """
    if setting != "auto":
        return setting == "always"
    if scheme in {"https", "wss"}:
        return True
    return False if is_loopback_name(headers.get("host", "")) else None


def cookie_name(setting: str, scheme: str, headers: Headers) -> str:
    """The one cookie that may hold the session of a request; empty where none can have been set.

    Where cookies are ``Secure`` it is the one that no other host can set: a neighbour under the same domain could else
    give a browser the session of its own choice.
    """
    secure = secure_cookies(setting, scheme, headers)
    return "" if secure is None else SECURE_COOKIE if secure else COOKIE


def session_cookie(headers: Headers, name: str) -> str:
    """The secret of the session in the cookies of a request; empty without one, or with two that differ."""
    # By hand, because the library keeps the last of two, and which of them somebody else has set nobody knows.
    pairs = [part.partition("=") for line in headers.getlist("cookie") for part in line.split(";")]
    found = {value.strip() for key, _, value in pairs if name and key.strip() == name}
    return found.pop() if len(found) == 1 else ""


def _within_assistants(principal: Principal) -> Principal:
    """A key for single assistants reaches nothing beyond their corpora, in whatever way it asks."""
    named = principal.assistants
    if named is None or ALL in named:
        return principal
    theirs = frozenset(name.removeprefix(f"{ALL}-") for name in named)
    return replace(principal, corpora=theirs if principal.corpora is None else theirs & principal.corpora)


def _nobody() -> Refusal:
    return Refusal(
        "this server needs to know who you are: send a valid key or token as a bearer token, or sign in at /sign-in",
        "ce serveur doit savoir qui vous êtes : envoyez une clé ou un jeton valide comme jeton « Bearer », ou "
        "connectez-vous à l'adresse /sign-in",
        code="key_required",
        status=401,
        # Never Basic: browsers would keep the key, send it along whoever asks, and could not sign out.
        headers={"WWW-Authenticate": 'Bearer realm="Vauban"'},
    )


def _secret(headers: Mapping[str, str]) -> str:
    """The secret in an Authorization header, or the password where a program knows nothing else; empty without one."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("utf-8").partition(":")[2]
        except ValueError:  # not Base64, or not UTF-8
            return ""
    return ""


def _same(given: str, secret: str) -> bool:
    """Compared in constant time; an empty secret matches nothing."""
    return bool(secret) and hmac.compare_digest(given.encode(), secret.encode())


def _mark(secret: str) -> str:
    """What tells that a session was begun with this shared key, and not with the one before it."""
    return hashlib.sha256(b"vauban shared key\0" + secret.encode()).hexdigest()
