"""What clients are told of an upstream's answers."""

import pytest

from dpm_core.attempts import Failure
from dpm_core.events import FailReason
from dpm_gateway.refusals import refusal_of, refusal_of_status


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (404, FailReason.NOT_FOUND, 404),
        (410, FailReason.NOT_FOUND, 404),
        (401, FailReason.REFUSED, 403),
        (403, FailReason.REFUSED, 403),
        (451, FailReason.REFUSED, 451),
        (429, FailReason.UNAVAILABLE, 429),
        (500, FailReason.UNAVAILABLE, 503),
    ],
)
def test_what_upstream_answers_is_told_alike_by_get_and_head(status: int, reason: FailReason, told: int) -> None:
    assert refusal_of(Failure(reason, "no", status)).status == told
    by_head = refusal_of_status(status, "leaf")
    assert by_head is not None
    assert by_head.status == told
