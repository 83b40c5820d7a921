"""By which keys a Release of a peer is judged: those of settings, else those that this machine's apt takes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.errors import Unavailable
from dpm_runtime.apt_settings import AptSettings
from dpm_runtime.apt_witness import AptWitness

pytestmark = pytest.mark.real

SIGNED = Path(__file__).parent / "signed"
HOST = "mirror.example"
PATH = "debian/dists/stable/InRelease"
OF_ARCHIVE = "EAB6EE07A5416609123E1D9D0CE1C628B0054E1E"
OF_ELSE = "61369DF97DA40E4E8905EA5B3E19D9D656D2B195"


def release(path: str = PATH, host: str = HOST) -> Want:
    ref = ArtifactRef("apt", f"http://{host}/", path)
    return Want(ref, path, ref.upstream + path, Lane.INDEX, fresh_for=300.0)


def machine(root: Path, sources: str = "", *, stanza: str = "", keys: Sequence[str] = ()) -> Path:
    """A machine with these sources, which believes these keys where a source names none."""
    trusted = root / "etc" / "apt" / "trusted.gpg.d"
    trusted.mkdir(parents=True, exist_ok=True)
    (root / "etc" / "apt" / "sources.list").write_text(sources)
    if stanza:
        (root / "etc" / "apt" / "sources.list.d").mkdir()
        (root / "etc" / "apt" / "sources.list.d" / "one.sources").write_text(stanza)
    for each in keys:
        (trusted / f"{each}.asc").write_bytes((SIGNED / f"{each}.asc").read_bytes())
    return root


async def vouched(
    root: Path, want: Want | None = None, name: str = "InRelease", *seals: bytes, **own: object
) -> bool:
    """Whether it is believed; what it is not believed for names a reason."""
    witness = AptWitness(AptSettings.model_validate(own), root=root)
    try:
        await witness.vouch(want or release(), (SIGNED / name).read_bytes(), seals)
    except Unavailable as error:
        assert error.what
        return False
    return True


async def test_a_source_without_keys_is_believed_by_those_of_apt(tmp_path: Path) -> None:
    source = f"deb http://{HOST}/debian stable main\n"
    assert not await vouched(machine(tmp_path, source, keys=["else"]))
    assert await vouched(machine(tmp_path, source, keys=["archive"]))


@pytest.mark.parametrize(
    "source",
    [
        f"deb http://{HOST}/debian testing main",
        f"deb http://{HOST}/other stable main",
        "deb http://other.example/debian stable main",
        f"# deb http://{HOST}/debian stable main",
        "",
    ],
)
async def test_without_a_source_for_it_nobody_is_believed(tmp_path: Path, source: str) -> None:
    assert not await vouched(machine(tmp_path, source, keys=["archive"]))


@pytest.mark.parametrize(("named", "believed"), [("archive", True), ("else", False)])
async def test_the_keyring_that_a_source_names_counts_alone(tmp_path: Path, named: str, believed: bool) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / f"{named}.asc").write_bytes((SIGNED / f"{named}.asc").read_bytes())
    source = f"deb [arch=amd64 signed-by=/keys/{named}.asc] http://{HOST}/debian stable main\n"
    assert await vouched(machine(tmp_path, source, keys=["archive"])) is believed


@pytest.mark.parametrize(("named", "believed"), [(OF_ARCHIVE, True), (OF_ELSE, False), (f"{OF_ARCHIVE}!", True)])
async def test_a_source_may_name_one_of_the_keys_of_apt(tmp_path: Path, named: str, believed: bool) -> None:
    source = f"deb [signed-by={named}] http://{HOST}/debian stable main\n"
    assert await vouched(machine(tmp_path, source, keys=["archive", "else"])) is believed


@pytest.mark.parametrize(("named", "believed"), [("archive", True), ("else", False)])
async def test_a_source_may_have_its_key_in_itself(tmp_path: Path, named: str, believed: bool) -> None:
    lines = (SIGNED / f"{named}.asc").read_text().splitlines()
    key = "\n".join(f" {line or '.'}" for line in lines)
    stanza = f"Types: deb\nURIs: http://{HOST}/debian\nSuites: old stable\nComponents: main\nSigned-By:\n{key}\n"
    assert await vouched(machine(tmp_path, stanza=stanza, keys=["archive"])) is believed


async def test_a_source_that_leads_through_this_node_is_one_of_what_it_leads_to(tmp_path: Path) -> None:
    source = f"deb http://127.0.0.1:3142/{HOST}/debian stable main\n"
    assert await vouched(machine(tmp_path, source, keys=["archive"]))


async def test_a_repository_may_lie_in_one_folder(tmp_path: Path) -> None:
    machine(tmp_path, f"deb http://{HOST}/flat ./\n", keys=["archive"])
    assert await vouched(tmp_path, release("flat/InRelease"))
    assert not await vouched(tmp_path, release("flat/dists/x/InRelease"))


async def test_keyrings_of_settings_take_the_place_of_the_machines(tmp_path: Path) -> None:
    machine(tmp_path, f"deb http://{HOST}/debian stable main\n", keys=["archive"])
    assert not await vouched(tmp_path, keyrings=[str(SIGNED / "else.asc")])
    assert await vouched(tmp_path, release("other/dists/x/InRelease"), keyrings=str(SIGNED / "archive.asc"))
    hosts = {HOST: {"keyrings": [str(SIGNED / "archive.asc")]}}
    assert await vouched(tmp_path, keyrings=[str(SIGNED / "else.asc")], hosts=hosts)
    assert not await vouched(tmp_path, release(host="b.example"), keyrings=[str(SIGNED / "else.asc")], hosts=hosts)


async def test_a_keyring_that_is_not_there_is_named(tmp_path: Path) -> None:
    witness = AptWitness(AptSettings.model_validate({"keyrings": ["/nowhere/keys.gpg"]}), root=tmp_path)
    with pytest.raises(Unavailable, match=r"/nowhere/keys\.gpg"):
        await witness.vouch(release(), (SIGNED / "InRelease").read_bytes(), ())


async def test_a_release_without_a_signature_in_it_needs_one_beside_it(tmp_path: Path) -> None:
    machine(tmp_path, f"deb http://{HOST}/debian stable main\n", keys=["archive"])
    want = release(PATH.replace("InRelease", "Release"))
    assert not await vouched(tmp_path, want, "Release")
    assert not await vouched(tmp_path, want, "Release", b"no signature")
    assert await vouched(tmp_path, want, "Release", (SIGNED / "Release.gpg").read_bytes())
