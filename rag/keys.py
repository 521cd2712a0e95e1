"""Keys of the API: made, listed, revoked and recognised, over the database that every server of an installation shares.

A secret is 256 random bits behind a prefix that scanners of repositories can look for. What is stored is its SHA-256:
slow hashes protect words that people choose and that can be guessed; nobody guesses 256 random bits, so a fast hash
reveals nothing, and each request can afford it. A key is looked up by its public id and compared in constant time.
Nothing is remembered between two requests, so that a revocation counts from the next one on, in every process.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from rag.database import Database, Text, metadata
from rag.errors import BadRequest, Conflict, NotFound
from rag.scope import today
from rag.types import Access, Principal, Role

PREFIX: Final = "vbn_"
"""What every key begins with."""
LONGEST_NAME: Final = 100
MOST_DAYS: Final = 3_650
"""A key that nobody renews for ten years is one that nobody remembers."""
DAY: Final = 86_400

_SECRET: Final = re.compile(rf"{PREFIX}([0-9a-f]{{16}})_[A-Za-z0-9_-]{{43}}")

keys: Final = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("hash", Text, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("groups", Text, nullable=False),
    sa.Column("clearance", sa.Integer, nullable=False),
    sa.Column("roles", Text, nullable=False),
    sa.Column("maintains", Text, nullable=False),
    sa.Column("corpora", Text),
    sa.Column("assistants", Text),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Column("revoked", sa.BigInteger),
    sa.Column("last_used", Text),
)


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; not its secret, which nobody can tell again. Instants are seconds since 1970."""

    id: str
    principal: Principal
    created: int
    expires: int
    revoked: int | None
    last_used: str | None
    hash: str = field(repr=False)

    def valid(self, now: float) -> bool:
        return self.revoked is None and now < self.expires


class Keys:
    """Safe to use from several threads and processes; ``clock`` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def create(self, principal: Principal, days: int, *, further: bool = False) -> tuple[Key, str]:
        """A new key for ``principal``, and its secret, which is told this one time.

        A name is a person or an application: histories belong to it. So a name that any key ever had is refused,
        unless ``further`` says that it is the same person.

        Raises:
            BadRequest: the name is empty, too long or unprintable, or the days are not 1 to :data:`MOST_DAYS`.
            Conflict: a key of that name was made before.
        """
        name = checked_name(principal.name)
        if not 1 <= days <= MOST_DAYS:
            raise BadRequest(
                f"a key is valid for 1 to {MOST_DAYS} days", f"une clé est valable de 1 à {MOST_DAYS} jours"
            )
        now = int(self._clock())
        id_, secret = new_secret()
        row = {
            "id": id_,
            "hash": _hashed(secret),
            "name": name,
            "groups": _listed(principal.groups),
            "clearance": principal.clearance,
            "roles": _listed(role.value for role in principal.roles | {Role.READER}),
            "maintains": _listed(principal.maintains),
            "corpora": None if principal.corpora is None else _listed(principal.corpora),
            "assistants": None if principal.assistants is None else _listed(principal.assistants),
            "created": now,
            "expires": now + days * DAY,
        }
        with self._database.writing() as connection:
            known = connection.execute(sa.select(keys.c.id).where(keys.c.name == name).limit(1)).first()
            if known is not None and not further:
                raise Conflict(
                    f"a key named `{name}` was made before; choose another name, or say with --same-person that this "
                    "one is for the same person or application, who then keeps one history",
                    f"une clé nommée « {name} » a déjà existé ; choisissez un autre nom, ou précisez avec "
                    "--same-person qu'il s'agit de la même personne ou application, qui garde alors un seul historique",
                    code="key_exists",
                )
            connection.execute(keys.insert().values(**row))
            made = connection.execute(keys.select().where(keys.c.id == id_)).one()
        return _read(made), secret

    def every(self) -> list[Key]:
        """All keys, the revoked and the expired ones included, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(keys.select().order_by(keys.c.created, keys.c.id)).all()
        return [_read(row) for row in rows]

    def revoke(self, named: str) -> list[Key]:
        """End the key of that id, or every key of that name; those that had ended already stay as they are.

        Raises:
            NotFound: no key has that id or name.
        """
        with self._database.writing() as connection:
            chosen = (keys.c.id == named) | (keys.c.name == unicodedata.normalize("NFC", named))
            connection.execute(keys.update().where(chosen, keys.c.revoked.is_(None)).values(revoked=int(self._clock())))
            rows = connection.execute(keys.select().where(chosen).order_by(keys.c.created, keys.c.id)).all()
        if not rows:
            raise NotFound(
                f"there is no key `{named}`; `vauban keys list` shows them all",
                f"il n'y a pas de clé « {named} » ; « vauban keys list » les montre toutes",
                code="unknown_key",
            )
        return [_read(row) for row in rows]

    def recognised(self, secret: str) -> Key | None:
        """The valid key whose secret this is."""
        match = _SECRET.fullmatch(secret)
        found = self._row(match[1]) if match else None
        # An id that is not there costs a comparison as well: how long it takes tells nothing.
        same = hmac.compare_digest(_hashed(secret), found.hash if found else _hashed(""))
        return found if found and same and found.valid(self._clock()) else None

    def valid(self, id: str) -> Key | None:  # noqa: A002 the field's own name
        """The key of that id, while it is neither revoked nor expired."""
        found = self._row(id)
        return found if found and found.valid(self._clock()) else None

    def used(self, key: Key) -> None:
        """Note that a key was used today; written once a day."""
        day = today().isoformat()
        if key.last_used != day:
            with self._database.writing() as connection:
                connection.execute(keys.update().where(keys.c.id == key.id).values(last_used=day))

    def _row(self, id_: str) -> Key | None:
        with self._database.reading() as connection:
            row = connection.execute(keys.select().where(keys.c.id == id_)).one_or_none()
        return None if row is None else _read(row)


def new_secret() -> tuple[str, str]:
    """The public id and the secret of a new key: 256 random bits that nothing else follows from or leads to."""
    id_ = secrets.token_hex(8)
    return id_, f"{PREFIX}{id_}_{secrets.token_urlsafe(32)}"


def checked_name(name: str) -> str:
    """The name of a person or an application as it is stored.

    Raises:
        BadRequest: it is empty, too long or cannot be printed.
    """
    written = unicodedata.normalize("NFC", name).strip()
    if not written or len(written) > LONGEST_NAME or not written.isprintable():
        raise BadRequest(
            f"a name has 1 to {LONGEST_NAME} printable characters",
            f"un nom compte 1 à {LONGEST_NAME} caractères imprimables",
            code="bad_name",
        )
    return written


def _hashed(secret: str) -> str:
    """The whole text is hashed, its id included, so that a stored hash fits no other row; the label keeps it apart
    from whatever else this program hashes."""
    return hashlib.sha256(b"vauban api key\0" + secret.encode()).hexdigest()


def _listed(values: Any) -> str:
    return json.dumps(sorted(values), ensure_ascii=False)


def _read(row: sa.Row[Any]) -> Key:
    principal = Principal(
        name=row.name,
        groups=_set(row.groups),
        clearance=row.clearance,
        roles=frozenset(Role(role) for role in json.loads(row.roles)),
        maintains=_set(row.maintains),
        corpora=None if row.corpora is None else _set(row.corpora),
        assistants=None if row.assistants is None else _set(row.assistants),
        access=Access.KEY,
    )
    return Key(row.id, principal, row.created, row.expires, row.revoked, row.last_used, row.hash)


def _set(written: str) -> frozenset[str]:
    values: Collection[str] = json.loads(written)
    return frozenset(values)
