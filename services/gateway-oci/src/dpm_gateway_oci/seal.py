"""Tokens for clients that ask for one: each seals the credentials that its client showed, and nothing is kept.

https://distribution.github.io/distribution/spec/auth/token/ is how clients come to one.
"""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dpm_core.ecosystem import Page

PREFIX = "dpm-pull."
"""What every such token begins with: others that a client shows are none of ours, and left as they are."""

LASTS_SECONDS = 300
"""Clients ask for another one when a token ends; the protocol's default is 60."""

_KEY_BYTES = 32


@dataclass(frozen=True)
class Seal:
    """Makes tokens and opens them; all who have the same ``secret`` open one another's."""

    secret: bytes = field(repr=False)
    clock: Callable[[], float] = time.time

    def page(self, authorization: str) -> Page:
        """The answer of the token endpoint to whoever shows ``authorization``, empty for nobody."""
        token = self.token(authorization)
        issued = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        # token is docker's name for it, access_token OAuth's: some clients read one, some the other
        body = {"token": token, "access_token": token, "expires_in": LASTS_SECONDS, "issued_at": issued}
        return Page("application/json", json.dumps(body).encode(), (("Cache-Control", "no-store"),))

    def token(self, authorization: str) -> str:
        """A token that stands for ``authorization`` for LASTS_SECONDS."""
        return PREFIX + self._fernet().encrypt_at_time(authorization.encode(), int(self.clock())).decode()

    def opened(self, token: str) -> str | None:
        """What a token stands for; None if it has ended, or was made by nobody with this secret."""
        try:
            sealed = token.removeprefix(PREFIX).encode()
            return self._fernet().decrypt_at_time(sealed, LASTS_SECONDS, int(self.clock())).decode()
        except (InvalidToken, UnicodeError):
            return None

    def _fernet(self) -> Fernet:
        key = HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"dpm-gateway-oci token").derive(self.secret)
        return Fernet(base64.urlsafe_b64encode(key))
