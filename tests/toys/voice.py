"""A voice that can be worked out by hand, whose audio depends on everything that a real one's may.

A frame is 160 samples (20 ms at 8 kHz) of 4 bands. The encoder gives each symbol its number, that of the next one and
the running sum of all before it, so context is heard; a gap has no frames, a pause ten, any other symbol one to five.
The flow adds a quarter of the frame before (a cache) and the noise. The vocoder's samples depend on the bands, on
noise, on the place in the frame and on the number of the frame since the stream began, and leave it 200 samples late.

Words that the lexicon lacks are spelled out by arithmetic, two sounds for each letter of at most eight.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamer.tasks.voice_noise import Noise, normals
from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder

RATE, FRAME, BANDS, WIDTH, DELAY, LETTERS = 8000, 160, 4, 3, 200, 8
TEMPERATURE = 0.75
PAUSES = (",", ";", ":", ".", "?", "!", "-")
_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS = (
    "B",
    "CH",
    "D",
    "DH",
    "F",
    "G",
    "HH",
    "JH",
    "K",
    "L",
    "M",
    "N",
    "NG",
    "P",
    "R",
    "S",
    "SH",
    "T",
    "TH",
    "V",
    "W",
    "Y",
    "Z",
    "ZH",
)
PHONES = (*(f"{vowel}{stress}" for vowel in _VOWELS for stress in (0, 1, 2)), *_CONSONANTS)
SYMBOLS = ("<pad>", "^", "_", *PAUSES, *PHONES, *"abcdefghijklmnopqrstuvwxyz'")
IDS = {symbol: number for number, symbol in enumerate(SYMBOLS)}
LEXICON = {
    "hello": "HH AH0 L OW1",
    "world": "W ER1 L D",
    "one": "W AH1 N",
    "two": "T UW1",
    "three": "TH R IY1",
    "good": "G UH1 D",
    "morning": "M AO1 R N IH0 NG",
}
_FIRST_PHONE = IDS[PHONES[0]]
_WEIGHTS = np.array([0.011, 0.0071, 0.0013, 0.017], np.float32)


def _frames() -> np.ndarray:
    """How long each symbol lasts, in frames."""
    frames = 1.0 + np.arange(len(SYMBOLS)) % 5
    frames[[IDS[pause] for pause in PAUSES]] = 10
    frames[IDS["_"]] = 0.1
    return frames.astype(np.float32)


def _spell() -> bytes:
    g = GraphBuilder()
    letters = g.row_input("letters", "TYPE_INT64", (LETTERS,))
    pairs = g.op("Mul", g.op("Unsqueeze", letters, g.ints([2])), g.ints([[[3, 5]]]))
    sounds = g.op("Add", g.op("Mod", pairs, g.ints(len(PHONES))), g.ints(_FIRST_PHONE))
    is_there = g.op("Greater", g.op("Unsqueeze", letters, g.ints([2])), g.ints(0))
    flat = g.op("Reshape", g.op("Where", is_there, sounds, g.ints(0)), g.ints([0, 2 * LETTERS]))
    g.row_output(flat, "sounds", "TYPE_INT64", (2 * LETTERS,))
    return g.model()


def _encode() -> bytes:
    g = GraphBuilder()
    symbols = g.row_input("symbols", "TYPE_INT64", (-1,))
    one = g.ints([1])
    zero = g.op("Mul", g.op("Slice", symbols, g.ints([0]), one, one), g.ints(0))
    following = g.op("Concat", g.op("Slice", symbols, one, g.ints([1 << 40]), one), zero, axis=1)
    total = g.op("CumSum", symbols, g.ints(1), exclusive=1)
    columns = [g.op("Unsqueeze", column, g.ints([2])) for column in (symbols, following, total)]
    g.row_output(g.cast(g.op("Concat", *columns, axis=2), "TYPE_FP32"), "encoded", "TYPE_FP32", (-1, WIDTH))
    lasting = g.op("Gather", g.floats(np.log(_frames())), symbols, axis=0)
    g.row_output(lasting, "log_durations", "TYPE_FP32", (-1,))
    return g.model()


def _expand() -> bytes:
    g = GraphBuilder()
    encoded = g.row_input("encoded", "TYPE_FP32", (-1, WIDTH))
    source = g.row_input("source", "TYPE_INT64", (-1,))
    place = g.row_input("place", "TYPE_FP32", (-1, 2))
    index = g.op("Expand", g.op("Unsqueeze", source, g.ints([2])), g.ints([1, 1, WIDTH]))
    bands = g.op("GatherElements", encoded, index, axis=1)
    parts = [g.op("Slice", place, g.ints([at]), g.ints([at + 1]), g.ints([2])) for at in (0, 1)]
    last = g.op("Add", g.op("Mul", parts[0], g.floats(8.0)), parts[1])
    g.row_output(g.op("Concat", bands, last, axis=2), "prior", "TYPE_FP32", (-1, BANDS))
    return g.model()


def _flow() -> bytes:
    g = GraphBuilder()
    prior = g.row_input("prior", "TYPE_FP32", (-1, BANDS))
    noise = g.row_input("noise", "TYPE_FP32", (-1, BANDS))
    slots, start = g.slots("stream"), g.start("flow")
    past = g.arena("past", "TYPE_FP32", (BANDS,))
    one, end = g.ints([1]), g.ints([1 << 40])
    line = g.op("Concat", g.op("Unsqueeze", g.gather(past, slots, start), one), prior, axis=1)
    before = g.op("Slice", line, g.ints([0]), g.ints([-1]), one)
    last = g.op("Squeeze", g.op("Slice", line, g.ints([-1]), end, one), one)
    g.scatter(past, slots, last, "TYPE_FP32", (BANDS,))
    mel = g.op("Add", g.op("Add", prior, g.op("Mul", before, g.floats(0.25))), noise)
    g.row_output(mel, "mel", "TYPE_FP32", (-1, BANDS))
    return g.model()


def _vocode() -> bytes:
    g = GraphBuilder()
    mel = g.row_input("mel", "TYPE_FP32", (-1, BANDS))
    noise = g.row_input("noise", "TYPE_FP32", (-1, FRAME))
    slots, start = g.slots("stream"), g.start("vocoder")
    line, count = g.arena("line", "TYPE_FP32", (DELAY,)), g.arena("count", "TYPE_INT64", (1,))
    one = g.ints([1])
    old = g.gather(count, slots, start, 0, np.int64)
    length = g.op("Shape", mel, start=1, end=2)
    new = g.op("Add", old, length)
    g.scatter(count, slots, new, "TYPE_INT64", (1,))
    steps = g.op("Range", g.ints(0), g.op("Squeeze", length, g.ints([0])), g.ints(1))
    numbers = g.cast(g.op("Mod", g.op("Add", steps, old), g.ints(11)), "TYPE_FP32")
    value = g.op("Mul", g.op("Unsqueeze", numbers, g.ints([2])), g.floats(0.013))
    for band, weight in enumerate(_WEIGHTS):
        part = g.op("Slice", mel, g.ints([band]), g.ints([band + 1]), g.ints([2]))
        value = g.op("Add", value, g.op("Mul", part, g.floats(weight)))
    value = g.op("Add", value, g.op("Mul", noise, g.floats(0.001)))
    value = g.op("Add", value, g.floats((np.arange(FRAME) * 0.0005)[None, None]))
    raw = g.op("Sub", g.op("Sub", value, g.op("Floor", value)), g.floats(0.5))
    whole = g.op("Concat", g.gather(line, slots, start), g.op("Reshape", raw, g.ints([0, -1])), axis=1)
    g.scatter(line, slots, g.op("Slice", whole, g.ints([-DELAY]), g.ints([1 << 40]), one), "TYPE_FP32", (DELAY,))
    late = g.op("Slice", whole, g.ints([0]), g.ints([-DELAY]), one)
    g.row_output(g.op("Reshape", late, g.ints([0, -1, FRAME])), "pcm", "TYPE_FP32", (-1, FRAME))
    return g.model()


def _entry(inputs: list[Any], outputs: list[Any], group: str = "", *states: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"inputs": inputs, "outputs": outputs}
    if group:
        entry |= {"pools": ["stream"], "groups": [group], "reads": list(states), "writes": list(states)}
    return entry


def voice_graphs() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Models and manifest entries by name."""
    floats = "TYPE_FP32"
    bands, noise = tensor("mel", floats, -1, BANDS), tensor("noise", floats, -1, FRAME)
    return {
        "spell": (
            _spell(),
            _entry([tensor("letters", "TYPE_INT64", LETTERS)], [tensor("sounds", "TYPE_INT64", 2 * LETTERS)]),
        ),
        "text_encode": (
            _encode(),
            _entry(
                [tensor("symbols", "TYPE_INT64", -1)],
                [tensor("encoded", floats, -1, WIDTH), tensor("log_durations", floats, -1)],
            ),
        ),
        "expand": (
            _expand(),
            _entry(
                [
                    tensor("encoded", floats, -1, WIDTH),
                    tensor("source", "TYPE_INT64", -1),
                    tensor("place", floats, -1, 2),
                ],
                [tensor("prior", floats, -1, BANDS)],
            ),
        ),
        "flow_step": (
            _flow(),
            _entry([tensor("prior", floats, -1, BANDS), tensor("noise", floats, -1, BANDS)], [bands], "flow", "past"),
        ),
        "vocoder_step": (
            _vocode(),
            _entry([bands, noise], [tensor("pcm", floats, -1, FRAME)], "vocoder", "line", "count"),
        ),
    }


def voice_manifest() -> dict[str, Any]:
    """The manifest but for files."""
    return {
        "sample_rate": RATE,
        "languages": ["en"],
        "task": {
            "kind": "synthesize",
            "program": "flow_voice",
            "roles": {
                "letters": "spell.letters",
                "sounds": "spell.sounds",
                "symbols": "text_encode.symbols",
                "encoded": "text_encode.encoded",
                "log_durations": "text_encode.log_durations",
                "expand_encoded": "expand.encoded",
                "source": "expand.source",
                "place": "expand.place",
                "prior": "expand.prior",
                "prior_chunk": "flow_step.prior",
                "flow_noise": "flow_step.noise",
                "mel": "flow_step.mel",
                "mel_chunk": "vocoder_step.mel",
                "wave_noise": "vocoder_step.noise",
                "pcm": "vocoder_step.pcm",
            },
            "parameters": {
                "frame_samples": FRAME,
                "delay_samples": DELAY,
                "temperature": TEMPERATURE,
                "voices": "ada",
            },
            "assets": {"symbols": "symbols.txt", "lexicon": "lexicon.txt.gz"},
        },
        "pools": [{"name": "stream"}],
        "states": [
            state("past", "TYPE_FP32", (BANDS,), "stream", "flow"),
            state("line", "TYPE_FP32", (DELAY,), "stream", "vocoder"),
            state("count", "TYPE_INT64", (1,), "stream", "vocoder"),
        ],
    }


def voice_assets() -> dict[str, bytes]:
    """Symbols and lexicon."""
    lines = "".join(f"{word}\t{phones}\n" for word, phones in sorted(LEXICON.items()))
    return {
        "symbols.txt": ("\n".join(SYMBOLS) + "\n").encode(),
        "lexicon.txt.gz": gzip.compress(lines.encode(), mtime=0),
    }


def write_voice(folder: Path) -> Path:
    """Write the bundle to `folder/voice`."""
    return write_bundle(folder, "voice", "1.0.0", voice_graphs(), voice_manifest(), voice_assets())


def spelled(word: str) -> list[str]:
    """The sounds of a word that the lexicon lacks."""
    numbers = [IDS[letter] for letter in word[:LETTERS]]
    return [PHONES[number * factor % len(PHONES)] for number in numbers for factor in (3, 5)]


def prior_of(symbols: Sequence[str], begin: int = 0, end: int | None = None, speed: float = 1.0) -> np.ndarray:
    """The frames of a piece, those of `symbols[begin:end]`, float32 `[n, 4]`."""
    ids = np.array([IDS[symbol] for symbol in symbols])
    following = np.append(ids[1:], 0)
    total = np.cumsum(ids) - ids
    rows = []
    for place in range(len(ids))[begin:end]:
        frames = float(_frames()[ids[place]])
        n = 0 if frames < 0.5 else max(1, int(np.floor(frames / speed + 0.5)))
        for k in range(n):
            fraction = np.float32((k + 0.5) / n) * np.float32(8)
            rows.append([ids[place], following[place], total[place], fraction + np.float32(np.log(n))])
    return np.array(rows, np.float32).reshape(-1, BANDS)


def voice_expected(priors: Sequence[np.ndarray], seed: int = 0, temperature: float = TEMPERATURE) -> np.ndarray:
    """What a stream of pieces with these frames sounds like, float32 `[n]`, without pushing out the last samples."""
    prior = np.concatenate(priors)
    n = len(prior)
    before = np.concatenate((np.zeros((1, BANDS), np.float32), prior[:-1]))
    noise = normals(seed, Noise.FLOW, 0, n, BANDS) * np.float32(temperature)
    mel = prior + before * np.float32(0.25) + noise
    value = ((np.arange(n) % 11).astype(np.float32) * np.float32(0.013))[:, None]
    for band, weight in enumerate(_WEIGHTS):
        value = value + mel[:, band : band + 1] * weight
    value = value + normals(seed, Noise.WAVE, 0, n, FRAME) * np.float32(0.001)
    value = value + (np.arange(FRAME) * 0.0005).astype(np.float32)
    return (value - np.floor(value) - np.float32(0.5)).reshape(-1)
