"""What clients might send that no client should: frames, JSON and protobufs, mutated, and messages in any order."""

from __future__ import annotations

import dataclasses
import json
import random
from dataclasses import dataclass

from hypothesis import strategies as st

from streamer.session.messages import (
    Audio,
    Cancel,
    ClientMessage,
    Config,
    End,
    Finalize,
    Interrupt,
    KeepAlive,
    Text,
    Update,
)
from streamer.tasks.decoding import Decoding, Hotword
from streamer.tasks.detection import Vad
from streamer.tasks.endpoint import Endpointing
from streamer.wire import json as wire_json
from streamer.wire import protobuf

CONFIG = Config("pcm_s16le", 16000, 1)


@dataclass(frozen=True)
class Case:
    """Frames for one connection, in order, and whether the client then leaves without a word."""

    frames: tuple[str | bytes, ...]
    leaves: bool


_TEXT = st.text(max_size=12)
_NUMBER = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([0, 1, 8000, 16000, 48000, 2**31]))
_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBER, _TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXT, inner, max_size=3)),
    max_leaves=6,
)
_KEYS = [field.name for kind in (Config, Finalize, Update, Endpointing, Vad) for field in dataclasses.fields(kind)]
_TYPES = [
    "config",
    "finalize",
    "keep_alive",
    "update",
    "cancel",
    "end",
    "text",
    "interrupt",
    "audio",
    "ready",
    "error",
    "",
]

_CONFIGS = st.builds(
    Config,
    encoding=st.sampled_from(["pcm_s16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw", "flac", "ogg_opus", "text"]),
    sample_rate=st.sampled_from([8000, 16000, 44100, 48000, 0, 7999, 192000]),
    channels=st.sampled_from([1, 1, 1, 0, 2]),
    task=st.sampled_from(["transcribe", "transcribe", "vad", "synthesize"]),
    model=st.sampled_from(["", "", "counter-asr", "counter-asr@1.0.0", "../../etc/passwd"]),
    mode=st.sampled_from(["live", "file"]),
    language=st.sampled_from(["", "en", "xx"]),
    interim_results=st.booleans(),
    endpointing=st.builds(Endpointing, max_segment_s=st.floats(-1, 100), silence_after_speech_s=st.floats(-1, 10)),
    decoding=st.builds(
        Decoding,
        st.sampled_from(["", "greedy", "beam"]),
        hotwords=st.lists(st.builds(Hotword, _TEXT), max_size=2).map(tuple),
    ),
    vad=st.builds(Vad, events=st.booleans(), threshold=st.floats(-1, 2)),
    resumable=st.booleans(),
)
_SANE = st.one_of(st.just(CONFIG), st.just(dataclasses.replace(CONFIG, mode="file", resumable=True)))
_LENGTHS = st.sampled_from([0, 1, 2, 3, 320, 641, 3200, 64000, 65536, 65537])
_CONTROLS = st.one_of(
    st.builds(Finalize, _TEXT),
    st.just(KeepAlive()),
    st.just(Cancel()),
    st.just(End()),
    st.builds(Text, _TEXT),
    st.builds(Interrupt, _TEXT),
    st.builds(Update, st.builds(Endpointing, max_segment_s=st.floats(-1, 100))),
)


def _noise(length: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(length)


_NOISE = st.builds(_noise, _LENGTHS, st.integers(0, 99))
# The start of what a container's decoder would look into.
_MAGIC = st.builds(
    lambda magic, rest: magic + rest, st.sampled_from([b"fLaC", b"OggS", b"RIFF", b"\x1aE\xdf\xa3"]), _NOISE
)
_AUDIO = st.builds(Audio, st.one_of(_NOISE, _NOISE, _MAGIC), st.one_of(st.none(), st.none(), st.integers(0, 10**6)))


def _messages(opening: st.SearchStrategy[ClientMessage]) -> st.SearchStrategy[list[ClientMessage]]:
    """A likely course of a stream, or any messages in any order."""
    course = st.builds(
        lambda config, middle, last: [config, *middle, last],
        opening,
        st.lists(st.one_of(_AUDIO, _AUDIO, _CONTROLS), max_size=6),
        _CONTROLS,
    )
    anything = st.lists(st.one_of(_CONFIGS, _AUDIO, _CONTROLS), max_size=6)
    return st.one_of(course, course, anything)


_COURSES = _messages(st.one_of(_SANE, _CONFIGS))


@st.composite
def mutated(draw: st.DrawFn, frame: str | bytes) -> str | bytes:
    """The frame with a few bytes changed, cut or doubled."""
    data = bytearray(frame.encode() if isinstance(frame, str) else frame)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["set", "cut", "double", "insert"]))
        if how == "set" and data:
            data[place] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[place:]
        elif how == "double":
            data += data[:place]
        else:
            data[place:place] = bytes([draw(st.integers(0, 255))])
    return data.decode(errors="replace") if isinstance(frame, str) else bytes(data)


_JSON = st.one_of(
    st.dictionaries(st.sampled_from([*_KEYS, "type", "x"]), _VALUE, max_size=5).map(json.dumps),
    st.builds(
        lambda name, rest: json.dumps({"type": name, **rest}),
        st.sampled_from(_TYPES),
        st.dictionaries(st.sampled_from(_KEYS), _VALUE, max_size=4),
    ),
    _VALUE.map(json.dumps),
    st.text(max_size=40),
    st.sampled_from(["[" * 5000, '{"type":' * 500, '{"type":"config","type":"end"}', "1" * 6000, "\ufeff{}"]),
)


@st.composite
def websocket_cases(draw: st.DrawFn) -> Case:
    """Frames of a WebSocket: messages as JSON and audio as bytes, some of them damaged, and junk between."""
    frames: list[str | bytes] = []
    for message in draw(_COURSES):
        sent = dataclasses.replace(message, first_sample=None) if isinstance(message, Audio) else message
        frame = wire_json.encode_client(sent) if _is_json(sent) else b""
        frames.append(draw(mutated(frame)) if draw(st.integers(0, 9)) == 0 else frame)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        frames.insert(draw(st.integers(0, len(frames))), draw(st.one_of(_JSON, _NOISE, _MAGIC)))
    return Case(tuple(frames), draw(st.booleans()))


@st.composite
def grpc_cases(draw: st.DrawFn) -> Case:
    """Messages of a gRPC call, some of them damaged, and junk between."""
    frames: list[str | bytes] = []
    for message in draw(_COURSES):
        frame = protobuf.encode_client(message).SerializeToString()
        frames.append(draw(mutated(frame)) if draw(st.integers(0, 9)) == 0 else frame)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        frames.insert(draw(st.integers(0, len(frames))), draw(_NOISE))
    return Case(tuple(frames), draw(st.booleans()))


def _is_json(message: ClientMessage) -> bool:
    """Whether it can be written: JSON has no NaN."""
    try:
        wire_json.encode_client(message)
    except ValueError:
        return False
    return True
