"""All that is said of one address of a node: the verdict, and what is known of the bytes behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dpm_cli import show
from dpm_cli.events_view import line, plain
from dpm_cli.explain.verdict import Answer, Sight, Verdict, Why, judge, moment, pinned
from dpm_core.decisions import Recorded
from dpm_core.events import ArtifactStored, Source


@dataclass(frozen=True)
class Kept:
    """What is held of an artifact: its bytes, and how they came.

    ``file`` is where they lie, empty if they are gone. Times in seconds since the epoch; ``fresh_until`` None: for
    ever. ``used_at`` is when they were last served or stored.
    """

    cid: str
    size: int
    sha256: str
    file: str
    origin: str
    verified: str
    stored_at: float
    checked_at: float
    fresh_until: float | None
    used_at: float


@dataclass(frozen=True)
class Explanation:
    """What a node does about ``path``, an address on it, and why.

    ``url`` is where it is fetched from, ``digests`` what its page vouches for, ``private`` whether clients must
    show that they may have it. ``events`` are None if the log could not be read: ``trouble`` says why.
    """

    path: str
    verdict: Verdict
    name: str = ""
    artifact: str = ""
    url: str = ""
    private: bool = False
    digests: tuple[str, ...] = ()
    pinned: bool = False
    kept: Kept | None = None
    events: tuple[Recorded, ...] | None = ()
    trouble: str = ""

    def plain(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        kept = self.kept
        return {
            "path": self.path,
            "answer": str(self.verdict.answer),
            "why": str(self.verdict.why),
            "text": self.verdict.text,
            "until": self.verdict.until,
            "name": self.name,
            "artifact": self.artifact,
            "url": self.url,
            "private": self.private,
            "digests": list(self.digests),
            "pinned": self.pinned,
            "held": None if kept is None else vars(kept),
            "events": None if self.events is None else [plain(each) for each in self.events],
            "trouble": self.trouble,
        }


def refused(path: str, why: str) -> Explanation:
    """What is said of an address at which the node serves nothing."""
    return Explanation(path, Verdict(Answer.REFUSED, Why.NOT_SERVED, why))


def made(path: str) -> Explanation:
    """What is said of an address at which the answer is made from the request alone."""
    return Explanation(path, Verdict(Answer.HIT, Why.MADE, "it is made here: nothing is held or fetched for it"))


def explain(
    path: str,
    sight: Sight,
    events: Sequence[Recorded] | None,
    now: float,
    *,
    used_at: float = 0.0,
    file: str = "",
    source: Source | None = None,
    trouble: str = "",
) -> Explanation:
    """Tell of the artifact at ``path``; ``events`` and ``now`` as for :func:`dpm_cli.explain.verdict.judge`.

    ``file`` and ``used_at`` as Kept has them; ``source`` is who gave the bytes, where no event says it.
    """
    want = sight.want
    return Explanation(
        path,
        judge(sight, events, now),
        want.name,
        want.ref.id,
        want.url,
        want.private,
        tuple(want.digests),
        pinned(sight, events),
        _kept(sight, events, used_at, file, source),
        None if events is None else tuple(events),
        trouble,
    )


def _kept(
    sight: Sight, events: Sequence[Recorded] | None, used_at: float, file: str, source: Source | None
) -> Kept | None:
    entry = sight.entry
    if entry is None:
        return None
    for each in events or ():
        if isinstance(each.event, ArtifactStored) and each.sequence == entry.token:
            source = each.event.source
    return Kept(
        entry.blob.cid,
        entry.blob.size,
        entry.blob.sha256.hex,
        file if entry.blob.cid in sight.present else "",
        "" if source is None else f"{source.kind} {source.name}",
        _verified(sight, vouched=entry.vouched),
        entry.stored_at,
        entry.checked_at,
        None if entry.fresh_for is None else entry.checked_at + entry.fresh_for,
        max(used_at, entry.stored_at),
    )


def _verified(sight: Sight, *, vouched: bool) -> str:
    want = sight.want
    if want.mutable:
        return (
            "TLS alone: no page has a digest" if want.url.startswith("https:") else "nothing: it came without TLS"
        )
    if not vouched:
        return "its length alone: no page gave a digest"
    page = next((page.url for page in sight.pages if page.names), None)
    names = " and ".join(digest.algorithm for digest in want.digests)
    return f"{names} of {page}" if page and names else "a digest that its page gave"


def lines(told: Explanation, most: int) -> list[tuple[str, str]]:
    """The explanation for people, with the last ``most`` events: each line with its style, empty for none."""
    verdict, kept = told.verdict, told.kept
    style = {Answer.HIT: "bold green", Answer.REFUSED: "bold red"}.get(verdict.answer, "bold yellow")
    until = "" if verdict.until is None else f", until {moment(verdict.until)}"
    shown = [(told.path, "bold"), (f"{verdict.answer}: {verdict.text}{until}", style)]
    facts = {"name": told.name, "upstream": told.url}
    if told.private:
        facts["private"] = "its clients must show a token of this node, or credentials that upstream takes"
    if told.digests:
        facts["must be"] = " ".join(told.digests)
    if kept is not None:
        facts |= {
            "from": ", ".join(part for part in (kept.origin, moment(kept.stored_at)) if part),
            "verified by": kept.verified,
            "checked": moment(kept.checked_at),
            "fresh until": "for ever" if kept.fresh_until is None else moment(kept.fresh_until),
            "last use": moment(kept.used_at),
            "size": f"{kept.size} ({show.amount(kept.size)})",
            "CID": kept.cid,
            "file": kept.file or "gone",
        }
    if told.artifact:
        facts |= {"pinned": "yes" if told.pinned else "no", "artifact": told.artifact}
    shown += [(text, "") for text in show.pairs({name: fact for name, fact in facts.items() if fact}, "  ")]
    return shown + _event_lines(told, most)


def _event_lines(told: Explanation, most: int) -> list[tuple[str, str]]:
    if told.events is None:
        return [(f"its events cannot be read: {told.trouble}", "yellow")]
    last = told.events[-most:] if most else ()
    left_out = len(told.events) - len(last)
    shown = [(f"{left_out} earlier events", "dim")] if left_out else []
    for each in last:
        of = line(each)
        shown.append((f"  {each.sequence:>8}  {moment(each.time).split()[0]}  {of}", "red" if of.bad else ""))
    return shown
