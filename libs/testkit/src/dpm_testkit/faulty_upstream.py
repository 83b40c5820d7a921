"""An index whose pages and files go wrong, each as its row says, on real sockets."""

import datetime
import hashlib
import json
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trustme

from dpm_testkit.faulty_server import Exchange, FaultyServer
from dpm_testkit.misbehaviour import right
from dpm_testkit.upstream_faults import Certificate, Fault, Wants

SIZES = {Wants.SMALL: 100 * 1024, Wants.BARE_SMALL: 100 * 1024}
LARGE_BYTES = 3 * 1024 * 1024

SHOWN_BYTES = LARGE_BYTES // 2 - 64 * 1024
"""Some of a body that streams is shown before so many bytes have been sent."""


class Authority:
    """A CA that was made up, and what servers show of it, or not of it."""

    def __init__(self) -> None:
        self._ca, self._stranger = trustme.CA(), trustme.CA()

    def write(self, file: Path) -> None:
        """Put its certificate where ``SSL_CERT_FILE`` may point."""
        self._ca.cert_pem.write_to_path(str(file))

    def context(self, certificate: Certificate) -> ssl.SSLContext:
        """What a server on 127.0.0.1 speaks TLS with."""
        ca = self._stranger if certificate is Certificate.STRANGE else self._ca
        name = "elsewhere.example" if certificate is Certificate.MISNAMED else "127.0.0.1"
        over = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC) if certificate is Certificate.EXPIRED else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name, not_before=over and over - datetime.timedelta(days=9), not_after=over).configure_cert(
            context
        )
        return context


class FaultyUpstream:
    """Pages for all rows at ``url``. While a row is tried, its file has a server of its own."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._fault: Fault | None = None
        self._well = False
        self._files: FaultyServer | None = None
        self._pages = FaultyServer(self._page)
        self._serving = AsyncExitStack()
        self.body = b""

    @property
    def url(self) -> str:
        """What a node is pointed at."""
        return self._pages.url + "simple/"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultyUpstream"]:
        """Serve pages for as long as the context lasts."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        """Serve pages, on the port that it had before."""
        await self._serving.enter_async_context(self._pages.running())

    async def stop(self) -> None:
        """Nobody listens any more."""
        await self._serving.aclose()

    @asynccontextmanager
    async def doing(self, fault: Fault) -> AsyncIterator[None]:
        """Do what the row says for as long as the context lasts; a page that is held first goes well."""
        self._fault, self._well = fault, fault.wants is Wants.HELD
        context = fault.certificate and self._authority.context(fault.certificate)
        if fault.wants.page:
            self.body = self._listing(fault)
            yield
            return
        self.body = random.Random(fault.id).randbytes(SIZES.get(fault.wants, LARGE_BYTES))
        self._files = FaultyServer(
            lambda exchange: fault.script(exchange, self.body), context or None, SHOWN_BYTES
        )
        async with self._files.running():
            yield

    def begin(self) -> None:
        """From now on what is asked goes wrong, and counts."""
        self._well = False
        self._pages.asked.clear()
        if self._files is not None:
            self._files.go_on.clear()

    def shown(self) -> None:
        """A client has got bytes: what goes wrong with the rest may go on."""
        if self._files is not None:
            self._files.go_on.set()

    @property
    def asked(self) -> list[Exchange]:
        """The requests for what goes wrong."""
        assert self._fault is not None
        if not self._fault.wants.page:
            return [] if self._files is None else self._files.asked
        return [each for each in self._pages.asked if each.target == f"/simple/{self._fault.id}/"]

    async def _page(self, exchange: Exchange) -> None:
        fault = self._fault
        assert fault is not None
        if exchange.target == "/simple/well/":  # the host is well: what is broken is the page
            await exchange.answer("200 OK", b'{"meta":{"api-version":"1.0"},"files":[]}', _TYPE)
        elif fault.wants.page and not self._well:
            await fault.script(exchange, self.body)
        else:
            await right(exchange, self._listing(fault))

    def _listing(self, fault: Fault) -> bytes:
        file: dict[str, object] = {"filename": self.file_name(fault), "hashes": {}}
        if not fault.wants.page:
            assert self._files is not None
            file["url"] = (fault.at or self._files.url) + self.file_name(fault)
        else:
            file["url"] = "http://files.example/" + self.file_name(fault)
        if fault.wants not in (Wants.BARE, Wants.BARE_SMALL):
            file["hashes"] = {"sha256": hashlib.sha256(self.body).hexdigest()}
        if fault.wants in (Wants.SMALL, Wants.LARGE):
            file["size"] = len(self.body)
        page = {"meta": {"api-version": "1.1"}, "name": fault.id, "versions": ["1.0"], "files": [file]}
        return json.dumps(page).encode()

    @staticmethod
    def file_name(fault: Fault) -> str:
        """The file of the row's project."""
        return f"{fault.id.replace('-', '_')}-1.0-py3-none-any.whl"


_TYPE = "Content-Type: application/vnd.pypi.simple.v1+json"
