"""Export of the spelling network as the graph `spell` of a voice's bundle: letters of one word in, sounds out."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.common.bundle_writer import write_graph
from models.common.onnx_export import round_weights
from models.common.slots import Rows, SlottedGraph, Update
from models.flow_tts.spell import MOST_LETTERS, Spelling, letter_ids, load_checkpoint

_EXAMPLES = ("zorblax", "o'clock")


class SpellStep(torch.nn.Module):
    """Words of many rows as a `RowStep` without state: `letters` i64[B, L] to `sounds` i64[B, 2 L]."""

    def __init__(self, model: Spelling) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Decode greedily; 0 is padding in, and nothing out."""
        return {"sounds": self.model.sounds(inputs["letters"])}, {}


def spell_graph(model: Spelling) -> SlottedGraph:
    """The graph `spell` of the bundle."""
    return SlottedGraph(SpellStep(model), ["letters"], ["sounds"], [])


def write_spell(folder: Path, model: Spelling) -> dict[str, Any]:
    """Write `spell.onnx` into `folder` and return its entry for the manifest; rounds the weights of `model`."""
    folder.mkdir(parents=True, exist_ok=True)
    round_weights(model.eval())
    return write_graph(folder, "spell", spell_graph(model), [examples()], {})


def examples() -> Tensor:
    """Rows of letters i64[2, L] to trace the graph with."""
    return letter_ids(_EXAMPLES, MOST_LETTERS)


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint written by spell_train")
    parser.add_argument("--out", type=Path, required=True, help="folder for spell.onnx")
    arguments = parser.parse_args()
    write_spell(arguments.out, load_checkpoint(arguments.checkpoint))
    print(f"{(arguments.out / 'spell.onnx').stat().st_size} bytes")


if __name__ == "__main__":
    main()
