"""Every refusal and failure as an RFC 9457 problem document, in the caller's language.

The document carries OpenAI's ``error`` member as well, so that its clients raise the exception they have for the
status. A table maps our errors to statuses; what went wrong inside is the operator's to read, not the caller's.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from rag import errors, request_log, schemas
from rag.errors import VaubanError

log = logging.getLogger("vauban.api")

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
"""What ``Retry-After`` says when the queue is full and nothing was measured yet: about one short answer."""

STATUSES: Mapping[type[VaubanError], int] = {
    errors.BadRequest: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.CallerError: 400,
    errors.Overloaded: 429,
    errors.Cancelled: 499,
    errors.GenerationError: 500,
    errors.DocumentError: 400,
    errors.DiskFull: 507,
    errors.OperatorError: 503,
    VaubanError: 500,
}

_TITLES: Mapping[int, tuple[str, str]] = {
    400: ("Demande incorrecte", "Bad request"),
    401: ("Jeton requis", "Token required"),
    403: ("Refusé", "Forbidden"),
    404: ("Introuvable", "Not found"),
    405: ("Méthode non admise", "Method not allowed"),
    408: ("Envoi trop lent", "Request timeout"),
    409: ("Impossible dans l'état actuel", "Conflict"),
    412: ("Condition non remplie", "Precondition failed"),
    413: ("Demande trop grande", "Content too large"),
    415: ("Format non admis", "Unsupported media type"),
    421: ("Mauvais serveur", "Misdirected request"),
    422: ("Demande contradictoire", "Unprocessable content"),
    429: ("Trop de demandes", "Too many requests"),
    499: ("Demande abandonnée", "Client closed request"),
    500: ("Erreur interne", "Internal error"),
    501: ("Non disponible ici", "Not available here"),
    503: ("Service indisponible", "Service unavailable"),
    507: ("Espace insuffisant", "Insufficient storage"),
}

_OPENAI_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}

_HTTP: Mapping[int, tuple[str, str, str]] = {
    404: (
        "unknown_path",
        "il n'y a rien à cette adresse ; /openapi.json décrit l'API",
        "there is nothing at this address; /openapi.json describes the API",
    ),
    405: (
        "method_not_allowed",
        "cette adresse n'admet pas cette méthode ; voir l'en-tête Allow",
        "this address does not take this method; see the Allow header",
    ),
    413: (
        "too_large",
        "la demande est trop grande",
        "the request is too large",
    ),
}

# What pydantic found wrong, said in both languages; ``{}`` takes the limit where there is one.
_FAULTS: Mapping[str, tuple[str, str, str]] = {
    "missing": ("est requis", "is required", ""),
    "extra_forbidden": ("n'est pas un champ connu", "is not a known field", ""),
    "string_type": ("doit être un texte", "must be a string", ""),
    "string_too_short": ("doit compter au moins {} caractère(s)", "must have at least {} character(s)", "min_length"),
    "string_too_long": ("doit compter au plus {} caractères", "must have at most {} characters", "max_length"),
    "string_pattern_mismatch": ("n'a pas la forme attendue", "does not have the expected form", ""),
    "too_short": ("doit compter au moins {} élément(s)", "must have at least {} item(s)", "min_length"),
    "too_long": ("doit compter au plus {} éléments", "must have at most {} items", "max_length"),
    "list_type": ("doit être une liste", "must be a list", ""),
    "dict_type": ("doit être un objet", "must be an object", ""),
    "model_type": ("doit être un objet", "must be an object", ""),
    "model_attributes_type": ("doit être un objet", "must be an object", ""),
    "bool_type": ("doit être vrai ou faux", "must be true or false", ""),
    "bool_parsing": ("doit être vrai ou faux", "must be true or false", ""),
    "int_type": ("doit être un nombre entier", "must be a whole number", ""),
    "int_parsing": ("doit être un nombre entier", "must be a whole number", ""),
    "int_from_float": ("doit être un nombre entier", "must be a whole number", ""),
    "float_type": ("doit être un nombre", "must be a number", ""),
    "float_parsing": ("doit être un nombre", "must be a number", ""),
    "finite_number": ("doit être un nombre fini", "must be a finite number", ""),
    "greater_than_equal": ("doit être au moins {}", "must be at least {}", "ge"),
    "less_than_equal": ("doit être au plus {}", "must be at most {}", "le"),
    "less_than": ("doit être inférieur à {}", "must be less than {}", "lt"),
    "literal_error": ("doit être l'une des valeurs {}", "must be one of {}", "expected"),
}
_WRONG = ("a une valeur incorrecte", "has a wrong value", "")


class Refusal(errors.CallerError):
    """A request that is refused with a status of its own; ``field`` names what is at fault."""

    def __init__(
        self,
        en: str,
        fr: str,
        *,
        code: str,
        status: int = 400,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(en, fr, code=code)
        self.status = status
        self.field = field
        self.headers = dict(headers or {})


def status_of(error: VaubanError) -> int:
    """The HTTP status of an error of our tree."""
    if isinstance(error, Refusal):
        return error.status
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def document(error: VaubanError, language: str, request_id: str = "") -> schemas.Problem:
    """The problem document of an error. What concerns only the operator is not told to the caller."""
    status = status_of(error)
    french, english = _TITLES[status]
    detail = error.said(language)
    if isinstance(error, errors.OperatorError):
        detail = (
            "le service n'est pas en état de répondre ; l'exploitant en trouvera la cause dans le journal"
            if language == "fr"
            else "the service is not able to answer; its operator will find the cause in the log"
        )
    return schemas.Problem(
        type=f"urn:vauban:problem:{error.code}",
        title=french if language == "fr" else english,
        status=status,
        detail=detail,
        code=error.code,
        instance=f"urn:vauban:request:{request_id}",
        error=schemas.ProblemError(
            message=detail,
            type=_OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
            code=error.code,
            param=error.field if isinstance(error, Refusal) else None,
        ),
    )


def response(error: VaubanError, language: str, request_id: str = "") -> Response:
    """The HTTP response of an error, with the headers that belong to its status."""
    problem = document(error, language, request_id)
    request_log.note(problem=error.code)
    headers = {"Cache-Control": "no-store", "Content-Language": language}
    if isinstance(error, Refusal):
        headers |= error.headers
    if problem.status == 429:
        wait = error.retry_after if isinstance(error, errors.Overloaded) else None
        headers.setdefault("Retry-After", str(RETRY_SECONDS if wait is None else max(1, math.ceil(wait))))
    if problem.status == 501:
        headers["x-should-retry"] = "false"  # OpenAI's clients retry any 5xx unless told
    return Response(problem.model_dump_json(), problem.status, headers, media_type=MEDIA_TYPE)


_ACCEPTED = re.compile(r"^\s*(fr|en|\*)(?:-[\w-]+)?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*$", re.IGNORECASE)


def preferred(accept_language: str, default: str) -> str:
    """``fr`` or ``en``: the one that an ``Accept-Language`` header likes better, ``default`` when it does not say."""
    best, liked = default, 0.0
    for item in accept_language.split(","):
        match = _ACCEPTED.match(item)
        if match is None:
            continue
        weight = float(match[2] or 1)
        if weight > liked:
            best, liked = default if match[1] == "*" else match[1].lower(), weight
    return best


def language_of(scope: Scope) -> str:
    """The language of the caller, which the guard noted."""
    return str(scope["state"]["language"])


def request_id_of(scope: Scope) -> str:
    return str(scope["state"]["request_id"])


def respond(request: Request, error: VaubanError) -> Response:
    return response(error, language_of(request.scope), request_id_of(request.scope))


async def on_error(request: Request, error: Exception) -> Response:
    """An error of our tree; the operator's ones are logged, because the caller is not told what they say."""
    assert isinstance(error, VaubanError)
    if isinstance(error, errors.OperatorError):
        log.error("request %s failed: %s: %s", request_id_of(request.scope), error.code, error.en)
    return respond(request, error)


async def on_invalid(request: Request, error: Exception) -> Response:
    """A body or a parameter that is not what the endpoint takes: 400, and the field is named."""
    assert isinstance(error, RequestValidationError)
    return respond(request, invalid(error))


async def on_http(request: Request, error: Exception) -> Response:
    """What the web framework refuses by itself."""
    assert isinstance(error, HTTPException)
    code, french, english = _HTTP.get(
        error.status_code, ("invalid_request", "la demande n'a pas pu être lue", "the request could not be read")
    )
    status = error.status_code if error.status_code in _TITLES else 400
    return respond(request, Refusal(english, french, code=code, status=status, headers=error.headers))


def invalid(error: RequestValidationError) -> Refusal:
    """The first fault of a request, as a refusal that names the field and says what to do."""
    fault = error.errors()[0]
    kind, place = str(fault["type"]), fault["loc"]
    if kind == "json_invalid":
        position = place[-1] if len(place) > 1 else 0
        return Refusal(
            f"the body is not valid JSON at character {position}",
            f"le corps n'est pas du JSON valide au caractère {position}",
            code="malformed_json",
        )
    if len(place) < 2:
        return Refusal(
            "the body must be a JSON object, sent with Content-Type: application/json",
            "le corps doit être un objet JSON, envoyé avec Content-Type: application/json",
            code="invalid_request",
        )
    # pydantic adds the branch of a union to the place (`str`, `list[str]`): not a name that the caller wrote.
    field = ".".join(str(part) for part in place[1:] if not re.match(r"str$|function-after|list\[|[A-Z]", str(part)))
    french, english, limit = _FAULTS.get(kind, _WRONG)
    bound = str(fault.get("ctx", {}).get(limit, "")) if limit else ""
    if limit == "expected":
        french, english = french.format(bound.replace(" or ", " ou ")), english.format(bound)
    else:
        french, english = french.format(bound), english.format(bound)
    return Refusal(
        f"the field `{field}` {english}", f"le champ « {field} » {french}", code="invalid_request", field=field
    )
