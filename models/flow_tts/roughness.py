"""How much less the bands of a trained voice fluctuate than those of recordings: the deviation of `Grain`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from models.flow_tts.config import FRAME, MELS, TEMPERATURE
from models.flow_tts.generated import generated_mels
from models.flow_tts.grain import Grain
from models.flow_tts.mel import LogMel
from models.flow_tts.pool import Pool, statistics
from models.flow_tts.vocoder import DELAY, Vocoder
from models.flow_tts.voice import Voice

FIRST_BAND = 20
"""Below it windows tell harmonics apart, and bands differ for that reason."""
_NEIGHBOURS = 9
_ROUNDS = 5
_MOST = 0.5


def roughness(mels: Sequence[Tensor]) -> Tensor:
    """Mean square f32[MELS] by which each band differs from the mean of its neighbours, of mels f32[T, MELS]."""
    half = _NEIGHBOURS // 2
    smooth = (
        functional.avg_pool1d(functional.pad(mel[None], (half, half), "replicate"), _NEIGHBOURS, 1) for mel in mels
    )
    return torch.cat([mel - even[0] for mel, even in zip(mels, smooth, strict=True)]).square().mean(0)


@torch.no_grad()
def deviations(spoken: Voice, vocoder: Vocoder, folder: Path) -> Iterator[Tensor]:
    """Yield deviations f32[MELS], each closer to those that make speech as rough as the tuning recordings.

    Speech is made with the recordings' durations and pitch, and heard again: what the vocoder does to the fluctuations
    is accounted for.
    """
    pool, front, (mean, scale) = Pool(folder, "tune"), LogMel(), statistics(folder)
    made = dict(generated_mels(spoken, folder, "tune", TEMPERATURE))
    pitches = [torch.from_numpy(pool.pitch(clip)) for clip in made]
    originals = [torch.from_numpy(pool.samples(clip)) for clip in made]
    wanted = roughness([(front(samples[None])[0] - mean) / scale for samples in originals])
    deviation = torch.zeros(MELS)
    for number in range(_ROUNDS):
        rng, grain = torch.Generator().manual_seed(number), Grain(deviation)
        spoken_again = (
            _vocoded(vocoder, mel, pitch, grain, rng) for mel, pitch in zip(made.values(), pitches, strict=True)
        )
        heard = roughness([(front(samples)[0] - mean) / scale for samples in spoken_again])
        deviation = (deviation.square() + wanted - heard).clamp(0, _MOST**2).sqrt()
        deviation[:FIRST_BAND] = 0
        yield deviation


def _vocoded(vocoder: Vocoder, mel: Tensor, pitch: Tensor, grain: Grain, rng: torch.Generator) -> Tensor:
    """Samples f32[1, n] of a mel f32[T, MELS] with its grain, in their place."""
    rough = mel[None] + grain(TEMPERATURE * torch.randn(1, *mel.shape, generator=rng))
    noise = torch.randn(1, len(mel), FRAME, generator=rng)
    samples = vocoder(rough, pitch[None], noise).flatten(1)[:, DELAY:]
    return functional.pad(samples, (0, DELAY))
