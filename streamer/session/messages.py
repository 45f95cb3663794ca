"""Everything a client and a server may say to each other; every transport carries exactly these.

Times are int64 samples at the wire rate (the rate that the client declared), counted from the stream's first sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# Defined where the tasks are; a part of the protocol all the same.
from streamer.tasks.decoding import Alternative as Alternative
from streamer.tasks.decoding import Decoding as Decoding
from streamer.tasks.decoding import Hotword as Hotword
from streamer.tasks.endpoint import Endpointing as Endpointing

Encoding = Literal["pcm_s16le", "pcm_f32le"]
Mode = Literal["live", "file"]


@dataclass(frozen=True, slots=True)
class Config:
    """First message of a stream, sent once. Encoding, sample rate and channels have no default on purpose.

    `mode="live"` holds the client to real time; `mode="file"` takes audio as fast as it can be served, after live
    streams. `model` is a bundle name, or `name@version`; empty means the server's default for the task.
    """

    encoding: str
    sample_rate: int
    channels: int
    task: str = "transcribe"
    model: str = ""
    mode: str = "live"
    language: str = ""
    interim_results: bool = True
    endpointing: Endpointing = field(default_factory=Endpointing)
    decoding: Decoding = field(default_factory=Decoding)


@dataclass(frozen=True, slots=True)
class Audio:
    """Raw audio in the declared encoding. `first_sample`, if given, must be the number of samples sent before."""

    data: bytes
    first_sample: int | None = None


@dataclass(frozen=True, slots=True)
class Finalize:
    """Finish the words of all audio sent so far; answered by `Finalized(id)`. The stream stays open."""

    id: str = ""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing to say, still here: restarts the idle timer."""


@dataclass(frozen=True, slots=True)
class Update:
    """Change the endpoint rules from the next step on."""

    endpointing: Endpointing


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop what is not yet processed and close; answered by `Done`."""


@dataclass(frozen=True, slots=True)
class End:
    """No more audio: flush, send the last finals and `Done`."""


ClientMessage = Config | Audio | Finalize | KeepAlive | Update | Cancel | End


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server holds this stream to."""

    max_frame_bytes: int
    max_frame_ms: int
    max_ahead_ms: int
    idle_timeout_ms: int
    max_session_ms: int | None


@dataclass(frozen=True, slots=True)
class Ready:
    """The stream is admitted. `chunk_ms` is the step of the model, `delay_ms` its algorithmic delay."""

    session_id: str
    model: str
    wire_rate: int
    model_rate: int
    chunk_ms: float
    delay_ms: float
    limits: Limits


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its place in the audio and a confidence from 0 to 1."""

    word: str
    start_sample: int
    end_sample: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Result:
    """The text of a segment so far.

    The first `stable_chars` characters of `text` stay as they are in later revisions. A final is sent once per segment
    and never changes; `end_of_turn` says that silence ended it. A final has `alternatives`, best first and `text` the
    first of them, if the config asked for more than one.
    """

    segment_id: int
    revision: int
    text: str
    stable_chars: int
    is_final: bool
    end_of_turn: bool
    start_sample: int
    end_sample: int
    confidence: float
    words: tuple[Word, ...] = ()
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Finalized:
    """All audio sent before `Finalize(id)` is in the finals sent so far."""

    id: str
    sample: int


@dataclass(frozen=True, slots=True)
class Flow:
    """Where the server is: samples received and processed, audio not yet processed, lag of the last step.

    `lag_ms` is the time from the arrival of the last sample that a step needed to its result leaving the server.
    """

    received_sample: int
    processed_sample: int
    buffered_ms: float
    lag_ms: float


@dataclass(frozen=True, slots=True)
class Warning:
    """Something the client should know that does not end the stream (for example `draining`)."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Done:
    """Last message of a stream that ended well. `audio_samples` were received; nothing is left unsaid."""

    audio_samples: int
    segments: int
    cancelled: bool = False


ServerMessage = Ready | Result | Finalized | Flow | Warning | Done
