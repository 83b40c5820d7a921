"""nginx with a folder of files, as mirrors of Debian are: it counts what it is asked, can go away, and be ill."""

import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from dpm_cli.ports import choose_free
from dpm_testkit.daemon import Daemon
from dpm_testkit.debian_roots import ENVIRONMENT, in_root

_CONFIGURATION = """
daemon off; master_process off; user root; pid /srv/nginx.pid; error_log /srv/error.log;
events {{ worker_connections 512; }}
http {{
    default_type application/octet-stream;
    log_format asked '$request_method $request_uri $status $body_bytes_sent';
    access_log /srv/asked asked;
    sendfile on; keepalive_requests 100000000; absolute_redirect off;
    client_body_temp_path /srv/.tmp/a; proxy_temp_path /srv/.tmp/b; fastcgi_temp_path /srv/.tmp/c;
    uwsgi_temp_path /srv/.tmp/d; scgi_temp_path /srv/.tmp/e;
    root /srv/served;
    server {{
        listen {host}:{port};
        if (-f /srv/ill) {{ return 503; }}
        {mirror}
    }}
    server {{
        listen {host}:{bare_port};
        etag off; if_modified_since off; max_ranges 0; add_header Last-Modified "";
        if (-f /srv/ill) {{ return 503; }}
    }}
}}
"""

_MARK = "/.mark"


_MIRROR = """
        location / {{
            proxy_pass http://{address}; proxy_set_header Host {host}; proxy_set_header Connection "";
            proxy_http_version 1.1; proxy_max_temp_file_size 0;
        }}
"""


def _ask(mirror: str) -> str:
    """nginx is told the address: in its root nobody resolves names."""
    parts = urlsplit(mirror)
    address = socket.gethostbyname(parts.hostname or "")
    return _MIRROR.format(address=f"{address}:{parts.port or 80}", host=parts.netloc)


@dataclass(frozen=True)
class Answer:
    """What was asked for, the status of the answer, and the bytes of the body that were sent."""

    asked: str
    status: int
    sent: int


class FileServer(Daemon):
    """nginx at ``url`` (with a closing slash), with what is below ``served``.

    At ``bare_url`` it has the same without validators and ranges. It can be stopped and started again on the same
    ports; while ``ill`` it answers 503 to all.
    """

    def __init__(self, folder: Path, port: Callable[[], int], mirror: str = "", host: str = "127.0.0.1") -> None:
        self._asked, self._ill, self._seen = folder / "asked", folder / "ill", 0
        self.served = folder / "served"
        self.served.mkdir(parents=True)
        ports = port(), port()
        super().__init__(
            *in_root("publisher", folder), "nginx", "-p", "/srv", "-e", "/srv/error.log", "-c", "/srv/nginx.conf",
            host=host, ports=ports, log=folder / "error.log", environment=ENVIRONMENT,
        )  # fmt: skip
        self.url, self.bare_url = (f"http://{host}:{port}/" for port in ports)
        listen = {"host": host, **dict(zip(("port", "bare_port"), ports, strict=True))}
        (folder / "nginx.conf").write_text(_CONFIGURATION.format(mirror=_ask(mirror) if mirror else "", **listen))

    @property
    def ill(self) -> bool:
        """Whether it answers nothing but 503."""
        return self._ill.exists()

    @ill.setter
    def ill(self, ill: bool) -> None:
        if ill:
            self._ill.touch()
        else:
            self._ill.unlink(missing_ok=True)

    async def answers(self) -> list[Answer]:
        """All that it answered since ``forget``, complete for whoever has read an answer to its end."""
        async with aiohttp.ClientSession() as session, session.get(self.url.rstrip("/") + _MARK) as answer:
            await answer.read()  # it does one thing after the other, so all before this is written by now
        with self._asked.open("rb") as log:
            log.seek(self._seen)
            lines = [line.rsplit(" ", 2) for line in log.read().decode().splitlines()]
        return [Answer(asked, int(status), int(sent)) for asked, status, sent in lines if _MARK not in asked]

    async def asked(self) -> Counter[str]:
        """How often each thing was asked for since ``forget``, as ``GET /debian/dists/stable/InRelease``."""
        return Counter(each.asked for each in await self.answers())

    def forget(self) -> None:
        """Nothing has been asked for yet."""
        self._seen = self._asked.stat().st_size


@asynccontextmanager
async def file_server(
    folder: Path, *, port: Callable[[], int] = choose_free, mirror: str = "", host: str = "127.0.0.1"
) -> AsyncIterator[FileServer]:
    """nginx with its files in ``folder``, on two ports of ``host``, for as long as the context lasts.

    At ``url`` it has what is at ``mirror`` (``http://<host>/``), if there is one, in place of files.
    """
    server = FileServer(folder, port, mirror, host)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
