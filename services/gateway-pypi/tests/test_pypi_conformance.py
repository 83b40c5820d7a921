"""PyPI is an ecosystem: it holds what all do."""

from urllib.parse import unquote, urljoin

from dpm_core.ecosystem import Fact
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.filenames import candidates
from dpm_gateway_pypi.indexes import Index
from dpm_gateway_pypi.negotiation import JSON
from dpm_testkit.ecosystem_conformance import EcosystemSuite, Sample
from dpm_testkit.index_pages import UPSTREAM, A, as_body

FILES = [
    {"filename": name, "url": url + name, "hashes": {"sha256": A}, "size": 7, "core-metadata": {"sha256": A}}
    for name in ("demo-1.0.tar.gz", "demo-1.0+a b-py3-none-any.whl", "other-2.zip")
    for url in ("https://files.example.org:8443/p/", "../../packages/")
]
SIGNED = {"filename": "demo-2.zip", "url": "https://files.example.org/demo-2.zip?signature=1", "hashes": {},
          "gpg-sig": True}  # fmt: skip
PAGE = as_body({"meta": {"api-version": "1.1"}, "name": "demo", "files": [*FILES, SIGNED], "versions": []})


class TestPyPI(EcosystemSuite):
    ecosystem = PyPI(
        [Index(UPSTREAM, lists=True), Index("https://acme.example.org/pypi/", "acme", ("acme-*",), private=True)],
        fresh_for=600.0,
        limit=1000,
    )
    paths = (
        "/simple/", "/simple/demo/", "/simple/De_mo", "/simple", "/simple/files/files.example.org/demo-1.0.tar.gz",
        "/simple/demo/-/files.example.org/latest.zip", "/acme/simple/acme-demo/",
        "/acme/simple/files/acme.example.org/acme-demo-1.zip.metadata",
    )  # fmt: skip
    samples = (Sample("/simple/demo/", JSON, PAGE), Sample("/acme/simple/demo/", JSON, PAGE))

    def address(self, page: str, fact: Fact) -> str:
        named = "demo" in candidates(unquote(fact.path.rpartition("/")[2]))
        return urljoin(page, ("../files/" if named else "-/") + fact.path)
