"""The reference of the metrics is that of the code, and the metrics are what the reference promises."""

import re
from pathlib import Path

import pytest

from dpm_runtime.meters import Kind, declared
from dpm_runtime.metrics_reference import load_services, prometheus_name, reference

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "metrics.md"
RULE_TESTS = ROOT / "deploy" / "prometheus" / "rules.test.yml"
RULES = [ROOT / "deploy" / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
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


def test_the_rules_for_prometheus_name_only_what_there_is() -> None:
    names = set[str]()
    for metric in declared():
        name = prometheus_name(metric)
        ends = ("_bucket", "_count", "_sum") if metric.kind is Kind.HISTOGRAM else ("",)
        names |= {name + end for end in ends}
    for file in RULES:
        used = set(
            re.findall(r"(?<![:\w])(?:dpm|http|messaging|process|system)_[a-z_]+(?=\{|\[| )", file.read_text())
        )
        assert used, file
        assert used <= names, file


def test_every_rule_for_prometheus_is_tested() -> None:
    tested = RULE_TESTS.read_text()
    for file in RULES:
        for rule in re.findall(r"- (?:record|alert): (\S+)", file.read_text()):
            assert rule in tested, f"{rule} has no test in {RULE_TESTS.name}"
