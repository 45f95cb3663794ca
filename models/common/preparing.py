"""From packs and sentences to a vocabulary and feature shards: what every recogniser's `prepare` is made of."""

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from models.common import packs, synthesis, text
from models.common.shards import Entry, ShardWriter

FRAMES_PER_HOUR = 360_000
_DEV_SENTENCES = 100

FrontEnd = Callable[[torch.Tensor], torch.Tensor]
"""Samples f32[1, n] at 16 kHz to rows f32[1, frames, mels], one every 10 ms."""


def write_vocabulary(data: Path, out: Path, size: int) -> None:
    """Train `size` BPE pieces on the packs' training transcripts and the sentences."""
    transcripts = [
        text.normalise(utterance.text)
        for pack in packs.TRANSCRIBED
        for utterance in packs.read_manifest(data / f"{pack}.tar")
        if utterance.split == "train" and pack != "commands"
    ]
    sentences = text.read_sentences(data / "sentences.txt.gz")[::3]
    lines = [line for line in transcripts + sentences if line]
    text.train_pieces(lines, out / "pieces", size).write_tokens(out / "tokens.txt")


def write_real(data: Path, out: Path, front_end: FrontEnd, speeds: Sequence[float]) -> None:
    """Write shards of the transcribed packs at all speeds, and of the noise pack."""
    jobs = [(pack, speed) for speed in speeds for pack in packs.TRANSCRIBED] + [(packs.NOISE, 1.0)]
    for pack, speed in jobs:
        writer = ShardWriter(out, f"{pack}-{round(100 * speed):03d}")
        for entry, samples in _real_clips(data / f"{pack}.tar", speed):
            writer.add(entry, features(front_end, samples))
        writer.flush()
        print(f"wrote {pack} at speed {speed}", flush=True)


def write_synthetic(data: Path, out: Path, front_end: FrontEnd, hours: float, seed: int) -> None:
    """Write a small dev shard of held-out sentences, then training shards up to the hours asked."""
    rng = random.Random(seed)
    sentences = text.read_sentences(data / "sentences.txt.gz")
    rng.shuffle(sentences)
    unseen = [sentence for sentence in sentences if text.held_out(sentence)][:_DEV_SENTENCES]
    _synthesise(out, "dev", unseen, rng, front_end, FRAMES_PER_HOUR)
    seen = [sentence for sentence in sentences if not text.held_out(sentence)]
    _synthesise(out, "train", seen, rng, front_end, round(hours * FRAMES_PER_HOUR))


def features(front_end: FrontEnd, samples: np.ndarray) -> np.ndarray:
    """Rows f32[frames, mels] of f32[n] samples, with inaudible noise in place of digital silence."""
    seed = zlib.crc32(samples[:1000].tobytes())
    dither = np.random.default_rng(seed).standard_normal(len(samples), dtype=np.float32) * 1e-5
    with torch.inference_mode():
        return front_end(torch.from_numpy(samples + dither)[None])[0].numpy()


def _synthesise(
    out: Path, split: str, sentences: list[str], rng: random.Random, front_end: FrontEnd, frames: int
) -> None:
    """Write shards of `sentences` in drawn voices, until `frames` rows are full."""
    writer, written = ShardWriter(out, f"synthetic-{split}"), 0
    for sentence in sentences:
        if written >= frames:
            break
        voice = synthesis.draw_voice(rng)
        rows = features(front_end, synthesis.synthesise(sentence, voice))
        writer.add(Entry(sentence, "synthetic", split, "synthetic", f"{voice.engine}:{voice.name}"), rows)
        written += len(rows)
    writer.flush()


def _real_clips(path: Path, speed: float) -> Iterator[tuple[Entry, np.ndarray]]:
    """Yield the pack's usable clips; only training clips exist at speeds other than one."""
    for utterance, samples, rate in packs.read_pack(path, None if speed == 1.0 else "train"):
        kind = "noise" if utterance.pack == packs.NOISE else "real"
        words = text.normalise(utterance.text)
        if kind == "noise" or words:
            entry = Entry(words, kind, utterance.split, utterance.pack, utterance.speaker)
            yield entry, packs.resample(samples, rate, speed)
