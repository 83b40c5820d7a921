"""Where events stand on the bus: ``dpm.evt.<kind>.<key>.<event>``, and taps: ``dpm.tap.<service>.<what>``.

On ``dpm.new.<kind>.<key>.<event>`` the stream itself tells of each event that it has stored.
"""

import re

from dpm_core.artifacts import Topic
from dpm_core.errors import Invalid

STREAM = "DPM"
"""The one stream of a node."""

EVENTS = "dpm.evt"
HINTS = "dpm.new"
ALL_EVENTS = f"{EVENTS}.>"
ALL_HINTS = f"{HINTS}.>"
REQUESTS = "dpm.evt.*.*.fetch-requested"
REQUESTS_DURABLE = "fetcher"
"""The durable consumer that hands fetch requests to fetchers; made by set-up."""

_WORD = re.compile(r"[A-Za-z0-9_-]+\Z")


def subject(topic: Topic, event_name: str) -> str:
    """The subject of an event about a topic. Raises Invalid if that would not be one."""
    return f"dpm.evt.{_words(topic)}.{event_name}"


def topic_filter(topic: Topic) -> str:
    """The filter that covers every event about a topic, and that conditions look at. Raises Invalid."""
    return f"dpm.evt.{_words(topic)}.>"


def kind_filter(kind: str | None, name: str | None = None, *, below: str = EVENTS) -> str:
    """The filter that covers every event called ``name`` about topics of a kind; None: of all names, all kinds.

    ``below`` is where to look: EVENTS, or HINTS for where the stream tells of what it has stored. Raises Invalid
    for what is no word of a subject.
    """
    for word in (kind, name):
        if word is not None and not _WORD.match(word):
            raise Invalid(f"not a word of a subject: {word!r}")
    if name is not None:
        return f"{below}.{kind or '*'}.*.{name}"
    return f"{below}.>" if kind is None else f"{below}.{kind}.>"


def topic_of(subject: str) -> Topic:
    """The topic of an event's subject. Raises Invalid."""
    parts = subject.split(".")
    if len(parts) != 5 or parts[:2] != ["dpm", "evt"]:
        raise Invalid(f"not the subject of an event: {subject!r}")
    return Topic(parts[2], parts[3])


def _words(topic: Topic) -> str:
    # A star or a dot from outside would reach into the events of others.
    if not (_WORD.match(topic.kind) and _WORD.match(topic.key)):
        raise Invalid(f"not words of a subject: {topic.kind!r}, {topic.key!r}")
    return f"{topic.kind}.{topic.key}"


def tap_subject(name: str) -> str:
    """The subject of a tap: ``gateway.waiting`` is ``dpm.tap.gateway.waiting``."""
    return f"dpm.tap.{name}"
