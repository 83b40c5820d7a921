"""The ecosystem protocol is frozen: nothing of its surface changes unnoticed, and the page tells all of it."""

import re
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from dpm_core.ecosystem import PROTOCOL
from dpm_core.errors import Invalid
from dpm_runtime import ecosystem_settings
from dpm_runtime.ecosystem_settings import EcosystemSettings, declared, look_again
from dpm_testkit.protocol_surface import surface

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
KEPT = REFERENCE / "ecosystem-protocol.txt"
PAGE = REFERENCE / "ecosystems.md"

REQUIRED = {
    "Ecosystem": {"name", "classify", "render", "problem"},
    "Request": {"method", "path"},
    "IndexPage": {"want", "variant"},
    "IndexedFile": {"path", "indexes"},
    "Direct": {"wants"},
    "Made": {"page"},
    "Redirect": {"location"},
    "Refusal": {"status", "detail"},
    "Page": {"media_type", "body"},
    "Fact": {"path", "url"},
    "Want": {"ref", "name", "url", "lane"},
    "ArtifactRef": {"ecosystem", "upstream", "key"},
    "EcosystemSettings": set[str](),
    "UpstreamSettings": set[str](),
    "Checked": {"EXPECTED", "upstream", "upstreams", "probe", "pointed"},
    "Plugin": {"ecosystem", "paths", "addresses", "welcome"},
    "Sample": {"path", "media_type", "body"},
}
"""What whoever writes for protocol 1 has to give: never more, or what was written before does not go on."""


def members() -> dict[str, dict[str, bool]]:
    """Of each class of the surface its names, and whether it does without one of them being given."""
    found: dict[str, dict[str, bool]] = {}
    for line in surface().splitlines():
        if opened := re.match(r"  class (\w+)", line):
            found[opened[1]] = {}
        elif told := re.match(r"      (\w+)(.*)", line):
            rest = told[2]
            given = rest.startswith("(") and not rest.endswith("# to be written")
            list(found.values())[-1][told[1]] = " = " in rest or given or rest.startswith(" ->")
    return found


def test_nothing_of_the_protocol_changes_unnoticed() -> None:
    assert surface() == KEPT.read_text(), (
        "the protocol of ecosystems is frozen. An addition that has a default: tell it in ecosystems.md, and run "
        "python -m dpm_testkit.protocol_surface > docs/reference/ecosystem-protocol.txt. Anything else is another "
        "PROTOCOL, with which no ecosystem that is written today goes on"
    )


def test_what_was_added_to_the_protocol_has_a_default() -> None:
    assert PROTOCOL == 1
    told = members()
    assert {name: {each for each, given in told[name].items() if not given} for name in REQUIRED} == REQUIRED


def test_the_page_names_all_that_the_protocol_has() -> None:
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", PAGE.read_text()))))
    told = members()
    of_page = ("Ecosystem", "Request", "IndexPage", "IndexedFile", "Direct", "Made", "Redirect", "Refusal", "Page")
    others = ("Fact", "Want", "EcosystemSettings", "Checked", "Plugin", "Sample", "EcosystemSuite")
    for name in (*of_page, *others):
        assert told[name].keys() - words == set(), f"ecosystems.md does not name these of {name}"


def test_an_ecosystem_of_another_protocol_is_named_and_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    known = declared()
    entry = EntryPoint("later", f"{__name__}:Later", ecosystem_settings.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda _: Later)
    monkeypatch.setattr(ecosystem_settings, "entry_points", lambda group: EntryPoints([entry]))
    with pytest.raises(Invalid, match=r"'later'.* was written for protocol 2 of ecosystems.* node has 1"):
        look_again()
    assert declared() is known, "a node that runs goes on"


class Later(EcosystemSettings):
    """Of an ecosystem that was written for a protocol that does not exist yet."""

    protocol = 2
