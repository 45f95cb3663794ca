"""Greedy decoding of dev utterances, and their word and character error rates."""

from collections.abc import Iterable
from pathlib import Path

import jiwer
import torch

from models.common.shards import Clip, read_shards
from models.common.text import Pieces
from models.transducer.data import collate
from models.transducer.model import Transducer


def dev_clips(folder: Path, packs: Iterable[str]) -> list[Clip]:
    """Dev clips of the named packs at natural speed, in a fixed order."""
    paths = [path for pack in packs for path in sorted(folder.glob(f"{pack}*.jsonl"))]
    return [clip for clip in read_shards(paths) if clip.entry.split == "dev"]


@torch.inference_mode()
def transcribe(model: Transducer, pieces: Pieces, clip: Clip) -> str:
    """Decode one clip with the streaming mask and at most one symbol per frame."""
    batch = collate([clip.load()], [[]], [[]])
    # A whole chunk of silence flushes the last word.
    frames = model.encoder(batch.log_mel)
    context = torch.tensor([[-1, 0]])
    ids, _, _ = model.search(model.enter(frames), context)
    return pieces.decode(ids[0].tolist())


def report(model: Transducer, pieces: Pieces, clips: list[Clip], name: str, examples: int = 2) -> str:
    """One line of pooled error rates, and the first few references with their hypotheses."""
    was_training = model.training
    model.eval()
    references = [clip.entry.text for clip in clips]
    hypotheses = [transcribe(model, pieces, clip) for clip in clips]
    model.train(was_training)
    words, characters = jiwer.wer(references, hypotheses), jiwer.cer(references, hypotheses)
    lines = [f"{name}: {len(clips)} utterances, WER {100 * words:.1f} %, CER {100 * characters:.1f} %"]
    for reference, hypothesis in list(zip(references, hypotheses, strict=True))[:examples]:
        lines += [f"  ref {reference}", f"  hyp {hypothesis}"]
    return "\n".join(lines)
