"""A small Whisper to be trained from nothing: its sizes."""

from dataclasses import dataclass

from torch import nn

from models.careless_whisper.config import Dims
from models.careless_whisper.model import Whisper


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model trained from nothing; heads are 64 wide, as Whisper's are."""

    width: int = 192
    layers: int = 5
    text_layers: int = 2
    mels: int = 80

    def dims(self, vocabulary: int) -> Dims:
        """The ten numbers of a Whisper checkpoint."""
        heads = max(1, self.width // 64)
        return Dims(
            self.mels, 1500, self.width, heads, self.layers, vocabulary, 448, self.width, heads, self.text_layers
        )


def untrained(dims: Dims) -> Whisper:
    """A model whose first logits are small: torch's embeddings are too large for an output tied to them."""
    model = Whisper(dims)
    nn.init.normal_(model.decoder.token_embedding.weight, std=0.02)
    return model
