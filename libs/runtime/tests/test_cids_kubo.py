import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpm_core.cids import CHUNK, cid_of
from dpm_testkit.ipfs import cids_of

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

EDGES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 1024 * CHUNK, 1025 * CHUNK)


def parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            yield part


def test_cids_equal_those_of_kubo(tmp_path: Path) -> None:
    chance = random.Random(20_261_121)
    files = []
    for number, size in enumerate((*EDGES, *(chance.randrange(4 * CHUNK) for _ in range(100)))):
        file = tmp_path / f"{number}"
        if size > 3 * CHUNK or size in EDGES:  # sparse: their sizes matter, not their bytes
            file.touch()
            with file.open("r+b") as sparse:
                sparse.truncate(size)
        else:
            file.write_bytes(chance.randbytes(size))
        files.append(file)
    ours = [cid_of(parts(file)) for file in files]
    assert ours == cids_of(files)
