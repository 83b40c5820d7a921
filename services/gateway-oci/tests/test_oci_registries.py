"""Which registry a client means, and whether the node asks it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import Invalid
from dpm_gateway_oci.problems import Code, Wrong
from dpm_gateway_oci.registries import Policy, Registries, Registry, Repository, host_of

HUB = Registry("hub.example", "https://index.hub.example/", official=True)
OURS = Registry("registry.example:5443", "https://registry.example:5443/", Policy.SHARED, credentials=True)
PLAIN = Registry("cache", "http://cache:5000/")
NODE = Registries(
    [OURS, PLAIN],
    default=HUB,
    default_names=["hub.example", "index.hub.example"],
    allow=["*.allowed.example", "any.example:*", "near", "10.0.0.5:5000", "10.0.0.*"],
)


def found(said: str, ns: str = "") -> Repository:
    answer = NODE.repository(said, ns)
    assert isinstance(answer, Repository), answer
    return answer


def wrong(said: str, ns: str = "") -> Wrong:
    answer = NODE.repository(said, ns)
    assert isinstance(answer, Wrong), answer
    return answer


def test_a_bare_name_is_of_the_default_registry() -> None:
    assert found("team/app") == Repository(HUB, "team/app", "team/app")


@pytest.mark.parametrize("said", ["alpine", "library/alpine", "hub.example/alpine", "index.hub.example/alpine"])
def test_a_name_of_one_part_is_an_official_image_there(said: str) -> None:
    assert found(said) == Repository(HUB, "library/alpine", said)


def test_a_default_of_ones_own_has_official_images_only_by_dockers_name() -> None:
    mirror = Registry("mirror.example", "https://mirror.example/")
    node = Registries([], default=mirror, default_names=["hub.example"])
    bare, named = node.repository("alpine"), node.repository("hub.example/alpine")
    assert isinstance(bare, Repository) and isinstance(named, Repository)
    assert (bare.name, named.name) == ("alpine", "library/alpine")
    assert named.registry.upstream == mirror.upstream


@pytest.mark.parametrize(
    ("said", "ns"),
    [
        ("registry.example:5443/team/app", ""),
        ("registry.example_5443/team/app", ""),
        ("team/app", "registry.example:5443"),
        ("registry.example_5443/team/app", "registry.example:5443"),
        ("team/app", "Registry.Example:5443"),
    ],
)
def test_a_registry_is_named_in_the_path_or_by_ns(said: str, ns: str) -> None:
    assert found(said, ns) == Repository(OURS, "team/app", said)


def test_a_host_without_a_dot_is_known_by_the_settings_alone() -> None:
    assert found("cache/app").registry == PLAIN
    assert found("other/app").registry == HUB


def test_dockers_name_and_its_other_form_are_one() -> None:
    assert found("index.hub.example/alpine", "hub.example").name == "library/alpine"


def test_ns_leaves_a_name_whose_first_part_only_looks_like_a_host() -> None:
    assert found("my.org/app", "registry.example:5443").name == "my.org/app"


def test_two_registries_in_one_request_are_refused() -> None:
    assert wrong("registry.example_5443/app", "hub.example") == Wrong(
        Code.NAME_INVALID,
        "the path names the registry registry.example:5443, and ns hub.example: which one is meant?",
    )


@pytest.mark.parametrize("host", ["near", "10.0.0.5:5000"])
def test_a_host_that_is_allowed_in_full_is_no_stranger(host: str) -> None:
    registry = Registry(host, f"https://{host}/")
    assert found(f"{host}/app").registry == found("app", host).registry == registry


@pytest.mark.parametrize("host", ["a.allowed.example", "b.a.allowed.example", "any.example:8443", "10.0.0.6"])
def test_an_allowed_host_is_asked_as_a_strangers_word(host: str) -> None:
    registry = found(f"{host}/app").registry
    assert registry == Registry(host, f"https://{host}/", stranger=True)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "allowed.example", "a.allowed.example:22", "127.0.0.1", "localhost:5000", "169.254.1.1"],
)
@pytest.mark.parametrize("by_ns", [False, True])
def test_any_other_host_is_denied_and_the_setting_named(host: str, by_ns: bool) -> None:
    told = wrong("app", host) if by_ns else wrong(f"{host}/app")
    assert (told.code, told.status) == (Code.DENIED, 403)
    assert "oci_allow" in told.detail


def test_a_host_that_is_none_is_no_name_either() -> None:
    assert wrong("bad..host/app").code is Code.NAME_INVALID
    assert wrong("registry.example:x/app").code is Code.NAME_INVALID
    assert wrong("app", "http://registry.example").code is Code.NAME_INVALID


def test_without_a_default_a_bare_name_is_unknown() -> None:
    node = Registries([OURS], default=None, default_names=["hub.example"])
    for said in ("app", "hub.example/app"):
        answer = node.repository(said)
        assert isinstance(answer, Wrong)
        assert (answer.code, answer.status) == (Code.NAME_UNKNOWN, 404)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Registry.Example", "registry.example"),
        ("registry.example:443", "registry.example"),
        ("registry.example_0443", "registry.example"),
        ("[::1]:5000", "[::1]:5000"),
        ("registry.example:0", None),
        ("registry.example:65536", None),
        ("user@registry.example", None),
        ("registry.example.", None),
        ("registry.example/a", None),
        ("", None),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str | None) -> None:
    assert host_of(text) == host


@given(st.text(), st.text())
def test_whatever_is_said_has_an_answer(said: str, ns: str) -> None:
    assert isinstance(NODE.repository(said, ns), Repository | Wrong)


@given(st.text())
def test_a_host_is_its_own_spelling(text: str) -> None:
    host = host_of(text)
    assert host is None or host_of(host) == host


def test_a_registry_has_no_path() -> None:
    with pytest.raises(Invalid, match="without a path"):
        Registry("registry.example", "https://registry.example/path/")


def test_two_registries_have_two_names() -> None:
    with pytest.raises(Invalid, match=r"two registries are called registry\.example:5443"):
        Registries([OURS, OURS], default=None)
