"""Configurations of clients, before and after they name a node."""

import configparser
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_cli.use import edits
from dpm_cli.use.edits import Edit, Index
from dpm_core.errors import Invalid

NODE = Index("http://127.0.0.1:3141/simple/")
PLAIN = Index("http://10.0.0.2:3141/simple/", plain=True)

names = st.text("abcxyz-_", min_size=1, max_size=8).filter(lambda name: "index" not in name)
values = st.text("abc /:.=#;é", max_size=12).map(str.strip).filter(lambda value: value[:1] not in ("#", ";"))
comments = st.text("abc =[]#;é", max_size=20)


@st.composite
def ini(draw: st.DrawFn) -> str:
    """What somebody may have written: sections, options in several spellings, comments, empty lines."""
    lines = []
    for section in draw(st.lists(st.sampled_from(["global", "install", "download", "list"]), unique=True)):
        lines.append(f"[{section}]")
        for name in draw(st.lists(names, max_size=3, unique_by=str.lower)):
            lines.append(f"{name} = {draw(values)}")
        if draw(st.booleans()):
            lines.append(
                draw(st.sampled_from(["index-url = http://old/", "index_url=http://old/", "index-url: x"]))
            )
        lines += draw(st.lists(st.one_of(st.just(""), comments.map("# {}".format)), max_size=2))
    return "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n"]))


def options(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}


def spelt(section: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in section.items()}


@given(ini())
def test_pip_reads_the_node_from_every_section_and_all_else_as_before(text: str) -> None:
    before, after = options(text), options(edits.pip(text, NODE))
    assert spelt(after["global"])["index-url"] == NODE.url
    for section in after:
        was, now = spelt(before.get(section, {})), spelt(after[section])
        assert now.get("index-url", NODE.url) == NODE.url
        assert {**was, "index-url": ""} == {**now, "index-url": ""}


@pytest.mark.parametrize("index", [NODE, PLAIN])
def test_pip_is_never_given_an_index_beside_another(index: Index) -> None:
    for text in ("", "[global]\nindex-url = http://old/\n", "[install]\nindex_url = http://old/\n"):
        assert "extra" not in edits.pip(text, index)


@given(ini())
def test_every_other_line_of_pips_file_stays_as_it_stood(text: str) -> None:
    after = iter(edits.pip(text, NODE).splitlines())
    assert all(line in after for line in text.splitlines() if not line.startswith("index"))


@given(ini())
def test_naming_the_node_twice_is_naming_it_once(text: str) -> None:
    once = edits.pip(text, PLAIN)
    assert edits.pip(once, PLAIN) == once


def test_a_node_beyond_this_machine_without_tls_joins_the_hosts_that_pip_trusts() -> None:
    text = "[global]\ntrusted-host = a.example b.example\n"
    assert options(edits.pip(text, PLAIN))["global"]["trusted-host"] == "a.example b.example 10.0.0.2:3141"


def test_a_file_that_pip_cannot_read_is_named_without_its_lines() -> None:
    with pytest.raises(Invalid) as raised:
        edits.pip("index-url = http://user:secret@host/\n", NODE)
    assert "secret" not in str(raised.value)


TABLE = {"url": NODE.url, "default": True}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"index": [TABLE]}),
        ("# c\nnative-tls = true\n", {"native-tls": True, "index": [TABLE]}),
        ('index-url = "x" # k\n', {"index-url": NODE.url}),
        ('[pip]\nindex-url = "x"\n', {"pip": {"index-url": NODE.url}, "index": [TABLE]}),
        (
            '[[index]]\nurl = "a" # c\ndefault = true\n\n[[index]]\nname = "b"\nurl = "b"\n',
            {"index": [TABLE, {"name": "b", "url": "b"}]},
        ),
        ('index = [{url = "a", name = "k"}]\n', {"index": [{"url": "a", "name": "k"}, TABLE]}),
        ("[pip]\nstrict = true\n\n", {"pip": {"strict": True}, "index": [TABLE]}),
    ],
)
def test_uv_has_one_default_index(text: str, expected: dict[str, Any]) -> None:
    after = edits.uv_file(text, NODE)
    assert tomllib.loads(after) == expected
    assert [line for line in text.splitlines() if "#" in line and "=" not in line] == [
        line for line in after.splitlines() if "#" in line and "=" not in line
    ]
    assert edits.uv_file(after, NODE) == after


PROJECT = """\
# the project
[project]
name = "x" # its name

[tool.uv.sources]
a = { workspace = true }

[tool.ruff]
line-length = 99

[tool.poetry.dependencies]
python = "^3.11"

[build-system]
requires = []
"""


@pytest.mark.parametrize(
    ("edit", "client", "added"),
    [
        (edits.uv_project, "uv", {"index": [TABLE]}),
        (edits.pdm_project, "pdm", {"source": [{"name": "pypi", "url": NODE.url}]}),
        (
            edits.poetry_project,
            "poetry",
            {"source": [{"name": "dpm", "url": NODE.url, "priority": "primary"}]},
        ),
    ],
)
def test_a_project_gets_its_index_and_keeps_every_line(edit: Edit, client: str, added: dict[str, Any]) -> None:
    after = edit(PROJECT, NODE)
    expected = tomllib.loads(PROJECT)
    expected["tool"].setdefault(client, {}).update(added)
    assert tomllib.loads(after) == expected
    lines = iter(after.splitlines())
    assert all(line in lines for line in PROJECT.splitlines())
    assert edit(after, NODE) == after
    assert tomllib.loads(edit(after, Index("http://other/simple/")))["tool"][client] != expected["tool"][client]


@pytest.mark.parametrize("text", ["", "[virtualenvs] # mine\nin-project = true\n", "[plugins.other]\nx = 1\n"])
def test_poetrys_plugin_has_the_node_stand_in_for_the_default_index(text: str) -> None:
    after = edits.poetry_file(text, NODE)
    expected = tomllib.loads(text)
    expected.setdefault("plugins", {})["pypi_mirror"] = {"url": NODE.url}
    assert tomllib.loads(after) == expected
    assert all(line in after.splitlines() for line in text.splitlines())
    assert edits.poetry_file(after, NODE) == after


@pytest.mark.parametrize(
    "text", ["", '[pypi]\nurl = "x"\n', 'pypi.url = "x"\n', "[pypi] # mine\njson_api = true\n"]
)
def test_pdm_has_the_node_in_place_of_its_default(text: str) -> None:
    table = tomllib.loads(edits.pdm_file(text, PLAIN))["pypi"]
    assert (table["url"], table["verify_ssl"]) == (PLAIN.url, False)
    assert "verify_ssl" not in tomllib.loads(edits.pdm_file(text, NODE))["pypi"]


def test_tables_of_another_form_than_the_clients_are_left_alone() -> None:
    with pytest.raises(Invalid, match="form"):
        edits.uv_file("index = 3\n", NODE)
    with pytest.raises(Invalid, match="TOML"):
        edits.uv_file("[[[\n", NODE)


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("[global]\nextra-index-url = http://a/\n", ["extra-index-url in section global"]),
        ('extra-index-url = ["http://a/"]\n', ["extra-index-url"]),
        ('[[index]]\nname = "b"\nurl = "http://b/"\n', ["index b"]),
        ('[[tool.poetry.source]]\nname = "c"\nurl = "http://c/"\n', ["source c"]),
        (edits.poetry_project("", NODE), []),
        (edits.pip("", NODE), []),
    ],
)
def test_further_indexes_beside_the_node_are_seen(text: str, others: list[str]) -> None:
    assert list(edits.beside(text, "poetry", NODE)) == others
