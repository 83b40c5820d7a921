"""What an operator asks of a network through the service's socket, which only the node's user can open."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dpm_core.errors import Invalid, Unavailable
from dpm_core.registry import from_json, to_json
from dpm_core.sharing import Rule
from dpm_peer.finding import Sharers
from dpm_peer.keeping import Keeping
from dpm_peer.room import NotAllowed
from dpm_peer.roster import Roster

NETWORK_PATH = "/networks/{name}"
KICK_PATH = f"{NETWORK_PATH}/kick"
RULE_PATH = f"{NETWORK_PATH}/rule"


class Kept(Sharers, Protocol):
    """A network that runs, for its operator."""

    keeping: Keeping
    roster: Roster


class Running(Protocol):
    """The networks of the node."""

    def living(self) -> Iterable[Any]:
        """Those that run."""

    def health(self) -> Mapping[str, Mapping[str, Any]]:
        """How each does."""


@dataclass(frozen=True)
class Kick:
    """Remove ``who``: its Matrix id, the first part of that, or its peer's id. The member is told ``why``."""

    who: str
    why: str = ""


@dataclass(frozen=True)
class NewRule:
    """Share by this from now on."""

    rule: Rule


class Orders:
    """Answers, out of what :meth:`open` was given. What it refuses is ``{"error": …}``: 400 for what cannot be
    meant, 403 for what only the network's keeper may do, 404 where there is no such network, 409 where it does not
    run, 503 where it cannot be done now.
    """

    def __init__(self) -> None:
        self._networks: Running | None = None

    def open(self, networks: Running) -> None:
        """From now on answer."""
        self._networks = networks

    @property
    def routes(self) -> list[BaseRoute]:
        """What the service's socket answers."""
        return [
            Route(NETWORK_PATH, self._answers(self._described), methods=["GET"]),
            Route(KICK_PATH, self._answers(self._kick), methods=["POST"]),
            Route(RULE_PATH, self._answers(self._set_rule), methods=["POST"]),
        ]

    async def _described(self, network: Kept, request: Request) -> object:
        return await network.roster.described()

    async def _kick(self, network: Kept, request: Request) -> object:
        asked = from_json(await request.body(), Kick)
        return await network.keeping.kick(asked.who, asked.why)

    async def _set_rule(self, network: Kept, request: Request) -> object:
        asked = from_json(await request.body(), NewRule)
        await network.keeping.set_rule(asked.rule)
        return asked

    def _answers(
        self, order: Callable[[Kept, Request], Awaitable[object]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            name = request.path_params["name"]
            networks = self._networks
            health = None if networks is None else networks.health().get(name)
            if networks is None or health is None:
                return _refusal(404, f"the node is in no network {name}")
            network = next((each for each in networks.living() if each.name == name), None)
            if network is None:
                return _refusal(409, f"{name} does not run: {health['detail'] or health['life']}", **health)
            try:
                return Response(to_json(await order(network, request)), media_type="application/json")
            except Invalid as error:
                return _refusal(400, str(error))
            except NotAllowed as error:
                return _refusal(403, str(error))
            except Unavailable as error:
                return _refusal(503, str(error), advice=error.advice)

        return answer


def _refusal(status: int, error: str, **more: Any) -> Response:
    return JSONResponse({"error": error, **more}, status)
