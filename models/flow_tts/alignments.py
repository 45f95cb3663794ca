"""How many frames each symbol of each recording takes: texts to symbols, symbols to the audio, kept beside the pool."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.flow_tts.align import Aligner, Spoken, spoken
from models.flow_tts.config import HALVES
from models.flow_tts.pool import Clip, Pool

NAME = "alignments.json"


@dataclass(frozen=True)
class Aligned:
    """A clip with its symbols and the frames of each; `_` and pauses may have none."""

    clip: Clip
    symbols: tuple[str, ...]
    frames: tuple[int, ...]


def write_alignments(folder: Path, to_symbols: Callable[[str], Sequence[str]]) -> None:
    """Align all clips of the pool in `folder`, those for judging too: their durations judge ours."""
    clips, recordings = [], []
    for split in ("train", "tune", "dev"):
        pool = Pool(folder, split)
        for clip in pool.clips:
            clips.append(clip)
            recordings.append(spoken(pool.samples(clip), to_symbols(clip.text)))
    Aligner().align(recordings)
    lines = {
        clip.audio: {"symbols": list(one.symbols), "frames": frame_counts(one)}
        for clip, one in zip(clips, recordings, strict=True)
    }
    (folder / NAME).write_text(json.dumps(lines))


def read_alignments(folder: Path, split: str) -> list[Aligned]:
    """Return the clips of one split as `write_alignments` found them."""
    lines = json.loads((folder / NAME).read_text())
    found = []
    for clip in Pool(folder, split).clips:
        line = lines[clip.audio]
        found.append(Aligned(clip, tuple(line["symbols"]), tuple(line["frames"])))
    return found


def frame_counts(recording: Spoken) -> list[int]:
    """Whole frames of each symbol, from owners of 10 ms: every boundary moves to the nearest frame."""
    ends = np.searchsorted(recording.owner, np.arange(len(recording.symbols)), side="right")
    edges = np.concatenate([[0], (ends + HALVES // 2) // HALVES])
    edges[-1] = len(recording.owner) // HALVES
    counts: list[int] = np.diff(edges).tolist()
    return counts


def main() -> None:
    """Run from the command line; see --help."""
    # Here, so that to align needs no text front end and to read alignments neither.
    from models.flow_tts.transcribing import Transcriber

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder of the decoded recordings")
    parser.add_argument("--lexicon", type=Path, required=True, help="the asset lexicon.txt.gz")
    arguments = parser.parse_args()
    write_alignments(arguments.pool, Transcriber(arguments.lexicon))


if __name__ == "__main__":
    main()
