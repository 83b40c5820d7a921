"""What a network shares, and what it never does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import CHECKED_FIELD, ArtifactRef, Blob, Validators
from dpm_core.cids import CHUNK, cid_of
from dpm_core.digests import Digest
from dpm_core.errors import Invalid
from dpm_core.events import ArtifactStored, OriginKind, Source
from dpm_core.inventory import SharedFile, SharedPage
from dpm_core.ports import Entry
from dpm_core.sharing import (
    CLAUSES_LIMIT,
    PATTERN_LIMIT,
    Clause,
    NotShared,
    Rule,
    Share,
    Subject,
    WhyNot,
    decide_sharing,
    shared_file,
    shared_page,
)

SIX = Digest("sha256:" + cid_of([b"six"]).hash.hex())
BLOB = Blob(cid_of([b"six"]), 3, (SIX,))
WHEEL = Entry(
    ArtifactRef("pypi", "https://index.example/", "simple/files/files.example/packages/six-1.0-py3-none-any.whl"),
    "six-1.0-py3-none-any.whl",
    BLOB,
    "application/zip",
    Validators('"tag"'),
    token=3,
    stored_at=1_000.0,
    checked_at=2_000.5,
)
STORED = ArtifactStored(
    ref=WHEEL.ref,
    name=WHEEL.name,
    blob=BLOB,
    media_type=WHEEL.media_type,
    validators=WHEEL.validators,
    source=Source(OriginKind.UPSTREAM, "index.example"),
    seconds=0.5,
    vouched=True,
)
PAGE = replace(
    WHEEL,
    ref=replace(WHEEL.ref, key="simple/six/"),
    name="six",
    fresh_for=600.0,
    vouched=False,
    fields=(("link", "a"),),
)
EVERYTHING = Rule(pages=True)


@pytest.mark.parametrize("subject", [WHEEL, STORED])
def test_what_is_public_and_vouched_is_shared_by_default(subject: Subject) -> None:
    assert decide_sharing(Rule(), subject) == Share(file=True, page=False)


@pytest.mark.parametrize("rule", [Rule(), EVERYTHING])
@pytest.mark.parametrize("subject", [WHEEL, STORED, PAGE])
def test_what_is_private_is_never_shared(rule: Rule, subject: Subject) -> None:
    assert decide_sharing(rule, replace(subject, private=True)) == NotShared(WhyNot.PRIVATE)


def test_what_a_peer_had_of_a_page_is_never_told_of_again() -> None:
    of_peers = replace(PAGE, fields=(*PAGE.fields, (CHECKED_FIELD, "1764000000")))
    assert decide_sharing(EVERYTHING, of_peers) == NotShared(WhyNot.UNVOUCHED)


@pytest.mark.parametrize("rule", [Rule(), EVERYTHING])
@pytest.mark.parametrize("subject", [WHEEL, STORED])
def test_a_file_that_no_digest_vouches_for_is_never_shared(rule: Rule, subject: Subject) -> None:
    assert decide_sharing(rule, replace(subject, vouched=False)) == NotShared(WhyNot.UNVOUCHED)


def test_a_page_is_shared_only_if_the_rule_says_so() -> None:
    assert decide_sharing(Rule(), PAGE) == NotShared(WhyNot.PAGE)
    assert decide_sharing(EVERYTHING, PAGE) == Share(file=False, page=True)


def test_what_changes_and_is_vouched_for_is_a_file_as_well() -> None:
    assert decide_sharing(Rule(), replace(PAGE, vouched=True)) == Share(file=True, page=False)
    assert decide_sharing(EVERYTHING, replace(PAGE, vouched=True)) == Share(file=True, page=True)


@pytest.mark.parametrize(
    "clause",
    [
        Clause(),
        Clause("pypi"),
        Clause("py*"),
        Clause(upstream="index.example"),
        Clause(upstream="INDEX.example"),
        Clause(upstream="*.example"),
        Clause(upstream="https://index.example/"),
        Clause(upstream="https://*/"),
        Clause(name="six-*.whl"),
        Clause(name="six-?.0-*"),
        Clause(name="simple/files/*/six-1.0-py3-none-any.whl"),
        Clause("pypi", "index.example", "six-*"),
    ],
)
def test_a_clause_names_by_ecosystem_upstream_and_name(clause: Clause) -> None:
    assert decide_sharing(Rule((clause,)), WHEEL) == Share(file=True, page=False)
    assert decide_sharing(Rule(excepts=(clause,)), WHEEL) == NotShared(WhyNot.EXCEPTED, clause)


@pytest.mark.parametrize(
    "clause",
    [
        Clause("oci"),
        Clause("p"),
        Clause(upstream="index.example:8080"),
        Clause(upstream="*.index.example"),
        Clause(upstream="http://index.example/"),
        Clause(upstream="https://index.example"),
        Clause(name="six"),
        Clause(name="SIX-*"),
        Clause(name="[s]ix-*"),
        Clause("pypi", "index.example", "flask-*"),
        Clause("oci", "index.example", "six-*"),
    ],
)
def test_any_other_clause_does_not(clause: Clause) -> None:
    assert decide_sharing(Rule((clause,)), WHEEL) == NotShared(WhyNot.UNNAMED)
    assert decide_sharing(Rule(excepts=(clause,)), WHEEL) == Share(file=True, page=False)


def test_a_rule_without_clauses_shares_nothing() -> None:
    assert decide_sharing(Rule(()), WHEEL) == NotShared(WhyNot.UNNAMED)


@given(
    st.builds(Rule, st.lists(st.builds(Clause, st.text(min_size=1, max_size=5))).map(tuple), pages=st.booleans()),
    st.builds(
        replace, st.just(WHEEL), fresh_for=st.none() | st.just(1.0), vouched=st.booleans(), private=st.booleans()
    ),
)
def test_no_rule_shares_what_is_private_or_gives_as_a_file_what_is_unvouched(rule: Rule, entry: Entry) -> None:
    decision = decide_sharing(rule, entry)
    if isinstance(decision, Share):
        assert not entry.private
        assert decision.file == entry.vouched
        assert decision.file or (decision.page and rule.pages and entry.fresh_for is not None)


def test_a_pattern_that_was_thought_up_to_take_for_ever_does_not() -> None:
    evil = "*a" * (PATTERN_LIMIT // 2 - 1) + "b"
    victim = replace(WHEEL, name="a" * 5_000)
    assert decide_sharing(Rule((Clause(name=evil), Clause(upstream=evil))), victim) == NotShared(WhyNot.UNNAMED)


@pytest.mark.parametrize("pattern", ["", "x" * (PATTERN_LIMIT + 1)])
def test_a_pattern_of_no_or_too_many_characters_is_invalid(pattern: str) -> None:
    for field in ("ecosystem", "upstream", "name"):
        with pytest.raises(Invalid):
            Clause(**{field: pattern})


def test_a_rule_of_too_many_clauses_is_invalid() -> None:
    with pytest.raises(Invalid):
        Rule((Clause(),) * CLAUSES_LIMIT, (Clause(),))


def test_what_is_shared_stands_in_the_inventory_as_it_is_held() -> None:
    file = SharedFile(SIX, 3, media_type="application/zip")
    assert shared_file(WHEEL) == shared_file(STORED) == file
    assert shared_page(PAGE, PAGE.checked_at) == SharedPage(PAGE.ref, file, 2_000, PAGE.validators, PAGE.fields)


def test_what_cannot_stand_in_an_inventory_is_refused() -> None:
    with pytest.raises(Invalid):
        shared_file(replace(WHEEL, media_type="text/html\n"))
    with pytest.raises(Invalid):
        shared_file(replace(WHEEL, blob=replace(BLOB, size=CHUNK + 1)))
    with pytest.raises(Invalid):
        shared_file(replace(WHEEL, blob=replace(BLOB, cid=cid_of([b"seven"]))))
    with pytest.raises(Invalid):
        shared_page(replace(PAGE, ref=replace(PAGE.ref, key="x" * 9_000)), 0.0)
