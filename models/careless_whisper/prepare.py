"""Write the vocabulary and feature shards of a model trained from nothing: real speech, then synthetic speech.

Rows are log10 mel power before normalisation, which depends on how a stream was cut and so belongs to the batch.
"""

import argparse
from pathlib import Path

import torch

from models.careless_whisper.features import WhisperMel
from models.common import preparing

_SPEEDS = (1.0, 0.9, 1.1)
_STAGES = ("vocabulary", "real", "synthetic")


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parser().parse_args()
    torch.set_num_threads(1)
    data, out = arguments.data, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    mel = WhisperMel(arguments.mels)
    if "vocabulary" in arguments.stages:
        preparing.write_vocabulary(data, out, arguments.vocabulary)
    if "real" in arguments.stages:
        preparing.write_real(data, out, mel, arguments.speeds)
    if "synthetic" in arguments.stages:
        preparing.write_synthetic(data, out, mel, arguments.synthetic_hours, arguments.seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="folder for vocabulary and shards")
    parser.add_argument("--mels", type=int, default=80, help="mel bands; those of the model")
    parser.add_argument("--vocabulary", type=int, default=500, help="word pieces")
    parser.add_argument("--speeds", type=float, nargs="+", default=_SPEEDS, help="of real speech")
    parser.add_argument("--synthetic-hours", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", choices=_STAGES, default=_STAGES)
    return parser


if __name__ == "__main__":
    main()
