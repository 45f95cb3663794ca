"""Whatever a client sends: one answer, and a session that goes on."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.gateway.openai.realtime_events import APPEND, BETA_UPDATE, CLEAR, COMMIT, UPDATE, event_text
from streamer.gateway.openai.realtime_session import Session
from streamer.session.messages import Finalize
from tests.gateway.openai.test_request import services

SESSION_KEYS = [
    *("type", "audio", "input", "format", "transcription", "turn_detection", "noise_reduction", "include", "rate"),
    *("model", "language", "keywords", "prompt", "threshold", "prefix_padding_ms", "silence_duration_ms"),
    *("create_response", "input_audio_format", "input_audio_transcription"),
]
EVENTS = [UPDATE, BETA_UPDATE, APPEND, COMMIT, CLEAR, "response.create"]
WORDS = ("transcription", "server_vad", "audio/pcm", "pcm16", "echo", "en", "AAAA", "\ud800")

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(WORDS))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(SESSION_KEYS), st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=12,
)
events = st.fixed_dictionaries(
    {"type": st.one_of(st.sampled_from(EVENTS), scalars)},
    optional={"session": values, "audio": scalars, "event_id": scalars},
)
messages = st.one_of(
    st.text(max_size=20), st.binary(max_size=5), st.builds(json.dumps, events), st.builds(json.dumps, values)
)


@settings(max_examples=300, deadline=None)
@given(st.lists(messages, max_size=6))
def test_nothing_that_is_sent_ends_a_session(sent: list[str | bytes]) -> None:
    """What is refused is refused with text that can be sent; audio that comes after it is taken."""
    asyncio.run(talk(sent))


async def talk(sent: list[str | bytes]) -> None:
    session = Session(services(), {}, beta=False)
    for message in sent:
        said, _ = await session.take(message)
        for event in said:
            event_text(event).encode()
    await session.take(json.dumps({"type": CLEAR}))
    audio = base64.b64encode(bytes(8)).decode()
    said, into_stream = await session.take(json.dumps({"type": APPEND, "audio": audio}))
    assert (list(said), len(into_stream)) == ([], 1)
    said, into_stream = await session.take(json.dumps({"type": COMMIT}))
    assert [type(message) for message in into_stream] == [Finalize]


@pytest.mark.parametrize("name", [["a"], {"a": 1}, 1, None])
def test_a_type_that_is_no_name(name: Any) -> None:
    """It is refused like one that is not known."""
    session = Session(services(), {}, beta=False)
    said, _ = asyncio.run(session.take(json.dumps({"type": name})))
    assert said[0]["error"]["param"] == "type"


def test_an_event_that_names_itself_with_half_a_character() -> None:
    """The name comes back as far as it can be written."""
    session = Session(services(), {}, beta=False)
    said, _ = asyncio.run(session.take('{"type": "x", "event_id": "a\\ud800"}'))
    assert json.loads(event_text(said[0]))["error"]["event_id"] == "a?"
