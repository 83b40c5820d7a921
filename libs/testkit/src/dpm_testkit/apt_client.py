"""apt and dpkg of a release of Debian, as on a machine that has just been installed and has no sources yet."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpm_testkit.debian_roots import ENVIRONMENT, in_own_root
from dpm_testkit.programs import output_of

RELEASES = ("bookworm", "trixie")

HASH_SUM_MISMATCH = "Hash Sum mismatch"
"""What apt says of bytes that are not those of the index that it has."""

_FETCHED = re.compile(r"^(Hit|Get|Ign|Err):\d+ (\S+)", re.MULTILINE)


class AptClient:
    """A machine, as far as apt and dpkg go; ``folder`` is for all that it changes. For root.

    One command at a time. Its ``/`` below ``changed`` has what it changed.
    """

    def __init__(
        self, release: str, folder: Path, root: Path | None = None, host: Sequence[str | Path] = ()
    ) -> None:
        """``root``: a whole Debian of that release, in place of the small one of ``make apt``.

        ``host``: how a command that runs on another host begins, if it is to be there.
        """
        self.release = release
        self._folder = folder
        self.changed = folder / "changed"
        self._enter = [*host, *in_own_root(root or release, folder)]
        self.configures(
            "90tests", 'APT::Get::Assume-Yes "true"; Acquire::Retries "0"; Dir::Etc::SourceList "/none";'
        )

    def trusts(self, keyring: Path) -> None:
        """Believe what this key has signed."""
        self._put("etc/apt/trusted.gpg.d/tests.gpg", keyring.read_bytes())

    def sources(self, *lines: str) -> None:
        """Have these lines, in the one-line style of sources.list(5), and no other sources."""
        self._put("etc/apt/sources.list.d/tests.list", "".join(f"{line}\n" for line in lines).encode())

    def configures(self, name: str, text: str) -> None:
        """Have a file of that name in ``apt.conf.d``."""
        self._put(f"etc/apt/apt.conf.d/{name}", text.encode())

    def asks(self, node: str, url: str, *, by_proxy: bool) -> str:
        """Have a node (its URL, with a closing slash) between here and a repository; the repository's URL then."""
        if by_proxy:
            self.configures("10proxy", f'Acquire::http::Proxy "{node}";')
            return url
        return f"{node}{url.removeprefix('http://')}"

    async def says(
        self, *command: str, fails: bool | None = False, environment: Mapping[str, str] = ENVIRONMENT
    ) -> str:
        """Run a program there; what it printed.

        Raises AssertionError if it failed and was not to, or the other way round, unless ``fails`` is None.
        """
        return await output_of(*self._enter, *command, folder=self._folder, environment=environment, fails=fails)

    async def apt_get(self, *arguments: str, fails: bool | None = False) -> str:
        """Run apt-get. Returns and raises as ``says``."""
        return await self.says("apt-get", *arguments, fails=fails)

    async def update(self, *, fails: bool | None = False) -> str:
        """``apt-get update``, which fails if anything of any source could not be had."""
        return await self.apt_get("update", "-o", "APT::Update::Error-Mode=any", fails=fails)

    async def installed(self) -> dict[str, str]:
        """The versions of the packages that are installed."""
        said = await self.says(
            "dpkg-query", "--show", "--showformat", "${db:Status-Abbrev} ${Package} ${Version}\\n"
        )
        words = [line.split() for line in said.splitlines()]
        return {name: version for state, name, version in words if state == "ii"}

    def lists(self) -> dict[str, bytes]:
        """The indexes that it has, by the names that apt gives them."""
        folder = self.changed / "var/lib/apt/lists"
        return {each.name: each.read_bytes() for each in folder.glob("*_*") if each.is_file()}

    def forget(self, *, lists: bool = False) -> None:
        """Have none of the packages that were downloaded, and of the indexes if so wished."""
        for each in ("var/cache/apt", *(["var/lib/apt/lists"] if lists else [])):
            shutil.rmtree(self.changed / each, ignore_errors=True)

    def _put(self, path: str, body: bytes) -> None:
        place = self.changed / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)


def fetched(said: str) -> dict[str, str]:
    """What apt-get said of each line that it fetched: Hit, Get, Ign or Err, by what stands after the number."""
    return {what: verdict for verdict, what in _FETCHED.findall(said)}
