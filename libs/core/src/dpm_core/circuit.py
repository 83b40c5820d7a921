"""Whether a host is worth asking now: a circuit for each, which opens when the host is down.

Closed, everybody may ask. After STRIKES failures without a good answer between them it opens: nobody may, so
that what is asked fails at once. Then one at a time may, as a probe, until an answer closes it. Plain data and
plain functions; ``now`` is in seconds of any clock that never goes back.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

STRIKES = 3
"""So many failures open a circuit."""

STRIKE_SECONDS = 60.0
"""A failure that nothing followed for so long is forgotten."""

OPEN_SECONDS = 5.0
"""The first time that nobody may ask; each next is twice as long."""

LONGEST_SECONDS = 60.0
"""The longest time that nobody may ask, whatever the host says."""

PROBE_SECONDS = 30.0
"""A probe that nobody has heard of for so long is lost, and another one may go."""

REMEMBERED_SECONDS = 600.0
"""A host that has not failed for so long, since nobody asked it, is asked as if nothing had been."""

MOST_HOSTS = 1_024
"""So many hosts are remembered; the one that had trouble longest ago is forgotten first."""


@dataclass(frozen=True)
class Circuit:
    """What is remembered of a host since its last good answer.

    ``strikes`` are its failures: the URL of one that may be about the URL alone, None of one that is surely about
    the host. ``openings`` counts how often the circuit has opened, 0 while it is closed. Nobody may ask before
    ``shut_until``; a probe is out until ``probing_until``. ``paused``: it is not down, but asked to be left alone.
    """

    strikes: tuple[str | None, ...] = ()
    struck_at: float = 0.0
    openings: int = 0
    shut_until: float = 0.0
    probing_until: float = 0.0
    paused: bool = False


CLOSED = Circuit()


def asked(circuit: Circuit, now: float) -> tuple[Circuit, float]:
    """The circuit once somebody wants to ask, and the seconds for which nobody may; 0.0: this one may."""
    if not circuit.openings:
        return circuit, 0.0
    if now < (wait_until := max(circuit.shut_until, circuit.probing_until)):
        return circuit, wait_until - now
    return replace(circuit, probing_until=now + PROBE_SECONDS), 0.0


def failed(circuit: Circuit, now: float, url: str | None = None, pause: float | None = None) -> Circuit:
    """The circuit once an attempt to ask came to nothing.

    ``url`` is given where the failure may be about it alone: however often it fails, it is one strike. With
    ``pause`` (seconds) the host itself asked to be left alone for so long.
    """
    if circuit.openings and now < circuit.shut_until:
        return circuit  # begun before it opened: nothing new
    strikes, openings = circuit.strikes, circuit.openings
    if not openings:
        strikes = strikes if now - circuit.struck_at <= STRIKE_SECONDS else ()
        if url is None or url not in strikes:
            strikes = (*strikes, url)
        if pause is None and len(strikes) < STRIKES:
            return Circuit(strikes, struck_at=now)
    seconds = OPEN_SECONDS * 2.0 ** min(openings, 10) if pause is None else pause
    shut_until = now + min(seconds, LONGEST_SECONDS)
    return Circuit(strikes, now, openings + 1, shut_until, paused=pause is not None)


def dropped(circuit: Circuit) -> Circuit:
    """The circuit once somebody who might ask has not, or not heard: if it was a probe, another one may go."""
    return replace(circuit, probing_until=0.0)


class Circuits:
    """The circuits of all hosts; those that answer well take no room."""

    def __init__(self, most: int = MOST_HOSTS) -> None:
        self._most = most
        self._troubled: OrderedDict[str, Circuit] = OrderedDict()

    def ask(self, host: str, now: float) -> float:
        """0.0 if ``host`` may be asked, else the seconds for which nobody may.

        Who may must tell what came of it, with one of the other three.
        """
        self._forget(now)
        circuit = self._troubled.get(host)
        if circuit is None:
            return 0.0
        self._troubled[host], seconds = asked(circuit, now)
        return seconds

    def answered(self, host: str) -> None:
        """It is well."""
        self._troubled.pop(host, None)

    def failed(self, host: str, now: float, url: str | None = None, pause: float | None = None) -> None:
        """It did not answer, or not well; see :func:`failed`."""
        self._troubled[host] = failed(self._troubled.get(host, CLOSED), now, url, pause)
        self._troubled.move_to_end(host)
        if len(self._troubled) > self._most:
            self._troubled.popitem(last=False)

    def dropped(self, host: str) -> None:
        """It was not asked, or nobody waited for what it says."""
        if circuit := self._troubled.get(host):
            self._troubled[host] = dropped(circuit)

    def open(self, now: float) -> Mapping[str, Circuit]:
        """The hosts that are down as far as one knows."""
        self._forget(now)
        return {host: circuit for host, circuit in self._troubled.items() if circuit.openings}

    def is_open(self, host: str) -> bool:
        """Whether this one is."""
        circuit = self._troubled.get(host)
        return circuit is not None and circuit.openings > 0

    def is_paused(self, host: str) -> bool:
        """Whether this one is, since it asked to be left alone."""
        circuit = self._troubled.get(host)
        return circuit is not None and circuit.openings > 0 and circuit.paused

    def _forget(self, now: float) -> None:
        """The hosts are in the order of their last failures."""
        while self._troubled:
            host, circuit = next(iter(self._troubled.items()))
            if now - circuit.struck_at <= REMEMBERED_SECONDS:
                break
            del self._troubled[host]
