"""What a node with given settings serves, and what ``dpm doctor`` and ``dpm explain`` are told of it."""

import sys

import pytest

from dpm_core.errors import Invalid
from dpm_gateway_oci.plugin import probe, upstream, upstreams
from dpm_gateway_oci.problems import Code, Wrong
from dpm_gateway_oci.registries import Policy, Repository
from dpm_gateway_oci.served import ecosystem, paths, registries
from dpm_runtime.docker_login import Docker
from dpm_runtime.settings import Settings

MIRROR = "https://mirror.example/"
TABLES = {
    "shared.example:5443": {"policy": "shared", "credentials": "netrc"},
    "certified.example": {"cert": "/etc/ssl/node.pem"},
    "plain.example": {"upstream": "http://plain.example", "policy": "public"},
}


def given(**settings: object) -> Settings:
    return Settings.model_validate({"home": "/nowhere", "oci_upstream": MIRROR, **settings})


def repository(said: str, **settings: object) -> Repository:
    found = registries(given(oci={"registries": TABLES}, **settings)).repository(said)
    assert isinstance(found, Repository), found
    return found


def test_tables_name_registries_and_their_policies() -> None:
    assert repository("shared.example_5443/app").registry.policy is Policy.SHARED
    assert repository("shared.example_5443/app").registry.credentials
    assert repository("plain.example/app").registry.upstream == "http://plain.example/"
    assert repository("app").registry.upstream == MIRROR


def test_what_the_nodes_certificate_opens_is_not_for_everybody() -> None:
    assert repository("certified.example/app").registry.policy is Policy.SHARED


def test_without_a_setting_images_come_from_where_docker_takes_them() -> None:
    own = Docker.own()
    found = registries(given(oci_upstream=None)).repository("alpine")
    assert isinstance(found, Repository)
    assert (found.registry.upstream, found.name) == (f"https://{own.host}/", "library/alpine")
    assert upstream(given(oci_upstream=None), {}) == f"https://{own.host}/"


def test_dockers_name_means_the_default_wherever_that_is() -> None:
    found = repository(f"{Docker.own().name}/alpine")
    assert (found.registry.upstream, found.name) == (MIRROR, "library/alpine")
    assert repository("alpine").name == "alpine"


def test_an_ecosystem_is_made_of_settings_alone() -> None:
    assert ecosystem(given()).name == "oci"


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("team/app", "/v2/team/app/manifests/latest"),
        ("app:1.0", "/v2/app/manifests/1.0"),
        ("docker://plain.example/app:1", "/v2/plain.example/app/manifests/1"),
        ("shared.example_5443/app:1", "/v2/shared.example_5443/app/manifests/1"),
        (f"app@sha256:{'ab' * 32}", f"/v2/app/manifests/sha256:{'ab' * 32}"),
        (f"app:1@sha256:{'ab' * 32}", f"/v2/app/manifests/sha256:{'ab' * 32}"),
        ("https://mirror.example/v2/app/tags/list", "/v2/app/tags/list"),
        ("https://plain.example/v2/app/tags/list", "/v2/plain.example/app/tags/list"),
    ],
)
def test_an_image_is_explained_by_its_reference_or_its_address(what: str, path: str) -> None:
    assert list(paths(given(oci={"registries": TABLES}), what)) == [path]


@pytest.mark.parametrize(
    "what", ["requests", "other.example/app", "app@sha256:1", "https://mirror.example/", "a b/c"]
)
def test_what_is_no_image_of_this_node_has_no_path(what: str) -> None:
    assert list(paths(given(), what)) == []


def test_the_doctor_asks_each_registry_for_its_base() -> None:
    found = dict(upstreams(given(oci={"registries": TABLES}), {}))
    assert found == {
        "oci": MIRROR,
        "oci shared.example:5443": "https://shared.example:5443/",
        "oci certified.example": "https://certified.example/",
        "oci plain.example": "http://plain.example/",
    }
    assert probe(MIRROR) == "https://mirror.example/v2/"


def test_there_may_be_no_default() -> None:
    assert dict(upstreams(given(oci_upstream="none"), {})) == {}
    with pytest.raises(Invalid, match="oci_upstream is none"):
        upstream(given(oci_upstream="none"), {})


def test_what_is_to_be_done_is_said_where_nobody_knows_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Docker.own()
    monkeypatch.setitem(sys.modules, "docker.auth", None)
    settings = given(oci_upstream=None, oci={"registries": {"plain.example": TABLES["plain.example"]}})
    found = registries(settings)
    for said, code, status in (
        ("alpine", Code.UNAVAILABLE, 503),
        (f"{own.name}/library/alpine", Code.DENIED, 403),
    ):
        answer = found.repository(said)
        assert isinstance(answer, Wrong)
        assert (answer.code, answer.status) == (code, status)
        assert "distribution `docker`" in answer.detail and "oci_upstream" in answer.detail
    assert isinstance(found.repository("plain.example/app"), Repository)
    told = upstreams(settings, {})
    assert next(iter(told)) == ("oci plain.example", "http://plain.example/")
    with pytest.raises(Invalid, match="distribution `docker`"):
        list(told)
    with pytest.raises(Invalid, match="distribution `docker`"):
        upstream(settings, {})
