"""The key of a private swarm, and its file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import Invalid
from dpm_core.swarm_keys import SwarmKey

FILE = "/key/swarm/psk/1.0.0/\n/base16/\n" + "0f" * 32 + "\n"


@given(st.binary(min_size=32, max_size=32))
def test_a_key_comes_back_from_its_file(raw: bytes) -> None:
    assert SwarmKey.read(SwarmKey(raw).text) == SwarmKey(raw)


@pytest.mark.parametrize("text", [FILE, FILE.removesuffix("\n")])
def test_a_file_is_read_as_it_is_written(text: str) -> None:
    assert SwarmKey.read(text).raw == b"\x0f" * 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        FILE + "\n",
        FILE.upper(),
        FILE.replace("1.0.0", "2.0.0"),
        FILE.replace("/base16/", "/base64/"),
        FILE.replace("0f0f", "0f"),
        "0f" * 32,
    ],
)
def test_any_other_file_is_invalid_and_is_not_quoted(text: str) -> None:
    with pytest.raises(Invalid) as raised:
        SwarmKey.read(text)
    assert "0f0f" not in str(raised.value)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_length_is_invalid(size: int) -> None:
    with pytest.raises(Invalid):
        SwarmKey(bytes(size))


def test_a_key_does_not_show_itself() -> None:
    assert "0f" not in repr(SwarmKey(b"\x0f" * 32)) + str(SwarmKey(b"\x0f" * 32))
