"""What the place of a file says of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.digests import Digest
from dpm_gateway_apt.layout import (
    ByHash,
    archive,
    by_hash,
    is_package,
    is_release,
    names_files,
    path_by_hash,
    releases,
    roots,
)

SHA = Digest("sha256:" + "ab" * 32)
MD5 = Digest("md5:" + "cd" * 16)
MAIN = "debian/dists/bookworm/main/binary-amd64/"


def test_a_digest_names_an_index() -> None:
    assert by_hash(f"{MAIN}by-hash/SHA256/{SHA.hex}") == ByHash(MAIN, SHA)
    assert by_hash(f"by-hash/MD5Sum/{MD5.hex}") == ByHash("", MD5)
    assert path_by_hash(f"{MAIN}Packages.xz", SHA) == f"{MAIN}by-hash/SHA256/{SHA.hex}"


@pytest.mark.parametrize(
    "path",
    [f"{MAIN}Packages.xz", f"by-hash/SHA256/{'AB' * 32}", "by-hash/SHA256/ab", f"by-hash/SHA3/{SHA.hex}"],
)
def test_what_is_no_digest_names_none(path: str) -> None:
    assert by_hash(path) is None


def test_a_release_is_of_a_suite_and_not_of_an_architecture() -> None:
    assert is_release("debian/dists/bookworm/InRelease")
    assert is_release("Release")
    assert not is_release(f"{MAIN}Release")
    assert not is_release("debian/dists/bookworm/Release.gpg")


@pytest.mark.parametrize(
    "name",
    [
        "a_1_all.deb",
        "a_1_amd64.udeb",
        "a_1.dsc",
        "a_1.orig.tar.xz",
        "a_1.orig.tar.gz.asc",
        "a_1-1.diff.gz",
        "a_1.tar.zst",
    ],
)
def test_packages_and_sources_are_known_by_their_names(name: str) -> None:
    assert is_package(f"debian/pool/{name}")
    assert releases(f"pool/{name}") == ()


@pytest.mark.parametrize(
    "path",
    [
        "repo/Packages.gz",
        "debian/dists/sid/InRelease",
        "debian/dists/sid/main/dep11/icons-64x64.tar.gz",
        "debian/dists/sid/main/installer-amd64/current/images/netboot/netboot.tar.gz",
        "ubuntu/ls-lR.gz",
    ],
)
def test_what_else_lies_about_is_none(path: str) -> None:
    assert not is_package(path)


def folders(path: str) -> list[str]:
    """Where Releases are looked for."""
    return [each.removesuffix("InRelease") for each in releases(path) if each.endswith("InRelease")]


def test_an_index_is_listed_by_the_suite_that_it_is_below() -> None:
    assert releases(f"{MAIN}Packages.xz")[:2] == (
        "debian/dists/bookworm/InRelease",
        "debian/dists/bookworm/Release",
    )
    assert folders(f"{MAIN}Packages.diff/Index") == ["debian/dists/bookworm/", "debian/dists/bookworm/main/"]
    assert folders("dists/stable/updates/main/source/Sources") == [
        "dists/stable/",
        "dists/stable/updates/",
        "dists/stable/updates/main/",
    ]
    assert folders("dists/sid/main/installer-amd64/current/images/SHA256SUMS") == ["dists/sid/", "dists/sid/main/"]


def test_a_flat_repository_is_looked_for_where_its_index_is() -> None:
    assert folders("repo/Packages.gz") == ["repo/", ""]
    assert folders("Packages") == [""]
    assert folders("repo/netboot.img") == []


def test_an_archive_is_what_is_before_dists_and_pool() -> None:
    assert archive("debian/pool/main/h/hello/hello_1_all.deb") == "debian/"
    assert archive("linux/debian/dists/bookworm/pool/stable/a_1_all.deb") == "linux/debian/"
    assert archive("pool/a_1_all.deb") == archive("repo/a_1_all.deb") == ""


def test_names_in_an_index_start_where_dists_is_or_in_a_folder_above() -> None:
    assert roots(f"{MAIN}Packages.xz") == ("debian/",)
    assert roots(f"{MAIN}by-hash/SHA256/{SHA.hex}") == ("debian/",)
    assert roots("repo/stable/Packages.gz") == ("repo/stable/", "repo/", "")
    assert roots("Packages.gz") == ("",)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (f"{MAIN}Packages.xz", True),
        (f"{MAIN}by-hash/SHA256/{SHA.hex}", True),
        ("debian/dists/sid/main/debian-installer/binary-amd64/Packages.gz", True),
        ("debian/dists/sid/main/source/Sources.xz", True),
        (f"debian/dists/sid/main/source/by-hash/SHA512/{SHA.hex * 2}", True),
        (f"{MAIN}Packages.diff/Index", True),
        ("repo/Packages", True),
        (f"repo/by-hash/SHA256/{SHA.hex}", True),
        (f"{MAIN}Packages.diff/T-2026-1-F-2.gz", False),
        (f"{MAIN}Release", False),
        ("debian/dists/sid/InRelease", False),
        (f"debian/dists/sid/main/i18n/by-hash/SHA256/{SHA.hex}", False),
        (f"debian/dists/sid/main/by-hash/SHA256/{SHA.hex}", False),
        ("debian/dists/sid/main/Contents-amd64.gz", False),
        ("debian/pool/main/h/hello/hello_1_all.deb", False),
    ],
)
def test_indexes_of_files_are_known_by_their_places(path: str, named: bool) -> None:
    assert names_files(path) is named


PIECES = ("dists", "pool", "binary-amd64", "by-hash", "SHA256", SHA.hex, "Index", "a.diff", "x")


@given(st.lists(st.sampled_from(PIECES)).map("/".join))
def test_every_path_has_a_place(path: str) -> None:
    assert path.startswith(archive(path))
    assert all(path.startswith(each) for each in roots(path))
    assert all(path.startswith(each.rpartition("/")[0]) for each in releases(path))
    assert names_files(path) in (True, False)
