"""Word and character error rates of a checkpoint on dev shards, by greedy search under the streaming mask."""

import argparse
from collections.abc import Iterable
from pathlib import Path

import jiwer
import torch

from models.common.shards import Clip, read_shards
from models.common.text import Pieces
from models.transducer.config import SUBSAMPLING, Config
from models.transducer.data import collate
from models.transducer.model import Transducer

# Speakers that occur nowhere in training; every other pack's dev voices do, so they are reported apart.
_SETS = {
    "unseen speakers": ("librispeech_1-100", "librispeech_2-100"),
    "kathleen": ("kathleen-100",),
    "ljspeech": ("ljspeech-100",),
    "unseen synthetic text": ("synthetic-dev",),
}


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint written by train")
    parser.add_argument("--features", type=Path, required=True, help="folder written by prepare")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
    model = Transducer(Config(**saved["config"]))
    model.load_state_dict(saved["average"], strict=True)
    pieces = Pieces(arguments.features / "pieces.model")
    for name in _SETS:
        print(report(model, pieces, dev_clips(arguments.features, name), name), flush=True)


def dev_clips(features: Path, name: str) -> list[Clip]:
    """Dev clips of the named set, in a fixed order; empty while its shards are not written."""
    paths = [path for stem in _SETS[name] for path in sorted(features.glob(f"{stem}-*.jsonl"))]
    return [clip for clip in read_shards(paths) if clip.entry.split == "dev"]


@torch.inference_mode()
def transcribe(model: Transducer, pieces: Pieces, clip: Clip) -> str:
    """Decode one clip as a server would: whole chunks, the last filled up with silence."""
    batch = collate([clip.load()], [[]], [[]])
    missing = -batch.log_mel.shape[1] % (model.config.chunk * SUBSAMPLING)
    log_mel = torch.nn.functional.pad(batch.log_mel, (0, 0, 0, missing), value=batch.log_mel[0, -1, 0].item())
    frames = model.enter(model.encoder(log_mel))
    ids, _, _ = model.search(frames, model.initial_state(1).context)
    return pieces.decode(ids[0].tolist())


def report(model: Transducer, pieces: Pieces, clips: Iterable[Clip], name: str, examples: int = 2) -> str:
    """Pooled error rates on one line, then the first few references with their hypotheses."""
    model.eval()
    pairs = [(clip.entry.text, transcribe(model, pieces, clip)) for clip in clips]
    if not pairs:
        return f"{name}: no shards yet"
    references, hypotheses = (list(column) for column in zip(*pairs, strict=True))
    words, characters = jiwer.wer(references, hypotheses), jiwer.cer(references, hypotheses)
    lines = [f"{name}: {len(pairs)} utterances, WER {100 * words:.1f} %, CER {100 * characters:.1f} %"]
    lines += [f"  ref {reference}\n  hyp {hypothesis}" for reference, hypothesis in pairs[:examples]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
