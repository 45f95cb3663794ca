"""The transducer: subsampling, chunked causal conformer, stateless predictor, joiner, greedy search."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.features import CARRY, HOP, MELS, LogMel, tilt
from models.common.layers import Attention, CausalConv2d, ConvModule, Rotary, Rotation, additive, chunk_mask
from models.common.text import LETTERS
from models.transducer.config import SUBSAMPLING, Config

LETTERS_PER_FRAME = 3

# Fixed affine normalisation of log-mel without the tilt of pre-emphasis: about zero mean and unit variance.
_MEL_MEAN, _MEL_SCALE = -6.0, 0.25


class EncoderState(NamedTuple):
    """What the encoder remembers of one stream, per row of the batch; all zero at the start."""

    conv1: Tensor  # f32[B, 1, 1, 80]: the last normalised log-mel row
    conv2: Tensor  # f32[B, channels, 1, 40]
    conv3: Tensor  # f32[B, channels, 1, 20]
    keys: Tensor  # f32[B, layers, left, width]: ring, frame n in row n mod left, rotated
    values: Tensor  # f32[B, layers, left, width]: ring, same rows
    gated: Tensor  # f32[B, layers, kernel - 1, width]: inputs of the depthwise convolutions
    frame: Tensor  # i64[B]: encoder frames seen so far


class State(NamedTuple):
    """What one stream needs between steps of PCM: all zero at the start, `context` -1 and 0."""

    samples: Tensor  # f32[B, 280]: the end of the PCM before
    encoder: EncoderState
    context: Tensor  # i64[B, 2]: the last two tokens, oldest first; -1 is none


class Subsampling(nn.Module):
    """Three causal 3 x 3 convolutions of stride 2: 10 ms log-mel rows to 80 ms frames."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.conv1 = CausalConv2d(1, config.channels)
        self.conv2 = CausalConv2d(config.channels, config.channels)
        self.conv3 = CausalConv2d(config.channels, config.channels)
        self.project = nn.Linear(config.channels * MELS // SUBSAMPLING, config.width)
        self.register_buffer("mean", tilt() + _MEL_MEAN, persistent=False)
        # Channels last trains a third faster on CPU.
        self.to(memory_format=torch.channels_last)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map f32[B, 8 T, 80] to f32[B, T, width]."""
        x = functional.relu(self.conv1(self._normalise(log_mel)))
        return self._flatten(functional.relu(self.conv3(functional.relu(self.conv2(x)))))

    def step(self, log_mel: Tensor, caches: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Same on one chunk, with the last input row of each convolution."""
        x, after = self._normalise(log_mel), []
        for conv, cache in zip((self.conv1, self.conv2, self.conv3), caches, strict=True):
            x, cache = conv.step(x, cache)
            x = functional.relu(x)
            after.append(cache)
        return self._flatten(x), tuple(after)

    def _normalise(self, log_mel: Tensor) -> Tensor:
        return ((log_mel - self.mean) * _MEL_SCALE).unsqueeze(1)

    def _flatten(self, x: Tensor) -> Tensor:
        return self.project(x.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm conformer block: attention, convolution, feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(width, config.heads)
        self.conv = ConvModule(width, config.kernel)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, config.feed_forward), nn.SiLU(), nn.Linear(config.feed_forward, width)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor) -> Tensor:
        """Whole signal f32[B, T, D]."""
        return self.refine(x + self.dropout(self.attention(self.norms[0](x), rotation, mask)))

    def refine(self, x: Tensor) -> Tensor:
        """What follows attention, on the whole signal f32[B, T, D]."""
        x = x + self.dropout(self.conv(self.norms[1](x)))
        return x + self.dropout(self.feed_forward(self.norms[2](x)))

    def step(
        self, x: Tensor, rotation: Rotation, mask: Tensor, ring: tuple[Tensor, Tensor], gated: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """One chunk f32[B, C, D]; returns it with the new ring rows and convolution cache."""
        attended, rows = self.attention.step(self.norms[0](x), rotation, mask, ring)
        x, gated = self.refine_step(x + attended, gated)
        return x, rows, gated

    def refine_step(self, x: Tensor, gated: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What follows attention, on one chunk f32[B, C, D]; `count` as in `ConvModule.step`."""
        mixed, gated = self.conv.step(self.norms[1](x), gated, count)
        x = x + mixed
        return x + self.feed_forward(self.norms[2](x)), gated


class Encoder(nn.Module):
    """Log-mel rows to normalised frames f32[B, T, width] of 80 ms."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.subsampling = Subsampling(config)
        self.rotary = Rotary(config.head_width, config.period)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Whole signal f32[B, 8 T, 80]; equals `step` over its chunks."""
        x = self.subsampling(log_mel)
        frames = x.shape[1]
        rotation = self.rotary(torch.arange(frames, device=x.device))
        mask = chunk_mask(frames, self.config.chunk, self.config.left, x.device)
        for block in self.blocks:
            x = block(x, rotation, mask)
        return self.norm(x)

    def step(self, log_mel: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState, Tensor, Tensor]:
        """One chunk f32[B, 8 C, 80].

        Returns the frames f32[B, C, width], the new state with `keys` and `values` untouched, and
        the new ring rows f32[B, layers, C, width] of both: writing them is the caller's, who may
        hold the rings of many streams in one arena (see `write_ring`).
        """
        config = self.config
        x, convs = self.subsampling.step(log_mel, state[:3])
        rotation = self.rotary(state.frame[:, None] + torch.arange(config.chunk, device=x.device))
        mask = self._visible(state.frame)
        keys, values, gated = [], [], []
        for i, block in enumerate(self.blocks):
            ring = state.keys[:, i], state.values[:, i]
            x, rows, cache = block.step(x, rotation, mask, ring, state.gated[:, i])
            keys.append(rows[0])
            values.append(rows[1])
            gated.append(cache)
        after = EncoderState(*convs, state.keys, state.values, torch.stack(gated, 1), state.frame + config.chunk)
        return self.norm(x), after, torch.stack(keys, 1), torch.stack(values, 1)

    def initial_state(self, batch: int) -> EncoderState:
        """The state of `batch` streams that have heard nothing."""
        config = self.config
        ring = (batch, config.layers, config.left, config.width)
        return EncoderState(
            conv1=torch.zeros(batch, 1, 1, MELS),
            conv2=torch.zeros(batch, config.channels, 1, MELS // 2),
            conv3=torch.zeros(batch, config.channels, 1, MELS // 4),
            keys=torch.zeros(ring),
            values=torch.zeros(ring),
            gated=torch.zeros(batch, config.layers, config.kernel - 1, config.width),
            frame=torch.zeros(batch, dtype=torch.long),
        )

    def _visible(self, frame: Tensor) -> Tensor:
        """Additive mask [B, 1, 1, left + chunk]: ring rows written so far, and the whole chunk."""
        row = torch.arange(self.config.left, device=frame.device)
        written = row < frame[:, None]
        chunk = torch.ones(frame.shape[0], self.config.chunk, dtype=torch.bool, device=frame.device)
        return additive(torch.cat([written, chunk], 1))[:, None, None]


class Predictor(nn.Module):
    """Stateless predictor: a function of the last two tokens alone (arXiv 2002.02562 and later)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(config.vocabulary, config.joint) for _ in range(config.context))
        self.project = nn.Linear(config.joint, config.joint)

    def forward(self, context: Tensor) -> Tensor:
        """Map i64[..., 2], oldest first, to f32[..., joint]; a negative id is the zero vector."""
        known = (context >= 0).unsqueeze(-1)
        tokens = context.clamp(min=0)
        total = sum(embedding(tokens[..., i]) * known[..., i, :] for i, embedding in enumerate(self.embeddings))
        return self.project(functional.relu(total))


class Transducer(nn.Module):
    """PCM to tokens; the parts are used separately in training."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.log_mel = LogMel()
        self.encoder = Encoder(config)
        self.predictor = Predictor(config)
        self.enter = nn.Linear(config.width, config.joint)
        self.output = nn.Linear(config.joint, config.vocabulary)
        self.ctc = nn.Linear(config.width, config.vocabulary)
        self.spelling = nn.Linear(config.width, LETTERS_PER_FRAME * len(LETTERS))

    def join(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Logits f32[..., vocabulary] of `enter`ed frames and predictor rows f32[..., joint]."""
        return self.output(torch.tanh(encoded + predicted))

    def spell(self, frames: Tensor) -> Tensor:
        """Logits f32[B, 3 T, letters] of a training-only CTC head over letters, three to a frame."""
        return self.spelling(frames).unflatten(-1, (LETTERS_PER_FRAME, len(LETTERS))).flatten(1, 2)

    def search(self, encoded: Tensor, context: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Greedy search with at most one symbol per frame, unrolled over the frames.

        Takes `enter`ed frames f32[B, T, joint] and the context i64[B, 2]; returns token ids
        i64[B, T] (0 = none), their log-probabilities f32[B, T] and the new context. With `count`
        i64[B], only the first `count` frames are heard; ids and scores of the others are zero.
        """
        ids, scores = [], []
        for i, frame in enumerate(encoded.unbind(1)):
            log_probs = torch.log_softmax(self.join(frame, self.predictor(context)), -1)
            score, token = log_probs.max(-1)
            if count is not None:
                score, token = score * (i < count), token * (i < count)
            emitted = (token != 0)[:, None]
            context = torch.where(emitted, torch.stack([context[:, 1], token], 1), context)
            ids.append(token)
            scores.append(score)
        return torch.stack(ids, 1), torch.stack(scores, 1), context

    def step(self, samples: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """One chunk of PCM f32[B, chunk_samples] to ids i64[B, C], scores f32[B, C] and new state."""
        log_mel, carry = self.log_mel.step(samples, state.samples, state.encoder.frame == 0)
        frames, encoder, keys, values = self.encoder.step(log_mel, state.encoder)
        rings = write_ring(encoder, state.encoder.frame, keys, values)
        ids, scores, context = self.search(self.enter(frames), state.context)
        return ids, scores, State(carry, rings, context)

    def initial_state(self, batch: int) -> State:
        """The state of `batch` streams that have heard nothing."""
        context = torch.tensor([[-1, 0]]).repeat(batch, 1)
        return State(torch.zeros(batch, CARRY), self.encoder.initial_state(batch), context)

    @property
    def chunk_samples(self) -> int:
        """Samples of PCM in one step."""
        return self.config.chunk * SUBSAMPLING * HOP


def write_ring(state: EncoderState, frame: Tensor, keys: Tensor, values: Tensor) -> EncoderState:
    """Put the rows f32[B, layers, C, width] of the chunk that began at `frame` into the rings."""
    left = state.keys.shape[2]
    row = (frame[:, None] + torch.arange(keys.shape[2], device=frame.device)) % left
    index = row[:, None, :, None].expand_as(keys)
    return state._replace(keys=state.keys.scatter(2, index, keys), values=state.values.scatter(2, index, values))
