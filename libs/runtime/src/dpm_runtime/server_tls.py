"""TLS on the node's own side: the certificate that clients are shown, and one that is renewed while it serves."""

import asyncio
import logging
import ssl
from pathlib import Path

from dpm_core.errors import Invalid
from dpm_runtime.settings import Settings

LOOK_SECONDS = 10.0
"""Between two looks whether the certificate has been renewed."""

log = logging.getLogger(__name__)


class ServerTls:
    """What a server speaks TLS with: ``context``, made of the files ``cert`` and ``key`` (PEM; they may be one).

    Raises Invalid if they cannot be used.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = (cert, key)
        try:
            self._stamps = self._now()
            self.context = _speaking(cert, key)
        except (OSError, ssl.SSLError) as error:
            why = getattr(error, "reason", None) or error.strerror
            raise Invalid(
                f"tls: the certificate in {cert} cannot be used: {why}. `dpm tls init` makes one"
            ) from None

    @classmethod
    def of(cls, settings: Settings) -> "ServerTls | None":
        """As the settings say; None without TLS. Raises Invalid."""
        if not settings.tls:
            return None
        return cls(*settings.tls_files)

    async def keep(self) -> None:
        """For ever: show a renewed certificate to whoever comes after it."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take up a renewed certificate. One that cannot be used is told, and the one before goes on."""
        try:
            stamps = self._now()
            if stamps == self._stamps:
                return
            _speaking(*self._files)  # first apart: half of a new pair would spoil the one that is in use
            self.context.load_cert_chain(*self._files, password="")
        except (OSError, ssl.SSLError) as error:
            log.warning("a renewed certificate cannot be used", extra={"why": repr(error)})
            return
        self._stamps = stamps
        log.info("a renewed certificate is shown from now on")

    def _now(self) -> tuple[int, ...]:
        return tuple(each.stat().st_mtime_ns for each in self._files)


def _speaking(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 and newer
    context.set_alpn_protocols(["http/1.1"])
    # an empty password: with none, OpenSSL asks on the terminal for that of a key that has one
    context.load_cert_chain(cert, key, password="")
    return context
