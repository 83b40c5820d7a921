"""Which file on which host a request asks for, in each way that clients are pointed here."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.ecosystem import Refusal, Request
from dpm_gateway_apt.names import LONGEST_PATH, Asked, read_request
from dpm_gateway_apt.paths import below

INRELEASE = "debian/dists/bookworm/InRelease"


def read(path: str, authority: str = "", query: str = "") -> Asked | Refusal:
    return read_request(Request("GET", path, query, authority=authority))


def refused(path: str, query: str = "") -> int:
    found = read(path, query=query)
    assert isinstance(found, Refusal), found
    return found.status


@pytest.mark.parametrize(
    ("authority", "path", "asked"),
    [
        ("deb.example", f"/{INRELEASE}", Asked("deb.example", INRELEASE)),
        ("", f"/deb.example/{INRELEASE}", Asked("deb.example", INRELEASE)),
        ("", f"/deb.example:8080/{INRELEASE}", Asked("deb.example:8080", INRELEASE)),
        ("Deb.Example", f"/{INRELEASE}", Asked("deb.example", INRELEASE)),
        ("HTTPS", f"///deb.example/{INRELEASE}", Asked("deb.example", INRELEASE, https=True)),
        ("https", f"/deb.example/{INRELEASE}", Asked("deb.example", INRELEASE, https=True)),
        ("", f"/HTTPS///deb.example/{INRELEASE}", Asked("deb.example", INRELEASE, https=True)),
        ("deb.example", "/repo/./Packages.gz", Asked("deb.example", "repo/Packages.gz")),
        ("deb.example", "//repo//Packages.gz", Asked("deb.example", "repo/Packages.gz")),
        ("deb.example", "/", Asked("deb.example", "")),
        ("", "/deb.example/", Asked("deb.example", "")),
        ("", "/deb.example/debian//", Asked("deb.example", "debian/")),
    ],
)
def test_a_host_is_named_by_the_target_or_by_the_path(authority: str, path: str, asked: Asked) -> None:
    assert read(path, authority) == asked


def test_a_name_is_one_however_it_is_encoded() -> None:
    written = ["g++_1%7e1_all.deb", "g%2b%2b_1~1_all.deb", "g%2B%2B_1%7E1_all.deb"]
    assert {read(f"/deb.example/pool/{each}") for each in written} == {
        Asked("deb.example", "pool/g%2B%2B_1~1_all.deb")
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("", 400),
        ("deb.example/x", 400),
        ("/deb.example/../secret", 400),
        ("/deb.example/%2e%2e/secret", 400),
        ("/deb.example/a%2Fb", 400),
        ("/deb.example/a%00b", 400),
        ("/deb.example/a%0Ab", 400),
        ("/deb.example/%ff", 400),
        ("/" + "x" * LONGEST_PATH, 414),
        ("/", 404),
        ("/HTTPS///", 404),
    ],
)
def test_what_names_no_file_is_refused(path: str, status: int) -> None:
    assert refused(path) == status


def test_nothing_is_done_but_reading_files_without_a_query() -> None:
    assert refused("/deb.example/x", query="token=1") == 400
    found = read_request(Request("POST", "/deb.example/x"))
    assert isinstance(found, Refusal)
    assert (found.status, found.headers) == (405, (("Allow", "GET, HEAD"),))


@given(st.lists(st.text(st.characters(exclude_characters="/"), min_size=1), min_size=1, max_size=4).map("/".join))
def test_a_file_is_asked_for_by_the_path_that_an_index_names_it_by(name: str) -> None:
    try:
        encoded = "/".join(quote(each, safe="") for each in name.split("/"))
    except UnicodeEncodeError:
        return
    path = below("debian/", name)
    asked = read(f"/deb.example/debian/{encoded}")
    if isinstance(asked, Asked) and path is not None:
        assert asked.path == path


@given(st.text(), st.text())
def test_any_path_is_read_or_refused(authority: str, path: str) -> None:
    assert isinstance(read(path, authority), Asked | Refusal)
