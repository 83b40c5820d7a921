"""Credentials for private upstreams: where they are kept, and to whom they are sent.

They are read when they are needed, by whoever asks the upstream, and told to nobody: not to the log, not to a
gateway, not to another host.
"""

import asyncio
import base64
import contextlib
import netrc
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from dpm_core.artifacts import authority
from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.docker_login import kept_by_docker
from dpm_runtime.machine.apt_auth import login_for

KEYRING_SECONDS = 10.0
"""The command of the keyring may take so long; it may wait for somebody to unlock it."""

KEPT_SECONDS = 600.0
"""What the keyring or docker gave is asked for again after so long, or once an upstream has refused it."""

LONGEST_BYTES = 64 * 1024


class Kind(StrEnum):
    """Where credentials are kept."""

    NETRC = "netrc"
    KEYRING = "keyring"
    ENVIRONMENT = "environment"
    FILE = "file"
    DOCKER = "docker"
    APT = "apt"


_WHOLE = (Kind.NETRC, Kind.DOCKER, Kind.APT)
"""Those that take no name."""


@dataclass(frozen=True)
class Place:
    """Where an upstream's credentials are kept; ``name`` is the keyring's user, the variable or the file."""

    kind: Kind
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read ``netrc``, ``docker``, ``apt``, ``keyring:<user>``, ``environment:<variable>`` or ``file:<path>``.

        Raises Invalid.

        No message repeats ``text``: somebody may have put the password itself there.
        """
        kind, _, name = text.partition(":")
        if kind not in list(Kind) or bool(name) == (kind in _WHOLE):
            raise Invalid(
                "credentials are netrc, docker, apt, keyring:<user>, environment:<variable> or file:<path>"
            )
        if kind == Kind.ENVIRONMENT and name.startswith("DPM_"):
            raise Invalid("credentials in the environment have a name of their own, not DPM_…")
        return cls(Kind(kind), name)


class Credentials:
    """The credentials of private upstreams, by the upstreams' normalised URLs."""

    def __init__(
        self,
        places: Mapping[str, Place],
        *,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = dict(places)
        self._environ = environ
        self._clock = clock
        self._kept: dict[str, tuple[str, float]] = {}

    async def authorization(self, upstream: str, url: str) -> str | None:
        """The Authorization field for a request to ``url`` on behalf of ``upstream``.

        None where the upstream has no credentials, or ``url`` leads to another host or port, or apt has some for
        other paths of it alone. Raises Unavailable, with advice, if they cannot be read.
        """
        place = self._places.get(upstream)
        if place is None or not same_site(upstream, url):
            return None
        secret = await self._secret(place, upstream, url)
        return None if secret is None else basic(secret)

    def refused(self, upstream: str) -> None:
        """The upstream does not take them (any more): they are looked up anew."""
        self._kept.pop(upstream, None)

    async def _secret(self, place: Place, upstream: str, url: str) -> str | None:
        match place.kind:
            case Kind.APT:
                found = await asyncio.to_thread(login_for, url)
                return None if found is None else found.secret
            case Kind.NETRC:
                return await asyncio.to_thread(_from_netrc, upstream, self._environ)
            case Kind.ENVIRONMENT:
                return _checked(self._environ.get(place.name, ""), f"the variable {place.name}")
            case Kind.FILE:
                return await asyncio.to_thread(_from_file, Path(place.name).expanduser())
            case Kind.KEYRING | Kind.DOCKER:
                secret, until = self._kept.get(upstream, ("", 0.0))
                if not secret or self._clock() > until:
                    secret = await self._looked_up(place, upstream)
                    self._kept[upstream] = (secret, self._clock() + KEPT_SECONDS)
                return secret

    async def _looked_up(self, place: Place, upstream: str) -> str:
        if place.kind is Kind.KEYRING:
            return f"{place.name}:{await _from_keyring(upstream, place.name)}"
        try:
            async with asyncio.timeout(KEYRING_SECONDS):
                found = await asyncio.to_thread(kept_by_docker, upstream, self._environ)
        except TimeoutError:
            what = f"docker's credential helper gave no answer in {KEYRING_SECONDS:.0f} s"
            raise _unreadable(what, advice="is it locked?") from None
        return _checked(found, "what docker keeps")


def same_site(upstream: str, url: str) -> bool:
    """Whether ``url`` is on the upstream's own host and port, and not less protected on its way."""
    try:
        same = authority(upstream) == authority(url)
    except Invalid:
        return False
    return same and urlsplit(url).scheme in (urlsplit(upstream).scheme, "https")


def basic(secret: str) -> str:
    """The field for ``user:password`` (RFC 7617)."""
    return "Basic " + base64.b64encode(secret.encode()).decode()


def _unreadable(what: str, advice: str = "see docs/guides/indexes.md") -> Unavailable:
    """Credentials cannot be had, and will not be had in a moment either. No part of them is said."""
    return Unavailable(what, advice=advice, lasting=True)


def _checked(secret: str, where: str) -> str:
    secret = secret.strip("\r\n")
    if ":" not in secret or not secret.isprintable():
        raise _unreadable(f"{where} does not hold user:password")
    return secret


def _from_file(file: Path) -> str:
    try:
        with file.open("rb") as content:
            text = content.read(LONGEST_BYTES).decode()
    except OSError as error:
        raise _unreadable(f"the credentials in {file} cannot be read: {error.strerror}") from None
    except UnicodeError:
        text = ""
    return _checked(text, f"{file}")


def _from_netrc(upstream: str, environ: Mapping[str, str]) -> str:
    """What the file has for the upstream's host by name. What it has for all others is sent to no upstream."""
    file = Path(environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        hosts = netrc.netrc(file).hosts
    except OSError as error:
        raise _unreadable(f"{file} cannot be read: {error.strerror}") from None
    except (netrc.NetrcParseError, UnicodeError):  # its message may quote a password
        raise _unreadable(f"{file} is no netrc file") from None
    found = hosts.get(authority(upstream)) or hosts.get(urlsplit(upstream).hostname or "")
    if found is None:
        raise _unreadable(
            f"{file} has no entry for {authority(upstream)}", advice="add one, with login and password"
        )
    login, _, password = found
    return f"{login or ''}:{password or ''}"


async def _from_keyring(upstream: str, user: str) -> str:
    """The password that the command ``keyring`` gives, asked by URL and then by host, as pip and uv do."""
    program = shutil.which("keyring")
    if program is None:
        raise _unreadable(
            "there is no command keyring on PATH", advice="install it, or keep credentials elsewhere"
        )
    for service in (upstream, upstream.rstrip("/"), authority(upstream)):
        process = await asyncio.create_subprocess_exec(
            program, "get", service, user, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(KEYRING_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            what = f"the keyring gave no answer in {KEYRING_SECONDS:.0f} s"
            raise _unreadable(what, advice="is it locked?") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if process.returncode == 0 and (password := output.decode(errors="replace").strip("\r\n")):
            return password
    host = authority(upstream)
    raise _unreadable(f"the keyring has no password for {host}", advice=f"`keyring set {host} <user>` keeps one")
