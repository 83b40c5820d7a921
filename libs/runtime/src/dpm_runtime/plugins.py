"""What a distribution tells of its ecosystem: one object, an entry point of the group ``dpm.ecosystems``.

It may be a module. It is loaded by commands that people wait for, so it imports what is large when that is needed.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol

from dpm_core.ecosystem import Ecosystem
from dpm_runtime.settings import Settings

GROUP = "dpm.ecosystems"


class Checked(Protocol):
    """What ``dpm doctor`` asks of an ecosystem on this machine."""

    EXPECTED: frozenset[int]
    """Statuses of HTTP that are as good as a success, as answers to the probe."""

    def upstream(self, settings: Settings, environ: Mapping[str, str]) -> str:
        """The URL that the gateway fetches from by default. Raises Invalid."""

    def upstreams(self, settings: Settings, environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """All that the gateway fetches from: each in a word, and its URL. Raises Invalid."""

    def probe(self, upstream: str) -> str:
        """The URL of one small thing there that anybody may ask for."""

    def pointed(self, environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Where clients of this machine are told which URL to fetch from, and that URL. Raises Invalid."""


class Plugin(Checked, Protocol):
    """All that an ecosystem tells."""

    def ecosystem(self, settings: Settings) -> Ecosystem:
        """The ecosystem as a gateway with these settings serves it. Raises Invalid."""

    def paths(self, settings: Settings, what: str) -> Iterable[str]:
        """The paths on a node of ``what``: a URL of upstream, or a name. Raises Invalid."""

    def addresses(self, settings: Settings, url: str) -> Iterable[tuple[str, str]]:
        """What clients are given of a gateway at ``url``: each in a word or two, and its URL.

        The first one is called as the ecosystem is.
        """

    def welcome(self, addresses: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """What ``dpm up`` says to who begins: lines, and what stands before each. ``addresses`` are as above."""


def installed(name: str | None = None) -> Mapping[str, Plugin]:
    """The ecosystems whose gateways are installed here, by name; or the one of this ``name`` alone."""
    found = entry_points(group=GROUP)
    return {each.name: each.load() for each in found if name in (None, each.name)}


def served_by(module: str) -> tuple[Callable[[Settings], Ecosystem], Callable[[Settings, str], Iterable[str]]]:
    """A plugin's ``ecosystem`` and ``paths``, which ``module`` has under these names.

    It is imported when one of them is called: most commands need neither.
    """

    def ecosystem(settings: Settings) -> Ecosystem:
        made: Ecosystem = import_module(module).ecosystem(settings)
        return made

    def paths(settings: Settings, what: str) -> Iterable[str]:
        found: Iterable[str] = import_module(module).paths(settings, what)
        return found

    return ecosystem, paths
