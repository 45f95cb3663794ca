"""Sizes of the token path."""

from dataclasses import dataclass

from models.flow_tts.config import FlowConfig
from models.flow_tts.cosyvoice.config import EncoderSizes, LmSizes
from models.flow_tts.symbols import SYMBOLS

LEVELS = 3
"""Values of each dimension of a token."""
TOKENS_A_SECOND = 25
DIMS = 8
"""Dimensions of a token."""
TEXT_BLOCK, SPEECH_BLOCK = 12, 15
"""Text that arrives is read in blocks of so many symbols, each followed by so many tokens.

CosyVoice 2 has 5 : 15 for pieces of words. A symbol is a phone or a gap and lasts 1.4 to 5.4 tokens in
recordings, so speech is always behind the text that was read.
"""
CHUNK = 12
"""Tokens of a chunk in training: with those ahead of it one block of speech."""


@dataclass(frozen=True)
class TokeniserConfig:
    """The tokeniser: ConvNeXt blocks at 50 and at 25 frames a second on both sides of the tokens."""

    dims: int = DIMS
    width: int = 256
    inner: int = 768
    kernel: int = 7
    blocks: int = 3

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return LEVELS**self.dims


@dataclass(frozen=True)
class TokenFlowConfig:
    """Tokens to mel: the encoder of CosyVoice 2, smaller, before the flow of the direct path."""

    tokens: int
    flow: FlowConfig
    width: int = 256
    heads: int = 4
    hidden: int = 1024
    layers: int = 4
    up_layers: int = 2
    ahead: int = 3
    chunk: int = CHUNK

    @property
    def encoder(self) -> EncoderSizes:
        """Sizes of the encoder."""
        return EncoderSizes(
            self.tokens, self.width, self.heads, self.hidden, self.layers, self.up_layers, ahead=self.ahead
        )


def lm_sizes(tokens: int, width: int = 256, layers: int = 6, heads: int = 4, hidden: int = 768) -> LmSizes:
    """Sizes of the language model: text is the symbols of the voice, tokens are followed by end, reserve and fill."""
    return LmSizes(
        texts=len(SYMBOLS),
        speech=tokens + 3,
        specials=2,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        hidden=hidden,
        theta=10_000.0,
    )
