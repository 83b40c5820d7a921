"""What a node would share by a rule, of what it holds: counted, with examples. Nothing is changed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from dpm_core.cids import Cid
from dpm_core.ports import Entry
from dpm_core.sharing import NotShared, Rule, Share, decide_sharing


@dataclass(frozen=True)
class Example:
    """An artifact, and what becomes of it: shared as its bytes (``file``), as a page, as both, or not.

    ``why`` is that of :class:`dpm_core.sharing.WhyNot`, empty for what is shared.
    """

    ecosystem: str
    upstream: str
    name: str
    size: int
    file: bool
    page: bool
    why: str


@dataclass
class Part:
    """What is held of one upstream: what of it is shared, ``size`` bytes of blobs, and what is not, by why.

    A blob that several artifacts have counts once, in the first part that has it.
    """

    ecosystem: str
    upstream: str
    files: int = 0
    pages: int = 0
    size: int = 0
    not_shared: Counter[str] = field(default_factory=Counter)


@dataclass
class Survey:
    """Of all that a node holds, in the order of ecosystem and upstream; ``size`` counts each blob once."""

    files: int = 0
    pages: int = 0
    size: int = 0
    not_shared: int = 0
    parts: list[Part] = field(default_factory=list)
    shared: list[Example] = field(default_factory=list)
    kept: list[Example] = field(default_factory=list)


def survey(rule: Rule, entries: Iterable[Entry], limit: int) -> Survey:
    """What the rule shares of ``entries``, with at most ``limit`` examples of what is and what is not."""
    found = Survey()
    parts: dict[tuple[str, str], Part] = {}
    counted: set[Cid] = set()
    for entry in entries:
        where = (entry.ref.ecosystem, entry.ref.upstream)
        part = parts.setdefault(where, Part(*where))
        verdict = decide_sharing(rule, entry)
        examples = found.shared if isinstance(verdict, Share) else found.kept
        if len(examples) < limit:
            examples.append(_example(entry, verdict))
        if isinstance(verdict, NotShared):
            part.not_shared[verdict.why.value] += 1
            found.not_shared += 1
            continue
        for each in (part, found):
            each.files += verdict.file
            each.pages += verdict.page
        if entry.blob.cid not in counted:
            counted.add(entry.blob.cid)
            part.size += entry.blob.size
            found.size += entry.blob.size
    found.parts = [parts[where] for where in sorted(parts)]
    return found


def _example(entry: Entry, verdict: Share | NotShared) -> Example:
    ref, size = entry.ref, entry.blob.size
    if isinstance(verdict, NotShared):
        return Example(ref.ecosystem, ref.upstream, entry.name, size, False, False, verdict.why.value)
    return Example(ref.ecosystem, ref.upstream, entry.name, size, verdict.file, verdict.page, "")
