"""Nobody without the swarm key can make or change what a member says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import Invalid, TooNew, Untrusted
from dpm_core.seals import CONTENT_LIMIT, OtherGeneration, SealKey, hkdf_sha256
from dpm_core.swarm_keys import SwarmKey

SWARM = SwarmKey(b"\x0f" * 32)
KEY = SealKey(SWARM, "!room:matrix.example")
BEN = "@ben:matrix.example"
SEALED = KEY.sealed("dpm.advert", BEN, {"a": 1})


def test_the_derivation_is_that_of_rfc_5869() -> None:
    # appendix A.3, of whose 42 bytes these are the first 32
    assert hkdf_sha256(b"\x0b" * 22, b"").hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    )


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9) | st.text("xyz")))
def test_what_a_member_sealed_comes_out_as_it_was(content: dict[str, Any]) -> None:
    out = KEY.unsealed("dpm.advert", BEN, KEY.sealed("dpm.advert", BEN, content))
    assert out == {**content, "v": 1, "generation": 1}


@pytest.mark.parametrize(
    "changed",
    [
        {**SEALED, "a": 2},
        {**SEALED, "b": 1},
        {name: value for name, value in SEALED.items() if name != "a"},
        {**SEALED, "seal": "0" * 64},
        {**SEALED, "seal": SEALED["seal"].upper()},
        {**SEALED, "seal": ""},
    ],
)
def test_what_was_changed_on_the_way_is_not_trusted(changed: dict[str, Any]) -> None:
    with pytest.raises(Untrusted):
        KEY.unsealed("dpm.advert", BEN, changed)


def test_nobodys_words_are_passed_off_as_those_of_another_or_as_something_else() -> None:
    for kind, sender in (("dpm.advert", "@eve:matrix.example"), ("dpm.delta", BEN)):
        with pytest.raises(Untrusted):
            KEY.unsealed(kind, sender, SEALED)


@pytest.mark.parametrize(
    "other", [SealKey(SwarmKey(bytes(32)), "!room:matrix.example"), SealKey(SWARM, "!other:matrix.example")]
)
def test_another_swarm_or_room_has_another_key(other: SealKey) -> None:
    with pytest.raises(Untrusted):
        other.unsealed("dpm.advert", BEN, SEALED)


@pytest.mark.parametrize("generation", [2, 7])
def test_a_seal_of_another_generation_says_so(generation: int) -> None:
    later = SealKey(SwarmKey(bytes(32)), "!room:matrix.example", generation)
    with pytest.raises(OtherGeneration) as raised:
        KEY.unsealed("dpm.advert", BEN, later.sealed("dpm.advert", BEN, {}))
    assert raised.value.generation == generation


def test_a_newer_format_is_told_from_a_bad_one() -> None:
    with pytest.raises(TooNew):
        KEY.unsealed("dpm.advert", BEN, {**SEALED, "v": 2})


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "seal",
        {},
        {"v": 1},
        {**SEALED, "v": 0},
        {**SEALED, "v": True},
        {**SEALED, "v": "1"},
        {**SEALED, "generation": 0},
        {**SEALED, "generation": 1.0},
        {**SEALED, "seal": None},
        {**SEALED, "seal": "ß" * 64},
        {**SEALED, "a": 0.5},
        {**SEALED, "a": "x" * CONTENT_LIMIT},
    ],
)
def test_what_is_no_sealed_content_is_invalid(content: object) -> None:
    with pytest.raises(Invalid):
        KEY.unsealed("dpm.advert", BEN, content)


def test_what_does_not_fit_into_an_event_is_not_sealed() -> None:
    with pytest.raises(Invalid):
        KEY.sealed("dpm.advert", BEN, {"a": "x" * CONTENT_LIMIT})


def test_a_key_does_not_show_itself() -> None:
    assert KEY._key.hex() not in repr(KEY)
    assert repr(KEY._key) not in repr(vars(SWARM)) + repr(KEY)
