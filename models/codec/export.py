"""Export a trained codec as a bundle: `encode` and `decode`, and what models of its codes there are."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.codec.checkpoint import CONFIG, load, plain
from models.codec.config import LOST, RATE, SILENT, Config
from models.codec.model import Codec, keep_books
from models.codec.serving import DecodeStep, EncodeStep, decoder_reach, encoder_reach, states
from models.common.bundle_writer import asset, state_entry, write_graph, write_manifest, write_reference
from models.common.onnx_export import FreeLengths, round_weights
from models.common.slots import SlottedGraph
from models.lmcodec.export import LanguageModels, load_network, load_predictor, write_language_models

CARD = Path(__file__).with_name("README.md")
_FREE: FreeLengths = {"pcm": ["frames"], "codes": ["frames"], "kind": ["frames"]}
_REFERENCE_STEPS, _REFERENCE_FRAMES = 6, 4
# Books of the bitrates on offer. Eight of them take 3.2 kbit/s when the entropy network codes them.
_COUNTS = (3, 6, 8, 12)
# Below what training calls silence (models.codec.data), so that the latent of silence is heard for nothing louder.
_SILENCE_DBFS = -60.0


def encode_graph(model: Codec) -> SlottedGraph:
    """The graph `encode` of the bundle."""
    return SlottedGraph(EncodeStep(model), ["pcm"], ["codes"], states(model)[:1])


def decode_graph(model: Codec) -> SlottedGraph:
    """The graph `decode` of the bundle."""
    return SlottedGraph(DecodeStep(model), ["codes", "kind"], ["pcm"], states(model)[1:])


def round_codec(model: Codec) -> None:
    """Round matrices and codebooks to float16 values in place: what a bundle holds, and all that a parity is about."""
    round_weights(model)
    quantiser = model.quantiser
    for tensor in (quantiser.absent, *(getattr(book, "codebook", None) for book in quantiser.books)):
        if tensor is not None:
            tensor.data = tensor.data.half().float()


def export_bundle(
    model: Codec, folder: Path, about: Mapping[str, Any], extra: LanguageModels | None = None, card: Path = CARD
) -> None:
    """Write the bundle of `model` to `folder`; `about` holds name, version, description and licence.

    `extra` are the models of its codes, already written to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    round_codec(model)
    config, extra = model.config, extra or LanguageModels()
    encode, decode = encode_graph(model), decode_graph(model)
    pcm, codes, kind = noise(model), random_codes(config), random_kinds(config)
    audio = {
        "input": "pcm",
        "chunk_samples": config.frame_samples,
        "hop_samples": config.frame_samples,
        "delay_samples": config.frame_samples + config.delay_samples,
    }
    written = [
        write_graph(folder, "encode", encode, [pcm[:2]], {"audio": audio}, free=_FREE),
        write_graph(folder, "decode", decode, [codes[:2], kind[:2]], {}, free=_FREE),
    ]
    references = [
        write_reference(folder, "encode", encode, {"pcm": pcm}),
        write_reference(folder, "decode", decode, {"codes": codes, "kind": kind}),
    ]
    (folder / CONFIG).write_text(json.dumps(plain(config), indent=1) + "\n", encoding="utf-8")
    task = {
        "kind": "codec",
        "program": "codec",
        "roles": roles() | extra.roles,
        "parameters": parameters(config) | extra.parameters,
        "assets": extra.task_assets,
    }
    reach = max(encoder_reach(config), decoder_reach(config))
    write_manifest(
        folder,
        {
            **about,
            "sample_rate": RATE,
            "receptive_field_samples": reach * config.frame_samples,
            "task": task,
            "pools": [{"name": "stream"}],
            "states": [*(state_entry(state) for state in states(model)), *extra.states],
            "graphs": [*written, *extra.graphs],
            "assets": [asset(folder, card, "README.md"), asset(folder, folder / CONFIG, CONFIG), *extra.assets],
            "references": [*references, *extra.references],
        },
    )


def roles() -> dict[str, str]:
    """Which tensor plays which role in the program `codec`."""
    return {
        "pcm": "encode.pcm",
        "codes": "encode.codes",
        "received_codes": "decode.codes",
        "frame_kind": "decode.kind",
        "decoded": "decode.pcm",
    }


def parameters(config: Config) -> dict[str, float | int | str]:
    """Sizes, what counts as silence, and the bitrates that a stream may have with the books that make them."""
    per_book = config.bits * RATE // config.frame_samples
    counts = [count for count in _COUNTS if count <= config.books] or [config.books]
    return {
        "frame_samples": config.frame_samples,
        "books": config.books,
        "bits_per_book": config.bits,
        "delay_samples": config.delay_samples,
        "receptive_frames": decoder_reach(config),
        "coarse_books": 0,
        "rates": ",".join(f"{count * per_book}:{count}" for count in counts),
        "default_rate": per_book * (6 if config.books >= 6 else config.books),
        "silence_dbfs": _SILENCE_DBFS,
    }


def noise(model: Codec) -> Tensor:
    """PCM f32[steps, T, frame_samples] of a reference run, the same every time."""
    shape = (_REFERENCE_STEPS, _REFERENCE_FRAMES, model.config.frame_samples)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.1


def random_codes(config: Config) -> Tensor:
    """Codes i64[steps, T, Q] of a reference run, of two bitrates in turns."""
    shape = (_REFERENCE_STEPS, _REFERENCE_FRAMES, config.books)
    codes = torch.randint(config.words, shape, generator=torch.Generator().manual_seed(0))
    codes[::2] = keep_books(codes[::2], config.books // 2)
    return codes


def random_kinds(config: Config) -> Tensor:
    """Kinds i64[steps, T] of a reference run: mostly ordinary frames, some lost, some silent."""
    drawn = torch.rand(_REFERENCE_STEPS, _REFERENCE_FRAMES, generator=torch.Generator().manual_seed(config.books))
    return LOST * (drawn < 0.3) + SILENT * (drawn > 0.85)


def language_models(trained: Path, folder: Path, with_floats: bool = True) -> LanguageModels:
    """Write what models.lmcodec has trained in `trained` to the bundle in `folder`, the network `with_floats` too."""
    tables, network, predictor = (
        trained / name for name in ("tables.npz", "network/checkpoint.pt", "predictor/checkpoint.pt")
    )
    return write_language_models(
        folder,
        tables if tables.exists() else None,
        load_network(network) if network.exists() else None,
        load_predictor(predictor) if predictor.exists() else None,
        with_floats,
    )


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint written by train")
    parser.add_argument("--language-models", type=Path, help="folder that models.lmcodec.train wrote to")
    parser.add_argument("--integers-only", action="store_true", help="leave the network of entropy mode 3 out")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--name", default="codec-16k")
    parser.add_argument("--version", default="0.1.0")
    arguments = parser.parse_args()
    about = {
        "name": arguments.name,
        "version": arguments.version,
        "description": "Speech codec for 16 kHz: 20 ms frames, 1.5 to 6 kbit/s, causal ConvNeXt over MDCT or STFT",
        "licence": "Apache-2.0; training data credited in README.md",
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    trained = arguments.language_models
    extra = language_models(trained, arguments.out, not arguments.integers_only) if trained else None
    export_bundle(load(arguments.checkpoint), arguments.out, about, extra)


if __name__ == "__main__":
    main()
