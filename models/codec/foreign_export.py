"""Export an imported codec as a bundle of the graphs `encode` and `decode`, which serve as those of our own do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.codec.config import LOST, SILENT
from models.codec.encodec import Encodec
from models.codec.export import roles
from models.codec.mimi import Mimi
from models.common.bundle_writer import asset, state_entry, write_graph, write_manifest, write_reference
from models.common.onnx_export import FreeLengths
from models.common.slots import Rows, SlottedGraph, State, Update

RATE = 24_000
_FREE: FreeLengths = {"pcm": ["frames"], "codes": ["frames"], "kind": ["frames"]}
_REFERENCE_STEPS, _REFERENCE_FRAMES = 5, 3

ForeignCodec = Encodec | Mimi


@dataclass(frozen=True)
class Offer:
    """What a bundle offers: numbers of books, how many by default, and how many frames a decoder hears before a jump.

    Neither codec forgets after a fixed time, so those frames are a choice: by then what came before is faint. Batches
    of more than `max_batch` streams save nothing more, and every size of a batch is tried when a server starts.
    """

    counts: tuple[int, ...]
    default: int
    receptive_frames: int
    max_batch: int | None = None

    def of(self, books: int) -> tuple[tuple[int, ...], int]:
        """Numbers of books that a model of `books` books can do, and the default one."""
        counts = tuple(count for count in self.counts if count <= books) or (books,)
        return counts, self.default if self.default in counts else counts[-1]


ENCODEC_OFFER = Offer((2, 4, 8, 16, 32), 8, receptive_frames=75)
MIMI_OFFER = Offer((4, 8, 16, 32), 8, receptive_frames=125, max_batch=16)


class EncodeStep(nn.Module):
    """The `RowStep` of a model's encoder."""

    def __init__(self, model: ForeignCodec) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """Take T frames, and what the encoder keeps."""
        return self.model.encode_step(inputs, state)


class DecodeStep(EncodeStep):
    """The `RowStep` of a model's decoder."""

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """Take T frames, and what the decoder keeps."""
        return self.model.decode_step(inputs, state)


def encode_graph(model: ForeignCodec, half: bool = False) -> SlottedGraph:
    """The graph `encode` of the bundle."""
    return SlottedGraph(EncodeStep(model), ["pcm"], ["codes"], model.encoder_states(half))


def decode_graph(model: ForeignCodec, half: bool = False) -> SlottedGraph:
    """The graph `decode` of the bundle."""
    return SlottedGraph(DecodeStep(model), ["codes", "kind"], ["pcm"], model.decoder_states(half))


def export_bundle(
    model: ForeignCodec, folder: Path, about: Mapping[str, Any], offer: Offer, card: Path, half_state: bool = False
) -> None:
    """Write the bundle of `model` to `folder`; `about` holds name, version, description and licence.

    `half_state` keeps keys and values of attention in half precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encode, decode = encode_graph(model, half_state), decode_graph(model, half_state)
    steps = reference_steps(model)
    encoded, decoded = ({name: steps[name] for name in graph.inputs} for graph in (encode, decode))
    frame = model.frame_samples
    audio = {"input": "pcm", "chunk_samples": frame, "hop_samples": frame, "delay_samples": frame}
    examples = [[rows[:2] for rows in inputs.values()] for inputs in (encoded, decoded)]
    graphs = [
        write_graph(folder, "encode", encode, examples[0], {"audio": audio, "max_batch": offer.max_batch}, free=_FREE),
        write_graph(folder, "decode", decode, examples[1], {"max_batch": offer.max_batch}, free=_FREE),
    ]
    references = [
        write_reference(folder, "encode", encode, encoded),
        write_reference(folder, "decode", decode, decoded),
    ]
    task = {"kind": "codec", "program": "codec", "roles": roles(), "parameters": parameters(model, offer)}
    write_manifest(
        folder,
        {
            **about,
            "sample_rate": RATE,
            "receptive_field_samples": None,
            "task": task,
            "pools": [{"name": "stream"}],
            "states": [state_entry(state) for state in (*encode.states, *decode.states)],
            "graphs": graphs,
            "assets": [asset(folder, card, "README.md")],
            "references": references,
        },
    )


def parameters(model: ForeignCodec, offer: Offer) -> dict[str, int | str]:
    """Sizes, and the bitrates that a stream may have: bits per second, and the books that make them."""
    sizes, frame = model.sizes, model.frame_samples
    bits = sizes.words.bit_length() - 1
    counts, default = offer.of(sizes.books)
    rates = {count: count * bits * RATE // frame for count in counts}
    return {
        "frame_samples": frame,
        "books": sizes.books,
        "bits_per_book": bits,
        # A sample comes out where it went in, one frame later.
        "delay_samples": 0,
        "receptive_frames": offer.receptive_frames,
        "coarse_books": 0,
        "rates": ",".join(f"{rate}:{count}" for count, rate in rates.items()),
        "default_rate": rates[default],
    }


def reference_steps(model: ForeignCodec) -> dict[str, Tensor]:
    """Inputs [steps, T, ...] of the recorded runs: noise, codes of all books and of half of them, frames not sent."""
    generator = torch.Generator().manual_seed(0)
    shape, sizes = (_REFERENCE_STEPS, _REFERENCE_FRAMES), model.sizes
    codes = torch.randint(sizes.words, (*shape, sizes.books), generator=generator)
    codes[::2, :, (sizes.books + 1) // 2 :] = -1
    drawn = torch.rand(shape, generator=generator)
    return {
        "pcm": torch.randn(*shape, model.frame_samples, generator=generator) * 0.1,
        "codes": codes,
        "kind": LOST * (drawn < 0.3) + SILENT * (drawn > 0.85),
    }
