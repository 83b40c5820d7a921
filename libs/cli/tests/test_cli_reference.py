"""The reference of the command line is that of the code."""

from pathlib import Path

from dpm_cli.cli_reference import reference

DOCS = Path(__file__).parents[3] / "docs" / "reference"


def test_the_reference_is_that_of_the_code() -> None:
    page = (DOCS / "cli.md").read_text()
    assert page == reference(), "run python -m dpm_cli.cli_reference > docs/reference/cli.md"


def test_a_bar_in_a_choice_does_not_end_its_cell() -> None:
    assert "<pip\\|uv\\|" in reference()
