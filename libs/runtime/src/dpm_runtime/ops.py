"""How a service answers for itself: ``/healthz``, ``/readyz`` and ``/metrics`` on its unix socket."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from dpm_runtime.host_names import HostNames, only_by
from dpm_runtime.serving import serving, serving_on_socket, tcp_listeners
from dpm_runtime.settings import Settings
from dpm_runtime.telemetry import METRICS_TYPE

_NOTHING_SAID = {"start": "the service has not said yet what it needs"}


class Readiness:
    """Named conditions that a service needs to do its work, each ready or waiting for a reason.

    A service that has named none is not ready: it has not got so far. Name all of them, as waiting, before
    the first is met.
    """

    def __init__(self) -> None:
        self._conditions: dict[str, str | None] = {}

    def waiting(self, condition: str, reason: str) -> None:
        """``condition`` is not met, because of ``reason``: a short sentence for people, with no credentials."""
        self._conditions[condition] = reason

    def ready(self, condition: str) -> None:
        """``condition`` is met."""
        self._conditions[condition] = None

    @property
    def waits_for(self) -> Mapping[str, str]:
        """The conditions that are not met, with their reasons; empty when the service is ready."""
        if not self._conditions:
            return _NOTHING_SAID
        return {name: reason for name, reason in self._conditions.items() if reason is not None}


Beside: TypeAlias = Callable[[], Awaitable[bytes]]
"""Metrics of what a service runs that is not itself, in the same format, under other names."""


async def nothing() -> bytes:
    """A :obj:`Beside` of a service that runs nothing else."""
    return b""


def ops_app(
    readiness: Readiness,
    metrics: Callable[[], bytes],
    routes: Sequence[BaseRoute] = (),
    beside: Beside = nothing,
) -> Starlette:
    """The application of a service: its health, its metrics with those ``beside``, and ``routes`` of its own."""

    async def waits_for() -> Mapping[str, str]:
        return readiness.waits_for

    async def metrics_page(_: Request) -> Response:
        return Response(metrics() + await beside(), media_type=METRICS_TYPE)

    return Starlette(routes=[*health_routes(waits_for), Route("/metrics", metrics_page), *routes])


def health_routes(waits_for: Callable[[], Awaitable[Mapping[str, str]]]) -> Sequence[BaseRoute]:
    """``/healthz`` (200, ``ok``), and ``/readyz`` (200, or 503 with what it waits for)."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        missing = dict(await waits_for())
        return JSONResponse({"ready": not missing, "waits_for": missing}, status_code=503 if missing else 200)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


def serve_ops(
    socket: Path,
    readiness: Readiness,
    metrics: Callable[[], bytes],
    routes: Sequence[BaseRoute] = (),
    beside: Beside = nothing,
) -> AbstractAsyncContextManager[None]:
    """Answer on ``socket`` (0600, replacing a stale one) while the context lasts. Raises Invalid as it enters
    if the path is too long for a socket.
    """
    return serving_on_socket(ops_app(readiness, metrics, routes, beside), socket)


def serve_ops_on_port(
    settings: Settings, readiness: Readiness, metrics: Callable[[], bytes], beside: Beside = nothing
) -> AbstractAsyncContextManager[None]:
    """Answer on ``ops_port`` too while the context lasts, without routes of the service's own; nowhere if it is 0.

    Raises Unavailable if the port cannot be listened on.
    """
    app = ops_app(readiness, metrics, beside=beside)
    return serving_inside(app, settings) if settings.ops_port else nullcontext()


def serving_inside(app: ASGIApp, settings: Settings) -> AbstractAsyncContextManager[None]:
    """Serve ``app`` on ``ops_port`` of the addresses of ``listen`` while the context lasts. Raises Unavailable.

    It may be called by any address, and by any name that no stranger can have.
    """
    names = HostNames({*settings.allow_hosts, *settings.listen}, inside=True)
    return serving(only_by(names, app), tcp_listeners("ops_port", settings.listen, settings.ops_port))
