"""The reference of the metrics is that of the code, and the metrics are what the reference promises."""

import re
from pathlib import Path

import pytest

from dpm_runtime.meters import declared
from dpm_runtime.metrics_reference import load_services, prometheus_name, reference

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "metrics.md"
CONVENTIONS = ("http.", "messaging.", "process.", "system.")


@pytest.fixture(autouse=True, scope="module")
def services() -> None:
    load_services()


def test_the_reference_is_that_of_the_code() -> None:
    assert PAGE.read_text() == reference(), "run python -m dpm_runtime.metrics_reference > the page"


def test_every_metric_has_a_name_of_the_conventions_or_of_ours_a_unit_and_a_meaning() -> None:
    for metric in declared():
        assert metric.name.startswith(("dpm.", *CONVENTIONS)), metric.name
        assert re.fullmatch(r"s|By|\{[a-z_]+\}", metric.unit), metric.name
        assert metric.description and all(metric.attributes.values()), metric.name


def test_no_two_metrics_have_one_name_in_prometheus() -> None:
    names = [prometheus_name(metric) for metric in declared()]
    assert len(set(names)) == len(names)
