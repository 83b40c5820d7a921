"""Of several wants for one request, the one whose answer the client gets."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from dpm_core.artifacts import Want
from dpm_core.ecosystem import Refusal, Request
from dpm_core.errors import Unavailable
from dpm_core.ports import Entry
from dpm_gateway.doorkeeper import Refused
from dpm_gateway.kit import Kit

PASSED_OVER = (401, 403, 404)
"""Upstream has no such thing, or not for this client: the next want may name it otherwise. The gravest first."""

T = TypeVar("T")


async def first(
    kit: Kit,
    request: Request,
    realm: str,
    wants: Sequence[Want],
    have: Callable[[Want], Awaitable[T]],
    find: Callable[[Want], Entry | None],
) -> T:
    """What ``have`` gives for the first of ``wants`` that the client may have, and that is to be had.

    They are tried in their order, but what is held, as ``find`` says, and fresh comes before all others. While
    upstream cannot be asked about one, the others only count if they are held. Those that are private are for a
    client that shows a right to ``realm``. Raises what ``have`` raises, Unavailable too if nobody knows what the
    client may have.
    """
    held = {want: find(want) for want in wants} if len(wants) > 1 else {}
    now = kit.clock.now()
    away: Refused | Unavailable | None = None
    open_: list[Refused] = []
    guarded: list[Refused] = []
    for want in sorted(wants, key=lambda each: (entry := held.get(each)) is None or not entry.fresh(now)):
        if away is not None and held.get(want) is None:
            continue
        try:
            return await have(await _admitted(kit, request, realm, want) if want.private else want)
        except Refused as error:
            if error.refusal.status in PASSED_OVER:
                (guarded if want.private else open_).append(error)
            else:
                away = away or error
        except Unavailable as error:
            away = away or error
    raise away or _told(open_, guarded, anonymous=not kit.ecosystem.shown(request))


async def _admitted(kit: Kit, request: Request, realm: str, want: Want) -> Want:
    visitor = kit.doorkeeper.visitor(request, realm)
    await kit.doorkeeper.let_in(visitor, [want])
    return kit.doorkeeper.lend(visitor, want)


def _told(open_: Sequence[Refused], guarded: Sequence[Refused], *, anonymous: bool) -> Refused:
    """What the client is told: what upstream says to its own credentials, else what it says to everybody.

    Somebody who shows nothing is only asked to where upstream keeps the thing from strangers: that it has no such
    thing is an answer, and clients go on from it.
    """
    if anonymous and all(error.refusal.status == 404 for error in open_):
        guarded = () if open_ else guarded
    asked = sorted(guarded or open_, key=lambda error: PASSED_OVER.index(error.refusal.status))
    return asked[0] if asked else Refused(Refusal(404, "there is no such thing"))
