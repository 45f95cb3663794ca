"""Write the recogniser's vocabulary and feature shards: real speech first, then synthetic speech."""

import argparse
from pathlib import Path

import torch

from models.common import preparing
from models.common.features import LogMel
from models.transducer.config import Config

SPEEDS = (1.0, 0.9, 1.1)


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="folder for vocabulary and shards")
    parser.add_argument("--synthetic-hours", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("vocabulary", "real", "synthetic"), help="run one stage")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, out = arguments.data, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.only in (None, "vocabulary"):
        preparing.write_vocabulary(data, out, Config().vocabulary)
    if arguments.only in (None, "real"):
        preparing.write_real(data, out, LogMel(), SPEEDS)
    if arguments.only in (None, "synthetic"):
        preparing.write_synthetic(data, out, LogMel(), arguments.synthetic_hours, arguments.seed)


if __name__ == "__main__":
    main()
