"""Tokens for clients that ask for one."""

import json
import pickle
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dpm_gateway_oci.seal import LASTS_SECONDS, PREFIX, Seal

SECRET = b"the gateway's own seed"
BASIC = "Basic YW5uYTpzZWNyZXQ="


def at(now: float, secret: bytes = SECRET) -> Seal:
    return Seal(secret, lambda: now)


@given(st.text(st.characters(codec="ascii")))
def test_a_token_stands_for_what_was_shown(authorization: str) -> None:
    assert at(1e9).opened(at(1e9).token(authorization)) == authorization


def test_every_process_of_the_gateway_opens_it() -> None:
    assert at(1e9 + 5).opened(at(1e9).token(BASIC)) == BASIC


def test_it_ends() -> None:
    token = at(1e9).token(BASIC)
    assert at(1e9 + LASTS_SECONDS).opened(token) == BASIC
    assert at(1e9 + LASTS_SECONDS + 1).opened(token) is None


def test_nobody_else_can_make_or_read_one() -> None:
    token = at(1e9).token(BASIC)
    assert at(1e9, b"another seed").opened(token) is None
    assert "secret" not in token and BASIC[6:] not in token
    assert SECRET.decode() not in repr(at(1e9))


def test_a_token_that_was_changed_is_none() -> None:
    token = at(1e9).token(BASIC)
    assert at(1e9).opened(token[:-4] + "AAAA") is None


@given(st.text())
def test_no_other_text_is_one(text: str) -> None:
    assert at(1e9).opened(PREFIX + text) is None


def test_two_tokens_for_one_thing_differ() -> None:
    tokens = [at(1e9).token(BASIC) for _ in range(3)]
    assert all(one != other for one, other in pairwise(tokens))


def test_the_answer_is_read_by_dockers_clients_and_by_oauths() -> None:
    page = at(1_700_000_000).page(BASIC)
    answer = json.loads(page.body)
    assert at(1_700_000_000).opened(answer["token"]) == BASIC
    assert answer == {
        "token": answer["token"],
        "access_token": answer["token"],
        "expires_in": LASTS_SECONDS,
        "issued_at": "2023-11-14T22:13:20Z",
    }
    assert ("Cache-Control", "no-store") in page.headers


def test_a_seal_goes_to_the_process_that_works_on_pages() -> None:
    seal = pickle.loads(pickle.dumps(Seal(SECRET)))
    assert seal.opened(Seal(SECRET).token(BASIC)) == BASIC
