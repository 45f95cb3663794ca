"""Write the recogniser's vocabulary and feature shards: real speech first, then synthetic speech."""

import argparse
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from models.common import packs, synthesis, text
from models.common.features import LogMel
from models.common.shards import Entry, ShardWriter
from models.transducer.config import Config

SPEEDS = (1.0, 0.9, 1.1)
FRAMES_PER_HOUR = 360_000
_DEV_SENTENCES = 100


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="folder for vocabulary and shards")
    parser.add_argument("--synthetic-hours", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("vocabulary", "real", "synthetic"), help="run one stage")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    stages = {"vocabulary": write_vocabulary, "real": write_real, "synthetic": write_synthetic}
    for name in [arguments.only] if arguments.only else stages:
        stages[name](arguments)


def write_vocabulary(arguments: argparse.Namespace) -> None:
    """Train the BPE pieces on the packs' training transcripts and the sentences."""
    transcripts = [
        text.normalise(utterance.text)
        for pack in packs.TRANSCRIBED
        for utterance in packs.read_manifest(arguments.data / f"{pack}.tar")
        if utterance.split == "train" and pack != "commands"
    ]
    sentences = text.read_sentences(arguments.data / "sentences.txt.gz")[::3]
    lines = [line for line in transcripts + sentences if line]
    pieces = text.train_pieces(lines, arguments.out / "pieces", Config().vocabulary)
    pieces.write_tokens(arguments.out / "tokens.txt")


def write_real(arguments: argparse.Namespace) -> None:
    """Write shards of the transcribed packs at three speeds, and of the noise pack."""
    log_mel = LogMel()
    jobs = [(pack, speed) for speed in SPEEDS for pack in packs.TRANSCRIBED] + [(packs.NOISE, 1.0)]
    for pack, speed in jobs:
        writer = ShardWriter(arguments.out, f"{pack}-{round(100 * speed):03d}")
        for entry, samples in _real_clips(arguments.data / f"{pack}.tar", speed):
            writer.add(entry, _features(log_mel, samples))
        writer.flush()
        print(f"wrote {pack} at speed {speed}", flush=True)


def write_synthetic(arguments: argparse.Namespace) -> None:
    """Write a small dev shard of held-out sentences, then training shards up to the hours asked."""
    rng = random.Random(arguments.seed)
    sentences = text.read_sentences(arguments.data / "sentences.txt.gz")
    rng.shuffle(sentences)
    unseen = [sentence for sentence in sentences if text.held_out(sentence)][:_DEV_SENTENCES]
    _synthesise(arguments.out, "dev", unseen, rng, FRAMES_PER_HOUR)
    seen = [sentence for sentence in sentences if not text.held_out(sentence)]
    _synthesise(arguments.out, "train", seen, rng, round(arguments.synthetic_hours * FRAMES_PER_HOUR))


def _synthesise(folder: Path, split: str, sentences: list[str], rng: random.Random, frames: int) -> None:
    """Write shards of `sentences` in drawn voices, until `frames` log-mel rows are full."""
    log_mel, writer, written = LogMel(), ShardWriter(folder, f"synthetic-{split}"), 0
    for sentence in sentences:
        if written >= frames:
            break
        voice = synthesis.draw_voice(rng)
        rows = _features(log_mel, synthesis.synthesise(sentence, voice))
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


def _features(log_mel: LogMel, samples: np.ndarray) -> np.ndarray:
    """Log-mel f32[frames, mels] of f32[n] samples, with inaudible noise in place of digital silence."""
    seed = zlib.crc32(samples[:1000].tobytes())
    dither = np.random.default_rng(seed).standard_normal(len(samples), dtype=np.float32) * 1e-5
    with torch.inference_mode():
        return log_mel(torch.from_numpy(samples + dither)[None])[0].numpy()


if __name__ == "__main__":
    main()
