"""Spelling aloud: a small network from the letters of one word to its phones, not autoregressive.

Letters are encoded in full context, each gives two frames, and CTC (Graves et al., 2006) aligns the phones with the
frames. Greedy decoding is a fixed function, so it is part of the graph: best class per frame, repeats collapsed, blanks
zero.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.layers import HIDDEN, Attention, Rotary
from models.common.onnx_export import read_weights
from models.flow_tts.bundle_weights import begin_from
from models.flow_tts.symbols import IDS, LETTERS, PHONES, SYMBOLS

BLANK = 0
FRAMES_PER_LETTER = 2
MOST_LETTERS = 32
"""Letters of a word in the exported graph."""
_PERIOD = 512


@dataclass(frozen=True)
class Config:
    """Sizes: `width` of the encoder, `heads` and `blocks` of attention, `inner` width between its two linear layers."""

    width: int = 128
    heads: int = 4
    blocks: int = 3
    inner: int = 384
    kernel: int = 5
    dropout: float = 0.0


class _Convolution(nn.Module):
    """A residual convolution over f32[B, T, D] that never sees padding."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.conv = nn.Conv1d(config.width, config.width, config.kernel, padding="same")

    def forward(self, x: Tensor, is_there: Tensor) -> Tensor:
        rows = (self.norm(x) * is_there[..., None]).transpose(1, 2)
        return x + functional.gelu(self.conv(rows)).transpose(1, 2)


class _Block(nn.Module):
    """Pre-norm self-attention and a feed-forward layer over f32[B, T, D]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads)
        self.feed = nn.Sequential(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, config.inner),
            nn.GELU(),
            nn.Linear(config.inner, config.width),
        )
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        x = x + self.drop(self.attention(self.before_attention(x), rotation, mask))
        return x + self.drop(self.feed(x))


class Spelling(nn.Module):
    """Letters to scores of phones; class 0 is the blank, class i the phone `PHONES[i - 1]`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(len(SYMBOLS), config.width)
        self.rotary = Rotary(config.width // config.heads, _PERIOD)
        self.enter = _Convolution(config)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.blocks))
        self.spread = nn.Linear(config.width, FRAMES_PER_LETTER * config.width)
        self.leave = _Convolution(config)
        self.classify = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, len(PHONES) + 1))
        # The symbol of each class; the blank is nothing.
        ids = torch.tensor([0, *(IDS[phone] for phone in PHONES)])
        self.register_buffer("symbol_of", ids, persistent=False)

    def forward(self, letters: Tensor) -> Tensor:
        """Map ids of letters i64[B, L], 0 behind the word, to logits f32[B, 2 L, classes]; padding gives any."""
        is_there = letters > 0
        mask = (~is_there).float()[:, None, None] * HIDDEN
        x = self.enter(self.embed(letters), is_there)
        rotation = self.rotary(torch.arange(letters.shape[1], device=letters.device))
        for block in self.blocks:
            x = block(x, rotation, mask)
        frames = self.spread(x).unflatten(-1, (FRAMES_PER_LETTER, -1)).flatten(1, 2)
        frames_there = is_there.repeat_interleave(FRAMES_PER_LETTER, 1)
        return self.classify(self.leave(frames, frames_there))

    def sounds(self, letters: Tensor) -> Tensor:
        """Greedy decoding: ids of symbols i64[B, 2 L], 0 where a frame adds none."""
        is_there = (letters > 0).repeat_interleave(FRAMES_PER_LETTER, 1)
        best = self(letters).argmax(-1) * is_there
        before = functional.pad(best[:, :-1], (1, 0))
        return self.symbol_of[best * (best != before)]


def letter_ids(words: Iterable[str], length: int | None = None) -> Tensor:
    """Ids i64[B, L] of the letters of `words`, padded with 0 to the longest, or to `length`."""
    rows = [[IDS[letter] for letter in word] for word in words]
    width = length or max(map(len, rows))
    return torch.tensor([row[:width] + [0] * (width - len(row)) for row in rows])


def is_spelled(word: str) -> bool:
    """Tell whether the network knows all letters of `word`, and has room for them."""
    return 0 < len(word) <= MOST_LETTERS and set(word) <= set(LETTERS)


def load_checkpoint(path: Path) -> Spelling:
    """Load the averaged weights of a training checkpoint, or those of the folder of a bundle, safely."""
    if path.is_dir():
        model = Spelling(Config())
        begin_from(model, read_weights(path / "spell.onnx", "step.model."))
        return model.eval()
    saved = torch.load(path, weights_only=True, map_location="cpu")
    model = Spelling(Config(**saved["config"]))
    model.load_state_dict(saved["average"])
    return model.eval()


def plain(config: Config) -> dict:
    """The config as what a checkpoint may hold."""
    return asdict(config)


class Speller:
    """Pronounces words by a trained network, as a server does by the exported graph."""

    def __init__(self, model: Spelling) -> None:
        self._model = model.eval()

    @torch.inference_mode()
    def __call__(self, words: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """The phones of each word; a word that is too long, or that nothing is said for, is missing."""
        known = [word for word in words if is_spelled(word)]
        if not known:
            return {}
        rows = self._model.sounds(letter_ids(known)).tolist()
        spoken = {word: tuple(SYMBOLS[i] for i in row if i) for word, row in zip(known, rows, strict=True)}
        return {word: sounds for word, sounds in spoken.items() if sounds}
