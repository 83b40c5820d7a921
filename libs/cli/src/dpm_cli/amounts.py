"""Bytes as people write them: ``500``, ``1.5GiB``, ``20 GB``."""

import re

from dpm_core.errors import Invalid

_UNITS = {
    **{"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4},
    **{"KIB": 1024, "MIB": 1024**2, "GIB": 1024**3, "TIB": 1024**4},
}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*\Z")


def bytes_of(text: str) -> int:
    """How many bytes a text means. Raises Invalid."""
    found = _AMOUNT.match(text)
    if found is None or found[2].upper() not in _UNITS:
        raise Invalid(f"{text!r} is no amount of bytes: write 500MB, 20GiB, or a number of bytes")
    return int(float(found[1]) * _UNITS[found[2].upper()])
