"""The documentation hangs together: every link leads somewhere, and every page is in the table of contents."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
CONTENTS = ROOT / "docs" / "README.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def links(page: Path) -> list[str]:
    """Where the page leads, what stands in code left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"(?<!!)\[[^]]+\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "code", text))


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they are made of their text where pages are shown."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_something_that_is_there(page: Path) -> None:
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert target.exists(), f"{link}: there is no {target}"
        if parts.fragment:
            assert parts.fragment in anchors(target), f"{link}: no heading is called so"


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = {(CONTENTS.parent / urlsplit(link).path).resolve() for link in links(CONTENTS)}
    decisions = ROOT / "docs" / "adr"
    wanted = {page for page in PAGES[1:] if page.parent != decisions and page != CONTENTS}
    assert sorted(str(page.relative_to(ROOT)) for page in wanted - listed) == []
    assert decisions in listed


def test_the_versions_of_clients_that_were_seen_are_those_that_the_tests_run() -> None:
    locks = [ROOT / "requirements.lock", *(ROOT / "deploy" / "tools").glob("*.lock")]
    locked = {line.split()[0] for lock in locks for line in lock.read_text().splitlines() if "==" in line}
    guide = (ROOT / "docs" / "guides" / "clients.md").read_text()
    rows = re.findall(r"^\| (\S+) \| \[[^|]+\]\(clients/([a-z-]+)\.md\) \| ([^|]+) \|", guide, re.MULTILINE)
    for name, page, versions in rows:
        assert name.lower() == page
        assert {f"{page}=={version}" for version in versions.split(" and ")} <= locked
        text = (ROOT / "docs" / "guides" / "clients" / f"{page}.md").read_text()
        assert all(version in text for version in versions.split(" and "))
    assert {page for _, page, _ in rows} == {
        page.stem for page in (ROOT / "docs" / "guides" / "clients").glob("*.md")
    }


def test_what_troubleshooting_quotes_of_the_node_are_its_words() -> None:
    code = "\n".join(
        path.read_text() for folder in ("libs", "services") for path in (ROOT / folder).rglob("src/**/*.py")
    )
    table = (ROOT / "docs" / "guides" / "troubleshooting.md").read_text().split("## The node does not start")[1]
    quoted = re.findall(r'^\| "(.+?)" \|', table, re.MULTILINE)
    assert len(quoted) > 5
    parts = [part.strip() for words in quoted for part in words.split("…") if part.strip()]
    assert [part for part in parts if part not in code] == []


def test_each_test_that_the_threat_model_names_is_there() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs/reference/threat-model.md").read_text())
    folders = [ROOT / "tests", *ROOT.glob("libs/*/tests"), *ROOT.glob("services/*/tests")]
    files = {path.name: path for folder in folders for path in folder.rglob("test_*.py")}
    assert len(named) > 30
    assert [each for each in named if f"def {each[1]}(" not in files[each[0]].read_text()] == []
