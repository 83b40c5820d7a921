"""The stream in memory answers the log's adapter as nats-server does, as far as appends and last events go."""

import json

import pytest

from dpm_testkit.hazards import Fate, hazardous_log
from dpm_testkit.log_conformance import EventLogSuite, LogKit
from dpm_testkit.memory_stream import MemoryStream


@pytest.fixture
def kit() -> LogKit:
    stream = MemoryStream()

    async def put(subject: str, headers: object, body: bytes) -> int:
        assert isinstance(headers, dict)
        return int(json.loads(stream.answer(subject, body, headers).data)["seq"])

    return LogKit(hazardous_log(stream, Fate()), put, ack_wait=0.1)


class TestMemoryStream:
    _suite = EventLogSuite
    test_of_fifty_concurrent_appends_exactly_one_wins = _suite.test_of_fifty_concurrent_appends_exactly_one_wins
    test_a_condition_sees_every_type_of_its_topic = _suite.test_a_condition_sees_every_type_of_its_topic
    test_a_condition_sees_no_other_topic = _suite.test_a_condition_sees_no_other_topic
    test_an_append_without_a_condition_follows_anything = (
        _suite.test_an_append_without_a_condition_follows_anything
    )
    test_the_last_event_comes_back_whole = _suite.test_the_last_event_comes_back_whole
    test_a_topic_without_events_has_no_last = _suite.test_a_topic_without_events_has_no_last
    test_a_last_event_of_an_unknown_type_counts_for_conditions = (
        _suite.test_a_last_event_of_an_unknown_type_counts_for_conditions
    )
    test_an_event_about_something_else_is_not_appended = _suite.test_an_event_about_something_else_is_not_appended
