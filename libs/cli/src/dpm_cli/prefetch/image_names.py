"""Names of images as people write them, lists of them, and the platforms that they are made for."""

import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dpm_core.errors import Invalid

# https://github.com/distribution/reference/blob/main/reference.go
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    r"(?:(?P<host>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::[0-9]+)?)/)??"
    rf"(?P<name>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
_MACHINES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
    "i386": "386",
}
"""What a machine calls itself, and what images call it where that differs."""


@dataclass(frozen=True)
class ImageName:
    """``host`` is empty for docker's own registry; ``reference`` a digest, or a tag."""

    host: str
    name: str
    reference: str
    said: str

    def __str__(self) -> str:
        return self.said


def image_name(text: str) -> ImageName:
    """A name by docker's rules: its first part is a host if it has a dot or a colon, or is ``localhost``.

    Raises Invalid.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise Invalid(f"{text!r} is no name of an image: [host/]name[:tag][@sha256:…]")
    host, name = found["host"] or "", found["name"]
    first, _, rest = name.partition("/")
    if not host and rest and ("." in first or first == "localhost"):
        host, name = first, rest
    elif host and not (set(".:") & set(host) or host == "localhost"):
        raise Invalid(f"{text!r} is no name of an image: they are in lower case")
    return ImageName(host, name, found["digest"] or found["tag"] or "latest", text)


def image_names(lines: Iterable[str]) -> Iterator[ImageName]:
    """The names in a list, one a line; ``#`` begins a comment. Raises Invalid."""
    for line in lines:
        if bare := line.partition("#")[0].strip():
            yield image_name(bare)


@dataclass(frozen=True)
class Platform:
    """What an image runs on. Without a ``variant`` any will do."""

    system: str
    architecture: str
    variant: str = ""

    @classmethod
    def this(cls) -> "Platform":
        """That of containers on this machine, which are of Linux wherever they run."""
        machine = platform.machine().lower()
        return cls.parse(f"linux/{_MACHINES.get(machine, machine)}")

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """``linux/arm64/v8``. Raises Invalid."""
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise Invalid(f"--platform: {text!r} is not of the form linux/amd64 or linux/arm/v7")
        return cls(*parts)

    def takes(self, told: Mapping[str, Any]) -> bool:
        """Whether an image that an index tells to be for this runs here."""
        if (told.get("os"), told.get("architecture")) != (self.system, self.architecture):
            return False
        return not self.variant or told.get("variant", self.variant) == self.variant

    def __str__(self) -> str:
        return "/".join(part for part in (self.system, self.architecture, self.variant) if part)


def choose(listed: Iterable[Mapping[str, Any]], wanted: Platform | None) -> list[Mapping[str, Any]]:
    """Which of the manifests of an index are for a platform: the first that is, of all of them all.

    Raises Invalid, saying for what there are some.
    """
    manifests = list(listed)
    if wanted is None:
        return manifests
    told = [(each, each.get("platform") or {}) for each in manifests]
    for each, of in told:
        if wanted.takes(of):
            return [each]
    known = [
        "/".join(str(of[key]) for key in ("os", "architecture", "variant") if of.get(key))
        for _, of in told
        if of.get("os") != "unknown"  # signatures and the like
    ]
    raise Invalid(f"it has no image for {wanted}, but for {', '.join(each for each in known if each) or 'none'}")
