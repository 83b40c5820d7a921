"""What can go wrong, in two families, and nothing else.

*Untrusted*: bytes or peers that failed verification. Never served, always recorded.
*Unavailable*: upstream, bus, mount or disk cannot do it now. Says what, for how long, what to do.
"""


class DpmError(Exception):
    """Every error that DPM raises on purpose."""


class Untrusted(DpmError):
    """Bytes that are not what the ecosystem's metadata vouches for."""


class Unavailable(DpmError):
    """Something that is needed cannot be had now.

    ``retry_after`` is in seconds, None where nobody can say; ``advice`` is what a person can do about it.
    """

    def __init__(self, what: str, *, retry_after: float | None = None, advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.retry_after = retry_after
        self.advice = advice


class Conflict(Unavailable):
    """An append was refused because somebody else's event came first: read again and decide again."""


class AttemptLost(Unavailable):
    """An attempt has no living writer, or a newer attempt has replaced it (ESTALE)."""


class AttemptFailed(Unavailable):
    """An attempt ended without the bytes (EIO); what went wrong is in the attempt's state."""


class Invalid(DpmError):
    """Input that means nothing: a malformed digest, CID, event or setting. Says which and why."""
