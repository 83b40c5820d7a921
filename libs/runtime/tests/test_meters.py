import pytest

from dpm_runtime import meters
from dpm_runtime.meters import Kind, counter, declared, observed
from dpm_runtime.metrics_reference import prometheus_name
from dpm_runtime.process_meters import observing_process
from dpm_testkit.told import Told


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is declared here is in no reference."""
    monkeypatch.setattr(meters, "_declared", {})


def test_a_declaration_says_all_that_the_reference_shows() -> None:
    counter("dpm.test.cakes", "{cake}", "cakes baked", cake__kind="`sponge`")
    (metric,) = declared()
    assert (metric.name, metric.kind, metric.unit) == ("dpm.test.cakes", Kind.COUNTER, "{cake}")
    assert (metric.description, metric.attributes) == ("cakes baked", {"cake.kind": "`sponge`"})
    assert prometheus_name(metric) == "dpm_test_cakes_total"


def test_a_name_is_declared_once() -> None:
    counter("dpm.test.once", "{cake}", "cakes")
    with pytest.raises(ValueError, match=r"dpm\.test\.once"):
        counter("dpm.test.once", "{cake}", "cakes")


def test_what_is_observed_is_shown_while_somebody_knows_it(told: Told) -> None:
    oven = observed("dpm.test.oven", Kind.GAUGE, "By", "what is in the oven", shelf="which")
    assert told.metric("dpm_test_oven_bytes") == 0
    with oven.by(lambda: [(3, {"shelf": "top"}), (4, {"shelf": "low"})]):
        assert told.metric("dpm_test_oven_bytes") == 7
        assert told.metric("dpm_test_oven_bytes", shelf="low") == 4
    assert told.metric("dpm_test_oven_bytes") == 0


def test_a_process_tells_of_itself(told: Told) -> None:
    with observing_process():
        assert told.metric("process_cpu_time_seconds_total", cpu_mode="user") > 0
        assert told.metric("process_memory_usage_bytes") > 1024 * 1024
        assert told.metric("process_unix_file_descriptor_count") > 0
        assert told.metric("process_thread_count") > 0
        assert told.metric("process_uptime_seconds") > 0
