"""What can go wrong, in two families, and nothing else.

*Untrusted*: bytes or peers that failed verification. Never served, always recorded.
*Unavailable*: upstream, bus, mount or disk cannot do it now. Says what, for how long, what to do.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpm_core.attempts import Failure


class DpmError(Exception):
    """Every error that DPM raises on purpose."""


class Untrusted(DpmError):
    """Bytes that are not what the ecosystem's metadata vouches for."""


class Unavailable(DpmError):
    """Something that is needed cannot be had now.

    ``retry_after`` is in seconds, None where nobody can say; ``advice`` is what a person can do about it.
    ``status`` is the HTTP status of an upstream that said it by one. ``lasting``: to ask again in a moment would
    bring the same.
    """

    def __init__(
        self,
        what: str,
        *,
        retry_after: float | None = None,
        advice: str = "",
        status: int | None = None,
        lasting: bool = False,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after = retry_after
        self.advice = advice
        self.status = status
        self.lasting = lasting


class TooNew(Unavailable):
    """A newer version of DPM wrote this. This one would misread it, and damage it if it went on."""

    def __init__(self, what: str, found: object, known: object) -> None:
        """``what`` is in the format ``found``; this version knows those up to ``known``."""
        super().__init__(
            f"{what} is in format {found}; this version of DPM knows {known}. "
            "Use the newer DPM that wrote it; or restore a backup from before it into an empty home",
            lasting=True,
        )


class DiskFails(Unavailable):
    """This node's own disk does not do what it is asked: it is full, or it fails, which is ``lasting``."""


class Conflict(Unavailable):
    """An append was refused because somebody else's event came first: read again and decide again."""


class AttemptLost(Unavailable):
    """An attempt has no living writer, or a newer attempt has replaced it (ESTALE)."""


class AttemptFailed(Unavailable):
    """An attempt ended without the bytes (EIO); ``failure`` is what its state says of it."""

    def __init__(self, failure: "Failure") -> None:
        super().__init__(failure.detail, retry_after=failure.retry_after)
        self.failure = failure


class Invalid(DpmError):
    """Input that means nothing: a malformed digest, CID, event or setting. Says which and why."""
