"""Transcribes a folder with PocketSphinx 5 and its packaged US English model, as a program of its own.

It prints the lines of `streamer transcribe --format jsonl` as far as scores need them, so that both recognisers are
started, timed and read in the same way. Model, dictionary, language model and every setting are the package's defaults.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pocketsphinx
import soundfile

SAMPLE_RATE = 16_000
_FRAMES_PER_SECOND = 100
# Silence and noises, sentence marks: <sil>, [NOISE], ++BREATH++.
_FILLER = re.compile(r"[<\[+]")
_ALTERNATE = re.compile(r"\(\d+\)$")


def main() -> None:
    """Print a line for each recording in the folder that the command line names."""
    decoder = pocketsphinx.Decoder(loglevel="FATAL")
    for path in sorted(Path(sys.argv[1]).glob("*.wav")):
        found = transcribe(decoder, soundfile.read(path, dtype="float32")[0])
        words = [{"word": word, "start_s": start_s} for word, start_s in found]
        print(json.dumps({"file": str(path), "text": " ".join(word for word, _ in found), "words": words}), flush=True)


def transcribe(decoder: pocketsphinx.Decoder, samples: np.ndarray) -> list[tuple[str, float]]:
    """Decode a whole utterance, f32[n] at 16 kHz, from 16 bit; words with the seconds at which they start."""
    pcm = np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2")
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()
    return spoken((segment.word, segment.start_frame) for segment in decoder.seg() or ())


def spoken(segments: Iterable[tuple[str, int]]) -> list[tuple[str, float]]:
    """Drop what is no word and the numbers of pronunciations ("read(2)"); frames become seconds."""
    return [
        (_ALTERNATE.sub("", word), frame / _FRAMES_PER_SECOND) for word, frame in segments if not _FILLER.match(word)
    ]


if __name__ == "__main__":
    main()
