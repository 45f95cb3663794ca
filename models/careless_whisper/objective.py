"""What training minimises: CTC over letters on the encoder, and the decoder's predictions at several stops per clip.

The encoder is causal by blocks, so what it says of the first frames does not depend on later ones: one pass serves all
stops. At each stop the decoder may look only at the frames before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.careless_whisper.align import word_spans
from models.careless_whisper.config import Chunking
from models.careless_whisper.data import Batch
from models.careless_whisper.model import Block, TextDecoder, Whisper, causal_mask, sized_mask
from models.careless_whisper.targets import IGNORED, Span, labels_at, stops, timed_labels
from models.careless_whisper.texts import Texts
from models.common.layers import HIDDEN, additive
from models.common.text import BLANK, LETTERS, UNKNOWN

# Sizes of chunks in frames and how often each is drawn, after a first block of 30 (WhisperRT's random chunk sizes).
_FIRST = 30
_SIZES = np.arange(5, 55, 5)
_WEIGHTS = np.array([15, 20, 25, 20, 15, 1, 1, 1, 1, 1], np.float64)
_FIXED = Chunking(15, 1)
_FIXED_SHARE = 0.3


@dataclass(frozen=True)
class Weights:
    """What counts how much. `corrupted`: share of the text tokens that the decoder is given wrong.

    `guide` draws the cross-attention of the decoder's upper half to where the word was spoken. `through`: share of the
    decoder's gradient that reaches the encoder; while the decoder cannot listen yet, it is noise.
    """

    ctc: float = 0.5
    decoder: float = 1.0
    guide: float = 0.1
    smoothing: float = 0.1
    corrupted: float = 0.08
    through: float = 1.0


class Learner(nn.Module):
    """Whisper and a CTC head over letters, which only training and alignment use."""

    def __init__(self, whisper: Whisper) -> None:
        super().__init__()
        self.whisper = whisper
        self.letters = nn.Linear(whisper.dims.n_audio_state, len(LETTERS))

    def spelling(self, frames: Tensor) -> Tensor:
        """Log-probabilities f32[B, T, LETTERS] of letters at frames f32[B, T, d]."""
        return self.letters(frames).float().log_softmax(-1)


def draw_limits(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Number i64[T] of frames that each frame sees: fixed chunks, or chunks of sizes drawn one by one."""
    position = np.arange(frames)
    if rng.random() < _FIXED_SHARE:
        limits = np.maximum(position // _FIXED.gran + 1, _FIXED.extra + 1) * _FIXED.gran
    else:
        ends = np.cumsum([_FIRST, *rng.choice(_SIZES, frames // 5 + 1, p=_WEIGHTS / _WEIGHTS.sum())])
        limits = ends[np.searchsorted(ends, position, side="right")]
    return np.minimum(limits, frames)


def ctc_loss(log_probs: Tensor, batch: Batch) -> Tensor:
    """CTC per letter, f32[]."""
    lengths = torch.tensor([len(letters) for letters in batch.letters])
    total = functional.ctc_loss(
        log_probs.transpose(0, 1), torch.cat(batch.letters), batch.frames, lengths, BLANK,
        reduction="sum", zero_infinity=True,
    )  # fmt: skip
    return total / lengths.sum()


@dataclass(frozen=True)
class Lesson:
    """What the decoder reads and shall say, for K stops of each of B clips."""

    tokens: Tensor  # i64[B, L]
    labels: Tensor  # i64[B, K, L]
    heard: Tensor  # i64[B, K], frames
    starts: Tensor  # f32[B, L], when the word of each label was spoken, in frames; negative: unknown
    ends: Tensor  # f32[B, L]


def lesson(
    batch: Batch, texts: Texts, log_probs: Tensor, limits: Sequence[int], count: int | None, rng: np.random.Generator
) -> Lesson:
    """`count` stops a clip at ends of chunks, by words aligned to `log_probs` f32[B, T, LETTERS].

    With `count` None, and for clips that cannot be aligned, the one stop is the clip's end and all of the text is due.
    """
    rows = zip(batch.words, batch.letters, batch.frames.tolist(), log_probs, strict=True)
    items = [
        _item(texts, words, word_spans(scores[:frames], letters), frames, limits, count, rng)
        for words, letters, frames, scores in rows
    ]
    return _stack(items, texts, count or 1)


def _item(texts, words, spans, frames, limits, count, rng):
    if spans is None or count is None:
        return _Item(texts, words, spans, [frames], True)
    points = stops([min(limit, frames) for limit in limits], spans[-1][1], count, rng)
    return _Item(texts, words, spans, points, False)


class _Item:
    """Labels of one clip at its stops."""

    def __init__(
        self, texts: Texts, words: list[list[int]], spans: list[Span] | None, points: list[int], all_due: bool
    ) -> None:
        known = spans if spans is not None else [(-1.0, -1.0)] * len(words)
        labels, ends = timed_labels(texts.prompt, words, known, texts.eot)
        self.tokens = [*texts.prompt, *labels[len(texts.prompt) - 1 : -1]]
        due = np.zeros(len(labels)) if all_due else np.array(ends)
        self.labels = [labels_at(np.array(labels), due, point, texts.eot) for point in points]
        self.heard = points
        spread = [span for word, span in zip(words, known, strict=True) for _ in word]
        unknown = [(-1.0, -1.0)]
        self.spans = unknown * (len(texts.prompt) - 1) + spread + unknown


def _stack(items: list[_Item], texts: Texts, count: int) -> Lesson:
    length = max(len(item.tokens) for item in items)
    tokens = torch.full((len(items), length), texts.eot)
    labels = torch.full((len(items), count, length), IGNORED)
    heard = torch.ones((len(items), count), dtype=torch.long)
    spans = torch.full((len(items), length, 2), -1.0)
    for i, item in enumerate(items):
        n = len(item.tokens)
        tokens[i, :n] = torch.tensor(item.tokens)
        spans[i, :n] = torch.tensor(item.spans)
        for k, (row, point) in enumerate(zip(item.labels, item.heard, strict=True)):
            labels[i, k, :n] = torch.from_numpy(row)
            heard[i, k] = point
    return Lesson(tokens, labels, heard, spans[..., 0], spans[..., 1])


def corrupt(tokens: Tensor, texts: Texts, share: float, rng: np.random.Generator) -> Tensor:
    """Replace a share of the text tokens by others: the decoder must not trust what it has said too much."""
    n = tokens.shape[1] - len(texts.prompt)
    hit = torch.from_numpy(rng.random((len(tokens), n)) < share)
    other = torch.from_numpy(rng.integers(UNKNOWN + 1, texts.eot, (len(tokens), n)))
    changed = tokens.clone()
    changed[:, len(texts.prompt) :] = torch.where(hit, other, tokens[:, len(texts.prompt) :])
    return changed


def decode_stops(decoder: TextDecoder, tokens: Tensor, heard: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Logits f32[B, K, L, vocabulary] of `tokens` i64[B, L] at K stops, and attention f32[B, K, L, T].

    The stops of a clip are sequences side by side, which see neither each other nor frames from `heard` i64[B, K] on;
    they share the clip's keys and values. The attention is the mean over heads and layers of the upper half.
    """
    length = tokens.shape[1]
    count = heard.shape[1]
    x = decoder.token_embedding(tokens) + decoder.positional_embedding[:length]
    x = x.repeat(1, count, 1)
    mask = torch.block_diag(*[torch.ones(length, length, dtype=torch.bool)] * count).to(x.device)
    own = additive(mask & (causal_mask(length * count, x.device) == 0))
    far = torch.arange(audio.shape[1], device=x.device) >= heard.repeat_interleave(length, 1)[:, :, None]
    seen = torch.where(far, HIDDEN, 0.0)[:, None]
    upper = len(decoder.blocks) // 2
    attended = []
    for i, block in enumerate(decoder.blocks):
        x, weights = _block(block, x, own, audio, seen)
        if i >= upper:
            attended.append(weights.mean(1))
    logits = decoder.logits(x).unflatten(1, (count, length))
    return logits, torch.stack(attended).mean(0).unflatten(1, (count, length))


def _block(block: Block, x: Tensor, mask: Tensor, audio: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """`Block.forward` that also tells where the cross-attention looked, f32[B, heads, N, T]."""
    y = block.attn_ln(x)
    x = x + block.attn(y, y, mask)
    cross = block.cross_attn
    query = cross.split(cross.query(block.cross_attn_ln(x)))
    key, value = cross.split(cross.key(audio)), cross.split(cross.value(audio))
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    weights = (scores.float() + seen).softmax(-1)
    x = x + cross.out((weights.to(value.dtype) @ value).transpose(1, 2).flatten(-2))
    return x + block.mlp(block.mlp_ln(x)), weights


def decoder_loss(logits: Tensor, lesson: Lesson, smoothing: float) -> Tensor:
    """Cross-entropy per label that is learned, f32[]."""
    return functional.cross_entropy(
        logits.float().flatten(0, 2), lesson.labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )


_SLACK = 8
"""Frames around a word in which looking for it is free."""


def guide_loss(attended: Tensor, lesson: Lesson) -> Tensor:
    """How far the attention is from the words: -log of its share near them, per label that is known and due, f32[]."""
    frame = torch.arange(attended.shape[-1])
    near = (frame >= lesson.starts[..., None] - _SLACK) & (frame < lesson.ends[..., None] + _SLACK)
    learned = (
        (lesson.labels != IGNORED) & (lesson.starts >= 0)[:, None] & (lesson.ends[:, None] <= lesson.heard[..., None])
    )
    if not learned.any():
        return attended.new_zeros(())
    inside = (attended * near[:, None]).sum(-1)
    return -(inside[learned] + 1e-3).log().mean()


def encoder_mask(limits: np.ndarray) -> Tensor:
    """Additive mask f32[T, T] of `draw_limits`."""
    return sized_mask(torch.from_numpy(limits))
