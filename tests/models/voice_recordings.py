"""A made-up speaker: phones are steady sounds of their own, so what is said when is known to the sample."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from models.flow_tts.config import FRAME, RATE

SOUNDS = {"AA1": (160.0, 700.0), "IY1": (200.0, 2500.0), "S": (0.0, 7000.0), "M": (140.0, 300.0), "SH": (0.0, 3500.0)}
WORDS = {"ma": ("M", "AA1"), "see": ("S", "IY1"), "she": ("SH", "IY1"), "sam": ("S", "AA1", "M"), "aim": ("IY1", "M")}


def to_symbols(text: str) -> list[str]:
    """`ma see.` to `^ M AA1 _ S IY1 .`."""
    symbols = ["^"]
    for word in text.rstrip(".").split():
        pause = "," if word.endswith(",") else "_"
        symbols += [*WORDS[word.rstrip(",")], pause]
    return [*symbols[:-1], "."]


def say(symbols: list[str], rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Samples f32[n] and the frames of each symbol."""
    frames = [_frames(symbol, rng) for symbol in symbols]
    parts = [_sound(symbol, count * FRAME, rng) for symbol, count in zip(symbols, frames, strict=True)]
    samples = np.concatenate(parts)
    return (samples + rng.standard_normal(len(samples)) * 1e-3).astype(np.float32), frames


def write_pack(path: Path, count: int, seed: int = 0) -> dict[str, list[int]]:
    """Write a pack of `count` recordings; return the frames of the symbols of each."""
    rng = np.random.default_rng(seed)
    truth, lines, files = {}, [], []
    for index in range(count):
        words = list(rng.choice(list(WORDS), 4))
        text = " ".join([words[0], words[1] + ",", *words[2:]]) + "."
        samples, frames = say(to_symbols(text), rng)
        name, file = f"clip{index}.wav", io.BytesIO()
        soundfile.write(file, samples, RATE, "PCM_16", format="WAV")
        split = "dev" if index % 7 == 6 else "train"
        lines.append({"audio": name, "text": text, "speaker": "toy", "split": split})
        files.append((name, file.getvalue()))
        truth[name] = frames
    manifest = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in [("manifest.jsonl", manifest), *files]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return truth


def _frames(symbol: str, rng: np.random.Generator) -> int:
    if symbol in ("^", ".", ","):
        return int(rng.integers(6, 12))
    return 0 if symbol == "_" else int(rng.integers(4, 9))


def _sound(symbol: str, length: int, rng: np.random.Generator) -> np.ndarray:
    if symbol not in SOUNDS:
        return np.zeros(length)
    pitch, centre = SOUNDS[symbol]
    time = np.arange(length) / RATE
    if not pitch:
        return 0.2 * rng.standard_normal(length) * np.cos(2 * np.pi * centre * time)
    harmonics = pitch * np.arange(1, int(5000 / pitch))
    gains = 1 / (1 + ((harmonics - centre) / 300) ** 2)
    return 0.3 * (gains[:, None] * np.cos(2 * np.pi * harmonics[:, None] * time)).sum(0) / gains.sum()
