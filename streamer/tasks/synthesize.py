"""The host loop of streams of text: text to pieces, pieces to frames, frames to audio, and where its words are."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from streamer.audio.resample import MAX_HOLD_BACK_S
from streamer.errors import ModelFault
from streamer.tasks.base import Decoded, Finding, SpokenSpan, TaskStep, Uttered
from streamer.tasks.speaking import Speaking, StepOut, require_no_fault
from streamer.tasks.synthesis_options import SynthesisOptions
from streamer.tasks.voice_model import VoiceModel
from streamer.tasks.voice_names import PROGRAM
from streamer.tasks.voice_pacing import FIRST
from streamer.tasks.voice_reading import Reading, VoiceText
from streamer.tasks.voice_work import Done, Voicing, Work, pack_work, unpack_done
from streamer.work import Array, Tensors


@dataclass(slots=True)
class _Out(StepOut):
    """The piece that is read in it, and the frames that it is to sound."""

    reading: Reading | None
    frames: int


class Synthesize(Speaking):
    """Implements `streamer.tasks.base.SpeakingTask`. A step makes the next frames, and those of a new piece if it must.

    Frames count on from piece to piece, and so do the caches of the model: there are no joins. The first
    `delay_samples` that leave the model are dropped; `flush` feeds frames like the last one until they have pushed out
    what was to be said. Where the stream goes on after that they are a pause of some hundredths of a second.
    """

    def __init__(self, model: VoiceModel, text: VoiceText, options: SynthesisOptions) -> None:
        self._model = model
        temperature = model.temperature if options.temperature is None else options.temperature
        self._voicing = Voicing(model.voice(options.voice), options.speed, options.seed, temperature)
        self._reader = text.reader(options)
        super().__init__(self._reader)
        self._tells_words = options.word_times
        self._no_frames = np.zeros((0, model.bands), np.float32)
        self._out: _Out | None = None
        self.sample_rate = model.sample_rate
        self.frame_samples = model.frame_samples
        self.chunk_samples = self.hop_samples = FIRST * model.frame_samples
        self.delay_samples = model.delay_samples
        self.flush_samples = 0
        self._begin()

    def _begin(self) -> None:
        # Frames that are to be sounded, and the last one there was.
        self._prior = self._no_frames
        self._last = self._no_frames
        self._sounded = 0
        # Where the audio ends, in samples, once that is known.
        self._end: int | None = None
        # Words whose audio was not returned yet.
        self._words: deque[SpokenSpan] = deque()
        self._is_flushing = self._is_end = False
        # Whether what pushes out the last sample was added.
        self._has_tail = True

    @property
    def has_work(self) -> bool:
        """Whether there is audio to be made now, or text to be read before that can be told."""
        if not len(self._prior):
            self._reader.read()
        if len(self._prior) or self._reader.has_piece or self._reader.has_unread:
            return True
        if self._is_flushing:
            self._add_tail()
        return len(self._prior) > 0

    def step(self, chunk: int) -> TaskStep:
        """Return a step that makes up to `chunk` frames."""
        reading = None
        if len(self._prior) < chunk:
            self._reader.read()
            reading = self._reader.take() if self._reader.has_piece else None
            if reading is None and self._is_flushing and not self._reader.has_unread:
                self._add_tail()
        self._out = _Out(reading, chunk)
        work = Work(
            voicing=self._voicing,
            prior=self._prior,
            frames=chunk,
            first_frame=self._sounded,
            piece=None if reading is None else reading.new_piece(),
            is_first=not self._sounded,
        )
        return TaskStep(PROGRAM, pack_work(work))

    def complete(self, outputs: Tensors, is_padded: bool = False, interims: bool = True) -> Sequence[Finding]:
        """Take the audio of a step; returns it, but for the model's delay, after the words that begin in it."""
        out, self._out = self._out, None
        if out is None or out.is_dropped:
            return []
        done = unpack_done(outputs)
        self._check(done, out)
        if out.reading is not None and done.durations is not None:
            first = self._sounded + len(self._prior)
            self._words.extend(out.reading.words(done.durations, first, self.frame_samples))
            self._has_tail = self._has_tail and not done.durations.any()
        self._prior = done.prior
        self._last = done.last if len(done.last) else self._last
        return self._said(done.pcm)

    def finish_segment(self) -> Sequence[Finding]:
        """Say that no more audio follows."""
        words, self._words = tuple(self._words), deque()
        last = Decoded(np.zeros(0, np.float32), self._sounded * self.frame_samples, is_last=True)
        return [Uttered(words), last] if words and self._tells_words else [last]

    def _check(self, done: Done, out: _Out) -> None:
        """Raise `ModelFault` for what no graph may return."""
        require_no_fault(done.fault)
        expected = len(self._prior) + (0 if done.durations is None else int(done.durations.sum()))
        if len(done.pcm) + len(done.prior) != expected or len(done.pcm) != min(expected, out.frames):
            got = f"{len(done.pcm)} and {len(done.prior)}"
            raise ModelFault(f"expected {min(expected, out.frames)} of {expected} frames to be sounded, got {got}")

    def _add_tail(self) -> None:
        """Frames like the last one, which push out the samples that the model and resampling hold back."""
        if self._has_tail:
            return
        self._has_tail = True
        if self._is_end:
            self._end = (self._sounded + len(self._prior)) * self.frame_samples
        resampling = 0 if self._is_end else ceil(MAX_HOLD_BACK_S * self.sample_rate)
        frames = ceil((self.delay_samples + resampling) / self.frame_samples)
        self._prior = np.concatenate((self._prior, np.repeat(self._last, frames, axis=0)))

    def _said(self, pcm: Array) -> Sequence[Finding]:
        """Return the audio of frames `[n, frame_samples]` that were just sounded, after the words that begin in it."""
        frame = self.frame_samples
        first = self._sounded * frame - self.delay_samples
        self._sounded += len(pcm)
        end = self._sounded * frame - self.delay_samples
        if self._end is not None:
            end = min(end, self._end)
        start = max(first, 0)
        if start >= end:
            return []
        words = []
        while self._words and self._words[0].start_sample < end:
            words.append(self._words.popleft())
        audio = Decoded(pcm.reshape(-1)[start - first : end - first], start)
        return [Uttered(tuple(words)), audio] if words and self._tells_words else [audio]
