"""The wire format is what the reference says, word for word: other versions and other programs read it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpm_core.adverts import (
    Advert,
    Delta,
    KeyInBox,
    Keys,
    Missed,
    Reach,
    keys_content,
    read_advert,
    read_delta,
    read_keys,
    read_rule,
    seal_advert,
    seal_delta,
    seal_rule,
)
from dpm_core.artifacts import ArtifactRef, Validators
from dpm_core.canonical import canonical
from dpm_core.cids import Cid, cid_of
from dpm_core.digests import Digest
from dpm_core.inventory import InventoryReader, SharedFile, SharedPage, encode_inventory, place
from dpm_core.multiaddrs import Address, PeerId, with_peer
from dpm_core.networks import Invitation
from dpm_core.seals import CONTENT_LIMIT, SealKey
from dpm_core.sharing import Clause, Rule
from dpm_core.swarm_keys import SwarmKey

GOLDEN = Path(__file__).parent / "golden"
REFERENCE = (Path(__file__).parents[3] / "docs" / "reference" / "adverts.md").read_text()

SWARM_KEY = SwarmKey(bytes(range(32)))
ROOM, ANN = "!room:matrix.example", "@ann:matrix.example"
KEY = SealKey(SWARM_KEY, ROOM)
PEER = PeerId("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")
ADDRESS = Address("/ip4/192.0.2.1/tcp/4001")

SMALL_SHA256 = Digest("sha256:44778d82365e4af681c40d5f0eef5cf6f5899d3f0ac335050a7ed6779cf3f674")
SMALL = SharedFile(SMALL_SHA256, 3)
MANIFEST_SHA256 = Digest("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
MANIFEST = SharedFile(MANIFEST_SHA256, 2, media_type="application/vnd.oci.image.manifest.v1+json")
LARGE = SharedFile(  # three MiB of zeros
    Digest("sha256:bbd05cf6097ac9b1f89ea29d2542c1b7b67ee46848393895f5a9e43fa1f621e5"),
    3 * 1024 * 1024,
    Cid("bafybeigdsjup7aizxrrjn7yqtcmqg6ffksaugwr7is2ind3cf7esaqrz4m"),
)
HTML_SHA256 = Digest("sha256:b633a587c652d02386c4f16f8c6f6aab7352d97f16367c3c40576214372dd628")
PAGE = SharedPage(
    ArtifactRef("pypi", "https://index.example/", "simple/six/"),
    SharedFile(HTML_SHA256, 13, media_type="text/html"),
    1_764_000_000,
    Validators('"tag"', "Mon, 24 Nov 2025 16:00:00 GMT"),
    (("link", '<https://index.example/>; rel="self"'),),
)
FILES = sorted((LARGE, SMALL, MANIFEST), key=place)
INVENTORY = b"".join(encode_inventory(3, 1, (*FILES, PAGE)))
ADVERT = Advert(
    peer=PEER,
    addresses=(ADDRESS,),
    epoch=1_764_000_000_000,
    n=3,
    inventory=cid_of([INVENTORY]),
    files=3,
    pages=1,
    size=3 * 1024 * 1024 + 18,
    at=1_764_000_600_000,
    box=bytes(range(32, 64)),
    inventory_size=len(INVENTORY),
)
REACHING = replace(
    ADVERT,
    reach=Reach(
        (PeerId.of_ed25519(bytes(range(32))),),
        (Missed(PEER, ADDRESS, "timed out"),),
    ),
)
DELTA = Delta(
    1_764_000_000_000,
    4,
    drop=(SMALL.sha256,),
    add=(LARGE, MANIFEST),
    gone=("0123456789abcdef" * 2,),
    pages=(PAGE,),
)
RULE = Rule(
    (Clause("pypi"), Clause("oci", "*.registry.example", "team/*")), (Clause(name="*-internal*"),), pages=True
)
KEYS = Keys(2, {"@ben:matrix.example": b"24 bytes of nonce, then the sealed text"})
IN_BOX = KeyInBox(ROOM, 2, SwarmKey(bytes(range(1, 33))))
INVITATION = Invitation(
    name="team",
    room=ROOM,
    homeserver="https://matrix.example/",
    user="@ben:matrix.example",
    registration_token="once",
    swarm_key=SWARM_KEY,
    keepers={ANN: bytes(range(32, 64)).hex()},
    contacts=(with_peer(ADDRESS, PEER),),
    rule=RULE,
)

CONTENTS: dict[str, tuple[Any, Any]] = {
    "advert": (seal_advert(ADVERT, KEY, ANN), lambda content: read_advert(content, KEY, ANN) == ADVERT),
    "advert-reach": (seal_advert(REACHING, KEY, ANN), lambda content: read_advert(content, KEY, ANN) == REACHING),
    "delta": (seal_delta(DELTA, KEY, ANN), lambda content: read_delta(content, KEY, ANN) == DELTA),
    "rule": (seal_rule(RULE, KEY, ANN), lambda content: read_rule(content, KEY, ANN) == RULE),
    "keys": (keys_content(KEYS), lambda content: read_keys(content) == KEYS),
    "key-in-box": (
        json.loads(IN_BOX.encode()),
        lambda content: KeyInBox.decode(json.dumps(content).encode()) == IN_BOX,
    ),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_content_is_written_and_read_as_it_was_fixed(name: str) -> None:
    content, is_read = CONTENTS[name]
    kept = (GOLDEN / f"{name}.json").read_bytes()
    assert canonical(content) + b"\n" == kept
    assert is_read(json.loads(kept))


def test_an_inventory_is_written_and_read_as_it_was_fixed() -> None:
    kept = (GOLDEN / "inventory.jsonl").read_bytes()
    assert kept == INVENTORY
    reader = InventoryReader()
    assert reader.feed(kept) == [*FILES, PAGE]
    reader.finish()


def test_an_invitation_is_read_as_it_was_fixed() -> None:
    assert Invitation.read((GOLDEN / "invitation.txt").read_text()) == INVITATION


@pytest.mark.parametrize("name", [*CONTENTS, "inventory"])
def test_the_examples_of_the_reference_are_those(name: str) -> None:
    kept = next(GOLDEN.glob(f"{name}.json*")).read_text()
    shown = re.findall(r"^```json\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL)
    if name == "inventory":
        assert kept in shown
    else:
        assert json.loads(kept) in [json.loads(each) for each in shown if not each.startswith('{"dpm"')]


def test_the_reference_tells_the_key_and_the_seal_of_its_example() -> None:
    assert SWARM_KEY.raw.hex() in REFERENCE
    assert KEY._key.hex() in REFERENCE
    assert str(CONTENT_LIMIT) in REFERENCE.replace(",", "")
