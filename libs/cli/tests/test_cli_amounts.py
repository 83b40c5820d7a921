import pytest

from dpm_cli.amounts import bytes_of
from dpm_core.errors import Invalid


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("500", 500), ("1.5KiB", 1536), ("20 GB", 20 * 10**9), ("2tib", 2 * 1024**4), ("7b", 7)],
)
def test_bytes_are_written_as_people_write_them(text: str, count: int) -> None:
    assert bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1 parsec", "1e3", "0x10", "1..5"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="no amount of bytes"):
        bytes_of(text)
