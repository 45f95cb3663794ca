"""Word and character error rates of a checkpoint on dev shards: greedy search over whole clips, causal encoder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import jiwer
import numpy as np
import torch
from torch import Tensor

from models.careless_whisper.config import Chunking
from models.careless_whisper.data import collate
from models.careless_whisper.features import SILENT
from models.careless_whisper.model import block_mask
from models.careless_whisper.objective import Learner
from models.careless_whisper.texts import Texts
from models.common.shards import Clip, read_shards
from models.common.text import LETTERS

# Speakers that occur nowhere in training; every other pack's dev voices do, so they are reported apart.
SETS = {
    "unseen speakers": ("librispeech_1-100", "librispeech_2-100"),
    "kathleen": ("kathleen-100",),
    "ljspeech": ("ljspeech-100",),
    "unseen synthetic text": ("synthetic-dev",),
}
_CHUNKING = Chunking(15, 1)
_TAIL = 60  # rows of silence after the clip
_TOKENS_PER_S = 10


def dev_clips(features: Path, name: str) -> list[Clip]:
    """Dev clips of the named set, in a fixed order; empty while its shards are not written."""
    paths = [path for stem in SETS[name] for path in sorted(features.glob(f"{stem}-*.jsonl"))]
    return [clip for clip in read_shards(paths) if clip.entry.split == "dev" and clip.entry.frames <= 2900]


def report_sets(model: Learner, texts: Texts, features: Path, weights: dict[str, Tensor]) -> str:
    """Error rates of `weights` on a third of the unseen speakers and a few unseen sentences."""
    model.load_state_dict(weights, strict=False)
    parts = {"unseen speakers": slice(None, None, 3), "unseen synthetic text": slice(20)}
    return "\n".join(report(model, texts, dev_clips(features, name)[part], name) for name, part in parts.items())


def report(model: Learner, texts: Texts, clips: Iterable[Clip], name: str, examples: int = 2) -> str:
    """Pooled error rates of decoder and CTC head, then the first references with their hypotheses."""
    heard = [(clip.entry.text, *transcribe(model, texts, clip)) for clip in clips]
    if not heard:
        return f"{name}: no shards yet"
    references, said, spelt = (list(column) for column in zip(*heard, strict=True))
    by_letters = f"letters by CTC: {_rates(references, spelt)}"
    lines = [f"{name}: {len(heard)} utterances, {_rates(references, said)}; {by_letters}"]
    for reference, hypothesis, letters in heard[:examples]:
        lines += [f"  ref {reference}\n  hyp {hypothesis}\n  ctc {letters}"]
    return "\n".join(lines)


@torch.inference_mode()
def transcribe(model: Learner, texts: Texts, clip: Clip) -> tuple[str, str]:
    """What the decoder says of one clip, and how the CTC head spells it."""
    rows = np.pad(clip.load(), ((0, _TAIL), (0, 0)), constant_values=SILENT)
    batch = collate([rows], [""], texts)
    frames = model.whisper.encoder(batch.mel, block_mask(batch.mel.shape[2] // 2, _CHUNKING))
    frames = frames[:, : int(batch.frames[0])]
    ids = greedy(model, texts, frames, int(_TOKENS_PER_S * frames.shape[1] / 50) + 5)
    return texts.decode(ids), _collapsed(model.spelling(frames)[0].argmax(-1).tolist())


def greedy(model: Learner, texts: Texts, frames: Tensor, most: int) -> list[int]:
    """The likeliest text token after each, over f32[1, T, d], until `eot` or `most` tokens."""
    tokens = list(texts.prompt)
    banned = torch.tensor(texts.vocabulary.suppressed)
    for _ in range(min(most, model.whisper.dims.n_text_ctx - len(tokens))):
        logits = model.whisper.decoder(torch.tensor([tokens]), frames)[0, -1]
        best = int(logits.index_fill(0, banned, -torch.inf).argmax())
        if best == texts.eot:
            break
        tokens.append(best)
    return tokens[len(texts.prompt) :]


def _collapsed(path: Sequence[int]) -> str:
    runs = [letter for letter, before in zip(path, [0, *path], strict=False) if letter != before and letter]
    return " ".join("".join(LETTERS[letter] for letter in runs).split())


def _rates(references: list[str], hypotheses: list[str]) -> str:
    return f"WER {100 * jiwer.wer(references, hypotheses):.1f} %, CER {100 * jiwer.cer(references, hypotheses):.1f} %"
