"""What a network shares: a rule over ecosystem, upstream and name, and what no rule can change."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from dpm_core.artifacts import authority, peers_checked_at
from dpm_core.errors import Invalid
from dpm_core.events import ArtifactStored
from dpm_core.globs import glob
from dpm_core.host_patterns import matches
from dpm_core.inventory import SharedFile, SharedPage
from dpm_core.ports import Entry

CLAUSES_LIMIT = 256
PATTERN_LIMIT = 256
"""Characters of a pattern."""

Subject: TypeAlias = ArtifactStored | Entry
"""What may be shared: as it was stored, or as it is held."""


@dataclass(frozen=True)
class Clause:
    """Some artifacts: of all to which the three patterns apply, in which ``*`` and ``?`` stand for anything.

    ``ecosystem`` is its name. ``upstream`` is a host, with its port unless that is the usual one, or, with ``://``
    in it, the whole URL. ``name`` is the readable name or the path at upstream, in upper and lower case as it is.
    """

    ecosystem: str = "*"
    upstream: str = "*"
    name: str = "*"

    def __post_init__(self) -> None:
        for pattern in (self.ecosystem, self.upstream, self.name):
            if not 0 < len(pattern) <= PATTERN_LIMIT:
                raise Invalid(f"a pattern has from 1 to {PATTERN_LIMIT} characters, not {len(pattern)}")

    def names(self, subject: Subject) -> bool:
        """Whether it applies."""
        ref = subject.ref
        return (
            glob(self.ecosystem).fullmatch(ref.ecosystem) is not None
            and self._is_from(ref.upstream)
            and any(glob(self.name).fullmatch(text) for text in (subject.name, ref.key))
        )

    def _is_from(self, upstream: str) -> bool:
        if self.upstream == "*":
            return True
        if "://" in self.upstream:
            return glob(self.upstream).fullmatch(upstream) is not None
        return matches(authority(upstream), [self.upstream])


EVERYTHING = Clause()


@dataclass(frozen=True)
class Rule:
    """What a network shares: what a clause of ``shares`` names and none of ``excepts``.

    ``pages``: also what has no digest that vouches for it, and changes: indexes, tags. Peers are asked for these
    only while upstream is away. The default is everything but these.
    """

    shares: tuple[Clause, ...] = (EVERYTHING,)
    excepts: tuple[Clause, ...] = ()
    pages: bool = False

    def __post_init__(self) -> None:
        if len(self.shares) + len(self.excepts) > CLAUSES_LIMIT:
            raise Invalid(f"a rule has at most {CLAUSES_LIMIT} clauses")


class WhyNot(StrEnum):
    """Why something is not shared."""

    PRIVATE = "private"
    """Its upstream gives it to those alone who show credentials: no rule shares it."""
    UNVOUCHED = "unvouched"
    """No digest decides if its bytes are right: no rule shares it."""
    UNNAMED = "unnamed"
    """No clause of the rule names it."""
    EXCEPTED = "excepted"
    """A clause of the rule excepts it."""
    PAGE = "page"
    """It changes, and the rule shares no pages."""


@dataclass(frozen=True)
class Share:
    """It is shared: its bytes by their digest if ``file``, as what upstream last answered if ``page``."""

    file: bool
    page: bool


@dataclass(frozen=True)
class NotShared:
    """It is not shared, and why; ``clause`` is the one that excepts it."""

    why: WhyNot
    clause: Clause | None = field(default=None)


def decide_sharing(rule: Rule, subject: Subject) -> Share | NotShared:
    """Whether a network with this rule shares an artifact, and as what.

    A page that a peer gave is not told of again: who shares a page has it of upstream.
    """
    if subject.private:
        return NotShared(WhyNot.PRIVATE)
    page = subject.fresh_for is not None and peers_checked_at(subject.fields) is None
    if not subject.vouched and not page:
        return NotShared(WhyNot.UNVOUCHED)
    if not any(clause.names(subject) for clause in rule.shares):
        return NotShared(WhyNot.UNNAMED)
    if excepting := next((clause for clause in rule.excepts if clause.names(subject)), None):
        return NotShared(WhyNot.EXCEPTED, excepting)
    if not subject.vouched and not rule.pages:
        return NotShared(WhyNot.PAGE)
    return Share(file=subject.vouched, page=page and rule.pages)


def shared_file(subject: Subject) -> SharedFile:
    """The line of an inventory for its bytes. Raises Invalid if they cannot stand in one."""
    blob = subject.blob
    file = SharedFile(blob.sha256, blob.size, None if blob.cid.is_raw else blob.cid, subject.media_type)
    if file.cid != blob.cid:
        raise Invalid(f"{blob.cid} is not the CID of {blob.size} bytes with {blob.sha256}")
    return file


def shared_page(subject: Subject, checked_at: float) -> SharedPage:
    """The line of an inventory for a page that upstream confirmed at ``checked_at`` (seconds since the epoch).

    Raises Invalid if it cannot stand in one, so if it is too long.
    """
    return SharedPage(subject.ref, shared_file(subject), int(checked_at), subject.validators, subject.fields)
