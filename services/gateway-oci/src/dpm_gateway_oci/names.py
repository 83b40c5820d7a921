"""What the addresses of the pull side stand for, by the grammar of the distribution specification.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from dpm_core.digests import Digest
from dpm_core.errors import Invalid
from dpm_gateway_oci.problems import Code, Wrong

LONGEST_PATH = 2048
"""The most characters of a request's path: a host, a name of 255 and a digest, and to spare."""

LONGEST_NAME = 255
"""Of a repository's name; many clients limit it so, host included, says the specification."""

ALGORITHMS = frozenset({"sha256", "sha512"})
"""The registered algorithms of the image specification that everybody has."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


class Kind(StrEnum):
    """What can be asked of a repository; the value is how it stands in the path."""

    MANIFEST = "manifests"
    BLOB = "blobs"
    TAGS = "tags"
    REFERRERS = "referrers"

    @property
    def missing(self) -> Code:
        """What is said of one that is not there."""
        match self:
            case Kind.BLOB:
                return Code.BLOB_UNKNOWN
            case Kind.TAGS:
                return Code.NAME_UNKNOWN
        return Code.MANIFEST_UNKNOWN


class Own(StrEnum):
    """What a node answers by itself."""

    BASE = "/v2/"
    BARE_BASE = "/v2"
    TOKEN = "/v2/token"  # noqa: S105


@dataclass(frozen=True)
class Asked:
    """What a path asks for: ``name`` is the repository's as the client has it, perhaps with a registry's host.

    ``digest`` names a manifest, a blob, or what referrers refer to; a manifest without one has a ``tag``.
    """

    kind: Kind
    name: str
    tag: str = ""
    digest: Digest | None = None


Route: TypeAlias = Asked | Own | Wrong


def read_path(path: str) -> Route:
    """What the path of a request, as it stood in its line, is for. Total.

    The name in it is checked no further than that it has parts: what of it is a host is said elsewhere.
    """
    if len(path) > LONGEST_PATH:
        return Wrong(Code.NAME_INVALID, f"the path is longer than {LONGEST_PATH} characters", 414)
    if path in list(Own):
        return Own(path)
    try:
        text = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return Wrong(Code.NAME_INVALID, "the path is no UTF-8 text")
    match text.split("/"):
        case ["", "v2", *name, "manifests", reference] if name:
            return _manifest("/".join(name), reference)
        case ["", "v2", *name, "blobs", "uploads", _] if name:
            return Wrong(Code.UNSUPPORTED, PUSH, 405)
        case ["", "v2", *name, ("blobs" | "referrers") as kind, digest] if name:
            return _by_digest(Kind(kind), "/".join(name), digest)
        case ["", "v2", *name, "tags", "list"] if name:
            return Asked(Kind.TAGS, "/".join(name))
    return Wrong(
        Code.UNSUPPORTED,
        "a registry's API is served here, for pulls: manifests, blobs, tags and referrers below /v2/<name>/",
        404,
    )


PUSH = "this node serves pulls; push to the registry itself"


def _manifest(name: str, reference: str) -> Route:
    if ":" in reference:
        return _by_digest(Kind.MANIFEST, name, reference)
    if _TAG.fullmatch(reference):
        return Asked(Kind.MANIFEST, name, tag=reference)
    return Wrong(Code.MANIFEST_INVALID, "a tag is letters, digits, '_', '.' and '-', 128 at most: this is none")


def _by_digest(kind: Kind, name: str, text: str) -> Route:
    digest = read_digest(text)
    return digest if isinstance(digest, Wrong) else Asked(kind, name, digest=digest)


def read_digest(text: str) -> Digest | Wrong:
    """A digest by the image specification's grammar: in lower case, of an algorithm that is served here.

    https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md#digests
    """
    algorithm = text.partition(":")[0]
    if not _DIGEST.fullmatch(text):
        return Wrong(Code.DIGEST_INVALID, "a digest is <algorithm>:<hexadecimal>: this is none")
    if algorithm not in ALGORITHMS:
        return Wrong(
            Code.DIGEST_INVALID, f"digests here are of {' or '.join(sorted(ALGORITHMS))}, not {algorithm}"
        )
    try:
        digest = Digest(text)
    except Invalid as error:
        return Wrong(Code.DIGEST_INVALID, str(error))
    if digest != text:
        return Wrong(Code.DIGEST_INVALID, "the hexadecimal digits of a digest are in lower case")
    return digest


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of a repository in its registry."""
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether ``text`` can be a tag."""
    return _TAG.fullmatch(text) is not None


def referrers_tag(digest: Digest) -> str:
    """The tag that referrers of ``digest`` are listed under in a registry that has no API for them.

    https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#referrers-tag-schema
    """
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"
