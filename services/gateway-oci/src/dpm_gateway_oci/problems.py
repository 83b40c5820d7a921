"""Errors as clients of a registry read them: a JSON object with codes.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#error-codes
"""

import json
from dataclasses import dataclass
from enum import StrEnum

from dpm_core.ecosystem import Page, Refusal


class Code(StrEnum):
    """The identifiers of errors: those of the specification that a pull can meet, and two that registries use.

    PAGINATION_NUMBER_INVALID, UNAVAILABLE and UNKNOWN are those of the distribution project, where the
    specification has none.
    """

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    UNAUTHORIZED = "UNAUTHORIZED"
    DENIED = "DENIED"
    UNSUPPORTED = "UNSUPPORTED"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    PAGINATION_NUMBER_INVALID = "PAGINATION_NUMBER_INVALID"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Wrong:
    """Why an address is none that is served here: the error's code, a sentence, and the HTTP status."""

    code: Code
    detail: str
    status: int = 400

    @property
    def refusal(self) -> Refusal:
        """As the kit takes it."""
        headers = (("Allow", "GET, HEAD"),) if self.status == 405 else ()
        return Refusal(self.status, self.detail, headers=headers)


_CODES = {
    401: Code.UNAUTHORIZED,
    403: Code.DENIED,
    405: Code.UNSUPPORTED,
    413: Code.UNSUPPORTED,
    414: Code.NAME_INVALID,
    429: Code.TOOMANYREQUESTS,
    503: Code.UNAVAILABLE,
    507: Code.UNAVAILABLE,
}


def code_of(status: int, missing: Code) -> Code:
    """The code for an HTTP status; ``missing`` is that of what was asked for and is not there."""
    return missing if status in (404, 410) else _CODES.get(status, Code.UNKNOWN)


def problem_page(code: Code, refusal: Refusal) -> Page:
    """The body of an error."""
    text = json.dumps({"errors": [{"code": code.value, "message": refusal.detail}]}, ensure_ascii=False)
    return Page("application/json", text.encode("utf-8", "replace") + b"\n")
