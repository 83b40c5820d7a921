"""The metrics of several Kubos on one page."""

from prometheus_client.parser import text_string_to_metric_families

from dpm_core.errors import Unavailable
from dpm_peer.kubo_metrics import KuboMetrics, one_page

PAGE = """# HELP ipfs_blocks Blocks, of "all" kinds
# TYPE ipfs_blocks gauge
ipfs_blocks {n}
# HELP libp2p_seconds How long
# TYPE libp2p_seconds histogram
libp2p_seconds_bucket{{dir="in",le="0.1"}} 1
libp2p_seconds_bucket{{dir="in",le="+Inf"}} {n}
libp2p_seconds_sum{{dir="in"}} 1.5
libp2p_seconds_count{{dir="in"}} {n}
# HELP http_server_things Not of Kubo alone
# TYPE http_server_things counter
http_server_things 7
"""


def test_each_sample_says_its_network_and_stands_with_its_kind() -> None:
    page = one_page({"work": PAGE.format(n=3), "home": PAGE.format(n=5)})
    families = {each.name: each for each in text_string_to_metric_families(page)}
    assert set(families) == {"ipfs_blocks", "libp2p_seconds"}
    assert {each.labels["network"]: each.value for each in families["ipfs_blocks"].samples} == {
        "work": 3,
        "home": 5,
    }
    counts = {
        (each.labels["network"], each.labels["dir"]): each.value
        for each in families["libp2p_seconds"].samples
        if each.name.endswith("_count")
    }
    assert counts == {("work", "in"): 3, ("home", "in"): 5}
    assert page.count("# TYPE ipfs_blocks") == 1


def test_without_networks_there_is_nothing() -> None:
    assert one_page({}) == ""


async def test_one_that_does_not_answer_keeps_nobody_elses_from_being_seen() -> None:
    async def answers() -> str:
        return PAGE.format(n=3)

    async def fails() -> str:
        raise Unavailable("frozen")

    metrics = KuboMetrics()
    with metrics.of("work", answers), metrics.of("home", fails):
        assert (await metrics.page()).decode() == one_page({"work": PAGE.format(n=3)})
    assert await metrics.page() == b""
