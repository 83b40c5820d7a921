"""``dpm prefetch --apt``: lists of Debian packages, and what is asked of a node for them."""

import gzip
import hashlib
import json
import lzma
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.prefetch.asking import Outcome, Result, session
from dpm_cli.prefetch.deb_index import Suite, packages, suites
from dpm_cli.prefetch.deb_names import DebFile, DebName, deb_list
from dpm_cli.prefetch.deb_versions import DebVersion
from dpm_cli.prefetch.debs import DebPrefetch, at_node
from dpm_core.errors import Invalid
from dpm_runtime.machine.apt import Source
from dpm_testkit.command_line import Seen
from dpm_testkit.package_server import PackageServer

MIRROR = "http://mirror.example/debian"
SAID_BY_APT = f"""Reading package lists...
The following NEW packages will be installed:
  hello libhello
'{MIRROR}/pool/h/hello_2.10-3_amd64.deb' hello_2.10-3_amd64.deb 53080 MD5Sum:d04c2e9639dee67aa836d8232b1ca658
'https://secure.example/l%2b.deb' l+.deb 10 SHA256:{"ab" * 32}
'file:/srv/x.deb' x.deb 10
'{MIRROR}/dists/x/InRelease' mirror_InRelease 0
"""
versions = st.text(alphabet="019.~+-abz:", min_size=1, max_size=8).map(lambda text: f"1{text}")


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def deb(name: str, version: str, architecture: str = "amd64") -> tuple[str, bytes]:
    """A package's path, and what stands for it."""
    return f"pool/{name}_{version.replace(':', '%3a')}_{architecture}.deb", f"{name} {version}".encode() * 50


def stanza(name: str, version: str, architecture: str = "amd64") -> str:
    path, body = deb(name, version, architecture)
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nDescription: x\n Package: no\n"
        f"Filename: {path}\nSize: {len(body)}\nSHA256: {sha256(body)}\n"
    )


def put(server: PackageServer, folder: str, path: str, body: bytes) -> None:
    server.bodies[f"/{folder}{path}"] = ("application/octet-stream", body)


def publish(
    server: PackageServer, uri: str, suite: str, indexes: dict[str, bytes], *, signed: bool = True
) -> None:
    """Let the server have a suite as a node has it."""
    folder = uri.partition("//")[2]
    below = f"{folder}/{suite}" if suite.endswith("/") else f"{folder}/dists/{suite}/"
    listed = "".join(f" {sha256(body)} {len(body)} {path}\n" for path, body in indexes.items())
    release = f"Suite: {suite}\nNo-Support-for-Architecture-all: Packages\nSHA256:\n{listed}"
    if signed:
        release = (
            f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{release}-----BEGIN PGP SIGNATURE-----\n\nx\n"
        )
    put(server, below, "InRelease" if signed else "Release", release.encode())
    for path, body in indexes.items():
        put(server, below, path, body)


@pytest.fixture
async def server() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        main = "\n".join([stanza("app", "1.9"), stanza("app", "1.10"), stanza("data", "2:1", "all")])
        publish(server, MIRROR, "x", {"main/binary-amd64/Packages.xz": lzma.compress(main.encode())})
        updates = stanza("app", "1.10+u1")
        publish(server, MIRROR, "x-updates", {"main/binary-amd64/Packages.gz": gzip.compress(updates.encode())})
        flat = stanza("tool", "3")
        publish(server, "https://flat.example/repo", "./", {"Packages": flat.encode()}, signed=False)
        server.bodies = {path.replace("/flat.example/repo/./", "/HTTPS///flat.example/repo/"): each
                         for path, each in server.bodies.items()}  # fmt: skip
        for name, version, architecture in (
            ("app", "1.9", "amd64"), ("app", "1.10", "amd64"), ("app", "1.10+u1", "amd64"), ("data", "2:1", "all"),
        ):  # fmt: skip
            put(server, "mirror.example/debian/", *deb(name, version, architecture))
        put(server, "HTTPS///flat.example/repo/", *deb("tool", "3"))
        yield server


SUITES = [
    Suite(MIRROR, "x", ("main",)),
    Suite(MIRROR, "x-updates", ("main",)),
    Suite("https://flat.example/repo/", "./"),
]


async def prefetch(server: PackageServer, *lines: str, seen: Seen | None = None) -> list[Result]:
    async with session(proxies=False) as asking:
        node = server.url.removesuffix("simple/")
        return await DebPrefetch(asking, node, 4).run(list(deb_list(lines)), SUITES, "amd64", seen or Seen())


def debs(results: list[Result]) -> dict[str, Outcome]:
    return {each.name: each.outcome for each in results if each.name.endswith(".deb")}


def test_a_list_has_names_with_architectures_and_versions() -> None:
    lines = ["# ours", "", "app", " libc6:i386 # the old one", "app=1:2.3~rc1-4+b1", "gcc-12:arm64=12"]
    assert list(deb_list(lines)) == [
        DebName("app"),
        DebName("libc6", architecture="i386"),
        DebName("app", "1:2.3~rc1-4+b1"),
        DebName("gcc-12", "12", "arm64"),
    ]
    assert str(DebName("gcc-12", "12", "arm64")) == "gcc-12:arm64=12"


def test_what_dpkg_says_is_selected_is_a_list() -> None:
    lines = ["adduser\t\t\t\t\tinstall", "libc6:i386    hold", "gone deinstall", "gone2\tpurge"]
    assert [str(each) for each in deb_list(lines)] == ["adduser", "libc6:i386"]


def test_of_what_apt_prints_the_uris_count() -> None:
    assert list(deb_list(SAID_BY_APT.splitlines())) == [
        DebFile(
            "hello_2.10-3_amd64.deb", f"{MIRROR}/pool/h/hello_2.10-3_amd64.deb", 53080,
            "md5:d04c2e9639dee67aa836d8232b1ca658",
        ),
        DebFile("l+.deb", "https://secure.example/l%2b.deb", 10, f"sha256:{'ab' * 32}"),
        DebFile("mirror_InRelease", f"{MIRROR}/dists/x/InRelease"),
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["App", "a", "app 1.0", "app=", "app=x", "http://mirror.example/a.deb", "-app"])
def test_what_is_no_package_is_refused(line: str) -> None:
    with pytest.raises(Invalid, match="no package"):
        list(deb_list([line]))


@given(st.text(max_size=60))
def test_any_text_is_a_list_or_is_refused(text: str) -> None:
    with suppress(Invalid):
        for each in deb_list(text.splitlines()):
            assert each.name


@given(versions, versions, versions)
def test_versions_are_in_one_order(one: str, two: str, three: str) -> None:
    a, b, c = (DebVersion(each) for each in (one, two, three))
    assert (a < b) + (b < a) + (a == b) == 1
    if a < b and b < c:
        assert a < c


@pytest.mark.parametrize(
    ("less", "more"),
    [("1.9", "1.10"), ("1.0~rc1", "1.0"), ("1.0", "1.0+b1"), ("1.0-1", "1.0-1+deb12u1"), ("9", "1:0"),
     ("1a", "1+"), ("1.0-1~bpo12+1", "1.0-1"), ("1~~", "1~"), ("1-1", "1-1.1")],
)  # fmt: skip
def test_versions_are_in_the_order_of_dpkg(less: str, more: str) -> None:
    assert DebVersion(less) < DebVersion(more)


def test_versions_that_are_written_in_two_ways_are_equal() -> None:
    for one, two in (("1.0", "0:1.0"), ("1.01", "1.1"), ("1", "1-")):
        assert DebVersion(one) == DebVersion(two)


def test_sources_become_suites_of_binary_packages() -> None:
    both = Source("f", MIRROR, frozenset({"deb", "deb-src"}), ("x", "y"), ("main",))
    only_source = Source("f", MIRROR, frozenset({"deb-src"}), ("z",), ("main",))
    found = suites([both, both, only_source, Source("f", MIRROR, suites=("m",), mirrors=True)])
    assert [each.folder for each in found] == [f"{MIRROR}/dists/x/", f"{MIRROR}/dists/y/"]


def test_of_an_index_the_form_that_is_packed_best_is_asked_for() -> None:
    forms = ["main/binary-amd64/Packages", "main/binary-amd64/Packages.gz", "main/binary-all/Packages.xz"]
    release = "SHA256:\n" + "".join(f" {each[-1] * 64} 1 {each}\n" for each in forms)
    assert [each.path for each in packages(f"Architectures: all amd64\n{release}", SUITES[0], ["amd64"])] == forms[
        1:
    ]
    assert [each.path for each in packages(f"Architectures: amd64\n{release}", SUITES[0], ["amd64"])] == forms[1:2]
    with pytest.raises(Invalid, match="no Release"):
        packages("<html>", SUITES[0], ["amd64"])


@pytest.mark.parametrize(
    ("uri", "asked"),
    [
        (f"{MIRROR}/a%2b.deb", "mirror.example/debian/a%2b.deb"),
        ("https://secure.example:8443/a", "HTTPS///secure.example:8443/a"),
        ("http://HTTPS///secure.example/a", "HTTPS///secure.example/a"),
        ("http://node.example:3142/mirror.example/a", "mirror.example/a"),
    ],
)
def test_a_node_is_asked_by_the_host_and_the_path(uri: str, asked: str) -> None:
    assert at_node("http://node.example:3142/", uri) == f"http://node.example:3142/{asked}"


async def test_names_are_looked_up_in_the_indexes_and_the_newest_comes(server: PackageServer) -> None:
    seen = Seen()
    results = await prefetch(server, "app", "data", "tool", seen=seen)
    assert debs(results) == dict.fromkeys(
        ["app_1.10+u1_amd64.deb", "data_2%3a1_all.deb", "tool_3_amd64.deb"], Outcome.FETCHED
    )
    assert {each.outcome for each in results} == {Outcome.FETCHED}
    assert len(seen.results) == len(results) == 3 + 3 + 3
    assert set(server.asked.values()) == {1}


async def test_a_version_that_is_named_is_the_one_that_comes(server: PackageServer) -> None:
    assert list(debs(await prefetch(server, "app=1.9"))) == ["app_1.9_amd64.deb"]


async def test_what_no_index_has_is_named_and_the_others_come(server: PackageServer) -> None:
    results = await prefetch(server, "missing", "app=7", "app:arm64", "data")
    failed = [each for each in results if each.outcome is Outcome.FAILED]
    assert [each.name for each in failed] == ["missing", "app=7", "app:arm64"]
    assert "no source of this machine has app:arm64" in failed[2].detail
    assert list(debs(results)) == ["data_2%3a1_all.deb"]


async def test_a_suite_that_cannot_be_had_is_a_failure_and_the_others_are_read(server: PackageServer) -> None:
    del server.bodies["/mirror.example/debian/dists/x/InRelease"]
    put(server, "mirror.example/debian/", "dists/x-updates/main/binary-amd64/Packages.gz", b"others")
    results = await prefetch(server, "app", "tool")
    failed = {each.name for each in results if each.outcome is Outcome.FAILED}
    assert failed == {
        "mirror.example/debian/dists/x/Release",
        "mirror.example/debian/dists/x-updates/main/binary-amd64/Packages.gz",
        "app",
    }
    assert list(debs(results)) == ["tool_3_amd64.deb"]


async def test_bytes_that_are_not_those_of_the_index_are_a_failure(server: PackageServer) -> None:
    put(server, "mirror.example/debian/", deb("app", "1.9")[0], b"others")
    [failed] = [each for each in await prefetch(server, "app=1.9") if each.outcome is Outcome.FAILED]
    assert "sha256" in failed.detail


async def test_what_apt_has_resolved_is_fetched_without_any_index(server: PackageServer) -> None:
    path, body = deb("app", "1.10")
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    uri = f"'{MIRROR}/{path}' app.deb {len(body)} MD5Sum:{{}}"
    assert debs(await prefetch(server, uri.format(md5))) == {"app.deb": Outcome.FETCHED}
    assert debs(await prefetch(server, uri.format("0" * 32))) == {"app.deb": Outcome.FAILED}
    assert set(server.asked) == {f"/mirror.example/debian/{path}"}


def test_the_command_takes_a_list_and_looks_it_up_by_the_sources_of_a_system(tmp_path: Path) -> None:
    arguments = ["prefetch", "--apt", "-", "--host", "http://127.0.0.1:9", "--json", "--root", str(tmp_path)]
    with pytest.raises(Invalid, match="no sources of apt below"):
        CliRunner().invoke(app, arguments, input="app\n", catch_exceptions=False)
    (tmp_path / "etc/apt").mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list").write_text(f"deb {MIRROR} x main\n")
    summary = json.loads(CliRunner().invoke(app, arguments, input="app # ours\n").output)
    assert (summary["index"], summary["failed"]) == ("http://127.0.0.1:9/", 2)
    assert [row["name"] for row in summary["files"]] == ["mirror.example/debian/dists/x/Release", "app"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--apt", "x", "app"), "a list of its own"),
        (("--apt", "x", "--images", "y"), "a list of its own"),
        (("--apt", "x", "--python", "3.12"), "--python is for"),
        (("--apt", "x", "--platform", "linux/amd64"), "--platform is for"),
        (("--apt", "x", "--all"), "--all is for"),
        (("app", "--root", "/x"), "--root is for"),
        (("--apt", "/no/such/list"), "cannot be read"),
    ],
)
def test_what_does_not_belong_together_is_refused(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, ["prefetch", *arguments])
    assert isinstance(result.exception, Invalid)
    assert said in str(result.exception)


@pytest.mark.real
@pytest.mark.parametrize(("less", "more"), [("1.9", "1.10"), ("1.0~rc1", "1.0"), ("1a", "1+"), ("9", "1:0")])
def test_dpkg_has_the_same_order(less: str, more: str) -> None:
    assert subprocess.run(["dpkg", "--compare-versions", less, "lt", more], check=False).returncode == 0
