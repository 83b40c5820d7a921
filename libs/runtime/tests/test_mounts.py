from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dpm_runtime.mounts import Mount, detach, mounted_at, parse_mountinfo


def test_a_line_of_mountinfo_says_where_what_and_on_which_device() -> None:
    line = r"44 27 0:39 / /home/a\040b/mnt ro,nosuid shared:3 master:1 - fuse.dpm dpm ro,user_id=0"
    assert list(parse_mountinfo(line + "\n")) == [Mount("/home/a b/mnt", "fuse.dpm", "0:39")]


@given(st.text())
def test_any_other_line_is_passed_over(text: str) -> None:
    for mount in parse_mountinfo(text):
        assert isinstance(mount, Mount)


def _escaped(path: str) -> str:
    return "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in path)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_folder_is_recognised_through_the_escapes(name: str) -> None:
    line = f"1 2 0:5 / {_escaped('/' + name)} rw - fuse x rw"
    assert [each.point for each in parse_mountinfo(line)] == ["/" + name]


def test_a_folder_that_is_no_mount_is_free_already(tmp_path: Path) -> None:
    assert mounted_at(tmp_path) == []
    assert detach(tmp_path)
