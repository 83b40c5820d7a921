"""What a server asks for that answers 401."""

import string

import pytest
from hypothesis import given, strategies

from dpm_runtime.challenges import Challenge, challenges

BEARER = Challenge(
    "bearer", {"realm": "https://auth.example/token", "service": "a, b", "scope": "repository:x:pull"}
)
WORDS = strategies.text(string.ascii_letters + string.digits + "-._", min_size=1)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (['Bearer realm="https://auth.example/token",service="a, b",scope="repository:x:pull"'], [BEARER]),
        (['bearer Realm="https://auth.example/token" , SERVICE="a, b", scope = "repository:x:pull"'], [BEARER]),
        (['Basic realm="say \\"please\\""'], [Challenge("basic", {"realm": 'say "please"'})]),
        (
            ['Basic realm="x", Bearer realm=y'],
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})],
        ),
        (["Negotiate", "Basic realm=x"], [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (["Negotiate abc==, Basic realm=x"], [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (["Basic realm=x, realm=y"], [Challenge("basic", {"realm": "x"})]),
        (['Bearer realm="open'], [Challenge("bearer"), Challenge("realm")]),
        (["", ",", '"', "=", "realm=x"], [Challenge("realm")]),
    ],
)
def test_challenges_are_read(values: list[str], found: list[Challenge]) -> None:
    assert challenges(values) == found


@given(strategies.lists(strategies.text()))
def test_nothing_that_a_server_sends_is_too_much(values: list[str]) -> None:
    challenges(values)


@given(WORDS, strategies.dictionaries(WORDS.map(str.lower), strategies.text('\t !"\\,=x')))
def test_what_is_quoted_is_read_as_it_was_meant(scheme: str, params: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in params.items()}
    text = f"{scheme} " + ", ".join(f'{name}="{value}"' for name, value in quoted.items())
    assert challenges([text]) == [Challenge(scheme.lower(), params)]
