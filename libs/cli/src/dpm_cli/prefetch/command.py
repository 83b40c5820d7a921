"""``dpm prefetch``: the command, its progress and its summary."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson
from dpm_cli.outcome import ExitCode
from dpm_core.errors import Invalid

if TYPE_CHECKING:
    import aiohttp
    from rich.console import Console

    from dpm_cli.prefetch.asking import Progress, Result
    from dpm_cli.prefetch.wanted import Listed
    from dpm_cli.use.edits import Index
    from dpm_cli.use.node import Offer

    Work = Callable[[aiohttp.ClientSession, str, Progress], Awaitable[list[Result]]]

LOCK_FILES = (".txt", ".in", ".toml", ".lock")
"""How files end that are looked for: no name of an image is meant by these."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EXIT_CODES)(prefetch)


def prefetch(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE | IMAGE...",
            help="requirements.txt, pylock.toml, uv.lock, poetry.lock or pdm.lock; or names of images",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="FILE", help="A list of names of images, one a line; `-` is standard input."
        ),
    ] = None,
    debs: Annotated[
        Path | None,
        typer.Option(
            "--apt",
            metavar="FILE",
            help="A list of Debian packages, or what `apt-get --print-uris` says; `-` is standard input.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="FOLDER", help="Look packages up by apt's sources below it; unset: `/`."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST[:PORT]|URL", help="The node; unset: the one of this machine."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="X.Y", help="For this version of Python; unset: that of `dpm`."),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option("--platform", metavar="OS/ARCH", help="Of images, for this platform; unset: this machine's."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All files that it names, for every system and Python; all platforms.")
    ] = False,
    at_once: Annotated[int, typer.Option("--jobs", "-j", min=1, help="So many files at once.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Let a node fetch what a lock file names, images, or Debian packages, before it is needed.

    Of a lock file: pages, metadata and files, without --all what this system would install. Nothing is resolved:
    of a requirement that is no exact version the newest that fits is taken, and dependencies only where the file
    names them. Of images: their manifests, configurations and layers. Of Debian packages: what the list names, and
    the indexes to look it up in; apt itself resolves: `apt-get --print-uris`.
    """
    from dpm_cli.use.node import DEBS, IMAGES, PACKAGES

    if debs is not None and (what or images is not None):
        raise Invalid("--apt is a list of its own: no lock file and no images with it")
    if root is not None and debs is None:
        raise Invalid("--root is for --apt")
    file = None if debs is not None else _file(what or [], images)
    elsewhere: list[str] = []
    if file is None and python is not None:
        raise Invalid("--python is for lock files")
    if platform is not None and (file is not None or debs is not None):
        raise Invalid("--platform is for images")
    if debs is not None:
        if every:
            raise Invalid("--all is for lock files and images")
        work, offer = _of_debs(debs, root or Path("/"), at_once), DEBS
    elif file is not None:
        work, elsewhere = _of_file(file, python, at_once, every=every)
        offer = PACKAGES
    else:
        work, offer = _of_images(what or [], images, platform, at_once, every=every), IMAGES
    index = _index(host, offer)
    begun = time.perf_counter()
    results = asyncio.run(_run(index, work, quiet=as_json))
    summary = _summary(results, elsewhere, time.perf_counter() - begun)
    if as_json:
        show.data({"file": str(file or images or debs or ""), "index": index.url, **summary})
    else:
        _tell(summary)
    if summary["failed"]:
        raise typer.Exit(ExitCode.FAILED)


def _file(what: Sequence[str], images: Path | None) -> Path | None:
    """The lock file that is meant, None if images are. Raises Invalid for neither, for both, for several."""
    if not what and images is None:
        raise Invalid("name a lock file, or images")
    files = [
        each for each in what if each.endswith(LOCK_FILES) or each.startswith((".", "/")) or Path(each).is_file()
    ]
    if not files:
        return None
    if len(what) > 1 or images is not None:
        raise Invalid(f"{files[0]} is a file: one at a time, and no images with it (a list of these: --images)")
    return Path(files[0])


def _of_file(file: Path, python: str | None, at_once: int, *, every: bool) -> "tuple[Work, list[str]]":
    """What is to be done for a lock file, and what it names that comes from elsewhere. Raises Invalid."""
    from dpm_cli.prefetch.fetch import Prefetch
    from dpm_cli.prefetch.reading import read_wishes
    from dpm_cli.prefetch.wanted import Target

    target = Target.every() if every else Target.this(python)
    wishes = read_wishes(file, target)
    return (
        lambda session, url, progress: Prefetch(session, url, at_once).run(wishes.wanted, target, progress),
        wishes.elsewhere,
    )


def _of_images(
    names: Sequence[str], listed: Path | None, platform: str | None, at_once: int, *, every: bool
) -> "Work":
    """What is to be done for images, and for those in a list. Raises Invalid."""
    from dpm_cli.prefetch.image_names import Platform, image_name, image_names
    from dpm_cli.prefetch.images import ImagePrefetch

    if every and platform is not None:
        raise Invalid("--all and --platform exclude each other")
    wanted = None if every else Platform.this() if platform is None else Platform.parse(platform)
    found = [image_name(each) for each in names]
    if listed is not None:
        found += image_names(_text(listed).splitlines())
    return lambda session, url, progress: ImagePrefetch(session, url, at_once).run(found, wanted, progress)


def _of_debs(listed: Path, root: Path, at_once: int) -> "Work":
    """What is to be done for the Debian packages in a list. Raises Invalid."""
    from dpm_cli.prefetch.deb_index import suites, this_architecture
    from dpm_cli.prefetch.deb_names import DebName, deb_list
    from dpm_cli.prefetch.debs import DebPrefetch
    from dpm_runtime.machine.apt import sources

    wanted = list(deb_list(_text(listed).splitlines()))
    found = suites(sources(root=root))
    if not found and any(isinstance(each, DebName) for each in wanted):
        raise Invalid(f"there are no sources of apt below {root} to look names up in")
    architecture = this_architecture()
    return lambda session, url, progress: DebPrefetch(session, url, at_once).run(
        wanted, found, architecture, progress
    )


def _text(listed: Path) -> str:
    """A list that is in a file, or on standard input. Raises Invalid."""
    try:
        return sys.stdin.read() if str(listed) == "-" else listed.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Invalid(f"{listed}: it cannot be read") from None


def _index(host: str | None, offer: "Offer") -> "Index":
    from dpm_cli.use.node import index_at, index_here

    if host is not None:
        return index_at(host, offer=offer)
    from dpm_runtime.settings import load

    return index_here(load(), offer)


async def _run(index: "Index", work: "Work", *, quiet: bool) -> "list[Result]":
    from dpm_cli.prefetch.asking import session
    from dpm_cli.use.node import is_local

    out = show.console()
    # no proxy knows this machine by that name
    async with session(proxies=not is_local(index.url), ca=index.ca) as asking:
        if quiet or not out.is_terminal:
            return await work(asking, index.url, _Lines(None if quiet else out))
        with _bars(out) as bars:
            return await work(asking, index.url, bars)


def _summary(results: "list[Result]", elsewhere: list[str], seconds: float) -> dict[str, Any]:
    from dpm_cli.prefetch.asking import Outcome

    counts = {str(kind): sum(each.outcome is kind for each in results) for kind in Outcome}
    fetched = sum(each.bytes for each in results if each.outcome is Outcome.FETCHED)
    rows = [asdict(each) | {"seconds": round(each.seconds, 3)} for each in results]
    return {
        **counts,
        "fetched_bytes": fetched,
        "seconds": round(seconds, 3),
        "elsewhere": elsewhere,
        "files": rows,
    }


def _tell(summary: dict[str, Any]) -> None:
    out = show.console()
    for each in summary["elsewhere"]:
        out.print(f"not from an index, left out: {each}", style="yellow")
    amount, seconds = show.amount(summary["fetched_bytes"]), summary["seconds"]
    out.print(
        f"{summary['fetched']} fetched ({amount}), {summary['held']} held already, {summary['failed']} failed, "
        f"in {seconds:.1f} s",
        style="bold red" if summary["failed"] else "bold green",
    )


def _line(result: "Result") -> str:
    size = show.amount(result.bytes) if result.bytes else ""
    return "  ".join(part for part in (f"{result.outcome:<7}", result.name, size, result.detail) if part)


class _Lines:
    """A line a file, for a pipe; without a console, nothing."""

    def __init__(self, out: "Console | None") -> None:
        self._out = out

    def expect(self, files: int) -> None:
        """See Progress."""

    def begin(self, file: "Listed") -> Callable[[int], None]:
        """See Progress."""
        return lambda size: None

    def end(self, result: "Result") -> None:
        """See Progress."""
        if self._out is not None:
            self._out.print(_line(result), style="red" if result.detail else None)
            self._out.file.flush()


def _bars(out: "Console") -> Any:
    """A bar for the whole and one for each file that is on its way; what has failed stays as a line above."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Display
    from rich.table import Column

    class Bars(Display):
        def __init__(self) -> None:
            name = Column(max_width=max(20, out.width - 50), no_wrap=True, overflow="ellipsis")
            columns = (
                TextColumn("{task.description}", table_column=name),
                BarColumn(20),
                TextColumn("{task.fields[so_far]}"),
            )
            super().__init__(*columns, console=out, transient=True)
            self._expected = self._ended = self._bytes = 0
            self._whole = self.add_task("all", total=0, so_far="")
            self._of: dict[str, Any] = {}

        def expect(self, files: int) -> None:
            self._expected += files
            self._count()

        def begin(self, file: "Listed") -> Callable[[int], None]:
            task = self._of[file.name] = self.add_task(file.name, total=file.size, so_far="")
            whole = "" if file.size is None else f" of {show.amount(file.size)}"
            so_far = 0

            def advance(size: int) -> None:
                nonlocal so_far
                so_far += size
                self._bytes += size
                self.update(task, advance=size, so_far=f"{show.amount(so_far)}{whole}")
                self._count()

            return advance

        def end(self, result: "Result") -> None:
            self._ended += 1
            if result.name in self._of:
                self.remove_task(self._of.pop(result.name))
            else:  # nothing was found to begin with
                self._expected += 1
            if result.detail:
                self.console.print(_line(result), style="red")
            self._count()

        def _count(self) -> None:
            so_far = f"{self._ended} of {self._expected} files, {show.amount(self._bytes)}"
            self.update(self._whole, total=self._expected, completed=self._ended, so_far=so_far)

    return Bars()


if TYPE_CHECKING:
    _is_progress: type[Progress] = _Lines
