import pytest

from dpm_gateway.app import has_body


@pytest.mark.parametrize(
    "headers", [{"content-length": "5"}, {"content-length": "5, 5"}, {"transfer-encoding": "chunked"}]
)
def test_a_body_is_announced(headers: dict[str, str]) -> None:
    assert has_body(headers)


@pytest.mark.parametrize("headers", [{}, {"content-length": "0"}, {"content-length": "00"}])
def test_no_body_is_announced(headers: dict[str, str]) -> None:
    assert not has_body(headers)
