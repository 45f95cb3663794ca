"""Recordings put through mel, pitch and the vocoder: what the vocoder alone does to a voice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
import torch

from models.flow_tts.config import FRAME, RATE
from models.flow_tts.mel import LogMel
from models.flow_tts.pool import quantised_pitch, statistics
from models.flow_tts.speakers import Speech
from models.flow_tts.vocoder import load_vocoder
from models.flow_tts.vocoder_train import resynthesise


def copy_synthesis(checkpoint: Path, pool: Path) -> Callable[[Speech], Speech]:
    """How a vocoder's checkpoint says a recording, with the scale of the mel of a training pool's folder."""
    vocoder, front, scale = load_vocoder(checkpoint), LogMel(), statistics(pool)

    @torch.no_grad()
    def through(speech: Speech) -> Speech:
        samples, rate = speech
        heard = soxr.resample(samples, rate, RATE) if rate != RATE else samples
        heard = np.pad(heard, (0, -len(heard) % FRAME)).astype(np.float32)
        pitch = torch.from_numpy(quantised_pitch(heard).astype(np.int64))
        made = resynthesise(vocoder, front, torch.from_numpy(heard)[None], pitch[None], scale)
        return made[0].numpy(), RATE

    return through
