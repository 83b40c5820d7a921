"""The programs that are measured, each started on loopback with the made-up index as its upstream.

None of them knows another one: the environment that would name a registry is taken from them.
"""

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

import psutil

from dpm_cli.ports import choose_free
from dpm_testkit.node import running_node

TOOLS = Path(__file__).parents[2] / ".tools"
RIVALS = TOOLS / "rivals" / "bin"
INDEX_SERVERS = TOOLS / "index-servers" / "bin"
START_SECONDS = 60.0

_LINK = re.compile(r'href="([^"]+)"')


@dataclass
class Contestant:
    """``index``: what clients are pointed at, with a closing slash; ``parts``: the processes that it consists of,
    each with those that it started.
    """

    name: str
    index: str
    parts: dict[str, psutil.Process] = field(default_factory=dict)

    def page(self, project: str) -> str:
        """The URL of a project's page."""
        return f"{self.index}{project}/"

    def files(self, project: str) -> list[str]:
        """The URLs of a project's files, as its page has them."""
        request = urllib.request.Request(self.page(project), headers={"Accept": "text/html"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            page, url = answer.read().decode(), answer.geturl()
        return [urljoin(url, link).partition("#")[0] for link in _LINK.findall(page)]

    def file(self, project: str) -> str:
        """The URL of a project's one file."""
        [url] = self.files(project)
        return url

    def processor_seconds(self) -> dict[str, float]:
        """Processor time that each part has used, with children that are still there or were waited for."""
        return {
            part: sum(sum(process.cpu_times()[:4]) for process in processes)
            for part, processes in self.processes().items()
        }

    def processes(self) -> dict[str, list[psutil.Process]]:
        """All processes of each part, as they are now."""
        return {part: [root, *root.children(recursive=True)] for part, root in self.parts.items()}


def _environment(**more: str) -> dict[str, str]:
    """This one's, without what tells programs of registries and proxies."""
    told = ("DPM_", "PROXPI_", "DEVPI", "PIP_", "UV_")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(told)}
    return {**{name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}, **more}


@contextlib.contextmanager
def _running(command: Sequence[str], url: str, log: Path, **environment: str) -> Iterator[int]:
    """A server's pid, from its first answer at ``url`` to its end. Raises RuntimeError if it never answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=_environment(**environment)
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} does not serve: {log.read_text()[-600:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=20).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _nginx(name: str, folder: Path, http: str) -> Iterator[Contestant]:
    folder.mkdir()
    port = choose_free()
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
        daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
        {"user root;" if os.geteuid() == 0 else ""}
        events {{ worker_connections 512; }}
        http {{
            types {{ text/html html; }}
            default_type application/octet-stream;
            access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fast;
            uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            {http.replace("LISTEN", f"127.0.0.1:{port}")}
        }}
    """)
    command = [str(RIVALS / "nginx"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)]
    url = f"http://127.0.0.1:{port}/"
    with _running(command, url, folder / "log") as pid:
        yield Contestant(name, f"{url}simple/", {name: psutil.Process(pid)})


def files(folder: Path, root: Path) -> contextlib.AbstractContextManager[Contestant]:
    """nginx with the files themselves: the yardstick of what is held, and upstream of all others."""
    return _nginx("nginx", folder, f"server {{ listen LISTEN; root {root}; }}")


def cache(folder: Path, upstream: str) -> contextlib.AbstractContextManager[Contestant]:
    """nginx as a cache of whatever upstream has (proxy_cache)."""
    return _nginx(
        "nginx-cache",
        folder,
        f"""
            proxy_cache_path {folder}/cache levels=1:2 keys_zone=all:10m max_size=8g inactive=1d use_temp_path=off;
            upstream far {{ server {upstream.split("/")[2]}; keepalive 16; }}
            server {{
                listen LISTEN;
                location / {{
                    proxy_pass http://far; proxy_http_version 1.1; proxy_set_header Connection "";
                    proxy_cache all; proxy_cache_valid 200 1d; proxy_cache_lock on;
                }}
            }}
        """,
    )


@contextlib.contextmanager
def line(upstream: str, bytes_a_second: float) -> Iterator[Contestant]:
    """Upstream itself, behind a line that carries so much: what clients have without any cache."""
    port = upstream.split("/")[2].rpartition(":")[2]
    command = [sys.executable, str(Path(__file__).with_name("link.py")), port, str(bytes_a_second)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield Contestant("direct", f"http://127.0.0.1:{int(process.stdout.readline())}/simple/")
    finally:
        process.terminate()
        process.wait()


@contextlib.asynccontextmanager
async def dpm(near: str, far: str) -> AsyncIterator[tuple[Contestant, Contestant]]:
    """A node as ``dpm up`` runs it, with two indexes: of upstream at hand, and of upstream behind a line."""
    async with running_node(pypi_upstream=near, pypi__indexes__far__upstream=far) as node:
        parts = {name: processes[0] for name, processes in node.processes().items()}
        yield (
            Contestant("dpm", node.index, parts),
            Contestant("dpm", f"{node.address()}far/simple/", parts),
        )


@contextlib.contextmanager
def proxpi(folder: Path, upstream: str) -> Iterator[Contestant]:
    """proxpi below gunicorn with threads, as its own image runs it; it is given the time that it needs."""
    port = choose_free()
    command = [
        str(RIVALS / "gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "2",
        "--keep-alive", "60", "--timeout", "120", "--preload", "proxpi.server:app",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    settings = {
        "PROXPI_INDEX_URL": upstream, "PROXPI_CACHE_DIR": str(folder), "PROXPI_LOGGING_LEVEL": "ERROR",
        "PROXPI_INDEX_TTL": "86400", "PROXPI_DOWNLOAD_TIMEOUT": "60",
    }  # fmt: skip
    folder.mkdir()
    with _running(command, f"{url}health", folder.with_suffix(".log"), **settings) as pid:
        yield Contestant("proxpi", f"{url}index/", {"proxpi": psutil.Process(pid)})


@contextlib.contextmanager
def devpi(folder: Path, upstream: str) -> Iterator[Contestant]:
    """devpi-server with a mirror of upstream, and no other."""
    port = choose_free()
    base = f"http://127.0.0.1:{port}"
    subprocess.run(
        [str(INDEX_SERVERS / "devpi-init"), "--serverdir", str(folder), "--no-root-pypi"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment(),
    )  # fmt: skip
    command = [str(INDEX_SERVERS / "devpi-server"), "--serverdir", str(folder), "--port", str(port)]
    with _running(command, f"{base}/+api", folder.with_suffix(".log")) as pid:
        login = _ask("POST", f"{base}/+login", {"user": "root", "password": ""})
        right = base64.b64encode(f"root:{login['result']['password']}".encode()).decode()
        mirror = {"type": "mirror", "mirror_url": upstream, "volatile": True, "mirror_cache_expiry": 86400}
        _ask("PUT", f"{base}/root/mirror", mirror, {"X-Devpi-Auth": right})
        yield Contestant("devpi", f"{base}/root/mirror/+simple/", {"devpi": psutil.Process(pid)})


def _ask(
    method: str, url: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    fields = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
    request = urllib.request.Request(url, json.dumps(body).encode(), fields, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: dict[str, dict[str, str]] = json.load(answer)
        return told
