"""What refers to a manifest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.ecosystem import Page
from dpm_core.errors import Invalid
from dpm_gateway_oci.referrers import FILTERS_APPLIED, IMAGE_INDEX, no_referrers, referrers

SIGNATURE = {"mediaType": "m", "digest": "sha256:" + "aa" * 32, "size": 1, "artifactType": "example/signature"}
BILL = {
    "mediaType": "m",
    "digest": "sha256:" + "bb" * 32,
    "size": 2,
    "artifactType": "example/bill",
    "x-more": [1],
}
INDEX = json.dumps(
    {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [SIGNATURE, BILL], "annotations": {"a": "b"}},
    indent=1,
).encode()
EMPTY = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": []}


def test_without_a_filter_they_are_upstreams_own_bytes() -> None:
    assert referrers(INDEX, "") == Page(IMAGE_INDEX, INDEX)


def test_a_filter_leaves_those_of_its_type_as_they_are() -> None:
    page = referrers(INDEX, "example/bill")
    assert json.loads(page.body) == {**json.loads(INDEX), "manifests": [BILL]}
    assert page.headers == ((FILTERS_APPLIED, "artifactType"),)


def test_a_filter_may_leave_none() -> None:
    assert json.loads(referrers(INDEX, "example/other").body)["manifests"] == []


@pytest.mark.parametrize(
    "body", [b'{"mediaType": "application/other", "manifests": []}', b"[]", b"{}", b'{"manifests": 1}']
)
def test_what_is_no_image_index_has_no_referrers(body: bytes) -> None:
    assert json.loads(referrers(body, "").body) == EMPTY


def test_nothing_refers_to_most_things() -> None:
    assert no_referrers("") == Page(IMAGE_INDEX, json.dumps(EMPTY, separators=(",", ":")).encode())
    assert no_referrers("a/b").headers == ((FILTERS_APPLIED, "artifactType"),)


@given(st.binary() | st.just(b"[" * 100_000))
def test_what_is_no_json_is_invalid(body: bytes) -> None:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        with pytest.raises(Invalid):
            referrers(body, "")
