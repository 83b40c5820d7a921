"""Which project a file's name points at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

from dpm_gateway_pypi.filenames import MOST, candidates, normalise

NAMES = st.from_regex(r"[A-Za-z0-9]{1,4}(?:_[A-Za-z0-9]{1,4}){0,2}", fullmatch=True)
"""As the specification of wheels escapes them: never two underscores together."""

VERSIONS = st.from_regex(r"[0-9]{1,3}(?:\.[0-9]{1,2}){0,3}(?:(?:a|rc)[0-9])?(?:\.post[0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("filename", "best"),
    [
        ("demo-1.0-py3-none-any.whl", "demo"),
        ("Zope.Interface-5.0-1-cp39-cp39-manylinux_2_17_x86_64.whl", "zope-interface"),
        ("demo_thing-1.0-py3-none-any.whl.metadata", "demo-thing"),
        ("demo-1.0+cpu.local-py3-none-any.whl", "demo"),
        ("demo_thing-1.0.tar.gz", "demo-thing"),
        ("demo-thing-1.0.zip", "demo-thing"),
        ("demo-thing-2-1.0.tgz", "demo-thing-2"),
        ("demo-1.0-1.tar.bz2", "demo"),
        ("demo-1.0-beta-2.tar.xz", "demo"),
        ("demo-thing-dev.tar.gz", "demo-thing"),
        ("demo-1.0-dev-r12.tar.gz", "demo"),
        ("1-2-3.tar.gz", "1"),
        ("demo-1.0-py2.7.egg", "demo"),
        ("demo-1.0.win32-py2.7.exe", "demo"),
        ("demo-1.0.linux-x86_64.tar.gz", "demo"),
        ("Demo-1.0.TAR.GZ", "demo"),
    ],
)
def test_the_likeliest_project_comes_first(filename: str, best: str) -> None:
    assert candidates(filename)[0] == best


def test_a_name_that_can_be_split_at_several_places_gives_each_project() -> None:
    assert candidates("demo-2-1.0-1.tar.gz") == ("demo-2", "demo-2-1-0", "demo")


@pytest.mark.parametrize(
    "filename",
    ["", "-", "demo", "demo.tar.gz", "demo-1.0", "demo-1.0.whl", "demo-1.0.tar.gz.sig", "README.md", "-1.0.zip",
     "demo-1.0-py3-none-any.whl.provenance", ".metadata", "_-1.0.tar.gz", "\u212a-1.0.tar.gz"],
)  # fmt: skip
def test_what_is_no_distribution_file_belongs_nowhere(filename: str) -> None:
    assert candidates(filename) == ()


@given(NAMES, VERSIONS)
def test_every_wheel_and_sdist_that_packaging_reads_is_found_first(name: str, version: str) -> None:
    wheel, sdist = f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.tar.gz"
    assert candidates(wheel) == (parse_wheel_filename(wheel)[0],)
    assert candidates(sdist)[0] == parse_sdist_filename(sdist)[0]


@given(st.text() | st.from_regex(r"[-.a-z0-9]{0,40}\.(tar\.gz|zip|whl|egg)"))
def test_any_text_gives_a_few_normalised_names(filename: str) -> None:
    found = candidates(filename)
    assert len(found) <= MOST
    assert all(normalise(each) == each == canonicalize_name(each) for each in found)
