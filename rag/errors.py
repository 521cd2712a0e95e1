"""The tree of everything that can go wrong, grouped by who can act.

::

    VaubanError
    ├── OperatorError            the operator can act
    │   ├── SettingsError        a setting is unknown or wrong
    │   ├── ModelError           a model is missing, corrupt or of the wrong kind
    │   ├── StoreError           the store or the catalog cannot be used
    │   │   ├── StoreBusy        another process owns it
    │   │   └── FingerprintMismatch   it was filled by another embedder
    │   └── DiskFull             no space is left
    ├── CallerError              the caller can act
    │   ├── BadRequest           the input is empty, too long or malformed
    │   ├── NotFound             a corpus, model, document or run that the caller cannot see
    │   └── Conflict             the state of the corpus does not allow it
    ├── GenerationError          the model failed while writing; passages still are an answer
    │   ├── Overloaded           the queue is full
    │   └── Cancelled            the reader went away or pressed stop
    └── DocumentError            one file could not be taken in; has a ``reason``

Adapters translate a library's exception once, raising one of these ``from`` it. "I found nothing" is an
:class:`~rag.types.Answer`, never an exception.
"""

from __future__ import annotations

from enum import StrEnum


class VaubanError(Exception):
    """Base of the tree. ``code`` is stable for programs, ``fr`` and ``en`` say it to people.

    ``values`` fill the placeholders of both sentences, so that an error speaks the caller's language.
    """

    code = "error"

    def __init__(self, en: str, fr: str | None = None, *, code: str | None = None) -> None:
        super().__init__(en)
        self.en = en
        self.fr = fr or en
        if code is not None:
            self.code = code

    def said(self, language: str) -> str:
        """The message in ``fr`` or ``en``."""
        return self.fr if language == "fr" else self.en


class OperatorError(VaubanError):
    code = "operator"


class SettingsError(OperatorError):
    code = "settings"


class ModelError(OperatorError):
    code = "model"


class StoreError(OperatorError):
    code = "store"


class StoreBusy(StoreError):
    code = "store_busy"

    def __init__(self, en: str, fr: str | None = None, *, pid: int | None = None) -> None:
        super().__init__(en, fr)
        self.pid = pid


class FingerprintMismatch(StoreError):
    code = "fingerprint_mismatch"


class DiskFull(OperatorError):
    code = "disk_full"


class CallerError(VaubanError):
    code = "caller"


class BadRequest(CallerError):
    code = "bad_request"


class NotFound(CallerError):
    code = "not_found"


class Conflict(CallerError):
    code = "conflict"


class GenerationError(VaubanError):
    code = "generation"


class Overloaded(GenerationError):
    """``retry_after`` is an estimate, in seconds, of when it is worth asking again; ``None`` where there is none."""

    code = "overloaded"

    def __init__(
        self, en: str, fr: str | None = None, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(en, fr, code=code)
        self.retry_after = retry_after


class Cancelled(GenerationError):
    code = "cancelled"


class RejectReason(StrEnum):
    """Why a file was not taken in; a closed list."""

    UNSUPPORTED = "unsupported"
    EMPTY = "empty"
    PASSWORD = "password"
    CORRUPT = "corrupt"
    NO_TEXT = "no_text"
    TOO_LARGE = "too_large"
    TOO_LONG = "too_long"
    TOO_DEEP = "too_deep"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASHED = "crashed"
    UNREADABLE = "unreadable"
    OUTSIDE = "outside"
    BAD_METADATA = "bad_metadata"
    DUPLICATE_ID = "duplicate_id"


class DocumentError(VaubanError):
    """One file could not be taken in. ``reason`` is from the closed list; the message is the detail."""

    code = "document"

    def __init__(self, reason: RejectReason, en: str, fr: str | None = None) -> None:
        super().__init__(en, fr)
        self.reason = reason
