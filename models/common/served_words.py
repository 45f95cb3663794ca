"""Word error rates of a bundle through the server's own code: the files go through `streamer transcribe`."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import soundfile

SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Spoken:
    """A recording f32[n] at 16 kHz and what was said, normalised as the recogniser writes."""

    text: str
    samples: np.ndarray


@dataclass(frozen=True)
class Score:
    """Pooled figures over a set; `cpu_ratio` is processor seconds per second of audio, start-up included."""

    utterances: int
    words: int
    audio_s: float
    word_error: float
    character_error: float
    cpu_ratio: float

    def row(self, name: str) -> str:
        """One line of the card's table."""
        return (
            f"| {name} | {self.utterances} | {self.words} | {100 * self.word_error:.1f} % "
            f"| {100 * self.character_error:.1f} % | {self.cpu_ratio:.3f} |"
        )


HEADER = (
    "| set | utterances | words | WER | CER | CPU s per audio s |\n"
    "|---|---|---|---|---|---|"
)  # fmt: skip


def transcripts(spoken: Sequence[Spoken], bundle: Path) -> tuple[list[str], float]:
    """Run every recording through `streamer transcribe` with `bundle`; returns texts in order, and CPU seconds.

    Raises `RuntimeError` with the command's complaint if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        for index, item in enumerate(spoken):
            soundfile.write(f"{folder}/{index:06d}.wav", item.samples, SAMPLE_RATE, "FLOAT")
        command = [
            *(sys.executable, "-m", "streamer.cli.main", "transcribe", folder, "--format", "jsonl", "--quiet"),
            *("--bundle-path", str(bundle.parent), "--model", bundle.name),
        ]
        before = os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = os.times()
    if done.returncode != 0:
        raise RuntimeError(f"streamer transcribe ended with status {done.returncode}: {done.stderr.strip()}")
    texts: Mapping[str, str] = {
        Path(line["file"]).name: line["text"] for line in map(json.loads, done.stdout.splitlines())
    }
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return [texts[f"{index:06d}.wav"] for index in range(len(spoken))], cpu


def score(spoken: Sequence[Spoken], texts: Sequence[str], cpu_s: float) -> Score:
    """Compare with the references; words and characters pooled over the set."""
    references, hypotheses = [item.text for item in spoken], list(texts)
    audio_s = sum(len(item.samples) for item in spoken) / SAMPLE_RATE
    return Score(
        len(spoken),
        sum(len(reference.split()) for reference in references),
        audio_s,
        jiwer.wer(references, hypotheses),
        jiwer.cer(references, hypotheses),
        cpu_s / audio_s,
    )
