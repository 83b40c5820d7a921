"""Which hosts a node asks for clients of apt, and how."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from dpm_core.errors import Invalid
from dpm_runtime.apt_hosts import AptHosts
from dpm_runtime.apt_settings import AptSettings
from dpm_runtime.credentials import Credentials, Place
from dpm_runtime.ecosystem_settings import Upstreams
from dpm_runtime.machine import apt_auth
from dpm_runtime.settings import load
from dpm_runtime.ways import Ways


def machine(root: Path, sources: str = "", conf: str = "", auth: str = "", name: str = "10proxy") -> Path:
    for file, text in (("sources.list", sources), (f"apt.conf.d/{name}", conf), ("auth.conf", auth)):
        path = root / "etc" / "apt" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def hosts(root: Path, names: Iterable[str] = (), **told: object) -> AptHosts:
    return AptHosts(AptSettings.model_validate(told), tuple(names), root=root)


def upstreams(found: AptHosts) -> dict[str, str]:
    return {name: each.upstream for name, each in found.named.items()}


def test_the_hosts_of_the_machines_own_sources_are_asked_as_these_say(tmp_path: Path) -> None:
    machine(
        tmp_path,
        "deb http://mirror.example/debian x main\ndeb http://mirror.example:80/debian y main\n"
        "deb https://secure.example/debian x main\ndeb https://secure.example:8443/ x main\n"
        "deb http://both.example/a x main\ndeb https://both.example/b x main\n",
    )
    assert upstreams(hosts(tmp_path)) == {
        "mirror.example": "http://mirror.example/",
        "secure.example": "https://secure.example/",
        "secure.example:8443": "https://secure.example:8443/",
        "both.example": "http://both.example/",
    }


def test_sources_that_lead_through_this_node_name_what_it_asks(tmp_path: Path) -> None:
    machine(
        tmp_path,
        "deb http://localhost:3142/mirror.example/debian x main\n"
        "deb http://127.0.0.1:3142/HTTPS///one.example/debian x main\n"
        "deb http://HTTPS///two.example/debian x main\n"
        "deb http://node.example:3142/three.example/debian x main\n"
        "deb http://localhost:8080/debian x main\n",
    )
    assert upstreams(hosts(tmp_path, ["node.example"])) == {
        "mirror.example": "http://mirror.example/",
        "one.example": "https://one.example/",
        "two.example": "https://two.example/",
        "three.example": "http://three.example/",
        "localhost:8080": "http://localhost:8080/",
    }


def test_what_is_allowed_in_full_is_named_and_patterns_are_not(tmp_path: Path) -> None:
    found = hosts(tmp_path, allow=("repo.example", "*.pattern.example"), https=("repo.*",))
    assert upstreams(found) == {"repo.example": "https://repo.example/"}


def test_a_table_says_where_a_host_is_asked(tmp_path: Path) -> None:
    machine(tmp_path, "deb http://mirror.example/debian x main\n")
    found = hosts(tmp_path, hosts={"mirror.example": {"upstream": "https://near.example:8443", "proxy": "none"}})
    assert upstreams(found) == {"mirror.example": "https://near.example:8443/"}
    assert found.named["mirror.example"].private == ()


def test_a_host_is_private_where_apt_has_credentials_for_it(tmp_path: Path) -> None:
    machine(
        tmp_path,
        "deb https://paths.example/a x main\ndeb https://whole.example/ x main\n"
        "deb http://plain.example/ x main\n",
        auth="machine paths.example/a login me password s\nmachine whole.example login me password s\n"
        "machine plain.example login me password s\nmachine nobodys.example login me password s\n",
    )
    found = hosts(tmp_path, hosts={"file.example": {"credentials": "file:/s"}}).named
    assert {name: each.private for name, each in found.items()} == {
        "file.example": ("/",),
        "paths.example": ("/a",),
        "plain.example": (),
        "whole.example": ("/",),
    }


def test_the_proxy_of_apt_is_that_of_its_sources_unless_it_is_this_node(tmp_path: Path) -> None:
    sources = "deb http://mirror.example/debian x main\n"
    proxy = 'Acquire::http::Proxy "{}";\n'
    asked = {"http://mirror.example/": "http://proxy.example:3128"}
    assert hosts(machine(tmp_path, sources, proxy.format("http://proxy.example:3128/"))).proxies() == asked
    assert hosts(machine(tmp_path, sources, proxy.format("proxy.example:3128"))).proxies() == asked
    for own in ("http://localhost:3142", "http://[::1]:3142/", "http://node.example:3142", "127.0.0.1:3142"):
        assert hosts(machine(tmp_path, sources, proxy.format(own)), ["node.example"]).proxies() == {}, own
    for other in ("socks5h://proxy.example", "http://[x", "DIRECT"):
        assert hosts(machine(tmp_path, sources, proxy.format(other))).proxies() == {}, other


def test_what_dpm_use_has_written_is_never_the_way_of_a_node(tmp_path: Path) -> None:
    conf = 'Acquire::http::Proxy "http://node.example:3142";\n'
    assert hosts(machine(tmp_path, "deb http://m.example/ x main\n", conf, name="80dpm")).proxies() == {}
    machine(tmp_path, "deb http://m.example/ x main\n", 'Acquire::http::Proxy "http://proxy.example:3128";\n')
    assert hosts(tmp_path).proxies() == {"http://m.example/": "http://proxy.example:3128"}


def test_what_is_set_of_proxies_goes_before_what_apt_is_set_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, told = "http://mirror.example/", {"http://mirror.example/": "http://apts.example:3128"}
    monkeypatch.setenv("DPM_HOME", str(tmp_path))
    monkeypatch.setattr(AptSettings, "clients_proxies", lambda self, names: told)

    def asked(text: str) -> str | None:
        (tmp_path / "dpm.toml").write_text(text)
        proxy = Ways.of(load(), {}).proxy(url, f"{url}debian")
        return proxy.url if proxy else None

    assert asked("") == "http://apts.example:3128"
    assert asked("proxy = 'http://all.example:1'") == "http://all.example:1"
    assert asked("proxy = 'none'") is None
    assert asked("[apt.hosts.'mirror.example']\nproxy = 'none'") is None
    assert asked("[apt.hosts.'mirror.example']\nca = '/ca.pem'") == "http://apts.example:3128"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[apt.hosts.'a b']", "called by its host"),
        ("[apt.hosts.'a.example']\nupstream = 'https://a.example/debian'", "no path"),
        ("apt_allow = ['a/b']", "no pattern of hosts"),
        ("[apt.hosts.'a.example']\nowner = 'me'", "unknown setting"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, wrong: str
) -> None:
    monkeypatch.setenv("DPM_HOME", str(tmp_path))
    (tmp_path / "dpm.toml").write_text(text)
    with pytest.raises(Invalid, match=wrong):
        load()


async def test_apts_credentials_are_shown_where_apt_would_show_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(tmp_path, auth="machine private.example/debian login me password s\n")
    monkeypatch.setattr("dpm_runtime.credentials.login_for", lambda url: apt_auth.login_for(url, root=tmp_path))
    upstream = "https://private.example/"
    shown = Credentials({upstream: Place.parse("apt")})
    assert await shown.authorization(upstream, f"{upstream}debian/x") == "Basic bWU6cw=="
    assert await shown.authorization(upstream, f"{upstream}ubuntu/x") is None
    assert await shown.authorization(upstream, "http://private.example/debian/x") is None
    assert await shown.authorization(upstream, "https://other.example/debian/x") is None


def test_the_upstreams_of_all_ecosystems_have_those_of_apt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPM_HOME", str(tmp_path))
    (tmp_path / "dpm.toml").write_text("[apt.hosts.'private.example']\ncredentials = 'netrc'\n")
    found: Upstreams = load().upstreams
    assert found.places()["http://private.example/"] == Place.parse("netrc")
    assert "http://private.example/" in found.private()
    assert "apt/private.example" in load().realms()
