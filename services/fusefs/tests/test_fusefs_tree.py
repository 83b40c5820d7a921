"""Names and numbers: all that needs no mount."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.cids import cid_of
from dpm_core.digests import Digest
from dpm_fusefs.inodes import ROOT, InodeTable
from dpm_fusefs.tree import Alive, Artifact, Attempt, ByCid, BySha256, Data, Folder, Node, State, child, is_folder

CID = cid_of([b"x"])
ID = "0123456789abcdef" * 2
ATTEMPT = Attempt(ID, 7)


@pytest.mark.parametrize(
    ("parent", "name", "node"),
    [
        (Folder.ROOT, ".alive", Alive()),
        (Folder.ROOT, "cid", Folder.CID),
        (Folder.CID, CID, ByCid(CID)),
        (Folder.SHA256, "ab" * 32, BySha256(Digest("sha256:" + "ab" * 32))),
        (Folder.INCOMING, ID, Artifact(ID)),
        (Artifact(ID), "7", ATTEMPT),
        (ATTEMPT, "data", Data(ATTEMPT)),
        (ATTEMPT, "state.json", State(ATTEMPT)),
    ],
)
def test_every_name_of_the_layout_leads_to_its_node(parent: Node, name: str, node: Node) -> None:
    assert child(parent, name) == node


@pytest.mark.parametrize(
    ("parent", "name"),
    [
        (Folder.ROOT, ""),
        (Folder.ROOT, "blobs"),
        (Folder.CID, str(CID).upper()),
        (Folder.CID, str(CID) + ".json"),
        (Folder.SHA256, "AB" * 32),
        (Folder.SHA256, "ab" * 31),
        (Folder.INCOMING, ID[1:]),
        (Folder.INCOMING, ID + "\n"),
        (Artifact(ID), "007"),
        (Artifact(ID), "0"),
        (Artifact(ID), "-7"),
        (Artifact(ID), "٧"),
        (ATTEMPT, "lock"),
        (Data(ATTEMPT), "data"),
    ],
)
def test_a_malformed_name_leads_nowhere(parent: Node, name: str) -> None:
    assert child(parent, name) is None


@given(st.sampled_from([*Folder, Artifact(ID), ATTEMPT]), st.text())
def test_no_name_at_all_is_an_error(parent: Node, name: str) -> None:
    node = child(parent, name)
    assert node is None or is_folder(parent)


def test_a_number_means_one_node_until_the_kernel_has_given_back_every_look_up() -> None:
    table = InodeTable()
    number = table.number(ByCid(CID))
    table.looked_up(number)
    table.looked_up(number)
    table.forget(number, 1)
    assert table.node(number) == ByCid(CID)
    table.forget(number, 1)
    with pytest.raises(KeyError):
        table.node(number)
    assert table.number(ByCid(CID)) != number


def test_a_number_that_never_reached_the_kernel_is_dropped_but_one_that_it_knows_stays() -> None:
    table = InodeTable()
    known, unknown = table.number(ByCid(CID)), table.number(Folder.CID)
    table.looked_up(known)
    table.drop_unused(known)
    table.drop_unused(unknown)
    assert len(table) == 2
    assert table.node(ROOT) is Folder.ROOT


def test_the_root_is_never_forgotten() -> None:
    table = InodeTable()
    table.forget(ROOT, 5)
    table.drop_unused(ROOT)
    assert table.node(ROOT) is Folder.ROOT
