"""What a client's request is for, and what is fetched for it."""

import pytest

from dpm_core.artifacts import Lane, Want
from dpm_core.digests import Digest
from dpm_core.ecosystem import Direct, Fact, IndexedFile, IndexPage, Refusal, Request, Target
from dpm_gateway_apt.ecosystem import FILE_FRESH_SECONDS, Apt
from dpm_gateway_apt.hosts import Host, Hosts

HOST = "http://deb.example/"
SUITE = "debian/dists/bookworm/"
SHA = Digest("sha256:" + "ab" * 32)
SHA512 = Digest("sha512:" + "cd" * 64)
MD5 = Digest("md5:" + "ef" * 16)
APT = Apt(
    Hosts(
        {
            "deb.example": Host("deb.example", HOST),
            "team.example": Host("team.example", "https://team.example/", private=("/private/",)),
        },
        allow=["*.allowed.example"],
    ),
    fresh_for=300.0,
    limit=1000,
)


def target(path: str, host: str = "deb.example") -> Target:
    found = APT.classify(Request("GET", f"/{host}/{path}"))
    assert found == APT.classify(Request("HEAD", f"/{path}", authority=host))
    return found


def page(path: str, host: str = "deb.example") -> IndexPage:
    found = target(path, host)
    assert isinstance(found, IndexPage), found
    return found


def indexed(path: str, host: str = "deb.example") -> IndexedFile:
    found = target(path, host)
    assert isinstance(found, IndexedFile), found
    return found


@pytest.mark.parametrize("name", ["InRelease", "Release", "Release.gpg"])
def test_a_release_is_asked_for_again_by_and_by_and_goes_out_as_it_is(name: str) -> None:
    found = page(SUITE + name)
    want = found.want
    assert (want.ref.upstream, want.ref.key, want.url) == (HOST, SUITE + name, HOST + SUITE + name)
    assert (want.fresh_for, want.limit, want.lane, found.coded) == (300.0, 1000, Lane.INDEX, False)


@pytest.mark.parametrize("name", ["InRelease", "Release"])
def test_a_release_is_fetched_under_another_name_than_it_is_shown_under(name: str) -> None:
    want = page(SUITE + name).want
    newest = APT.newest(want)
    assert newest is not None
    assert newest.ref.id != want.ref.id
    assert (newest.url, newest.fresh_for, newest.limit) == (want.url, want.fresh_for, want.limit)
    assert not APT.names_files(newest.ref)


def test_nothing_else_is_shown_later_than_it_is_fetched() -> None:
    assert APT.newest(page(SUITE + "Release.gpg").want) is None
    assert all(APT.newest(want) for want in indexed(SUITE + "main/binary-amd64/Packages").indexes)


def test_a_signature_goes_with_the_release_that_it_is_of() -> None:
    signature, release = page(SUITE + "Release.gpg"), page(SUITE + "Release")
    assert signature.of == release.want
    assert APT.companions(release.want) == (signature.want,)
    assert APT.companions(page(SUITE + "InRelease").want) == ()


def test_what_is_called_by_its_digest_is_that_for_ever() -> None:
    path = f"{SUITE}main/binary-amd64/by-hash/SHA256/{SHA.hex}"
    found = target(path)
    assert isinstance(found, Direct)
    (want,) = found.wants
    assert (want.ref.key, want.digests, want.mutable) == (path, (SHA,), False)
    assert found.indexes == indexed(f"{SUITE}main/binary-amd64/Packages.xz").indexes
    flat = target(f"repo/by-hash/SHA256/{SHA.hex}")
    assert isinstance(flat, Direct)
    assert flat.indexes == indexed("repo/Packages.gz").indexes


def test_a_weak_digest_is_no_promise() -> None:
    found = indexed(f"{SUITE}main/binary-amd64/by-hash/MD5Sum/{MD5.hex}")
    assert found.otherwise is not None
    assert found.otherwise.mutable


def test_an_index_is_what_the_release_of_its_suite_says() -> None:
    found = indexed(f"{SUITE}main/binary-amd64/Packages.xz")
    assert found.path == f"{SUITE}main/binary-amd64/Packages.xz"
    assert found.indexes[0] == page(f"{SUITE}InRelease").want
    assert found.indexes[1] == page(f"{SUITE}Release").want
    assert found.otherwise is not None
    assert (found.otherwise.ref.key, found.otherwise.fresh_for) == (found.path, 300.0)


def test_a_package_is_what_any_index_of_its_archive_says() -> None:
    found = indexed("debian/pool/main/h/hello/hello_1_all.deb")
    assert (found.indexes, found.within) == ((), "debian/")
    assert found.otherwise is not None
    assert (found.otherwise.fresh_for, found.otherwise.lane) == (FILE_FRESH_SECONDS, Lane.BLOB)


def test_what_a_release_lists_is_one_artifact_under_both_its_names() -> None:
    release = page(f"{SUITE}InRelease").want
    path, named = f"{SUITE}main/binary-amd64/Packages.xz", f"{SUITE}main/binary-amd64/by-hash/SHA256/{SHA.hex}"
    for url in (HOST + path, HOST + named):
        want = APT.locate(release, Fact(path, url, (SHA,), 7))
        direct = target(named)
        assert isinstance(direct, Direct)
        assert want.ref == direct.wants[0].ref
        assert (want.url, want.digests, want.size, want.mutable) == (url, (SHA,), 7, False)
        assert want.otherwise == ("" if url == HOST + path else HOST + path)
    assert APT.locate(release, Fact(path, HOST + path, (SHA512, SHA))).ref.key.endswith(f"/SHA512/{SHA512.hex}")


def test_what_packages_list_is_kept_under_its_path() -> None:
    index = APT.locate(page(f"{SUITE}InRelease").want, Fact(f"{SUITE}main/binary-amd64/Packages", HOST, (SHA,)))
    path = "debian/pool/main/h/hello/hello_1_all.deb"
    want = APT.locate(index, Fact(path, HOST + path, (SHA,), 7))
    assert (want.ref.key, want.url, want.lane, want.vouched) == (path, HOST + path, Lane.BLOB, True)
    otherwise = indexed(path).otherwise
    assert otherwise is not None
    assert want.ref == otherwise.ref, "what came unvouched is the same artifact once it is vouched for"


def test_a_host_that_a_client_named_is_a_stranger_in_all_that_is_fetched() -> None:
    release = page(f"{SUITE}InRelease", "a.allowed.example").want
    assert release.stranger
    assert APT.locate(release, Fact("x", "http://a.allowed.example/x", (SHA,))).stranger


def test_what_is_private_is_for_those_who_show_a_right() -> None:
    found = page("private/dists/x/InRelease", "team.example")
    assert (found.realm, found.want.private) == ("team.example", True)
    file = indexed("private/dists/x/main/binary-amd64/Packages", "team.example")
    assert file.realm == "team.example"
    assert all(want.private for want in file.indexes)
    assert APT.locate(found.want, Fact("private/a", "https://team.example/private/a", (SHA,))).private
    assert page("public/dists/x/InRelease", "team.example").realm == ""


def test_who_is_not_allowed_is_told_how_to_be() -> None:
    found = target("x", "other.example")
    assert isinstance(found, Refusal)
    assert b"403 Forbidden: " in APT.problem(Request("GET", "/"), found).body
    assert b"apt_allow" in APT.problem(Request("GET", "/"), found).body


@pytest.mark.parametrize("path", ["", "debian/", "debian/dists/"])
def test_a_folder_has_no_page(path: str) -> None:
    found = target(path)
    assert isinstance(found, Refusal)
    assert found.status == 404


def test_a_word_that_is_no_host_is_told_what_is_served_here() -> None:
    assert APT.classify(Request("GET", "/simple/six/")) == APT.classify(Request("GET", "/"))
    assert APT.classify(Request("GET", "/simple/six")) == APT.classify(Request("GET", "/"))
    by_proxy = APT.classify(Request("GET", "/six", authority="simple"))
    assert isinstance(by_proxy, Refusal)
    assert by_proxy.status == 403


def names(wants: tuple[Want, ...]) -> list[str]:
    return [want.ref.key for want in wants]


def test_a_flat_repository_has_its_release_beside_its_index() -> None:
    assert names(indexed("repo/Packages.gz").indexes) == ["repo/InRelease", "repo/Release", "InRelease", "Release"]
