"""What ``dpm explain`` finds out by itself: which address is meant, and what is held of it."""

import hashlib
from contextlib import closing

import pytest

from dpm_cli.explain.explanation import Explanation
from dpm_cli.explain.gather import explanations
from dpm_cli.explain.verdict import Answer, Why
from dpm_core.artifacts import ArtifactRef, Blob, Validators
from dpm_core.cids import Cid, raw_cid
from dpm_core.decisions import Recorded
from dpm_core.digests import Digest
from dpm_core.errors import Invalid
from dpm_core.events import ArtifactStored, OriginKind, Source
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home
from dpm_runtime.layout import Layout
from dpm_runtime.settings import Settings, load
from dpm_testkit.index_pages import page_of

UP = "https://index.example/simple/"
ACME = "https://acme.example/simple/"
WHEEL = "demo-1.0-py3-none-any.whl"
WHEEL_URL = f"https://files.example/packages/ab/{WHEEL}"
BODY = b"a wheel"
SHA256 = hashlib.sha256(BODY).hexdigest()
PAGE = page_of({"filename": WHEEL, "url": WHEEL_URL, "hashes": {"sha256": SHA256}, "size": len(BODY)})
FILE_KEY = f"files/files.example/packages/ab/{WHEEL}"
FOREVER = 1e10


def of(home: Home, **more: object) -> Settings:
    acme = {"upstream": ACME, "owns": ("acme-*",)}
    return load(home=home.root, pypi_upstream=UP, pypi={"indexes": {"acme": acme}}, **more)


@pytest.fixture
def settings(home: Home) -> Settings:
    return of(home)


def hold(
    home: Home, *artifacts: tuple[str, bytes, str, float | None], ecosystem: str = "pypi", upstream: str = UP
) -> None:
    """Let the home hold artifacts: key, bytes, media type, seconds for which it is fresh."""
    with closing(SqliteCatalog.writer(home.catalog)) as catalog:
        for number, (key, body, media_type, fresh_for) in enumerate(artifacts):
            digest = Digest(f"sha256:{hashlib.sha256(body).hexdigest()}")
            cid: Cid = raw_cid(digest)
            path = Layout(home).blob(cid)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            ref = ArtifactRef(ecosystem, upstream, key)
            source = Source(OriginKind.UPSTREAM, "index.example")
            stored = ArtifactStored(
                ref, key, Blob(cid, len(body), (digest,)), media_type, Validators(), source, 0.1, True, fresh_for
            )
            catalog.apply([Recorded(number + 1, 1000.0, stored, f"{number}")])


async def first(settings: Settings, what: str) -> Explanation:
    return (await explanations(settings, what))[0]


JSON = "application/vnd.pypi.simple.v1+json"
DEMO = ("demo/", PAGE, JSON, FOREVER)
FILE = (FILE_KEY, BODY, "application/octet-stream", None)


@pytest.mark.parametrize(
    "what",
    [
        f"/simple/files/files.example/packages/ab/{WHEEL}",
        f"http://127.0.0.1:3141/simple/files/files.example/packages/ab/{WHEEL}#sha256=0",
        f"http://localhost:3141/simple/files/files.example/packages/ab/{WHEEL}",
        WHEEL_URL,
        f"/simple/demo/-/files.example/packages/ab/{WHEEL}",
        f"http://localhost:3141/simple/demo/../files/files.example/packages/ab/{WHEEL}",
    ],
)
async def test_a_file_is_found_by_every_address_that_it_has(settings: Settings, home: Home, what: str) -> None:
    hold(home, DEMO, FILE)
    told = await first(settings, what)
    assert (told.verdict.answer, told.verdict.why, told.url) == (Answer.HIT, Why.HELD, WHEEL_URL)
    assert told.kept is not None and told.kept.file.startswith(str(home.blobs))
    assert told.kept.verified == f"sha256 of {UP}demo/"
    assert told.events is None and "no node runs" in told.trouble


@pytest.mark.parametrize("what", ["demo", "Demo", UP + "demo/", UP + "demo", "/simple/Demo", "/simple/demo/?x=1"])
async def test_a_page_is_found_by_every_spelling(settings: Settings, home: Home, what: str) -> None:
    hold(home, DEMO)
    told = await first(settings, what)
    assert (told.verdict.answer, told.path, told.url) == (Answer.HIT, "/simple/demo/", UP + "demo/")


async def test_of_several_addresses_the_one_with_bytes_comes_first(settings: Settings, home: Home) -> None:
    one, other = await explanations(settings, "acme-rocket")
    assert one.path == "/acme/simple/acme-rocket/" and one.verdict.answer is Answer.MISS
    assert other.verdict.why is Why.NOT_SERVED and "at /acme/simple/" in other.verdict.text


async def test_a_file_of_another_indexs_name_says_whose_it_is(settings: Settings) -> None:
    told = await first(settings, "/simple/files/files.example/acme_rocket-1.0-py3-none-any.whl")
    assert told.verdict.text == "acme-rocket is served by one index alone, at /acme/simple/"


async def test_a_file_that_its_page_does_not_name_is_told_from_one_without_a_page(
    settings: Settings, home: Home
) -> None:
    path = "/simple/files/files.example/packages/cd/demo-2.0-py3-none-any.whl"
    assert (await first(settings, path)).verdict.why is Why.NO_PAGE
    hold(home, DEMO)
    assert (await first(settings, path)).verdict.why is Why.NOT_NAMED


async def test_bytes_that_are_gone_are_no_hit(settings: Settings, home: Home) -> None:
    hold(home, DEMO, FILE)
    Layout(home).blob(raw_cid(Digest(f"sha256:{SHA256}"))).unlink()
    told = await first(settings, WHEEL_URL)
    assert told.verdict.answer is Answer.MISS
    assert told.kept is not None and told.kept.file == ""


@pytest.mark.parametrize(
    "what", ["no name!", WHEEL, "https://files.example/readme", "http://[", "http://127.0.0.1:99/"]
)
async def test_what_is_no_address_of_a_package_is_said_so(settings: Settings, what: str) -> None:
    with pytest.raises(Invalid):
        await explanations(settings, what)


async def test_an_image_may_be_named_as_containerd_does(home: Home) -> None:
    given = of(home, oci_upstream="none", oci_allow=("registry.example",))
    (told,) = await explanations(given, "/v2/team/app/manifests/1.0?ns=registry.example")
    assert told.url == "https://registry.example/v2/team/app/manifests/1.0"


@pytest.mark.parametrize(
    "what", ["team/app:1.0", "/v2/team/app/manifests/1.0", "http://127.0.0.1:5000/v2/team/app/manifests/1.0"]
)
async def test_an_image_is_of_the_gateway_that_serves_images_alone(home: Home, what: str) -> None:
    given = of(home, oci_upstream=HUB)
    (told,) = await explanations(given, what)
    assert told.path == "/v2/team/app/manifests/1.0"
    assert told.url == "https://registry.example/v2/team/app/manifests/1.0"
    assert told.verdict.answer == Answer.MISS


HUB = "https://registry.example/"
MANIFEST = b'{"schemaVersion": 2}'
MANIFEST_SHA256 = hashlib.sha256(MANIFEST).hexdigest()


@pytest.mark.parametrize("guard", ["", "~/"])
async def test_an_image_that_came_by_its_tag_is_held_by_its_digest_too(home: Home, guard: str) -> None:
    settings = of(home, oci_upstream=HUB, stale_seconds=FOREVER)
    key = f"{guard}v2/team/app/manifests/1"
    hold(home, (key, MANIFEST, "x/manifest", 60.0), ecosystem="oci", upstream=HUB)
    by_tag = await first(settings, "/v2/team/app/manifests/1")
    assert (by_tag.verdict.answer, by_tag.private) == (Answer.STALE, bool(guard))
    by_digest = await first(settings, f"/v2/team/app/manifests/sha256:{MANIFEST_SHA256}")
    assert (by_digest.verdict.answer, by_digest.private) == (Answer.HIT, bool(guard))
    elsewhere = await first(settings, f"/v2/team/other/manifests/sha256:{MANIFEST_SHA256}")
    assert elsewhere.verdict.answer is Answer.MISS


async def test_what_is_made_here_needs_nothing_held(home: Home) -> None:
    told = await first(of(home, oci_upstream=HUB), "/v2/token")
    assert (told.verdict.answer, told.verdict.why) == (Answer.HIT, Why.MADE)
