import json
from pathlib import Path

from dpm_core.asyncapi import as_text, document
from dpm_core.registry import event_types

KEPT = Path(__file__).parents[3] / "docs" / "reference" / "events.asyncapi.json"


def test_the_document_in_the_docs_is_that_of_the_event_classes() -> None:
    assert KEPT.read_text() == as_text(), f"python -m dpm_core.asyncapi > {KEPT.name} brings it up to date"


def test_every_event_has_a_channel_and_a_schema_that_is_there() -> None:
    found = document()
    assert set(found["channels"]) == {each.name for each in event_types()}
    refs = {ref for ref in json.dumps(found).split('"') if ref.startswith("#/")}
    for ref in refs:
        node = found
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
