"""What tests share in networks that are not there: files, pages, adverts and changes, as hypothesis finds them."""

import hashlib

from hypothesis import strategies as st

from dpm_core.adverts import Advert, Changes, Missed, Reach
from dpm_core.artifacts import ArtifactRef, Validators
from dpm_core.canonical import MOST
from dpm_core.cids import CHUNK, Cid
from dpm_core.digests import Digest
from dpm_core.inventory import OCTETS, SharedFile, SharedPage
from dpm_core.multiaddrs import Address, PeerId

KEY_BYTES = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, MOST)
WORDS = st.text('abc/-._~%Ü\U0001f4e6"\\', max_size=30)
HEADERS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


def file_of(number: int, size: int = 10, media_type: str = OCTETS) -> SharedFile:
    """A file that differs from those of other numbers."""
    seed = hashlib.sha256(str(number).encode())
    sha256 = Digest(f"sha256:{seed.hexdigest()}")
    return SharedFile(sha256, size, None if size <= CHUNK else Cid.of_node(seed.digest()), media_type)


def page_of(number: int, key: str = "simple/six/") -> SharedPage:
    """A page that differs from those of other numbers."""
    ref = ArtifactRef("pypi", f"https://index-{number}.example/", key)
    return SharedPage(ref, file_of(number, 3_000, "text/html"), 1_764_000_000, Validators('"tag"'))


def files() -> st.SearchStrategy[SharedFile]:
    """Any file."""
    return st.builds(file_of, st.integers(0, 10_000), NUMBERS, st.just(OCTETS) | HEADERS)


def pages() -> st.SearchStrategy[SharedPage]:
    """Any page."""
    texts = st.none() | HEADERS
    return st.builds(
        SharedPage,
        st.builds(ArtifactRef, st.sampled_from(["apt", "oci", "pypi"]), WORDS, WORDS),
        files(),
        NUMBERS,
        st.builds(Validators, texts, texts),
        st.lists(st.tuples(st.sampled_from(["link", "docker-content-digest"]), HEADERS), max_size=2).map(tuple),
    )


def adverts() -> st.SearchStrategy[Advert]:
    """Any advert."""
    addresses = st.sampled_from(["/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/4001", "/dns/b.example/tcp/1"])
    listed = st.just((None, 0)) | st.tuples(KEY_BYTES.map(Cid.of_node), st.integers(1, MOST))
    return st.builds(
        lambda listed, **rest: Advert(inventory=listed[0], inventory_size=listed[1], **rest),
        listed,
        peer=KEY_BYTES.map(PeerId.of_ed25519),
        addresses=st.lists(addresses.map(Address), max_size=4).map(tuple),
        epoch=NUMBERS,
        n=NUMBERS,
        files=NUMBERS,
        pages=NUMBERS,
        size=NUMBERS,
        at=NUMBERS,
        box=KEY_BYTES,
        reach=st.none() | reaches(),
    )


def reaches() -> st.SearchStrategy[Reach]:
    """What any member may tell of whom it reached."""
    peers = KEY_BYTES.map(PeerId.of_ed25519)
    why = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=60)
    missed = st.builds(Missed, peers, st.just(Address("/ip4/192.0.2.1/tcp/4001")), why)
    return st.builds(Reach, st.lists(peers, max_size=3).map(tuple), st.lists(missed, max_size=3).map(tuple))


def changes(most: int = 20) -> st.SearchStrategy[Changes]:
    """Any changes of so many files and pages."""
    digests = KEY_BYTES.map(lambda raw: Digest(f"sha256:{raw.hex()}"))
    ids = st.text("0123456789abcdef", min_size=32, max_size=32)
    return st.builds(
        lambda added, dropped, shown, gone: Changes(
            {**{each.sha256: each for each in added}, **dict.fromkeys(dropped)},
            {**{each.id: each for each in shown}, **dict.fromkeys(gone)},
        ),
        st.lists(files(), max_size=most),
        st.lists(digests, max_size=most),
        st.lists(pages(), max_size=most),
        st.lists(ids, max_size=most),
    )
