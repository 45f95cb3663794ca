"""Measure how much less the bands of a trained voice fluctuate than those of recordings: the deviation of `Grain`."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from models.flow_tts import voice
from models.flow_tts.config import FRAME, MELS, TEMPERATURE
from models.flow_tts.export import load_vocoder
from models.flow_tts.generated import generated_mels
from models.flow_tts.grain import Grain
from models.flow_tts.mel import LogMel
from models.flow_tts.pool import Pool, statistics
from models.flow_tts.vocoder import DELAY, Vocoder

FIRST_BAND = 20
"""Below it windows tell harmonics apart, and bands differ for that reason."""
_NEIGHBOURS = 9
_CLIPS, _ROUNDS = 60, 5
_MOST = 0.5


def roughness(mels: Sequence[Tensor]) -> Tensor:
    """Mean square f32[MELS] by which each band differs from the mean of its neighbours, of mels f32[T, MELS]."""
    half = _NEIGHBOURS // 2
    smooth = (
        functional.avg_pool1d(functional.pad(mel[None], (half, half), "replicate"), _NEIGHBOURS, 1) for mel in mels
    )
    return torch.cat([mel - even[0] for mel, even in zip(mels, smooth, strict=True)]).square().mean(0)


@torch.no_grad()
def measured(spoken: voice.Voice, vocoder: Vocoder, folder: Path) -> Iterator[Tensor]:
    """Yield deviations f32[MELS], each closer to those that make speech as rough as the training recordings.

    Speech is made with the recordings' durations and pitch, and heard again: what the vocoder does to the fluctuations
    is accounted for.
    """
    pool, front, (mean, scale) = Pool(folder, "train"), LogMel(), statistics(folder)
    made = dict(islice(generated_mels(spoken, folder, "train", TEMPERATURE), _CLIPS))
    pitches = [torch.from_numpy(pool.pitch(clip)) for clip in made]
    originals = [torch.from_numpy(pool.samples(clip)) for clip in made]
    wanted = roughness([(front(samples[None])[0] - mean) / scale for samples in originals])
    deviation = torch.zeros(MELS)
    for number in range(_ROUNDS):
        rng = torch.Generator().manual_seed(number)
        grain = Grain(deviation)
        heard = []
        for mel, pitch in zip(made.values(), pitches, strict=True):
            rough = mel[None] + grain(TEMPERATURE * torch.randn(1, *mel.shape, generator=rng))
            noise = torch.randn(1, len(mel), FRAME, generator=rng)
            samples = vocoder(rough, pitch[None], noise).flatten(1)[:, DELAY:]
            heard.append((front(functional.pad(samples, (0, DELAY)))[0] - mean) / scale)
        deviation = (deviation.square() + wanted - roughness(heard)).clamp(0, _MOST**2).sqrt()
        deviation[:FIRST_BAND] = 0
        yield deviation


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder of the recordings and their alignments")
    parser.add_argument("--acoustic", type=Path, required=True, help="checkpoint of acoustic_train")
    parser.add_argument("--vocoder", type=Path, required=True, help="checkpoint of vocoder_train")
    parser.add_argument("--out", type=Path, required=True, help="file of the deviations, grain.pt")
    arguments = parser.parse_args()
    spoken, vocoder = voice.load(arguments.acoustic), load_vocoder(arguments.vocoder)
    for deviation in measured(spoken, vocoder, arguments.pool):
        print(f"mean deviation {float(deviation[FIRST_BAND:].mean()):.3f}", flush=True)
        torch.save(deviation, arguments.out)


if __name__ == "__main__":
    main()
