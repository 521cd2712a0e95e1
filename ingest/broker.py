"""What a sync and its workers on other hosts exchange through Redis or Valkey.

Orders go through a Celery queue, and nothing else of Celery is used: answers, signs of life and what is still wanted
are plain keys with an end of their own, so that nothing is left behind by whoever dies. All of it is JSON.

::

    vauban:workers               set    names of workers
    vauban:worker:NAME           JSON   what a worker is; ends with it
    vauban:run:RUN:wanted        set    tasks that the sync waits for; ends with it
    vauban:run:RUN:done          list   tasks that have an answer
    vauban:task:TASK:alive       host   somebody works on the task; ends with them
    vauban:task:TASK:answer      JSON   deleted when it was read
    vauban:writer:WRITER         RUN    the sync that may stage into one corpus of one store
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import ssl
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import redis
from celery import Celery, signals
from celery.exceptions import OperationalError
from celery.utils.log import base_logger
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError
from redis.retry import Retry

from ingest.wire import Task, task_json
from rag.errors import OperatorError, SettingsError

BEAT: Final = 2.0
"""Seconds between two signs of life."""
ALIVE: Final = 10.0
"""Seconds after the last sign of life when a worker and what it works on count as lost: several beats, because
a busy interpreter and a slow network may swallow some."""
WANTED: Final = 20.0
"""Seconds after the last sign of life of a sync when workers drop its orders and stage no more of it."""
ANSWER: Final = 3_600.0
"""Seconds that an answer waits for its sync, which may be busy embedding or staging."""
REDELIVERY: Final = 6 * 3_600
"""Seconds after which the queue offers an order again that nobody has finished. The sync has sent it again long
before; what arrives this late is not wanted any more and dropped."""
PATIENCE: Final = 60.0
"""Seconds that a broker may be away before whoever needs it gives up."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_SOCKET: Final = 15.0
"""Seconds that one exchange with the broker may take; longer than any waiting that it is asked to do."""
_TASK_NAME: Final = "vauban.read"
_AWAY: Final = (redis.ConnectionError, redis.TimeoutError)
_REFUSED: Final = (AuthenticationError, AuthorizationError)
_SCHEMES: Final = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss"}

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a worker and a sync must have in common: the embedder, the program, and the store where workers stage."""

    embedder: str
    program: str
    store: str = ""
    version: int = 1

    @property
    def queue(self) -> str:
        """The queue of workers of this kind; another kind never sees its orders."""
        return f"vauban:orders:{hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Present:
    """A worker that lives."""

    host: str
    kind: Kind


class Broker:
    """One connection to Redis or Valkey, for a sync or a worker. Made by :meth:`connect`; safe from many threads.

    Every method tries again while the broker is away, for :data:`PATIENCE` seconds unless told otherwise.

    Raises (all methods):
        OperatorError: the broker does not answer any more, or refuses.
    """

    def __init__(self, client: redis.Redis, url: str, patience: float = PATIENCE) -> None:
        self._client = client
        self._url = url
        self._patience = patience
        self._apps: dict[str, Celery] = {}

    @classmethod
    def connect(cls, url: str, patience: float = PATIENCE) -> Self:
        """The broker at ``url``, which must answer now.

        Raises:
            SettingsError: this is no URL of a broker, or none is set.
            OperatorError: it does not answer, or refuses the password.
        """
        url = _spelled(url)
        client = redis.Redis.from_url(
            url,
            socket_timeout=_SOCKET,
            socket_connect_timeout=5.0,
            socket_keepalive=True,
            health_check_interval=15,
            protocol=2,  # which every Redis and Valkey speaks
            retry=Retry(NoBackoff(), 0),  # trying again is done here, where it ends with our error
        )
        cls(client, url, patience=2.0)._ask(client.ping)
        return cls(client, url, patience)

    def close(self) -> None:
        for app in self._apps.values():
            app.close()
        self._client.close()

    # --- what a sync does

    def workers(self) -> list[Present]:
        """The workers that live, whatever their kind."""
        members: Any = self._ask(lambda: self._client.smembers("vauban:workers"))
        names = sorted(name.decode() for name in members)
        if not names:
            return []
        said: Any = self._ask(lambda: self._client.mget([f"vauban:worker:{name}" for name in names]))
        gone = [name for name, value in zip(names, said, strict=True) if value is None]
        if gone:
            self._ask(lambda: self._client.srem("vauban:workers", *gone))
        return [found for value in said if value is not None and (found := _present(value)) is not None]

    def claim(self, writer: str, run: str) -> None:
        """From here on only ``run`` may stage where ``writer`` says, whoever could before."""
        self._ask(lambda: self._client.set(f"vauban:writer:{writer}", run, px=_ms(WANTED)))

    def want(self, run: str, tasks: Collection[str], writer: str = "") -> bool:
        """Say that ``run`` lives and waits for ``tasks``; whether no other run has claimed ``writer`` meanwhile."""
        if writer:
            key = f"vauban:writer:{writer}"
            # What is missing was lost with the broker's memory: nobody else has claimed it.
            self._ask(lambda: self._client.set(key, run, nx=True, px=_ms(WANTED)))
            if self._ask(lambda: self._client.get(key)) != run.encode():
                return False
        wanted = f"vauban:run:{run}:wanted"

        def refresh() -> None:
            with self._client.pipeline(transaction=True) as pipe:
                if tasks:
                    pipe.sadd(wanted, *tasks)
                pipe.pexpire(wanted, _ms(WANTED))
                if writer:
                    pipe.pexpire(f"vauban:writer:{writer}", _ms(WANTED))
                pipe.execute()

        self._ask(refresh)
        return True

    def send(self, kind: Kind, task: Task) -> None:
        """Hand an order to the workers of a kind."""
        wanted, said = f"vauban:run:{task.run}:wanted", task_json(task)

        def send() -> None:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.sadd(wanted, task.id)
                pipe.pexpire(wanted, _ms(WANTED))
                pipe.execute()
            # ``argsrepr`` would carry the text of the order into logs and events.
            self._app(kind).send_task(
                _TASK_NAME, [said], task_id=task.id, queue=kind.queue, argsrepr="", retry=False, ignore_result=True
            )

        self._ask(send)

    def drop(self, run: str, task: str) -> None:
        """Say that nobody waits for a task any more."""

        def drop() -> None:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.srem(f"vauban:run:{run}:wanted", task)
                pipe.delete(f"vauban:task:{task}:answer", f"vauban:task:{task}:alive")
                pipe.execute()

        self._ask(drop)

    def done(self, run: str, wait: float) -> str | None:
        """A task of ``run`` that was answered, the earliest first; ``None`` when there is none within ``wait`` s."""
        said: Any = self._ask(lambda: self._client.blpop([f"vauban:run:{run}:done"], timeout=wait))
        return None if said is None else said[1].decode()

    def answer(self, task: str) -> bytes | None:
        """The answer to a task, kept until it is dropped."""
        said: Any = self._ask(lambda: self._client.get(f"vauban:task:{task}:answer"))
        return None if said is None else bytes(said)

    def alive(self, tasks: Sequence[str]) -> set[str]:
        """Those of ``tasks`` that somebody works on."""
        if not tasks:
            return set()
        said = self._ask(lambda: self._client.mget([f"vauban:task:{task}:alive" for task in tasks]))
        return {task for task, host in zip(tasks, said, strict=True) if host is not None}

    def waiting(self, kind: Kind) -> int:
        """Orders in the queue that no worker has taken."""
        return int(self._ask(lambda: self._client.llen(kind.queue)))

    def end(self, run: str, tasks: Collection[str], writer: str = "") -> None:
        """Forget a run: workers drop what they still have of it."""

        def end() -> None:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.delete(f"vauban:run:{run}:wanted", f"vauban:run:{run}:done")
                for task in tasks:
                    pipe.delete(f"vauban:task:{task}:answer", f"vauban:task:{task}:alive")
                pipe.execute()
            if writer and self._client.get(f"vauban:writer:{writer}") == run.encode():
                self._client.delete(f"vauban:writer:{writer}")

        self._ask(end)

    # --- what a worker does

    def beat(self, name: str, here: Present, task: str | None) -> None:
        """Give a sign of life, and of the task that is worked on."""

        def beat() -> None:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.sadd("vauban:workers", name)
                pipe.set(f"vauban:worker:{name}", json.dumps(asdict(here)), px=_ms(ALIVE))
                if task is not None:
                    pipe.set(f"vauban:task:{task}:alive", here.host, px=_ms(ALIVE))
                pipe.execute()

        self._ask(beat)

    def leave(self, name: str) -> None:
        """Say that a worker ends."""

        def leave() -> None:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.srem("vauban:workers", name)
                pipe.delete(f"vauban:worker:{name}")
                pipe.execute()

        self._ask(leave)

    def wanted(self, task: Task) -> bool:
        """Whether the sync that sent a task lives, still waits for it, and may still stage."""

        def wanted() -> bool:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.sismember(f"vauban:run:{task.run}:wanted", task.id)
                pipe.get(f"vauban:writer:{task.writer}")
                member, owner = pipe.execute()
            return bool(member) and (not task.writer or owner == task.run.encode())

        return self._ask(wanted)

    def reply(self, task: Task, answer: bytes) -> None:
        """Answer a task; the last thing that a worker does for it."""
        done = f"vauban:run:{task.run}:done"

        def reply() -> None:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.set(f"vauban:task:{task.id}:answer", answer, px=_ms(ANSWER))
                pipe.rpush(done, task.id)
                pipe.pexpire(done, _ms(ANSWER))
                pipe.delete(f"vauban:task:{task.id}:alive")
                pipe.execute()

        self._ask(reply)

    def release(self, task: Task) -> None:
        """Say that nobody works on a task any more."""
        self._ask(lambda: self._client.delete(f"vauban:task:{task.id}:alive"))

    def serve(self, kind: Kind, name: str, take: Callable[[str], None]) -> int:
        """Give each order of a kind to ``take``, one at a time, in this thread, until the process is asked to end.

        An order is off the queue when ``take`` has returned. The exit code; a broker that goes away is waited for.
        """
        app = self._app(kind)
        app.task(name=_TASK_NAME)(take)
        silence()
        worker = app.Worker(
            hostname=name,
            pool="solo",
            concurrency=1,
            queues=[kind.queue],
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
        return int(worker.exitcode or 0)

    # --- trying again

    def _ask(self, call: Callable[[], _Result]) -> _Result:
        """``call``, again and again while the broker is away."""
        start = time.monotonic()
        pause = _FIRST_PAUSE
        while True:
            try:
                return call()
            except _REFUSED as error:
                raise _refuses(self._url, error) from error
            except (*_AWAY, OperationalError, OSError) as error:
                if time.monotonic() - start + pause > self._patience:
                    raise _lost(self._url, error) from error
            except redis.RedisError as error:
                raise _refuses(self._url, error) from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _app(self, kind: Kind) -> Celery:
        if kind.queue not in self._apps:
            self._apps[kind.queue] = _celery(self._url, kind)
        return self._apps[kind.queue]


def patient(broker: Broker, seconds: float) -> Broker:
    """The same connection, whose methods give up after so many seconds."""
    return Broker(broker._client, broker._url, seconds)


def silence() -> None:
    """Let Celery and its kin log where something happened, and never what: their messages quote what they handle."""
    signals.setup_logging.connect(_configured, weak=False)
    for logger in (base_logger, logging.getLogger("kombu"), logging.getLogger("redis")):
        logger.handlers = [_EventLines(logging.WARNING)]
        logger.setLevel(logging.WARNING)
        logger.propagate = False


def _configured(**_: object) -> None:
    """Stands where Celery looks for someone else's configuration of logging, so that it leaves ours alone."""


class _EventLines(logging.Handler):
    """Passes on that something was logged, by whom and how serious, without the message."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        logging.getLogger(__name__).log(
            record.levelno, "broker event", extra={"where": f"{record.name}:{record.lineno}", "error": kind}
        )


def _celery(url: str, kind: Kind) -> Celery:
    """Celery with everything off that is not a queue of JSON."""
    app = Celery("vauban", set_as_current=False)
    app.conf.update(
        broker_url=url,
        broker_use_ssl={"ssl_cert_reqs": ssl.CERT_REQUIRED} if url.startswith("rediss:") else None,
        broker_transport_options={
            "visibility_timeout": REDELIVERY,
            "socket_timeout": _SOCKET,
            "socket_connect_timeout": 5.0,
            "socket_keepalive": True,
        },
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        task_send_sent_event=False,
        # Without an exchange an order goes straight to its queue: no routing table that a restart could lose.
        task_default_queue=kind.queue,
        task_default_exchange="",
        task_default_routing_key=kind.queue,
    )
    return app


def _spelled(url: str) -> str:
    """``url`` as both libraries read it."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise SettingsError(
            "`--workers celery` needs the setting `broker_url` (VAUBAN_BROKER_URL): redis://host:6379/0, or rediss:// "
            "with TLS",
            "« --workers celery » demande le réglage « broker_url » (VAUBAN_BROKER_URL) : redis://hote:6379/0, ou "
            "rediss:// avec TLS",
        )
    return urlunsplit(parts._replace(scheme=_SCHEMES[parts.scheme]))


def _place(url: str) -> str:
    """Host and port of a URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}"


def _lost(url: str, error: Exception) -> OperatorError:
    place, kind = _place(url), type(error).__name__
    return OperatorError(
        f"the broker at {place} does not answer ({kind}); see that it runs and is reached from here, and run again",
        f"le serveur de messages {place} ne répond pas ({kind}) ; vérifiez qu'il tourne et qu'il est joignable, puis "
        "relancez",
        code="broker_lost",
    )


def _refuses(url: str, error: Exception) -> OperatorError:
    place, kind = _place(url), type(error).__name__
    return OperatorError(
        f"the broker at {place} refuses what it is asked ({kind}); check its password, rights and memory limit",
        f"le serveur de messages {place} refuse la demande ({kind}) ; vérifiez son mot de passe, ses droits et sa "
        "limite de mémoire",
        code="broker_refuses",
    )


def _present(said: bytes) -> Present | None:
    """The worker that a key tells of; ``None`` when another version wrote it in other words."""
    try:
        values = json.loads(said)
        return Present(str(values["host"]), Kind(**values["kind"]))
    except (ValueError, TypeError, KeyError):
        return None


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
