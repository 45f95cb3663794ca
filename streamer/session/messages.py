"""Everything a client and a server may say to each other; every transport carries exactly these.

Times are int64 samples at the wire rate (the rate that the client declared), counted from the stream's first sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# Defined where the tasks are; a part of the protocol all the same.
from streamer.tasks.codec_options import CodecOptions as CodecOptions
from streamer.tasks.decoding import Alternative as Alternative
from streamer.tasks.decoding import Decoding as Decoding
from streamer.tasks.decoding import Hotword as Hotword
from streamer.tasks.detection import Vad as Vad
from streamer.tasks.endpoint import Endpointing as Endpointing
from streamer.tasks.synthesis_options import SynthesisOptions as SynthesisOptions

Encoding = Literal["pcm_s16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw", "flac", "ogg_opus", "snc1", "text"]
Mode = Literal["live", "file"]
SpeechKind = Literal["speech_start", "speech_end"]


@dataclass(frozen=True, slots=True)
class Resume:
    """Goes on with a stream whose connection was lost.

    `token` is the last one that the server sent, `next_segment` the number of finals that the client has. The rest of
    the config must be what the stream began with. `Ready` says from which sample on to send audio again.
    """

    token: str
    next_segment: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """First message of a stream, sent once. Encoding, sample rate and channels have no default on purpose.

    `mode="live"` holds the client to real time; `mode="file"` takes audio as fast as it can be served, after live
    streams. `model` is a bundle name, or `name@version`; empty means the server's default for the task.
    A `resumable` stream is told in `Flow` what it may forget, and can be taken up again on another connection.
    `codec` says what a stream of task codec makes of its audio or packets. A stream of task synthesize has the encoding
    `text`; its `sample_rate` is that of the audio which comes out, and `synthesis` says how it sounds.
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
    vad: Vad = field(default_factory=Vad)
    resumable: bool = False
    resume: Resume | None = None
    codec: CodecOptions = field(default_factory=CodecOptions)
    synthesis: SynthesisOptions = field(default_factory=SynthesisOptions)


@dataclass(frozen=True, slots=True)
class Audio:
    """Raw audio, or packets, in the declared encoding.

    `first_sample`, if given, must be the number of samples sent before.
    """

    data: bytes
    first_sample: int | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """More of the text that is to be spoken, cut anywhere: the texts of a stream are one text."""

    text: str


@dataclass(frozen=True, slots=True)
class Finalize:
    """Finish the words of all audio sent so far; answered by `Finalized(id)`. The stream stays open.

    In a stream of text: speak all of it that came so far, answered when its audio is out.
    """

    id: str = ""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing to say, still here: restarts the idle timer."""


@dataclass(frozen=True, slots=True)
class Update:
    """Change the endpoint rules from the next step on."""

    endpointing: Endpointing


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Drop all text that is not spoken yet and speak no more of it; answered by `Interrupted(id)`.

    Of streams of text only. The stream stays open; what comes next is spoken as in a new one.
    """

    id: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop what is not yet processed and close; answered by `Done`."""


@dataclass(frozen=True, slots=True)
class End:
    """No more audio: flush, send the last finals and `Done`."""


ClientMessage = Config | Audio | Text | Finalize | KeepAlive | Update | Interrupt | Cancel | End


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
    """The stream is admitted. `chunk_ms` is the step of the model, `delay_ms` its algorithmic delay.

    Audio is sent from `next_sample` on, which is 0 unless the stream is resumed, and controls from number
    `next_control` on, counting `Finalize` and `Update` from 0. `resume_token` is there if the stream is resumable.
    """

    session_id: str
    model: str
    wire_rate: int
    model_rate: int
    chunk_ms: float
    delay_ms: float
    limits: Limits
    next_sample: int = 0
    next_control: int = 0
    resume_token: str | None = None


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
    """All audio sent before `Finalize(id)` is in the finals sent so far.

    In a stream of text: all audio of the text before it is out, and `sample` counts it.
    """

    id: str
    sample: int


@dataclass(frozen=True, slots=True)
class Flow:
    """Where the server is: samples received and processed, audio not yet processed, lag of the last step.

    `lag_ms` is the time from the arrival of the last sample that a step needed to its result leaving the server.

    Only in a resumable stream, and only when they change: audio before `acked_sample` and the first `acked_controls`
    of `Finalize` and `Update` may be forgotten once `resume_token` is kept in the place of the one before.
    """

    received_sample: int
    processed_sample: int
    buffered_ms: float
    lag_ms: float
    acked_sample: int | None = None
    acked_controls: int | None = None
    resume_token: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """Speech begins or ends at `sample`, by the voice activity detector; sent if the config asked for it."""

    kind: str
    sample: int


@dataclass(frozen=True, slots=True)
class Packets:
    """Coded audio: the `data` of all these messages of a stream, in order, is one SNC1 stream.

    `first_sample` and `samples` say which wire samples the packets stand for; the stream's header stands for none.
    """

    data: bytes
    first_sample: int
    samples: int


@dataclass(frozen=True, slots=True)
class AudioOut:
    """Decoded or spoken audio in the output encoding. `first_sample` counts samples at the output rate before it."""

    data: bytes
    first_sample: int


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word as it was written, where it is in the text of the stream, and where in the audio that was made of it.

    Characters are Unicode code points of all text that came, whatever its messages; samples are at the output rate.
    """

    word: str
    start_char: int
    end_char: int
    start_sample: int
    end_sample: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """The words that begin in the audio which follows, up to the next `Spoken`; sent if the config asked for them."""

    words: tuple[SpokenWord, ...]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """No more audio of the text before `Interrupt(id)` follows; `sample` counts all audio of the stream before this."""

    id: str
    sample: int


@dataclass(frozen=True, slots=True)
class Warning:
    """Something the client should know that does not end the stream (for example `draining`)."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Done:
    """Last message of a stream that ended well. `audio_samples` were received; nothing is left unsaid.

    In a stream of text `audio_samples` counts the audio that was sent.
    """

    audio_samples: int
    segments: int
    cancelled: bool = False


ServerMessage = (
    Ready | Result | SpeechEvent | Finalized | Flow | Packets | AudioOut | Spoken | Interrupted | Warning | Done
)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a server serves. `chunk_ms` is its step, `delay_ms` its algorithmic delay at its `sample_rate`.

    `voices` are those of a model that speaks, the first one the default; `word_times` says whether it tells where its
    words are.
    """

    name: str
    version: str
    task: str
    description: str
    languages: tuple[str, ...]
    sample_rate: int
    chunk_ms: float
    delay_ms: float
    is_default: bool
    voices: tuple[str, ...] = ()
    word_times: bool = False

    @property
    def key(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"
