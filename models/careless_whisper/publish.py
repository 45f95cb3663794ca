"""Export a trained or adapted checkpoint as a bundle: averaged weights, adapters merged, no CTC head."""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.careless_whisper.config import Chunking, Dims
from models.careless_whisper.export import export_bundle
from models.careless_whisper.model import Whisper
from models.careless_whisper.texts import of_file

_PREFIX = "whisper."
_OPTIONS = ("mode", "window", "look_back", "max_tokens_per_chunk", "decode_every")


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parser().parse_args()
    torch.set_num_threads(1)
    model = load_whisper(arguments.checkpoint)
    texts = of_file(arguments.tokens, model.dims.n_vocab)
    about = {
        "name": arguments.name or arguments.out.resolve().name,
        "version": arguments.version,
        "description": arguments.description,
        "licence": arguments.licence,
        "languages": ["en"],
    }
    options = {"language": "en", **dict(map(_option, arguments.options))}
    chunking = Chunking(arguments.gran, arguments.extra)
    export_bundle(model, chunking, texts.vocabulary, arguments.out, about, options=options, card=arguments.card)


def is_trained(saved: Any) -> bool:
    """Tell whether what a file holds was written by training here."""
    return isinstance(saved, dict) and {"config", "model", "average"} <= saved.keys()


def load_whisper(checkpoint: Path) -> Whisper:
    """The model of a checkpoint that training wrote, with its averaged weights and its adapters merged."""
    saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
    config = dict(saved["config"])
    rank = config.pop("rank", 0)
    model = Whisper(Dims(**config))
    if rank:
        model.adapt(rank)
    weights: dict[str, Tensor] = {**saved["model"], **saved["average"]}
    model.load_state_dict({key.removeprefix(_PREFIX): value for key, value in weights.items() if _PREFIX in key})
    model.merge()
    return model.eval()


def _option(argument: str) -> tuple[str, int | str]:
    name, _, value = argument.partition("=")
    if name not in _OPTIONS or not value:
        raise SystemExit(f"--options: expected {'|'.join(_OPTIONS)}=VALUE, got {argument!r}")
    return name, int(value) if value.isdigit() else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint written by train or adapt")
    parser.add_argument("--tokens", type=Path, required=True, help="tokens.txt beside pieces.model, or *.tiktoken")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--name", help="of the bundle; that of its folder if not given")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--description", default="streaming English Whisper, trained from nothing")
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument("--gran", type=int, default=15, help="encoder frames of 20 ms a chunk")
    parser.add_argument("--extra", type=int, default=1, help="further chunks in the first block")
    parser.add_argument("--options", nargs="+", default=(), metavar="NAME=VALUE", help="of the search")
    parser.add_argument("--card", type=Path, help="README of the bundle")
    return parser


if __name__ == "__main__":
    main()
