"""Lock files and requirements, and the files of a page that answer them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag

from dpm_cli.prefetch.reading import Wishes, read_wishes
from dpm_cli.prefetch.wanted import Listed, Target, Wanted, choose, listed
from dpm_core.errors import Invalid

LINUX = Target(
    {
        "python_version": "3.12",
        "python_full_version": "3.12.1",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "implementation_version": "3.12.1",
        "platform_release": "",
        "platform_version": "",
    },
    (
        Tag("cp312", "cp312", "manylinux_2_28_x86_64"),
        Tag("cp312", "cp312", "manylinux_2_17_x86_64"),
        Tag("py3", "none", "any"),
    ),
)
SIX = "six-1.17.0-py2.py3-none-any.whl"
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def wishes(folder: Path, name: str, text: str, target: Target = LINUX) -> Wishes:
    path = folder / name
    path.write_text(text)
    return read_wishes(path, target)


def projects(read: Wishes) -> list[str]:
    return [each.project for each in read.wanted]


UV = f"""
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "sample"
version = "0.1"
source = {{ virtual = "." }}

[[package]]
name = "Six"
version = "1.17.0"
source = {{ registry = "http://n/simple" }}
sdist = {{ url = "http://n/files/six-1.17.0.tar.gz", hash = "{B}", size = 3 }}
wheels = [{{ url = "http://n/files/{SIX}", hash = "{A}", size = 3 }}]

[[package]]
name = "old"
version = "1"
source = {{ registry = "http://n/simple" }}
resolution-markers = ["python_full_version < '3.12'"]
wheels = [{{ url = "http://n/files/old-1-py3-none-any.whl", hash = "{A}" }}]

[[package]]
name = "forked"
version = "1"
source = {{ git = "https://git.example/forked?rev=1#1" }}
"""


def test_uv_lock_names_files_and_what_is_for_others_is_left(tmp_path: Path) -> None:
    read = wishes(tmp_path, "uv.lock", UV)
    assert read.wanted == [
        Wanted("six", SpecifierSet("==1.17.0"), frozenset({"six-1.17.0.tar.gz", SIX}), frozenset({A, B}))
    ]
    assert read.elsewhere == ["forked: git"]
    assert projects(wishes(tmp_path, "uv.lock", UV, Target.every())) == ["six", "old"]


PYLOCK = f"""
lock-version = "1.0"
created-by = "test"

[[packages]]
name = "six"
version = "1.17.0"
wheels = [{{ name = "{SIX}", url = "http://n/{SIX}", hashes = {{ sha256 = "{"a" * 64}" }} }}]
sdist = {{ name = "six-1.17.0.tar.gz", url = "http://n/six-1.17.0.tar.gz", hashes = {{ sha256 = "{"b" * 64}" }} }}

[[packages]]
name = "colorama"
version = "0.4.6"
marker = "sys_platform == 'win32'"
sdist = {{ name = "colorama-0.4.6.tar.gz", url = "http://n/c", hashes = {{ sha256 = "{"b" * 64}" }} }}

[[packages]]
name = "here"
directory = {{ path = "." }}
"""


def test_pylock_is_read_as_an_installer_would(tmp_path: Path) -> None:
    read = wishes(tmp_path, "pylock.toml", PYLOCK)
    assert read.wanted == [Wanted("six", SpecifierSet("==1.17.0"), frozenset({SIX}), frozenset({A}))]
    assert read.elsewhere == ["here: a directory, an archive or a repository"]
    every = wishes(tmp_path, "pylock.dev.toml", PYLOCK, Target.every())
    assert projects(every) == ["six", "colorama"]
    assert every.wanted[0].names == {SIX, "six-1.17.0.tar.gz"}


POETRY = f"""
[[package]]
name = "six"
version = "1.17.0"
optional = false
files = [{{ file = "{SIX}", hash = "{A}" }}]

[package.source]
type = "legacy"
url = "http://n/simple"
reference = "dpm"

[[package]]
name = "colorama"
version = "0.4.6"
markers = "sys_platform == 'win32'"
files = [{{ file = "colorama-0.4.6.tar.gz", hash = "{B}" }}]

[[package]]
name = "both"
version = "1"
markers = {{ main = "sys_platform == 'win32'", dev = "sys_platform == 'linux'" }}
files = [{{ file = "both-1.tar.gz", hash = "{B}" }}]

[[package]]
name = "forked"
version = "1"
files = []

[package.source]
type = "git"
url = "https://git.example/forked"

[metadata]
lock-version = "2.1"
content-hash = "x"
"""


def test_poetry_lock_is_read_with_its_markers_and_sources(tmp_path: Path) -> None:
    read = wishes(tmp_path, "poetry.lock", POETRY)
    assert projects(read) == ["six", "both"]
    assert read.wanted[0] == Wanted("six", SpecifierSet("==1.17.0"), frozenset({SIX}), frozenset({A}))
    assert read.elsewhere == ["forked: git"]


def test_a_poetry_lock_of_the_older_form_has_its_files_apart(tmp_path: Path) -> None:
    text = f"""
[[package]]
name = "six"
version = "1.17.0"
[metadata]
lock-version = "1.1"
[metadata.files]
six = [{{ file = "{SIX}", hash = "{A}" }}]
"""
    assert wishes(tmp_path, "poetry.lock", text).wanted[0].names == {SIX}


def test_pdm_lock_has_files_by_name_or_by_url(tmp_path: Path) -> None:
    text = f"""
[metadata]
lock_version = "4.5.0"
[[package]]
name = "six"
version = "1.17.0"
files = [{{ file = "{SIX}", hash = "{A}" }}]
[[package]]
name = "iniconfig"
version = "2"
files = [{{ url = "http://n/iniconfig-2-py3-none-any.whl", hash = "{B}" }}]
[[package]]
name = "colorama"
version = "1"
marker = "sys_platform == 'win32'"
files = [{{ file = "colorama-1.tar.gz", hash = "{B}" }}]
[[package]]
name = "here"
version = "1"
path = "./here"
"""
    read = wishes(tmp_path, "pdm.lock", text)
    assert [each.names for each in read.wanted] == [{SIX}, {"iniconfig-2-py3-none-any.whl"}]
    assert read.elsewhere == ["here: path"]


def test_requirements_are_read_with_includes_constraints_hashes_and_markers(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("markupsafe\n")
    (tmp_path / "limits.txt").write_text("MarkupSafe<3\nunasked==1\n")
    read = wishes(
        tmp_path,
        "requirements.txt",
        "--index-url http://n/simple\n"
        "# a comment\n"
        f"Six==1.17.0 \\\n    --hash={A} \\\n    --hash={B}  # why\n"
        "colorama ; sys_platform == 'win32'\n"
        "requests[socks]>=2,<3  # extras\n"
        "-r more.txt\n"
        "--constraint=limits.txt\n"
        "-e .\n"
        "./local.whl\n"
        "pkg @ https://n.example/pkg-1-py3-none-any.whl\n",
    )
    assert read.wanted == [
        Wanted("six", SpecifierSet("==1.17.0"), hashes=frozenset({A, B})),
        Wanted("requests", SpecifierSet(">=2,<3")),
        Wanted("markupsafe", SpecifierSet("<3")),
    ]
    assert read.elsewhere == ["-e: a file or a URL", "./local.whl: a file or a URL", "pkg: a file or a URL"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("requirements.txt", "six=1\n", "PEP 508"),
        ("requirements.txt", "-r requirements.txt\n", "includes itself"),
        ("requirements.txt", "-r nowhere.txt\n", r"nowhere.txt cannot be read"),
        ("uv.lock", "[[[", "uv.lock"),
        ("uv.lock", "x = 1\n", "neither"),
        ("uv.lock", 'version = 1\n[[package]]\nname = "x"\n', "lock file that it seems"),
        ("pylock.toml", 'lock-version = "7.0"\ncreated-by = "x"\npackages = []\n', "version"),
        ("pylock.toml", 'lock-version = "1.0"\n', "created-by"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        wishes(tmp_path, name, text)


def test_a_file_that_is_missing_or_no_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        read_wishes(tmp_path / "none.txt", LINUX)
    (tmp_path / "x.txt").write_bytes(b"\xff")
    with pytest.raises(Invalid, match="UTF-8"):
        read_wishes(tmp_path / "x.txt", LINUX)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.txt"
    path.write_text(text, "utf-8")
    try:
        read_wishes(path, LINUX)
    except Invalid as error:
        assert str(error)


def file(name: str, **more: object) -> Listed:
    return Listed(name, f"http://n/{name}", **more)  # type: ignore[arg-type]


PAGE = [
    file("a-1.0.tar.gz"),
    file("a-1.0-py3-none-any.whl"),
    file("a-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"),
    file("a-1.0-cp312-cp312-win_amd64.whl"),
    file("a-1.1-cp313-cp313-manylinux_2_17_x86_64.whl"),
    file("a-1.2.tar.gz", requires_python=">=3.13"),
    file("a-2.0-py3-none-any.whl", yanked=True),
    file("a-3.0rc1-py3-none-any.whl"),
    file("a-1.0.exe"),
    file("not a distribution"),
]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (Wanted("a"), "a-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"),
        (Wanted("a", SpecifierSet("==2.0")), "a-2.0-py3-none-any.whl"),
        (Wanted("a", SpecifierSet(">=3.0rc1")), "a-3.0rc1-py3-none-any.whl"),
        (Wanted("a", names=frozenset({"a-1.0.tar.gz"})), "a-1.0.tar.gz"),
    ],
)
def test_the_newest_version_with_a_file_for_this_machine_is_taken(wanted: Wanted, chosen: str) -> None:
    assert [each.name for each in choose(wanted, PAGE, LINUX)] == [chosen]


def test_for_every_machine_all_files_of_a_version_are_taken() -> None:
    names = [each.name for each in choose(Wanted("a", SpecifierSet("==1.0")), PAGE, Target.every())]
    assert names == [each.name for each in PAGE[:4]]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("a", SpecifierSet("==9")), "no version of a==9"),
        (Wanted("a", SpecifierSet("==1.1")), "no file of a==1.1 suits"),
        (Wanted("a", names=frozenset({"a-7.tar.gz"})), "lock file names"),
    ],
)
def test_what_is_missing_is_said(wanted: Wanted, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        choose(wanted, PAGE, LINUX)


def test_a_file_with_another_hash_than_the_locked_one_is_no_answer() -> None:
    page = [file("a-1.0.tar.gz", hashes=frozenset({A}))]
    assert choose(Wanted("a", hashes=frozenset({A, B})), page, LINUX) == page
    with pytest.raises(Invalid):
        choose(Wanted("a", hashes=frozenset({B})), page, LINUX)


def test_a_page_of_another_form_is_refused() -> None:
    for page in ({}, {"files": 3}, {"files": [{"filename": "a"}]}):
        with pytest.raises(Invalid):
            list(listed(page))


def test_another_python_is_judged_by_its_own_markers_and_tags() -> None:
    target = Target.this("3.13")
    assert target.environment["python_version"] == "3.13"
    assert any(tag.interpreter == "cp313" for tag in target.tags or ())
    with pytest.raises(Invalid, match="3\\.12"):
        Target.this("three")
