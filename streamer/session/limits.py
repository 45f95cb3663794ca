"""What a stream is held to, and the checks of what a client sends."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.audio.encodings import COMPRESSED, SNC1, TEXT, check_format
from streamer.audio.pcm import count_samples
from streamer.errors import InvalidRequest, MessageTooLarge, TooFast
from streamer.session.messages import (
    Audio,
    CodecOptions,
    Config,
    End,
    Finalize,
    Interrupt,
    Limits,
    SynthesisOptions,
    Text,
    Update,
)
from streamer.tasks.codec_options import check_codec
from streamer.tasks.decoding import check_decoding
from streamer.tasks.detection import check_vad
from streamer.tasks.endpoint import check_endpointing
from streamer.tasks.registry import KINDS
from streamer.tasks.synthesis_options import check_synthesis

MODES = ("live", "file")
CODEC = "codec"
SYNTHESIZE = "synthesize"
MAX_ID_CHARS = 128
# Controls that wait for the audio before them. Each may stand for a second of padding, so there must be an end to it.
MAX_PENDING_CONTROLS = 64
# Text of a live stream that was not spoken yet: more than an hour of it.
MOST_WAITING_CHARS = 65536


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Limits of one stream, announced in `Ready`, and how often `Flow` is sent and a resume point is taken."""

    max_frame_bytes: int = 65536
    max_frame_ms: int = 2000
    max_ahead_ms: int = 10_000
    idle_timeout_ms: int = 30_000
    max_session_ms: int | None = None
    flow_interval_ms: int = 1000
    resume_interval_ms: int = 2000

    def limits(self) -> Limits:
        """Return the part that clients are told."""
        return Limits(
            max_frame_bytes=self.max_frame_bytes,
            max_frame_ms=self.max_frame_ms,
            max_ahead_ms=self.max_ahead_ms,
            idle_timeout_ms=self.idle_timeout_ms,
            max_session_ms=self.max_session_ms,
        )


def check_config(config: Config) -> None:
    """Raise `InvalidRequest` unless the config can be served; whether its model exists is the host's to say."""
    check_format(config.encoding, config.sample_rate, config.channels)
    if config.task not in KINDS:
        raise InvalidRequest(f"expected task {' or '.join(KINDS)}, got {config.task!r}")
    if config.mode not in MODES:
        raise InvalidRequest(f"expected mode {' or '.join(MODES)}, got {config.mode!r}")
    check_endpointing(config.endpointing)
    check_decoding(config.decoding)
    check_vad(config.vad)
    _check_task(config)
    _check_speech(config)
    if config.resumable:
        check_resumable(config)


def _check_task(config: Config) -> None:
    """Packets are for codecs alone, and so are their options; a codec hears no words and no speech."""
    if config.task != CODEC:
        if config.encoding == SNC1:
            raise InvalidRequest(f"expected task {CODEC} for encoding {SNC1}, got {config.task!r}")
        if config.codec != CodecOptions():
            raise InvalidRequest(f"expected no codec options for task {config.task}, got some")
        return
    check_codec(config.codec, config.encoding)
    if config.vad.wanted:
        raise InvalidRequest(f"expected no vad in a stream of task {CODEC}, got vad.events or vad.gate")


def _check_speech(config: Config) -> None:
    """Text is for voices alone, and so are their options; a voice hears nothing."""
    if config.task != SYNTHESIZE:
        if config.encoding == TEXT:
            raise InvalidRequest(f"expected task {SYNTHESIZE} for encoding {TEXT}, got {config.task!r}")
        if config.synthesis != SynthesisOptions():
            raise InvalidRequest(f"expected no synthesis options for task {config.task}, got some")
        return
    if config.encoding != TEXT:
        raise InvalidRequest(f"expected encoding {TEXT} for task {SYNTHESIZE}, got {config.encoding}")
    check_synthesis(config.synthesis)
    if config.vad.wanted:
        raise InvalidRequest(f"expected no vad in a stream of task {SYNTHESIZE}, got vad.events or vad.gate")


def check_resumable(config: Config) -> None:
    """Raise `InvalidRequest` for a stream that could not be taken up again after a lost connection."""
    if config.task in (CODEC, SYNTHESIZE):
        raise InvalidRequest(f"expected a task of words for a stream that can be resumed, got {config.task}")
    check_snapshot(config)
    if config.vad.gate:
        raise InvalidRequest("expected no vad.gate in a stream that can be resumed, vad.events alone can be")


def check_snapshot(config: Config) -> None:
    """Raise `InvalidRequest` for streams that cannot be written down and gone on with: those that are compressed.

    Their decoders hold state of their own, and their bytes have no sample numbers to go on from.
    """
    if config.encoding in COMPRESSED:
        raise InvalidRequest(f"expected a pcm encoding for a stream that can be resumed, got {config.encoding}")


def check_frame(audio: Audio, config: Config, received: int, settings: SessionSettings) -> int:
    """Return how many samples of PCM the frame holds.

    `received` is the number of samples before it. Raises `MessageTooLarge`, or `InvalidRequest` for a gap or a cut
    sample.
    """
    check_bytes(audio, settings)
    samples = count_samples(len(audio.data), config.encoding)
    if samples * 1000 > settings.max_frame_ms * config.sample_rate:
        length_ms = samples * 1000 / config.sample_rate
        raise MessageTooLarge(f"audio frame of {length_ms:g} ms exceeds the limit of {settings.max_frame_ms} ms")
    if audio.first_sample is not None and audio.first_sample != received:
        raise InvalidRequest(f"expected first_sample {received}, got {audio.first_sample}")
    return samples


def check_bytes(audio: Audio, settings: SessionSettings) -> None:
    """Raise `MessageTooLarge` for a frame of too many bytes, whatever they hold."""
    if len(audio.data) > settings.max_frame_bytes:
        limit = settings.max_frame_bytes
        raise MessageTooLarge(f"audio frame of {len(audio.data)} bytes exceeds the limit of {limit} bytes")


def check_text_size(text: Text, settings: SessionSettings) -> None:
    """Raise `MessageTooLarge` for a text of too many bytes in UTF-8."""
    size, limit = len(text.text.encode("utf-8", "surrogatepass")), settings.max_frame_bytes
    if size > limit:
        raise MessageTooLarge(f"text of {size} bytes exceeds the limit of {limit} bytes, send smaller parts")


def check_pace(received: int, config: Config, elapsed_s: float, settings: SessionSettings) -> None:
    """Raise `TooFast` when live audio of `received` samples is too far ahead of `elapsed_s`, the age of the stream."""
    ahead_ms = 1000 * (received / config.sample_rate - elapsed_s)
    if config.mode == "live" and ahead_ms > settings.max_ahead_ms:
        limit = f"limit is {settings.max_ahead_ms} ms, mode file has none"
        raise TooFast(f"audio is {ahead_ms:.0f} ms ahead of real time, {limit}")


def check_interrupt(message: Interrupt) -> None:
    """Raise `InvalidRequest` for an id that is too long."""
    if len(message.id) > MAX_ID_CHARS:
        raise InvalidRequest(f"expected an interrupt id of at most {MAX_ID_CHARS} characters, got {len(message.id)}")


def check_task_control(message: Finalize | Update | End, task: str) -> None:
    """Raise `InvalidRequest` for a control that means nothing to `task`."""
    if task == SYNTHESIZE and isinstance(message, Update):
        raise InvalidRequest(f"expected no update in a stream of task {SYNTHESIZE}, which hears no pauses")
    if task == CODEC and not isinstance(message, End):
        name = type(message).__name__.lower()
        raise InvalidRequest(f"expected no {name} in a stream of task {CODEC}, which has no segments")


def check_control(message: Finalize | Update | End, n_pending: int) -> None:
    """Raise `InvalidRequest` for a bad value, or when `n_pending` controls wait for the audio before them already."""
    if isinstance(message, Update):
        check_endpointing(message.endpointing)
    if isinstance(message, Finalize) and len(message.id) > MAX_ID_CHARS:
        raise InvalidRequest(f"expected a finalize id of at most {MAX_ID_CHARS} characters, got {len(message.id)}")
    if n_pending >= MAX_PENDING_CONTROLS and not isinstance(message, End):
        raise InvalidRequest(f"expected at most {MAX_PENDING_CONTROLS} controls that wait for earlier audio")
