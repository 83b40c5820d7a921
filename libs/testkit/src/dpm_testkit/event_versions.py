"""A log in which two versions of an event stand side by side, as after an upgrade."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from dpm_core import registry
from dpm_core.events import ArtifactStored

NAME = "artifact-stored"


@contextmanager
def second_version() -> Iterator[None]:
    """Meanwhile ArtifactStored is in its second version; in the first ``media_type`` is called ``type``."""

    def upcast(first: registry.Plain) -> registry.Plain:
        return {**first, "media_type": first["type"]}

    (present,) = (each for each in registry.event_types() if each.cls is ArtifactStored)
    second = replace(present, version=2, upcasters={1: upcast})
    with (
        mock.patch.dict(registry._by_class, {ArtifactStored: second}),
        mock.patch.dict(registry._by_name, {NAME: second}),
    ):
        yield


def as_first_version(headers: Mapping[str, str], body: bytes) -> tuple[Mapping[str, str], bytes]:
    """An event as a process of before the upgrade sends it."""
    if headers.get(registry.TYPE_HEADER) != NAME:
        return headers, body
    plain = json.loads(body)
    plain["type"] = plain.pop("media_type")
    return {**headers, registry.VERSION_HEADER: "1"}, json.dumps(plain).encode()
