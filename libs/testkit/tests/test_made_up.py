"""The made-up ecosystem holds what all ecosystems do, so that what is seen with it is seen with them."""

from dpm_core.ecosystem import Fact
from dpm_testkit.ecosystem_conformance import EcosystemSuite, Sample
from dpm_testkit.made_up import MadeUp
from dpm_testkit.seasons import Seasons, season_page

SHA = "ab" * 32


class TestMadeUp(EcosystemSuite):
    ecosystem = MadeUp()
    paths = (
        "/",
        "/ping",
        "/list/nails",
        "/file/nails/long",
        "/file/nails/=more",
        "/good/nails/hook",
        "/scrap/nails/rust",
        "/note/nails/new",
        f"/crate/nails/{SHA}",
    )
    samples = (Sample("/list/nails", "text/plain", f"long {SHA}\nshort {SHA}\n".encode()),)

    def address(self, page: str, fact: Fact) -> str:
        return f"/file/{fact.path}"


class TestSeasons(EcosystemSuite):
    ecosystem = Seasons()
    paths = ("/season/toys", "/ware/toys/ball", f"/ware/toys/{SHA}", "/list/nails")
    samples = (
        Sample("/season/toys", "text/plain", season_page({"ball": b"a ball", "kite": b"a kite"}, kept=True)),
    )

    def address(self, page: str, fact: Fact) -> str:
        return f"/ware/{fact.path}"
