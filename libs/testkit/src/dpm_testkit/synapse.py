"""A real Synapse on loopback, which tests stop and start again."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from dpm_cli.ports import choose_free
from dpm_testkit.patience import PATIENCE

SERVER_NAME = "matrix.test"
SECRET = "only for tests"

# https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html#ratelimiting
PLENTY = {"per_second": 1_000_000, "burst_count": 1_000_000}
NO_LIMITS = {
    "rc_message": PLENTY,
    "rc_registration": PLENTY,
    "rc_registration_token_validity": PLENTY,
    "rc_login": {"address": PLENTY, "account": PLENTY, "failed_attempts": PLENTY},
    "rc_joins": {"local": PLENTY, "remote": PLENTY},
    "rc_joins_per_room": PLENTY,
    "rc_invites": {"per_room": PLENTY, "per_user": PLENTY, "per_issuer": PLENTY},
    "rc_room_creation": PLENTY,
}


def synapse_python() -> Path:
    """The interpreter of the environment that Synapse is installed in. Raises FileNotFoundError."""
    for folder in Path(__file__).resolve().parents:
        python = folder / ".tools" / "synapse" / "bin" / "python"
        if python.exists():
            return python
    raise FileNotFoundError("Synapse is not in .tools/synapse: `make synapse` installs it")


class Synapse:
    """A homeserver with SQLite, that registers whoever has a token; ``limits``: with Synapse's own rate limits.

    ``limits`` counts from the next start on. It listens on ``address``, of the host that it is started on.
    """

    def __init__(self, folder: Path, *, limits: bool = False, address: str = "127.0.0.1") -> None:
        self.folder = folder
        self.limits = limits
        self.address = address
        self.port = choose_free()
        self.url = f"http://{address}:{self.port}"
        self._process: asyncio.subprocess.Process | None = None
        folder.mkdir(parents=True, exist_ok=True)

    async def start(self) -> None:
        """Start it and wait until it answers."""
        config = self.folder / "homeserver.yaml"
        config.write_text(json.dumps(self._document()))
        (self.folder / "log.yaml").write_text(json.dumps(_LOGGING))
        with (self.folder / "synapse.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                synapse_python(), "-m", "synapse.app.homeserver", "--config-path", config,
                cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip
        async with asyncio.timeout(2 * PATIENCE), aiohttp.ClientSession() as session:
            while not await self._answers(session):
                if self._process.returncode is not None:
                    raise RuntimeError((self.folder / "synapse.log").read_text()[-4000:])
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Kill it, as a crash would."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    async def pause(self) -> None:
        """Freeze it: connections stay open, and nothing is answered."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    async def resume(self) -> None:
        """Let a frozen one go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    async def administrator(self, name: str = "operator") -> str:
        """Register a user who may use the admin API; returns an access token.

        https://element-hq.github.io/synapse/latest/admin_api/register_api.html
        """
        url = f"{self.url}/_synapse/admin/v1/register"
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            async with session.get(url) as answer:
                nonce = (await answer.json())["nonce"]
            words = [nonce, name, "password", "admin"]
            mac = hmac.new(SECRET.encode(), "\0".join(words).encode(), hashlib.sha1).hexdigest()
            body = {"nonce": nonce, "username": name, "password": "password", "admin": True, "mac": mac}
            async with session.post(url, json=body) as answer:
                return str((await answer.json())["access_token"])

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/health") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def _document(self) -> dict[str, Any]:
        return {
            "server_name": SERVER_NAME,
            "public_baseurl": self.url,
            "pid_file": str(self.folder / "synapse.pid"),
            "listeners": [
                {
                    "port": self.port, "bind_addresses": [self.address], "type": "http", "tls": False,
                    "resources": [{"names": ["client"]}],
                }
            ],
            "database": {"name": "sqlite3", "args": {"database": str(self.folder / "homeserver.db")}},
            "log_config": str(self.folder / "log.yaml"),
            "media_store_path": str(self.folder / "media"),
            "signing_key": "ed25519 a_test 9I6Rp4gmAfjVSeJqlPaZdKxAFgDPBMdTKyw9E0OT8pM",
            "macaroon_secret_key": SECRET,
            "form_secret": SECRET,
            "registration_shared_secret": SECRET,
            "enable_registration": True,
            "registration_requires_token": True,
            "report_stats": False,
            "trusted_key_servers": [],
            "presence": {"enabled": False},
            "bcrypt_rounds": 4,
            **({} if self.limits else NO_LIMITS),
        }  # fmt: skip


_LOGGING = {
    "version": 1,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
}


@contextlib.asynccontextmanager
async def running_synapse(
    folder: Path, *, limits: bool = False, address: str = "127.0.0.1"
) -> AsyncIterator[Synapse]:
    """A homeserver that answers at ``address``, with its files in ``folder``."""
    server = Synapse(folder, limits=limits, address=address)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
