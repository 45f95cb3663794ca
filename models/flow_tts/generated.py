"""Mels as the flow makes them for the recordings, in step with them: so that the vocoder learns what it will be fed."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from models.flow_tts.alignments import read_alignments
from models.flow_tts.expander import places
from models.flow_tts.pool import Clip, Pool
from models.flow_tts.symbols import IDS
from models.flow_tts.voice import Voice


@torch.no_grad()
def generated_mels(
    voice: Voice, folder: Path, split: str, temperature: float, seed: int = 0
) -> Iterator[tuple[Clip, Tensor]]:
    """Yield the clips of a split with normalised mels f32[T, MELS] under the recording's durations and pitch."""
    pool, rng = Pool(folder, split), torch.Generator().manual_seed(seed)
    for one in read_alignments(folder, split):
        symbols = torch.tensor([IDS[symbol] for symbol in one.symbols])
        source, place = places(torch.tensor(one.frames))
        encoded, _ = voice.encoder(symbols[None])
        pitch = torch.from_numpy(pool.pitch(one.clip))[None]
        entered, _ = voice.expander.melody_of(encoded[:, source], place[None])
        mean = voice.expander.mean(entered, pitch)
        noise = torch.randn(mean.shape, generator=rng) * temperature
        yield one.clip, voice.flow(mean, pitch, noise)[0]
