"""What a session asks of a task. A task sees model-rate audio and model-rate sample positions only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamer.tasks.decoding import Alternative
from streamer.tasks.endpoint import Endpointing
from streamer.work import Array, Tensors


@dataclass(frozen=True, slots=True)
class TaskStep:
    """One graph or program call of a stream: `inputs` without the batch axis, `start` the groups to begin anew."""

    target: str
    inputs: Tensors
    start: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class WordSpan:
    """A word between two model-rate samples, with a confidence from 0 to 1."""

    word: str
    start_sample: int
    end_sample: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of a segment so far, or for good (`is_final`); times are model-rate samples of the stream.

    A final holds the best texts, the first of them `text`, if `Decoding.n_best` asks for more than one.
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
    words: tuple[WordSpan, ...]
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Activity:
    """Speech begins or ends (`speech_start`, `speech_end`) at a model-rate sample of the stream."""

    kind: str
    sample: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """The next bytes of a coded stream; they stand for the model samples from `start_sample` to `end_sample`."""

    data: bytes
    start_sample: int
    end_sample: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """Decoded audio, float32 `[n]` at the model's rate, from the model sample `start_sample` of the output on."""

    samples: Array
    start_sample: int
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class SpokenSpan:
    """A word as it was written, between two characters of the stream's text and two model-rate samples of its audio."""

    word: str
    start_char: int
    end_char: int
    start_sample: int
    end_sample: int


@dataclass(frozen=True, slots=True)
class Uttered:
    """The words that begin in the audio which follows."""

    words: tuple[SpokenSpan, ...]


Finding = Transcript | Activity | Encoded | Decoded | Uttered
"""What a task has to say."""


class Task(Protocol):
    """The host loop of one stream. At most one step is out at a time; everything in it is plain data.

    The session cuts audio into chunks of `chunk_samples` with `hop_samples` new ones, so a task never sees
    packets. `flush_samples` is how much silence must follow the last sample until every word has left the model.
    """

    sample_rate: int
    chunk_samples: int
    hop_samples: int
    delay_samples: int
    flush_samples: int

    def step(self, chunk: Any) -> TaskStep:
        """Turn the next chunk into a step; asked again, it says the same.

        A chunk is float32 `[chunk_samples]`, or what a stream of packets brings (`codec_work.Arrival`), or of a stream
        of text how many frames are wanted.
        """

    def complete(self, outputs: Tensors, is_padded: bool = False, interims: bool = True) -> Sequence[Finding]:
        """Take the outputs of the step that is out; return what can be said now, finals only unless `interims`.

        `is_padded` says that the chunk ends in silence that the session made up, which no rule may take for a pause.
        Raises `ModelFault` for outputs that the manifest does not allow.
        """

    def skip(self, is_padded: bool = False, interims: bool = True) -> Sequence[Finding]:
        """Take the next chunk, which no step was made of, for silence; returns what a step that heard nothing would.

        The next step starts every state group anew, so that what it says depends on no audio before the gap.
        """

    def end_at(self, sample: int) -> None:
        """No audio follows the model sample `sample` but padding; told once, before the steps of that padding end."""

    def finish_segment(self) -> Sequence[Finding]:
        """Close the open segment: its final, if it has any words. Called once its audio is flushed."""

    def update(self, endpointing: Endpointing) -> None:
        """Take new endpoint rules from the next step on."""

    def state(self) -> dict[str, Any]:
        """Return everything the task remembers, as JSON-compatible data."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""


class SpeakingTask(Task, Protocol):
    """The host loop of a stream of text. It is told of text as it comes, and asked for a step whenever it `has_work`.

    Samples count from the last `interrupt`.
    """

    frame_samples: int

    @property
    def has_work(self) -> bool:
        """Whether a step can be made now, of audio or of text to be read. Not to be asked while a step is out."""

    @property
    def waiting_chars(self) -> int:
        """Characters that came and are not cut into pieces yet."""

    @property
    def is_flushed(self) -> bool:
        """Whether all audio has been returned that `flush` asked for."""

    def take_text(self, text: str) -> None:
        """Take more text; raises `InvalidRequest` for characters that no text holds."""

    def flush(self, is_end: bool) -> None:
        """Speak all text, and return its audio to the last sample; no text follows if it `is_end`.

        No text may be taken until it `is_flushed`.
        """

    def interrupt(self) -> None:
        """Drop all text and audio, also that of the step that is out; what comes next is spoken as in a new stream."""
