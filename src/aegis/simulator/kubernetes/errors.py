"""What the API server refuses, as the Status object a real one answers with."""

from collections.abc import Sequence
from typing import Any

from aegis.simulator.kubernetes.resources import Resource

STALE = "the object has been modified; please apply your changes to the latest version and try again"


class ApiError(Exception):
    """A refusal with an HTTP code, a machine's reason and a person's message."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.headers = headers or {}

    def status(self) -> dict[str, Any]:
        """Return the `Status` object of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def details_of(resource: Resource, name: str, **more: Any) -> dict[str, Any]:
    """Say which object a Status is about."""
    group = {"group": resource.group} if resource.group else {}
    return {"name": name, **group, "kind": resource.plural, **more}


def not_found(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified} "{name}" not found'
    return ApiError(404, "NotFound", message, details=details_of(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=details_of(resource, name))


def conflict(resource: Resource, name: str, why: str = STALE) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=details_of(resource, name))


def deleted_meanwhile(resource: Resource, name: str, *, wanted: str, actual: str) -> ApiError:
    """Refuse to delete another object of that name; of all messages, this one names the kind."""
    why = (
        f"the UID in the precondition ({wanted}) does not match the UID in record ({actual}). "
        "The object might have been deleted and then recreated"
    )
    message = f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": {why}'
    return ApiError(409, "Conflict", message, details={**details_of(resource, name), "kind": resource.kind})


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    message = f'{resource.qualified} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, details=details_of(resource, name))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def invalid(resource: Resource, name: str, causes: Sequence[dict[str, str]]) -> ApiError:
    """Refuse an object for its fields; make each cause with `cause`."""
    parts = [f"{each['field']}: {each['message']}" for each in causes]
    summary = parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"
    message = f'{resource.qualified_kind} "{name}" is invalid: {summary}'
    about = {**details_of(resource, name), "kind": resource.kind, "causes": list(causes)}
    return ApiError(422, "Invalid", message, details=about)


def cause(field: str, message: str, reason: str = "FieldValueInvalid") -> dict[str, str]:
    return {"reason": reason, "message": message, "field": field}
