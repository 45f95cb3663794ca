"""The host loop of streams of text of a voice of tokens: text to pieces, pieces to utterances, utterances to audio."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from streamer.audio.resample import MAX_HOLD_BACK_S
from streamer.tasks.base import Decoded, Finding, TaskStep
from streamer.tasks.speaking import Speaking, StepOut, require_no_fault
from streamer.tasks.synthesis_options import SynthesisOptions
from streamer.tasks.token_model import PROGRAM, TokenModel
from streamer.tasks.token_work import Progress, TokenVoicing, TokenWork, pack_token_work, unpack_token_done
from streamer.work import Array, Tensors

# Utterances whose text is read: the one that is spoken, and the next.
_READ_AHEAD = 2


class SpeakTokens(Speaking):
    """Implements `streamer.tasks.base.SpeakingTask`. A step makes one chunk of the bundle's, whatever it is asked for.

    An utterance (`token_text`) is sounded to its end before the next one begins, and begins anew in all graphs: the
    sound of a stream is that of its utterances, one after the other. No times of words are told: how many tokens an
    utterance has is only known when the last one was drawn, and the first ones are heard by then.

    A `flush` that ends no stream is followed by as much silence as resampling holds back.
    """

    def __init__(self, model: TokenModel, options: SynthesisOptions) -> None:
        """Raise `InvalidRequest` for a voice that is not there, and for what tokens cannot do."""
        model.require_possible(options)
        reader = model.reader(options)
        super().__init__(reader)
        temperature = model.temperature if options.temperature is None else options.temperature
        in_blocks = options.pieces == "words"
        self._voicing = TokenVoicing(model.voice(options.voice), options.seed, temperature, in_blocks)
        self._model = model
        self._reader = reader
        self._prompt = model.prompts[self._voicing.voice]
        self.sample_rate = model.sample_rate
        self.frame_samples = model.sound.frame_samples
        self.chunk_samples = self.hop_samples = model.chunk_samples
        self.delay_samples = model.sound.delay_samples
        self.flush_samples = 0
        self._begin()

    def _begin(self) -> None:
        self._progress = Progress()
        # Samples that were said.
        self._said = 0
        # Whether resampling may hold back some of them.
        self._owes_silence = False
        self._is_flushing = self._is_end = False

    @property
    def has_work(self) -> bool:
        """Whether there is audio to be made now, or text to be read before that can be told."""
        if self._can_speak:
            return True
        if self._wants_text:
            self._reader.read()
            if self._reader.has_piece or self._reader.has_unread:
                return True
        return self._is_flushing and (bool(self._progress.scripts) or self._is_silence_due)

    def step(self, chunk: int) -> TaskStep:
        """Return a step that reads the next piece, if there is one, and makes the next chunk, if that can be."""
        piece = None
        if self._wants_text:
            self._reader.read()
            piece = self._reader.take().new_piece() if self._reader.has_piece else None
        self._out = StepOut()
        closes = self._is_flushing and not self._has_text
        return TaskStep(PROGRAM, pack_token_work(TokenWork(self._voicing, self._progress, piece, closes)))

    def complete(self, outputs: Tensors, is_padded: bool = False, interims: bool = True) -> Sequence[Finding]:
        """Take the audio of a step; raises `ModelFault`."""
        out, self._out = self._out, None
        if out is None or out.is_dropped:
            return []
        done = unpack_token_done(outputs)
        require_no_fault(done.fault)
        self._progress = done.progress
        findings = self._audio(done.pcm)
        self._owes_silence = self._owes_silence or bool(findings)
        is_all = self._is_flushing and not self._progress.scripts and not self._has_text
        if is_all and self._is_silence_due:
            findings += self._audio(np.zeros(ceil(MAX_HOLD_BACK_S * self.sample_rate), np.float32))
            self._owes_silence = False
        return findings

    def finish_segment(self) -> Sequence[Finding]:
        """Say that no more audio follows."""
        return [Decoded(np.zeros(0, np.float32), self._said, is_last=True)]

    @property
    def _can_speak(self) -> bool:
        """Whether there is a chunk, or a token of one, to be made of what was read."""
        if not self._progress.scripts:
            return False
        lm, sound = self._progress.lm, self._progress.sound
        if len(lm.said) >= self._model.sound.wanted(sound, self._prompt):
            return True
        script, in_blocks = self._progress.scripts[0], self._voicing.in_blocks
        return self._model.lm.ready(lm, script, in_blocks, self._prompt) is not None

    @property
    def _wants_text(self) -> bool:
        """Whether a piece is to be read: no further than is needed, so that it is known how much text waits."""
        return sum(script.is_complete for script in self._progress.scripts) < _READ_AHEAD

    @property
    def _has_text(self) -> bool:
        return self._reader.has_piece or self._reader.has_unread

    @property
    def _is_silence_due(self) -> bool:
        return self._owes_silence and not self._is_end

    def _audio(self, samples: Array) -> list[Finding]:
        if not len(samples):
            return []
        first, self._said = self._said, self._said + len(samples)
        return [Decoded(samples, first)]
