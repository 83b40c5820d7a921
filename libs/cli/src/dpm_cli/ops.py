"""Health and metrics of a whole node on one port, for those who cannot ask a unix socket, such as Prometheus.

``/targets`` lists the node's processes as Prometheus wants it
(https://prometheus.io/docs/prometheus/latest/http_sd/), ``/metrics/<service>-<n>`` is what that process says, and
``/healthz`` and ``/readyz`` are for the node as a whole.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dpm_cli.services import service_of
from dpm_core.errors import Unavailable
from dpm_runtime import unix_http
from dpm_runtime.cards import read_cards
from dpm_runtime.home import Home
from dpm_runtime.ops import health_routes, serving_inside
from dpm_runtime.settings import Settings
from dpm_runtime.telemetry import METRICS_TYPE

ANSWER_SECONDS = 5.0
"""A process that does not give its metrics within them is down, as Prometheus sees it."""


def processes(home: Home, expected: Iterable[str]) -> list[str]:
    """What is to be asked, as ``<service>-<n>``: all that run, and those that should.

    ``expected`` are names of processes as :func:`dpm_cli.services.processes_of` gives them. Which number a process
    gets is its own affair; numbers begin with 0 and leave no gaps.
    """
    should = Counter(service_of(name) for name in expected)
    named = {f"{service}-{number}" for service, count in should.items() for number in range(count)}
    return sorted(named | {f"{card.service}-{card.number}" for card in read_cards(home)})


def targets(address: str, names: Iterable[str]) -> list[dict[str, object]]:
    """The processes ``names`` for Prometheus' HTTP discovery; ``address`` is by what it reaches the port."""
    return [
        {
            "targets": [address],
            "labels": {"__metrics_path__": f"/metrics/{name}", "service": service_of(name), "process": name},
        }
        for name in names
    ]


def serve_node_ops(
    settings: Settings,
    expected: Callable[[], Iterable[str]],
    waits_for: Callable[[], Awaitable[Mapping[str, str]]],
) -> AbstractAsyncContextManager[None]:
    """Answer on ``ops_port`` while the context lasts. Raises Unavailable if it cannot be listened on."""
    app = node_ops_app(settings.folders, expected, waits_for)
    return serving_inside(app, settings)


def node_ops_app(
    home: Home, expected: Callable[[], Iterable[str]], waits_for: Callable[[], Awaitable[Mapping[str, str]]]
) -> Starlette:
    """The application; ``expected`` as for :func:`processes`, ``waits_for`` as of a Readiness, by process."""

    async def list_targets(request: Request) -> Response:
        return JSONResponse(targets(request.url.netloc, processes(home, expected())))

    async def metrics(request: Request) -> Response:
        name = request.path_params["process"]
        if name not in processes(home, expected()):
            return PlainTextResponse(f"there is no {name} on this node\n", status_code=404)
        service, _, number = name.rpartition("-")
        try:
            status, page = await unix_http.request(
                home.socket(service, int(number)), "/metrics", seconds=ANSWER_SECONDS
            )
        except Unavailable as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        return Response(page, status_code=status, media_type=METRICS_TYPE)

    return Starlette(
        routes=[
            *health_routes(waits_for),
            Route("/targets", list_targets),
            Route("/metrics/{process}", metrics),
        ]
    )
