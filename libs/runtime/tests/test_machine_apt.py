"""Which sources, proxies and credentials this machine's apt has."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dpm_runtime.machine.apt import BINARY, SOURCE, pointed, sources, stanzas
from dpm_runtime.machine.apt_auth import login_for, logins
from dpm_runtime.machine.apt_conf import Proxy, proxies

MIRROR = "http://mirror.example/debian"


def put(root: Path, name: str, text: str) -> Path:
    file = root / "etc" / "apt" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return root


def uris(root: Path) -> list[str]:
    return [each.uri for each in sources(root=root)]


def test_a_machine_without_apt_has_no_sources(tmp_path: Path) -> None:
    assert list(sources(root=tmp_path)) == []
    assert list(pointed({}, root=tmp_path)) == []


def test_lines_are_read_with_their_options_and_comments(tmp_path: Path) -> None:
    put(
        tmp_path,
        "sources.list",
        "# deb http://commented.example/ x main\n"
        f"deb {MIRROR} bookworm main contrib # the usual\n"
        f"deb-src [ arch=amd64,arm64 signed-by=/k.gpg ] {MIRROR} bookworm-updates main\n"
        "deb [trusted=yes] http://flat.example/repo ./\n"
        "deb http://broken.example/\n",
    )
    usual, source, flat = sources(root=tmp_path)
    assert (usual.uri, usual.kinds, usual.suites, usual.components) == (
        MIRROR, frozenset({BINARY}), ("bookworm",), ("main", "contrib"),
    )  # fmt: skip
    assert (source.kinds, source.architectures) == (frozenset({SOURCE}), ("amd64", "arm64"))
    assert (flat.suites, flat.components) == (("./",), ())


def test_a_stanza_has_several_types_uris_and_suites(tmp_path: Path) -> None:
    put(
        tmp_path,
        "sources.list.d/debian.sources",
        "Types: deb deb-src\n"
        "# a snapshot: http://snapshot.example/\n"
        f"URIs: {MIRROR}\n https://other.example/debian\n"
        "Suites: bookworm bookworm-updates\n"
        "Components: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n URIs: http://inkey.example/\n\n"
        "types: deb\nuris: https://second.example/\nsuites: trixie\ncomponents: main\nEnabled: yes\n\n"
        "Types: deb\nURIs: http://off.example/\nSuites: x\nComponents: main\nEnabled: no\n",
    )
    found = list(sources(root=tmp_path))
    assert [each.uri for each in found] == [MIRROR, "https://other.example/debian", "https://second.example/"]
    assert found[0].kinds == {BINARY, SOURCE}
    assert found[0].suites == ("bookworm", "bookworm-updates")


def test_only_http_and_https_are_sources_and_nobodys_password_is_shown(tmp_path: Path) -> None:
    put(
        tmp_path,
        "sources.list",
        "deb cdrom:[Debian 12]/ bookworm main\ndeb file:/srv/repo ./\ndeb copy:/srv/repo ./\n"
        "deb ssh://h.example/ x main\ndeb https://me:secret@private.example/debian x main\n",
    )
    assert uris(tmp_path) == ["https://private.example/debian"]


def test_a_list_of_mirrors_in_a_file_is_read_and_of_one_elsewhere_the_address_is_known(tmp_path: Path) -> None:
    put(tmp_path, "mirrors/debian.list", f"{MIRROR}\tpriority:1\n# x\nhttps://second.example/debian\nfile:/m\n")
    put(
        tmp_path,
        "sources.list",
        "deb mirror+file:/etc/apt/mirrors/debian.list bookworm main\n"
        "deb mirror+https://lists.example/m.list bookworm main\ndeb mirror://old.example/m x main\n",
    )
    assert [(each.uri, each.mirrors) for each in sources(root=tmp_path)] == [
        (MIRROR, False),
        ("https://second.example/debian", False),
        ("https://lists.example/m.list", True),
        ("http://old.example/m", True),
    ]


def test_files_that_apt_passes_over_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.list.bak", "b.list.disabled", "c d.list", "e.sources.save"):
        put(tmp_path, f"sources.list.d/{name}", f"deb {MIRROR} x main\n")
    assert uris(tmp_path) == []


@given(st.text(alphabet="deb-src[]=: \n\t#http/.xURITypesSuites", max_size=200))
def test_whatever_stands_there_is_read_to_its_end(text: str) -> None:
    assert all(":" not in name for fields in stanzas(text) for name in fields)


def test_proxies_of_apt_are_found_however_they_are_written(tmp_path: Path) -> None:
    put(
        tmp_path,
        "apt.conf.d/10proxy",
        '// a comment with "quotes" and ; marks\n/* and { more } */\n'
        'Acquire { http { Proxy "http://proxy.example:3128"; Proxy::direct.example "DIRECT"; }; Retries 3; };\n'
        '# Acquire::http::Proxy "http://commented.example";\n',
    )
    put(tmp_path, "apt.conf.d/99list", 'DPkg::Post-Invoke { "rm -f /x || true"; };\nDir::Cache::pkgcache "";\n')
    found = proxies({}, root=tmp_path)
    file = str(tmp_path / "etc/apt/apt.conf.d/10proxy")
    assert found.of("http://mirror.example/x") == Proxy("http://proxy.example:3128", file)
    assert found.of("https://mirror.example/x") == Proxy("http://proxy.example:3128", file)
    assert found.of("http://direct.example/") is None
    assert [each.url for each in found.all()] == ["http://proxy.example:3128"]


def test_a_later_file_goes_before_and_what_is_cleared_is_gone(tmp_path: Path) -> None:
    put(
        tmp_path, "apt.conf.d/10a", 'Acquire::http::Proxy "http://one.example";\nAcquire::https::Proxy "DIRECT";\n'
    )
    put(tmp_path, "apt.conf.d/20b.conf", "#clear Acquire::https;\n")
    put(tmp_path, "apt.conf.d/30c.bak", 'Acquire::http::Proxy "http://passed.example";\n')
    put(tmp_path, "apt.conf", '#include "/nowhere";\n#include "more";\n')
    put(tmp_path, "more", 'Acquire::http::Proxy "http://last.example";\n')
    found = proxies({}, root=tmp_path)
    assert [each.url for each in found.all()] == ["http://last.example"]
    assert found.of("https://mirror.example/") == found.of("http://mirror.example/")


def test_the_environment_comes_last_and_a_file_of_its_own_first(tmp_path: Path) -> None:
    own = tmp_path / "own.conf"
    own.write_text('Acquire::http::Proxy "http://own.example";\n')
    assert proxies({"http_proxy": "http://env.example"}, root=tmp_path).of("http://m.example/") == Proxy(
        "http://env.example", ""
    )
    environ = {"http_proxy": "http://env.example", "APT_CONFIG": str(own)}
    assert proxies(environ, root=tmp_path).of("http://m.example/") == Proxy("http://own.example", str(own))


def test_credentials_are_for_the_host_scheme_port_and_path_that_they_name(tmp_path: Path) -> None:
    put(
        tmp_path,
        "auth.conf.d/one.conf",
        "# machine commented.example login a password b\n"
        "machine private.example/debian login me\n password s3cret:x\n"
        "machine http://plain.example:8080 login machine password login\n"
        "machine nologin.example password x\n",
    )
    put(tmp_path, "auth.conf.d/two.txt", "machine passed.example login a password b\n")
    found = login_for("https://private.example/debian-security/x", root=tmp_path)
    assert found is not None
    assert found.secret == "me:s3cret:x"
    assert "s3cret" not in repr(found)
    for url in (
        "http://private.example/debian/x",
        "https://private.example/ubuntu",
        "https://private.examples/debian",
        "http://plain.example/",
        "https://nologin.example/",
        "https://commented.example/",
        "https://passed.example/",
    ):
        assert login_for(url, root=tmp_path) is None, url
    plain = login_for("http://plain.example:8080/any", root=tmp_path)
    assert plain is not None
    assert plain.secret == "machine:login"


def test_what_may_not_be_read_says_nothing(tmp_path: Path) -> None:
    put(tmp_path, "auth.conf", "machine a.example login a password b\n")
    (tmp_path / "etc/apt/auth.conf").chmod(0)
    (tmp_path / "etc/apt/auth.conf.d").write_text("no folder")
    if os.geteuid() != 0:
        assert list(logins(root=tmp_path)) == []
    (tmp_path / "etc/apt/auth.conf").unlink()
    assert list(logins(root=tmp_path)) == []


def test_clients_that_are_pointed_somewhere_are_told_with_their_files(tmp_path: Path) -> None:
    put(tmp_path, "apt.conf.d/80dpm", 'Acquire::http::Proxy "http://127.0.0.1:3142/";\n')
    put(tmp_path, "sources.list", "deb http://localhost:3142/mirror.example/debian bookworm main\n")
    assert list(pointed({}, root=tmp_path)) == [
        (str(tmp_path / "etc/apt/apt.conf.d/80dpm"), "http://127.0.0.1:3142/"),
        (str(tmp_path / "etc/apt/sources.list"), "http://localhost:3142/mirror.example/debian"),
    ]
