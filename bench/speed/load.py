"""Many small requests, by wrk: written in C, it needs less for a request than any of the servers."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SECONDS = (2, 20)
"""How long is asked; the longer time is for who answers nothing in the shorter one."""

FIELDS = {
    "Accept": "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
    "Accept-Encoding": "gzip",
}
"""What uv says when it asks for an index page."""

_SCRIPT = """
local asked = {{{requests}}}
local turn = 0
request = function()
  turn = turn % #asked + 1
  return asked[turn]
end
done = function(summary)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""
_RESULT = re.compile(r"RESULT (\d+) (\d+) (\d+)")


@dataclass
class Generator:
    """wrk at ``program``, with room in ``folder`` for its script; ``asked`` counts what was answered."""

    program: Path
    folder: Path
    asked: int = 0

    def rate(self, urls: Sequence[str], *, connections: int) -> float:
        """Requests a second for ``urls`` of one server, in turns. Raises RuntimeError if not all were answered."""
        parts = urlsplit(urls[0])
        fields = "".join(f"{name}: {value}\\r\\n" for name, value in {"Host": parts.netloc, **FIELDS}.items())
        asked = ",\n".join(f'"GET {urlsplit(url).path} HTTP/1.1\\r\\n{fields}\\r\\n"' for url in urls)
        script = self.folder / "asked.lua"
        script.write_text(_SCRIPT.format(requests=asked))
        for seconds in SECONDS:
            requests, microseconds, errors = self._run(
                f"{parts.scheme}://{parts.netloc}", script, connections, seconds
            )
            if errors:
                raise RuntimeError(f"{urls[0]}: {errors} of {requests} requests failed")
            self.asked += requests
            if requests:
                return requests / microseconds * 1e6
        raise RuntimeError(f"{urls[0]}: no answer")

    def _run(self, server: str, script: Path, connections: int, seconds: int) -> tuple[int, int, int]:
        told = subprocess.run(
            [
                str(self.program), "--threads", "1", "--connections", str(connections),
                "--duration", f"{seconds}s", "--timeout", "20s", "--script", str(script), server,
            ],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        found = _RESULT.search(told)
        if found is None:
            raise RuntimeError(f"wrk says nothing of {server}: {told}")
        requests, microseconds, errors = (int(each) for each in found.groups())
        return requests, microseconds, errors
