"""One frozen ``Settings``, read once from ``vauban.toml`` and ``VAUBAN_*``, and handed down as a value.

The environment wins over the file. A name that is not a setting stops the start with a sentence naming it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rag.errors import SettingsError
from rag.logs import LogFormat, LogLevel
from rag.types import Policy, Quotes

PREFIX = "VAUBAN_"
SETTINGS_FILE = Path("vauban.toml")
"""Where the settings are read from, and where `models use` and `ingest rebuild` write: the working folder's."""


def _listed(value: object) -> object:
    """Commas separate the items of a list in the environment; a TOML file gives real lists."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


Listed = BeforeValidator(_listed)


def _given(value: object) -> object:
    """An environment cannot leave a name out where a file lists it, only give nothing: which is no path."""
    return None if value == "" else value


MaybePath = Annotated[Path | None, BeforeValidator(_given)]


class Login(StrEnum):
    """How people and programs say who they are; a closed list."""

    NONE = "none"
    """Not at all: whoever uses this machine is the local person."""
    KEYS = "keys"
    OIDC = "oidc"
    PROXY = "proxy"


class Settings(BaseModel):
    """Everything two deployments may need different. Tuning numbers live as constants beside the code they tune."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(Path("~/.vauban"), description="Folder that holds all state: index, catalog, server.json.")
    host: str = Field("127.0.0.1", description="Address to listen on; anything but loopback needs a login.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    login: Annotated[frozenset[Login], Listed] = Field(
        frozenset({Login.NONE}),
        min_length=1,
        description="How callers say who they are: `none` (loopback only), or `keys`, `oidc`, `proxy`; several may be "
        "combined, commas between them.",
    )
    api_key: str = Field(
        "",
        description="One key for everyone, who are then the local person; `vauban keys` makes better ones.",
        repr=False,
    )
    proxies: Annotated[tuple[str, ...], Listed] = Field(
        (), description="Addresses or networks of trusted reverse proxies; commas between them."
    )
    login_map: MaybePath = Field(
        None, description="TOML table from the provider's or the proxy's groups and roles to ours."
    )
    oidc_issuer: str = Field("", description="Issuer of the tokens of the identity provider, as they name it.")
    oidc_audience: Annotated[tuple[str, ...], Listed] = Field(
        (), description="Audiences, one of which a token must be meant for; commas between them."
    )
    oidc_jwks: str = Field(
        "", description="Key set of the identity provider: a file, or a URL of the internal network."
    )
    secure_cookies: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether the session's cookie is for HTTPS only; `auto`: unless the page is opened by HTTP on this "
        "machine.",
    )
    hosts: Annotated[tuple[str, ...], Listed] = Field(
        (), description="Names by which people reach this server, beside loopback; commas between them."
    )
    language: Literal["fr", "en"] = Field("fr", description="Language of the interface and of replies when unknown.")
    sources: Annotated[tuple[Path, ...], Listed] = Field(
        (), description="Folders below which a server accepts paths to ingest; commas between them."
    )
    local_groups: Annotated[frozenset[str], Listed] = Field(
        frozenset(), description="Groups of the person who uses this machine without login; commas between them."
    )
    local_clearance: int = Field(0, ge=0, description="Clearance of the person who uses this machine without login.")
    embedder: str = Field("minilm", description="Embedding model: a name of the manifest, or `fake`.")
    generator: str = Field("smollm2", description="Writing model: a name of the manifest, `fake`, or `none`.")
    reranker: str = Field("none", description="Cross-encoder: a name of the manifest, `fake`, or `none`.")
    models: MaybePath = Field(None, description="Folder of pulled models; default `models` in the home folder.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where encoders run.")
    threads: int = Field(0, ge=0, description="Threads for the writing model; 0 takes every core this process may use.")
    gpu_layers: int = Field(0, ge=-1, description="Layers of the writing model on the GPU; -1 is all.")
    context: int = Field(0, ge=0, description="Tokens of context for the writing model; 0 takes the manifest's.")
    llama_url: Annotated[tuple[str, ...], Listed] = Field(
        (), description="URLs of `llama-server`s of one model to write with, instead of here; commas between them."
    )
    llama_api_key: str = Field("", description="API key of the `llama-server`s.", repr=False)
    qdrant_url: str = Field("", description="URL of a Qdrant server, instead of the engine in this process.")
    qdrant_api_key: str = Field("", description="API key of the Qdrant server.", repr=False)
    policy: Policy = Field(Policy.STRICT, description="`strict` drops unsupported sentences, `flag` marks them.")
    quotes: Quotes = Field(
        Quotes.RANKED, description="Who picks verbatim extracts: `ranked` sentences, or the model under a `grammar`."
    )
    answer_seconds: int = Field(
        300, ge=1, description="Longest time that the writing model may take for an answer; then extracts are given."
    )
    queue: int = Field(16, ge=1, description="Questions that may wait for the writing model before a 429.")
    queue_per_user: int = Field(
        4, ge=1, description="Questions of one person that are answered or wait at a time before a 429."
    )
    cache_megabytes: int = Field(
        512,
        ge=0,
        description="Memory in MiB for what the writing model has read, kept by person so that their next question is "
        "quick; 0 keeps only the last prompt.",
    )
    log: LogFormat = Field(LogFormat.TEXT, description="How events are logged: lines of `text`, or `json`.")
    log_level: LogLevel = Field(LogLevel.INFO, description="Least weight of an event that is logged.")
    slow_seconds: float = Field(30.0, gt=0, description="Seconds from which on an answer is logged as slow.")
    canary: str = Field(
        "", description="JSON Lines file of questions that are asked by schedule, or `samples`; empty asks none."
    )
    canary_minutes: float = Field(15.0, gt=0, description="Minutes between two rounds of the canary questions.")
    canary_groups: Annotated[frozenset[str], Listed] = Field(
        frozenset(), description="Groups for which the canary questions are asked; commas between them."
    )
    workers: int = Field(0, ge=0, description="Processes that read files; 0 takes one per core, at most four.")
    file_megabytes: int = Field(200, ge=1, description="Largest file that is taken in.")
    file_seconds: int = Field(120, ge=1, description="Longest time that reading one file may take.")
    file_memory: int = Field(1024, ge=256, description="Memory in MiB that reading one file may use.")
    file_pages: int = Field(3000, ge=1, description="Most pages that one file may have.")
    file_expanded: int = Field(512, ge=1, description="Megabytes that one container may unpack to.")
    file_depth: int = Field(3, ge=0, description="How many archives and mails may stand inside each other.")
    ocr: bool = Field(True, description="Whether pages without a readable text layer are recognised by Tesseract.")
    ocr_languages: str = Field(
        "fra+eng", pattern=r"^[A-Za-z_]+(\+[A-Za-z_]+)*$", description="Languages of OCR, as Tesseract names them."
    )
    ocr_seconds: int = Field(60, ge=1, description="Longest time that recognising one page may take.")
    database_url: str = Field(
        "", description="PostgreSQL URL of the catalog; empty keeps it in the home folder.", repr=False
    )
    qdrant_shards: int = Field(1, ge=1, description="Shards of the collection on the Qdrant server, when it is made.")
    qdrant_replicas: int = Field(1, ge=1, description="Replicas of each shard on the Qdrant server.")
    qdrant_write_consistency: int = Field(
        1, ge=1, description="Replicas that must have a write before it counts as done."
    )
    broker_url: str = Field(
        "", description="Redis or Valkey URL through which `--workers celery` spreads documents.", repr=False
    )

    history_days: int = Field(
        90, ge=0, le=36_500, description="Days for which conversations and whose an answer is are kept; 0 keeps none."
    )
    audit_key: MaybePath = Field(
        None, description="File with the secret of the records, one for all servers of a database; default in the home."
    )
    audit_days: int = Field(
        365, ge=0, description="Days after which who asked and what is erased from the records; 0 keeps it."
    )

    @property
    def root(self) -> Path:
        """The home folder, absolute."""
        return self.home.expanduser().absolute()

    @property
    def signs_in(self) -> bool:
        """Whether callers must say who they are."""
        return bool(self.login - {Login.NONE}) or bool(self.api_key)

    @property
    def models_dir(self) -> Path:
        return (self.models or self.root / "models").expanduser().absolute()

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
        """Read ``file`` (default ``vauban.toml`` here, when there is one), then ``environ`` (default the process's).

        Raises:
            SettingsError: a name is unknown or a value is wrong; the message names it and says what to do.
        """
        environ = os.environ if environ is None else environ
        values = _from_file(file)
        values |= {
            name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)
        }
        for name in values:
            if name not in cls.model_fields:
                raise _unknown(name, list(cls.model_fields))
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "?"
            raise SettingsError(
                f"setting `{name}` ({PREFIX}{name.upper()}) is wrong: {first['msg']}",
                f"le réglage « {name} » ({PREFIX}{name.upper()}) est incorrect : {first['msg']}",
            ) from error


def _from_file(file: Path | None) -> dict[str, Any]:
    path = file or SETTINGS_FILE
    if file is None and not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"cannot read settings file {path}: {error}", f"fichier de réglages {path} illisible : {error}"
        ) from error


def _unknown(name: str, known: list[str]) -> SettingsError:
    near = difflib.get_close_matches(name, known, n=1)
    hint_en = f"; did you mean `{near[0]}`?" if near else "; README.md lists them all"
    hint_fr = f" ; vouliez-vous « {near[0]} » ?" if near else " ; README.md les liste tous"
    return SettingsError(
        f"unknown setting `{name}` ({PREFIX}{name.upper()}){hint_en}",
        f"réglage inconnu « {name} » ({PREFIX}{name.upper()}){hint_fr}",
    )
