"""Word error rates of a bundle through the server's own code: the files go through `streamer transcribe`."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile

SAMPLE_RATE = 16_000
# Where modules of the workshop are found, wherever the caller is.
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Spoken:
    """A recording f32[n] at 16 kHz and what was said, normalised as the recogniser writes."""

    text: str
    samples: np.ndarray


@dataclass(frozen=True)
class Heard:
    """What the recogniser made of a recording; `start_s` is the time of the first word, None without words.

    `confidences` has one number per word, if the recogniser tells.
    """

    text: str
    start_s: float | None
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True)
class Score:
    """Pooled figures over a set.

    `onset_error_s` is the median time of the first word against the first loud sound: how late words are placed.
    `cpu_ratio` is processor seconds per second of audio, start-up included.
    """

    utterances: int
    words: int
    word_error: float
    character_error: float
    onset_error_s: float
    cpu_ratio: float

    def row(self, speech: str, recogniser: str, peer: "Score | None" = None) -> str:
        """One line of the table; the last column is the processor time against that of `peer`."""
        cells = (
            *(speech, recogniser, str(self.utterances), str(self.words)),
            *(f"{100 * self.word_error:.1f} %", f"{100 * self.character_error:.1f} %"),
            *(f"{1000 * self.onset_error_s:+.0f} ms", f"{self.cpu_ratio:.3f}"),
            f"{self.cpu_ratio / peer.cpu_ratio:.2f}" if peer is not None else "-",
        )
        return f"| {' | '.join(cells)} |"


_COLUMNS = ("set", "recogniser", "utterances", "words", "WER", "CER", "first word, median", "CPU s per audio s")


def header(peer: str) -> str:
    """The two lines above the rows; `peer` names whose processor time the others are compared with."""
    return f"| {' | '.join(_COLUMNS)} | CPU against {peer} |\n" + "|---" * (len(_COLUMNS) + 1) + "|"


# The first sound is where 20 ms are louder than this share of the recording's loud parts (-30 dB).
_ONSET_SHARE = 10 ** (-30 / 20)
_ONSET_SAMPLES = SAMPLE_RATE // 50


def listen(spoken: Sequence[Spoken], bundle: Path, options: Sequence[str] = ()) -> tuple[list[Heard], float]:
    """Run every recording through `streamer transcribe` with `bundle` and, say, `options` of its decoding.

    Returns what was heard, and CPU seconds; raises `RuntimeError` with the command's complaint if it fails.
    """
    command = ["streamer.cli.main", "transcribe", "--format", "jsonl", "--quiet"]
    return run_module([*command, "--bundle-path", str(bundle.parent), "--model", bundle.name, *options], spoken)


def run_module(arguments: Sequence[str], spoken: Sequence[Spoken]) -> tuple[list[Heard], float]:
    """Run a Python module, with arguments, on a folder of the recordings; it prints JSON lines like `listen`'s.

    Returns what was heard and the CPU seconds, user and system, of the process from its start to its end.
    """
    with tempfile.TemporaryDirectory() as folder:
        for index, item in enumerate(spoken):
            soundfile.write(f"{folder}/{index:06d}.wav", item.samples, SAMPLE_RATE, "FLOAT")
        before = os.times()
        command = [sys.executable, "-m", *arguments, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT)
        after = os.times()
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {done.returncode}: {done.stderr.strip()}")
    heard = {Path(line["file"]).name: _heard(line) for line in map(json.loads, done.stdout.splitlines())}
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return [heard[f"{index:06d}.wav"] for index in range(len(spoken))], cpu_s


def score(spoken: Sequence[Spoken], heard: Sequence[Heard], cpu_s: float) -> Score:
    """Compare with the references; words and characters pooled over the set."""
    references, hypotheses = [item.text for item in spoken], [item.text for item in heard]
    audio_s = sum(len(item.samples) for item in spoken) / SAMPLE_RATE
    late = [h.start_s - onset_s(s.samples) for s, h in zip(spoken, heard, strict=True) if h.start_s is not None]
    return Score(
        len(spoken),
        sum(len(reference.split()) for reference in references),
        jiwer.wer(references, hypotheses),
        jiwer.cer(references, hypotheses),
        float(np.median(late)) if late else float("nan"),
        cpu_s / audio_s,
    )


def onset_s(samples: np.ndarray) -> float:
    """Where the first loud 20 ms of f32[n] begin."""
    frames = samples[: len(samples) // _ONSET_SAMPLES * _ONSET_SAMPLES].reshape(-1, _ONSET_SAMPLES)
    level = np.sqrt((frames**2).mean(1))
    return float(np.argmax(level > _ONSET_SHARE * np.percentile(level, 95))) * _ONSET_SAMPLES / SAMPLE_RATE


def _heard(line: Mapping[str, Any]) -> Heard:
    words = line["words"]
    told = tuple(word["confidence"] for word in words if "confidence" in word)
    return Heard(line["text"], words[0]["start_s"] if words else None, told)
