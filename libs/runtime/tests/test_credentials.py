"""Where credentials are read from, and that no error repeats them."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from docker.auth import INDEX_URL

from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.credentials import Credentials, Kind, Place, same_site
from dpm_runtime.docker_login import IDENTITY, Docker

UPSTREAM = "https://packages.example/pypi/"
PAGE = UPSTREAM + "demo/"
SECRET = "s3cr3t:with:colons"


def shown(authorization: str | None) -> str:
    assert authorization is not None
    scheme, _, value = authorization.partition(" ")
    assert scheme == "Basic"
    return base64.b64decode(value).decode()


def kept_in(place: str, **environ: str) -> Credentials:
    return Credentials({UPSTREAM: Place.parse(place)}, environ=environ)


async def refused(credentials: Credentials) -> str:
    with pytest.raises(Unavailable) as error:
        await credentials.authorization(UPSTREAM, PAGE)
    assert error.value.lasting
    assert "s3cr3t" not in f"{error.value} {error.value.advice}"
    return error.value.what


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("netrc", Place(Kind.NETRC)),
        ("docker", Place(Kind.DOCKER)),
        ("keyring:me", Place(Kind.KEYRING, "me")),
        ("environment:ACME", Place(Kind.ENVIRONMENT, "ACME")),
        ("file:/run/secrets/acme", Place(Kind.FILE, "/run/secrets/acme")),
    ],
)
def test_a_place_is_read(text: str, place: Place) -> None:
    assert Place.parse(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "", "s3cr3t", "me:s3cr3t", "keyring", "file:", "netrc:s3cr3t", "docker:s3cr3t", "NETRC",
        "environment:DPM_s3cr3t",
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Invalid) as error:
        Place.parse(text)
    assert "s3cr3t" not in str(error.value)


async def test_a_variable_is_read_each_time() -> None:
    environ = {"ACME": f"me:{SECRET}"}
    credentials = Credentials({UPSTREAM: Place.parse("environment:ACME")}, environ=environ)
    assert shown(await credentials.authorization(UPSTREAM, PAGE)) == f"me:{SECRET}"
    environ["ACME"] = "me:newer"
    assert shown(await credentials.authorization(UPSTREAM, PAGE)) == "me:newer"
    environ["ACME"] = "s3cr3t"
    assert "the variable ACME does not hold user:password" in await refused(credentials)
    del environ["ACME"]
    await refused(credentials)


HELPER = """#!/bin/sh
read -r server
[ "$server" = "$EXPECTED" ] && echo '{"Username":"'"$USERNAME"'","Secret":"%s"}'
"""


def docker_keeps(folder: Path, config: object) -> dict[str, str]:
    """The environment of somebody whose docker keeps this."""
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return {"DOCKER_CONFIG": str(folder)}


def entry(secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(secret.encode()).decode()}


async def test_what_docker_keeps_in_its_file_is_found_by_the_host(tmp_path: Path) -> None:
    others = {"elsewhere.example": entry("you:other"), "packages.example:5000": entry("you:other")}
    auths = {**others, "packages.example": entry(f"me:{SECRET}")}
    credentials = kept_in("docker", **docker_keeps(tmp_path, {"auths": auths}))
    assert shown(await credentials.authorization(UPSTREAM, PAGE)) == f"me:{SECRET}"


@pytest.mark.parametrize("host", sorted(Docker.own().names))
async def test_what_docker_keeps_of_its_own_registry_is_found(tmp_path: Path, host: str) -> None:
    environ = docker_keeps(tmp_path, {"auths": {INDEX_URL: entry(f"me:{SECRET}")}})
    upstream = f"https://{host}/"
    credentials = Credentials({upstream: Place.parse("docker")}, environ=environ)
    assert shown(await credentials.authorization(upstream, upstream)) == f"me:{SECRET}"


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of docker's credential helpers, ``test``."""
    program = tmp_path / "docker-credential-test"
    program.write_text(HELPER % SECRET)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return program


async def test_a_credential_helper_of_docker_is_asked(tmp_path: Path, helper: Path) -> None:
    environ = docker_keeps(tmp_path, {"credHelpers": {"packages.example": "test"}})
    environ |= {"EXPECTED": "packages.example", "USERNAME": "me", "PATH": os.environ["PATH"]}
    credentials = kept_in("docker", **environ)
    assert shown(await credentials.authorization(UPSTREAM, PAGE)) == f"me:{SECRET}"
    environ["USERNAME"] = IDENTITY
    assert shown(await kept_in("docker", **environ).authorization(UPSTREAM, PAGE)) == f"{IDENTITY}:{SECRET}"


@pytest.mark.parametrize(
    "config",
    [
        {}, {"auths": {"elsewhere.example": entry("you:s3cr3t")}}, {"auths": {"packages.example": {}}},
        {"auths": {"packages.example": {"auth": "s3cr3t no base64"}}}, "no JSON: s3cr3t", {"credsStore": "absent"},
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:docker-credential-absent not installed")
async def test_what_docker_does_not_keep_is_said(tmp_path: Path, config: object) -> None:
    assert "docker" in await refused(kept_in("docker", **docker_keeps(tmp_path, config)))


async def test_a_file_is_read_each_time_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "acme"
    credentials = kept_in(f"file:{file}")
    assert "No such file" in await refused(credentials)
    file.write_text(f"me:{SECRET}\r\n")
    assert shown(await credentials.authorization(UPSTREAM, PAGE)) == f"me:{SECRET}"
    for wrong in (b"s3cr3t", b"", b"me:s3cr3t\nother", b"\xff:s3cr3t"):
        file.write_bytes(wrong)
        assert "does not hold user:password" in await refused(credentials)


@pytest.mark.parametrize("machine", ["packages.example", "packages.example:8443"])
async def test_netrc_is_looked_up_by_host(tmp_path: Path, machine: str) -> None:
    file = tmp_path / "netrc"
    file.write_text(f"machine other.example login a password b\nmachine {machine} login me password {SECRET}\n")
    upstream = f"https://{machine}/pypi/"
    credentials = Credentials({upstream: Place.parse("netrc")}, environ={"NETRC": str(file)})
    assert shown(await credentials.authorization(upstream, upstream + "demo/")) == f"me:{SECRET}"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("default login me password s3cr3t\n", "no entry for packages.example"),
        ("machine other.example login me password s3cr3t\n", "no entry for packages.example"),
        ("machine packages.example s3cr3t\n", "is no netrc file"),
        (None, "cannot be read"),
    ],
)
async def test_what_netrc_has_for_everybody_is_sent_to_nobody(
    tmp_path: Path, content: str | None, says: str
) -> None:
    file = tmp_path / "netrc"
    if content is not None:
        file.write_text(content)
    assert says in await refused(kept_in("netrc", NETRC=str(file)))


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command ``keyring`` that knows one password; it notes what it is asked."""
    asked = tmp_path / "asked"
    program = tmp_path / "keyring"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {asked}\n'
        f'[ "$*" = "get packages.example me" ] && echo "{SECRET}" || {{ echo s3cr3t >&2; exit 1; }}\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return asked


async def test_the_keyring_is_asked_by_url_and_host_and_not_again_until_it_was_wrong(keyring: Path) -> None:
    now = 0.0
    credentials = Credentials({UPSTREAM: Place.parse("keyring:me")}, clock=lambda: now)
    for _ in range(3):
        assert shown(await credentials.authorization(UPSTREAM, PAGE)) == f"me:{SECRET}"
    once = [
        "get https://packages.example/pypi/ me",
        "get https://packages.example/pypi me",
        "get packages.example me",
    ]
    assert keyring.read_text().splitlines() == once
    credentials.refused(UPSTREAM)
    await credentials.authorization(UPSTREAM, PAGE)
    assert keyring.read_text().splitlines() == once * 2
    now = 10_000.0
    await credentials.authorization(UPSTREAM, PAGE)
    assert keyring.read_text().splitlines() == once * 3


async def test_a_keyring_that_has_no_password_or_is_not_there_is_told(
    keyring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no password for packages.example" in await refused(kept_in("keyring:other"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert "no command keyring" in await refused(kept_in("keyring:me"))


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example/demo.whl", "https://packages.example.evil/pypi/", "http://packages.example/pypi/",
        "https://packages.example:444/pypi/", "https://sub.packages.example/pypi/", "https://[broken/",
    ],
)  # fmt: skip
async def test_no_other_host_is_shown_anything(url: str) -> None:
    assert await kept_in("environment:ACME", ACME=f"me:{SECRET}").authorization(UPSTREAM, url) is None
    assert not same_site(UPSTREAM, url)


async def test_another_upstream_on_the_same_host_has_its_own() -> None:
    credentials = kept_in("environment:ACME", ACME=f"me:{SECRET}")
    assert await credentials.authorization("https://packages.example/other/", PAGE) is None


def test_a_safer_way_to_the_same_host_is_the_same_site() -> None:
    assert same_site("http://packages.example/", "https://packages.example/x")
