"""The loss of a batch by how far a run is: CTC alone, then whole texts, then stops."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from models.careless_whisper import objective
from models.careless_whisper.data import Batch
from models.careless_whisper.objective import Weights
from models.careless_whisper.texts import Texts
from models.common.training import Trainer


@dataclass(frozen=True)
class Stages:
    """Shares of a run that are over when the decoder joins in (`ctc_alone`) and when stops begin (`whole`).

    `stops` counts those of each clip. With `apart`, CTC fits its head and does not change the encoder.
    """

    ctc_alone: float
    whole: float
    stops: int = 4
    apart: bool = False


class Teacher:
    """The loss of `Trainer.run` for a `Learner`."""

    def __init__(self, trainer: Trainer, texts: Texts, weights: Weights, stages: Stages) -> None:
        self._trainer, self._texts, self._weights, self._stages = trainer, texts, weights, stages
        self._rng = np.random.default_rng(trainer.progress.updates)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
        """Loss to minimise, its parts, and the seconds of audio in the batch."""
        model, weights, done = self._trainer.model, self._weights, self._trainer.fraction
        limits = objective.draw_limits(batch.mel.shape[2] // 2, self._rng)
        frames = model.whisper.encoder(batch.mel, objective.encoder_mask(limits))
        log_probs = model.spelling(frames.detach() if self._stages.apart else frames)
        ctc = objective.ctc_loss(log_probs, batch)
        if done < self._stages.ctc_alone:
            return ctc, {"ctc": ctc.item()}, batch.audio_s
        count = None if done < self._stages.whole else self._stages.stops
        lesson = objective.lesson(batch, self._texts, log_probs.detach(), limits, count, self._rng)
        tokens = objective.corrupt(lesson.tokens, self._texts, weights.corrupted, self._rng)
        audio = frames.detach().lerp(frames, weights.through)
        logits, attended = objective.decode_stops(model.whisper.decoder, tokens, lesson.heard, audio)
        said = objective.decoder_loss(logits, lesson, weights.smoothing)
        guide = objective.guide_loss(attended, lesson)
        total = weights.ctc * ctc + weights.decoder * said + weights.guide * guide
        return total, {"ctc": ctc.item(), "decoder": said.item(), "guide": guide.item()}, batch.audio_s
