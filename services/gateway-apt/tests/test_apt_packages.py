"""Which files Packages, Sources and an Index of patches name."""

import gzip
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import ArtifactRef
from dpm_core.digests import Digest
from dpm_core.ecosystem import Fact
from dpm_core.errors import Invalid
from dpm_gateway_apt import packages
from dpm_gateway_apt.compression import CHUNK_BYTES

HOST = "http://deb.example/"
MAIN = "debian/dists/bookworm/main/binary-amd64/"
SOURCE = "debian/dists/bookworm/main/source/Sources.xz"
SHA = Digest("sha256:" + "ab" * 32)
SHA512 = Digest("sha512:" + "cd" * 64)
MD5 = Digest("md5:" + "ef" * 16)

HELLO = f"""Package: hello
Version: 2.10-3
Description: an example
 Filename: not/this
MD5sum: {MD5.hex}
Filename: pool/main/h/hello/hello_2.10-3_amd64.deb
Size: 53068
SHA256: {SHA.hex}
"""
SOURCES = f"""Package: hello
Format: 3.0 (quilt)
Files:
 {MD5.hex} 1000 hello_2.10-3.dsc
 {MD5.hex} 2000 hello_2.10.orig.tar.gz
Checksums-Sha256:
 {SHA.hex} 1000 hello_2.10-3.dsc
 {SHA.hex} 2000 hello_2.10.orig.tar.gz
Directory: pool/main/h/hello
"""
PATCHES = f"""SHA256-Current: {SHA.hex} 50
SHA256-History:
 {SHA.hex} 40 T-2-F-1
SHA256-Patches:
 {SHA.hex} 30 T-2-F-1
SHA256-Download:
 {SHA.hex} 20 T-2-F-1.gz
"""


def facts(body: str | bytes, key: str = f"{MAIN}Packages") -> dict[str, Fact]:
    raw = body if isinstance(body, bytes) else body.encode()
    return {fact.path: fact for fact in packages.facts(ArtifactRef("apt", HOST, key), raw)}


DEB = "debian/pool/main/h/hello/hello_2.10-3_amd64.deb"


def test_a_package_is_what_its_index_says() -> None:
    assert facts(HELLO) == {DEB: Fact(DEB, HOST + DEB, (SHA,), 53068)}


@pytest.mark.parametrize("key", [f"{MAIN}Packages.xz", f"{MAIN}by-hash/SHA256/{SHA.hex}"])
def test_an_index_is_known_by_its_bytes_not_by_its_name(key: str) -> None:
    for body in (gzip.compress(HELLO.encode()), lzma.compress(HELLO.encode()), HELLO.encode()):
        assert set(facts(body, key)) == {DEB}


@pytest.mark.parametrize(
    "odd",
    [
        HELLO.replace("Filename: pool", "filename:pool").replace("SHA256:", "sha256:\t"),
        "\n\n" + HELLO,
        HELLO.replace("Package: hello\n", "").replace("Version", "#Filename: no\nVersion"),
        "Filename: pool/main/h/hello/hello_2.10-3_amd64.deb\n" + HELLO.replace("\nFilename", "\nOther"),
        HELLO.replace("Filename: pool", "Filename: ./pool/.//"),
    ],
)
def test_fields_are_found_however_they_are_written(odd: str) -> None:
    assert facts(odd)[DEB].digests == (SHA,)


def test_the_strong_digests_count_and_weak_ones_only_alone() -> None:
    both = HELLO + f"SHA512: {SHA512.hex}\n"
    assert facts(both)[DEB].digests == (SHA512, SHA)
    assert facts(HELLO.replace("SHA256", "Other"))[DEB].digests == (MD5,)
    assert facts(HELLO.replace("SHA256", "Other").replace("MD5sum", "None")) == {}


def test_a_plus_has_one_spelling() -> None:
    assert set(facts(HELLO.replace("hello_2.10", "hello++_2.10"))) == {DEB.replace("hello_", "hello%2B%2B_")}


def test_a_source_is_several_files() -> None:
    found = facts(SOURCES, SOURCE)
    folder = "debian/pool/main/h/hello/"
    assert {path.removeprefix(folder): (fact.digests, fact.size) for path, fact in found.items()} == {
        "hello_2.10-3.dsc": ((SHA,), 1000),
        "hello_2.10.orig.tar.gz": ((SHA,), 2000),
    }
    old = SOURCES.replace("Checksums-Sha256", "Other")
    assert {fact.digests for fact in facts(old, SOURCE).values()} == {(MD5,)}
    assert set(facts(SOURCES.replace("pool/main/h/hello", "."), "repo/Sources")) >= {"repo/hello_2.10-3.dsc"}


def test_patches_are_named_by_what_is_downloaded() -> None:
    for name in ("Index", f"by-hash/SHA256/{SHA.hex}"):
        found = facts(PATCHES, f"{MAIN}Packages.diff/{name}")
        path = f"{MAIN}Packages.diff/T-2-F-1.gz"
        assert found == {path: Fact(path, HOST + path, (SHA,), 20)}


def test_the_names_in_a_flat_repository_may_start_in_any_folder_above() -> None:
    flat = HELLO.replace("pool/main/h/hello/", "./")
    name = "hello_2.10-3_amd64.deb"
    assert set(facts(flat, "my/repo/Packages")) == {f"my/repo/{name}", f"my/{name}", name}


@pytest.mark.parametrize("name", ["../../etc/passwd", "pool/../../x.deb", "..", "a\tb\x01.deb"])
def test_no_name_leads_out_of_the_archive(name: str) -> None:
    assert facts(HELLO.replace("pool/main/h/hello/hello_2.10-3_amd64.deb", name)) == {}


def test_an_index_of_another_kind_names_nothing_and_is_soon_put_aside() -> None:
    translation = "Package: hello\nDescription-md5: 1\nDescription-en: an example\n\n"
    contents = "usr/bin/hello  devel/hello\n"
    assert facts(translation * 1000, f"repo/by-hash/SHA256/{SHA.hex}") == {}
    assert facts(contents * 1000, f"repo/by-hash/SHA256/{SHA.hex}") == {}


def test_paragraphs_are_whole_wherever_the_text_is_cut() -> None:
    filler = "X" * (CHUNK_BYTES - len(HELLO) - 100)
    for more in range(95, 105):
        body = f"{HELLO}Description: {filler}{'Y' * more}\n\n{HELLO.replace('2.10', '2.11')}"
        assert set(facts(body)) == {DEB, DEB.replace("2.10", "2.11")}


def test_a_paragraph_without_end_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpm_gateway_apt.fields.LONGEST_PARAGRAPH", 2 * CHUNK_BYTES)
    with pytest.raises(Invalid, match="no end"):
        facts("Package: x" * CHUNK_BYTES)


def test_an_index_that_names_all_the_world_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpm_gateway_apt.packages.MOST_FACTS", 10)
    with pytest.raises(Invalid, match="more than 10 files"):
        facts(f"{HELLO}\n" * 11)


names = st.from_regex(r"[a-z][a-z0-9+.~-]{1,20}", fullmatch=True)


@given(st.dictionaries(names, st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 2**40)), max_size=20))
def test_what_a_repository_writes_is_read(repository: dict[str, tuple[bytes, int]]) -> None:
    text = "\n".join(
        f"Package: {name}\nFilename: pool/{name}.deb\nSize: {size}\nSHA256: {raw.hex()}\n"
        for name, (raw, size) in repository.items()
    )
    expected = {
        f"debian/pool/{name}.deb".replace("+", "%2B"): ((Digest(f"sha256:{raw.hex()}"),), size)
        for name, (raw, size) in repository.items()
    }
    assert {path: (fact.digests, fact.size) for path, fact in facts(text).items()} == expected


words = st.sampled_from(
    [b"Filename: ", b"Directory: ", b"SHA256: ", b"Files:\n ", b"\n", b"\n\n", SHA.hex.encode()]
)


@given(
    st.lists(words | st.binary(max_size=10)).map(b"".join),
    st.sampled_from([f"{MAIN}Packages", f"{MAIN}Packages.diff/Index", "Packages", SOURCE]),
)
def test_any_bytes_are_an_index_or_invalid(body: bytes, key: str) -> None:
    try:
        found = facts(body, key)
    except Invalid:
        return
    assert all(fact.digests for fact in found.values())
