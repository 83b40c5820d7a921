import json
import re
from pathlib import Path

from dpm_core.asyncapi import as_text, document
from dpm_core.registry import event_types
from dpm_core.subjects import ALL_EVENTS

KEPT = Path(__file__).parents[3] / "docs" / "reference" / "events.asyncapi.json"


def test_the_document_in_the_docs_is_that_of_the_event_classes() -> None:
    assert KEPT.read_text() == as_text(), f"python -m dpm_core.asyncapi > {KEPT.name} brings it up to date"


def test_the_filters_of_the_document_are_those_of_the_subjects() -> None:
    for name, operation in document()["operations"].items():
        filters = re.findall(r"dpm\.evt\.[^\s;]+(?<!\.)", operation["description"])
        assert len(filters) == (2 if name.startswith(("on-blob-", "on-peer-")) else 3), operation
        address = document()["channels"][name.removeprefix("on-")]["address"]
        for each in filters[:-1]:
            assert all(
                word == "*" or word == of or of.startswith("{")
                for word, of in zip(each.split("."), address.split("."), strict=True)
            )
        assert filters[-1] == ALL_EVENTS


def test_the_document_names_the_key_that_one_reads_with() -> None:
    found = document()
    assert found["servers"]["node"]["security"] == [{"$ref": "#/components/securitySchemes/nkey"}]
    assert "dpm token events" in found["components"]["securitySchemes"]["nkey"]["description"]


def test_every_event_has_a_channel_and_a_schema_that_is_there() -> None:
    found = document()
    assert set(found["channels"]) == {each.name for each in event_types()}
    refs = {ref for ref in json.dumps(found).split('"') if ref.startswith("#/")}
    for ref in refs:
        node = found
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
