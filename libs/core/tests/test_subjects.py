import pytest

from dpm_core.artifacts import ArtifactRef, Topic
from dpm_core.errors import Invalid
from dpm_core.subjects import HINTS, kind_filter, subject, tap_subject, topic_filter, topic_of

WHEEL = ArtifactRef("pypi", "http://upstream.example/", "wheel").topic


def test_a_subject_says_kind_key_and_event() -> None:
    assert subject(Topic("pypi", "3f9c"), "artifact-stored") == "dpm.evt.pypi.3f9c.artifact-stored"


def test_the_topic_comes_back_from_a_subject() -> None:
    assert topic_of(subject(WHEEL, "artifact-stored")) == WHEEL


@pytest.mark.parametrize(
    "text", ["", "dpm.evt.pypi.3f9c", "dpm.tap.pypi.3f9c.x", "dpm.evt.pypi.3f9c.x.y", "dpm.new.pypi.3f9c.x"]
)
def test_other_subjects_have_no_topic(text: str) -> None:
    with pytest.raises(Invalid):
        topic_of(text)


def test_conditions_cover_every_event_of_a_topic_and_no_other() -> None:
    assert topic_filter(WHEEL) == f"dpm.evt.pypi.{WHEEL.key}.>"


def test_events_are_filtered_by_kind_and_name() -> None:
    assert (kind_filter("pypi"), kind_filter(None)) == ("dpm.evt.pypi.>", "dpm.evt.>")
    assert kind_filter("pypi", "artifact-stored") == "dpm.evt.pypi.*.artifact-stored"
    assert kind_filter(None, "artifact-stored") == "dpm.evt.*.*.artifact-stored"
    assert kind_filter("pypi", below=HINTS) == "dpm.new.pypi.>"


@pytest.mark.parametrize("word", ["", "*", ">", "pypi.x", "a b"])
def test_a_filter_is_no_wider_than_its_words(word: str) -> None:
    with pytest.raises(Invalid):
        kind_filter(word)
    with pytest.raises(Invalid):
        kind_filter(None, word)


def test_taps_stand_apart_from_events() -> None:
    assert tap_subject("gateway.waiting") == "dpm.tap.gateway.waiting"


@pytest.mark.parametrize(
    "topic", [Topic("*", "k"), Topic("pypi", ">"), Topic("pypi.x", "k"), Topic("pypi", ""), Topic("a b", "k")]
)
def test_a_topic_cannot_reach_into_others(topic: Topic) -> None:
    with pytest.raises(Invalid):
        subject(topic, "fetch-requested")
    with pytest.raises(Invalid):
        topic_filter(topic)
