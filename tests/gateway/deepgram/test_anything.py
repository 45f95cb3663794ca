"""Whatever Deepgram's clients ask and say: it is served as it should be, or the error is one of ours."""

from __future__ import annotations

import contextlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.errors import InvalidRequest, UnknownBundle
from streamer.gateway.deepgram.controls import Control, read_control
from streamer.gateway.deepgram.query import COMMON, LIVE, PRERECORDED
from streamer.gateway.deepgram.request import read_file, read_live
from streamer.gateway.head import Format
from streamer.session.limits import check_config
from tests.gateway.deepgram.asking import services

SERVICES = services()
# The machine may be busy; how long an example takes says nothing here.
any_time = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.sampled_from([*COMMON, *LIVE, *PRERECORDED, "diarize"]) | st.text(max_size=10)
VALUES = st.sampled_from(["true", "false", "", "linear16", "flac", "ogg-opus", "echo", "en", "a:2", "a b"]) | st.text(
    max_size=10
)
NUMBERS = (st.integers(-10, 100_000) | st.floats()).map(str)
QUERIES = st.lists(st.tuples(NAMES, VALUES | NUMBERS), max_size=8)


@any_time
@given(QUERIES)
def test_any_query_of_a_stream(items):
    """The config that it becomes is one that a session takes."""
    with contextlib.suppress(InvalidRequest, UnknownBundle):
        request = read_live(items, SERVICES)
        known = request.head().format
        check_config(request.config(known or Format("flac", request.sample_rate or 16000), "file"))


@any_time
@given(QUERIES)
def test_any_query_of_a_file(items):
    """Raw samples have a format that is whole."""
    with contextlib.suppress(InvalidRequest, UnknownBundle):
        request = read_file(items, SERVICES)
        assert request.format is None or 8000 <= request.format.sample_rate <= 48000
        assert not (request.format and request.multichannel)


# JSON can spell lone surrogates, which nothing that is sent takes back.
TEXT = st.text(st.characters(), max_size=6) | st.just("\ud800")
JSON = st.recursive(st.none() | st.booleans() | st.floats() | TEXT, lambda inner: st.lists(inner, max_size=3))
FIELDS = st.dictionaries(st.sampled_from(["type", "channel", "keyterms"]) | TEXT, JSON, max_size=4)
MESSAGES = st.builds(lambda kind, fields: {**fields, "type": kind}, st.sampled_from([*Control]), FIELDS)


def outcome(text: str) -> Control | InvalidRequest:
    try:
        return read_control(text)
    except InvalidRequest as error:
        return error


@any_time
@given(st.text(max_size=60) | JSON.map(json.dumps) | MESSAGES.map(lambda m: json.dumps({**m, "type": m["type"].value})))
def test_any_text(text):
    """It is a control, and says so itself; what is said of any other can be sent."""
    found = outcome(text)
    if isinstance(found, Control):
        assert json.loads(text)["type"] == found.value
    else:
        assert str(found).encode()
