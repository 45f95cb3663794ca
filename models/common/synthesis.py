"""Synthetic speech for training from the command line programs flite and espeak-ng."""

import random
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from models.common.packs import resample

FLITE_VOICES = {"slt": 170, "awb": 130, "rms": 100, "kal16": 105}
ESPEAK_LANGUAGES = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbclan")
ESPEAK_VARIANTS = ("", "+f1", "+f2", "+f3", "+f4", "+f5", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7")


@dataclass(frozen=True)
class Voice:
    """A synthesiser's settings for one sentence: tempo 1 is normal, pitch 1 is the voice's own."""

    engine: str
    name: str
    tempo: float = 1.0
    pitch: float = 1.0


def draw_voice(rng: random.Random, flite_share: float = 0.6) -> Voice:
    """Draw an engine, a voice, a tempo and a pitch."""
    tempo, pitch = rng.uniform(0.85, 1.25), rng.uniform(0.85, 1.2)
    if rng.random() < flite_share:
        return Voice("flite", rng.choice(list(FLITE_VOICES)), tempo, pitch)
    return Voice("espeak", rng.choice(ESPEAK_LANGUAGES) + rng.choice(ESPEAK_VARIANTS), tempo, pitch)


def synthesise(text: str, voice: Voice) -> np.ndarray:
    """Speak `text`: f32[n] at 16 kHz; raises subprocess.CalledProcessError if the engine fails."""
    command = _flite if voice.engine == "flite" else _espeak
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(command(text, voice, Path(file.name)), check=True, capture_output=True)
        samples, rate = soundfile.read(file.name, dtype="float32")
    return resample(samples, rate)


def _flite(text: str, voice: Voice, path: Path) -> list[str]:
    f0 = FLITE_VOICES[voice.name] * voice.pitch
    settings = ["--setf", f"duration_stretch={1 / voice.tempo:.3f}", "--setf", f"int_f0_target_mean={f0:.1f}"]
    return ["flite", "-voice", voice.name, *settings, "-t", text, "-o", str(path)]


def _espeak(text: str, voice: Voice, path: Path) -> list[str]:
    rate, pitch = round(165 * voice.tempo), round(50 * voice.pitch)
    return ["espeak-ng", "-v", voice.name, "-s", str(rate), "-p", str(pitch), "-w", str(path), text]
