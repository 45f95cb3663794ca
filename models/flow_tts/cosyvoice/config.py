"""Sizes of a checkpoint, those of the released ones by default, and what does not change between checkpoints."""

from dataclasses import dataclass

RATE = 24_000
FRAME = 480
"""Samples of a mel frame: 50 a second."""
TOKEN_FRAMES = 2
"""Mel frames of a speech token: 25 tokens a second."""
MELS = 80
SPEAKER = 192
"""Width of a speaker's embedding (CAM++)."""
STEPS = 10
"""Steps of the ODE."""
GUIDANCE = 0.7
"""Weight of classifier-free guidance: v = (1 + g) with conditions - g without."""
CHUNK = 25
"""Tokens of a chunk of the streaming masks."""
BRANCHES = 2
"""What the flow's estimator runs side by side: with conditions, and without."""


@dataclass(frozen=True)
class EncoderSizes:
    """The token encoder of version 2."""

    tokens: int = 6561
    width: int = 512
    heads: int = 8
    hidden: int = 2048
    layers: int = 6
    up_layers: int = 4
    ahead: int = 3
    up_kernel: int = 5


@dataclass(frozen=True)
class PlainEncoderSizes:
    """The token encoder of version 3: an embedding and two convolutions."""

    tokens: int = 6561
    width: int = 80
    hidden: int = 1024
    ahead: int = 3


@dataclass(frozen=True)
class UNetSizes:
    """The estimator of version 2."""

    channels: int = 256
    heads: int = 8
    head_width: int = 64
    hidden: int = 1024
    blocks: int = 12
    transformers: int = 4
    time: int = 1024


@dataclass(frozen=True)
class DitSizes:
    """The estimator of version 3; `rotated` of the channels of queries and keys turn."""

    width: int = 1024
    layers: int = 22
    heads: int = 16
    hidden: int = 2048
    time: int = 256
    kernel: int = 31
    groups: int = 16
    rotated: int = 64


@dataclass(frozen=True)
class HiftSizes:
    """The vocoder. `causal` is that of version 3."""

    causal: bool = False
    channels: int = 512
    f0_channels: int = 512
    ratios: tuple[int, ...] = (8, 5, 3)
    kernels: tuple[int, ...] = (16, 11, 7)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    source_kernels: tuple[int, ...] = (7, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)
    harmonics: int = 9
    n_fft: int = 16
    hop: int = 4

    @property
    def enter(self) -> int:
        """Kernel of the first convolution."""
        return 5 if self.causal else 7

    @property
    def ahead(self) -> int:
        """Frames that a causal vocoder looks ahead, with its pitch and with its first convolution alike."""
        return self.enter - 1

    def width(self, scale: int) -> int:
        """Channels after `scale` + 1 upsamplings."""
        return self.channels >> (scale + 1)


@dataclass(frozen=True)
class LmSizes:
    """The language model: a decoder of the kind of Qwen2. `specials` are rows of `llm_embedding`, none in version 3."""

    texts: int = 151_936
    speech: int = 6564
    specials: int = 2
    width: int = 896
    layers: int = 24
    heads: int = 14
    kv_heads: int = 2
    hidden: int = 4864
    head_bias: bool = True
    theta: float = 1_000_000.0
    epsilon: float = 1e-6

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads


@dataclass(frozen=True)
class Options:
    """How a bundle is to stream.

    `pages` chunks of the flow's keys fit a stream: prompt and speech, at most. `cells` tokens fit the language model's
    cache. `cached` is how the flow streams: with caches, or by running over the whole prefix again.
    """

    chunk: int = CHUNK
    pages: int = 16
    cells: int = 2048
    cached: bool = True
    half_state: bool = False
