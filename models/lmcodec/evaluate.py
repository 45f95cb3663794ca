"""What the models of codes save on voices that training never heard, and what guessed fine codes do to the sound.

Bits are those of the integer frequencies that the range coder would be given; what whole streams weigh, packets and
all, is counted by `models.codec.evaluate`.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.codec import quality
from models.codec.checkpoint import load as load_codec
from models.codec.export import round_codec
from models.codec.model import Codec, keep_books
from models.common import packs
from models.lmcodec.data import FRAMES_PER_SECOND, read_codes
from models.lmcodec.export import load_network, load_predictor
from models.lmcodec.floating import float_network
from models.lmcodec.network import Network
from models.lmcodec.predictor import Predictor
from models.lmcodec.tables import TOTAL
from models.lmcodec.tables import bits as tables_bits
from streamer.tasks.code_network import frequencies, intervals

_RATES = (3, 6, 8, 12)
_METRICS = ("pesq", "stoi", "visqol")
_RAW_BITS = 10

Filling = Callable[[Tensor], Tensor]
"""Codes i64[1, T, books] of a clip to codes of as many frames."""


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.set_num_threads(1)
    arrays = dict(np.load(arguments.models / "tables.npz"))
    clips = read_codes(arguments.codes).of("dev")[: arguments.clips]
    network = arguments.models / "network" / "checkpoint.pt"
    predictor = arguments.models / "predictor" / "checkpoint.pt"
    print(f"{len(clips)} clips, {sum(map(len, clips)) / FRAMES_PER_SECOND / 60:.1f} min of unseen voices\n")
    print(saved(clips, arrays, load_network(network) if network.exists() else None))
    if arguments.codec and predictor.exists():
        codec = load_codec(arguments.codec)
        round_codec(codec)
        pack = packs.read_pack(arguments.data / "clean_speech.tar", "dev")
        originals = [packs.resample(samples, rate) for _, samples, rate in pack][: arguments.judged]
        print(f"\n{len(originals)} clips\n\n{heard(originals, codec, load_predictor(predictor))}")


def saved(clips: Sequence[np.ndarray], arrays: dict[str, np.ndarray], network: Network | None) -> str:
    """A table of bits by mode and keyframe interval: of each book, and per cent saved of all bits by books sent."""
    rows = [
        "| mode | keyframe every | bits of book 1, 2 ... | 3 books | 6 books | 8 books | 12 books |",
        "|---|---|---|---|---|---|---|",
    ]
    for seconds in (1, 10):
        parts = [part for clip in clips for part in np.split(clip, range(50 * seconds, len(clip), 50 * seconds))]
        found = {"tables": tables_bits(arrays, parts)}
        if network:
            fine = found["tables"][network.config.books :]
            found["network"] = np.concatenate([network_bits(network, parts, arrays["network"]), fine])
            floats = network_bits(float_network(network), parts, arrays["network"], quantised=False)
            found["float"] = np.concatenate([floats, fine])
        for mode, each in found.items():
            shares = [f"{100 * (1 - each[:n].mean() / _RAW_BITS):.1f} %" for n in _RATES]
            rows.append(f"| {mode} | {seconds} s | {', '.join(f'{b:.2f}' for b in each)} | {' | '.join(shares)} |")
    return "\n".join(rows)


@torch.inference_mode()
def network_bits(
    network: Network, parts: Sequence[np.ndarray], table: np.ndarray, quantised: bool = True
) -> np.ndarray:
    """Mean bits of a code of each book that the network codes, f64[books]; every part begins with a keyframe.

    In integers, or as they are if not `quantised`.
    """
    total, frames = np.zeros(network.config.books), 0
    for part in parts:
        codes = part[:, : network.config.books].astype(np.int64)
        logits = network.integers(torch.from_numpy(codes)[None], quantised)[0].flatten(0, 1).numpy()
        _, sizes = intervals(frequencies(logits, table), codes.ravel())
        total -= np.log2(sizes / TOTAL).reshape(codes.shape).sum(0)
        frames += len(codes)
    return total / frames


def heard(originals: Sequence[np.ndarray], codec: Codec, predictor: Predictor) -> str:
    """A table of quality by what the decoder is given: received books alone, or filled up by the predictor."""
    books = codec.config.books
    rows = [f"| received | then | {' | '.join(_METRICS)} |", f"|---|---|{'---|' * len(_METRICS)}"]
    for received in (3, 6):
        ways: dict[str, Filling] = {
            "nothing": lambda codes: codes,
            "likeliest codes": partial(guess, predictor, None),
            "drawn codes": partial(guess, predictor, torch.Generator().manual_seed(0)),
        }
        for name, way in ways.items():
            pairs = [(pcm, _through(pcm, codec, received, way)) for pcm in originals]
            scores = quality.quick(pairs, _METRICS)
            rows.append(f"| {received} | {name} | {' | '.join(f'{scores[metric]:.3f}' for metric in _METRICS)} |")
    scores = quality.quick([(pcm, _through(pcm, codec, books, lambda codes: codes)) for pcm in originals], _METRICS)
    rows.append(f"| {books} | nothing | {' | '.join(f'{scores[metric]:.3f}' for metric in _METRICS)} |")
    return "\n".join(rows)


@torch.inference_mode()
def guess(predictor: Predictor, generator: torch.Generator | None, codes: Tensor) -> Tensor:
    """Fill codes i64[B, T, books] frame by frame, as serving does: the likeliest, or drawn by `generator`."""
    batch, filled = codes.shape[0], []
    previous = torch.full_like(codes[:, 0], -1)
    memory = torch.zeros(batch, predictor.config.width)
    for frame in codes.unbind(1):
        memory = predictor.step(previous, memory)
        uniform = torch.full(frame.shape, -1.0) if generator is None else torch.rand(frame.shape, generator=generator)
        previous = predictor.fill(frame, uniform, memory)
        filled.append(previous)
    return torch.stack(filled, 1)


@torch.inference_mode()
def _through(pcm: np.ndarray, codec: Codec, received: int, way: Filling) -> np.ndarray:
    samples = torch.from_numpy(pcm[: len(pcm) // codec.config.frame_samples * codec.config.frame_samples])[None]
    return codec.decode(way(keep_books(codec.encode(samples), received)))[0].numpy()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of models.lmcodec.train")
    parser.add_argument("--codes", type=Path, required=True, help="codes written by models.lmcodec.data")
    parser.add_argument("--codec", type=Path, help="checkpoint of the codec, to hear the predictor")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--clips", type=int, default=1000, help="most clips to count bits on")
    parser.add_argument("--judged", type=int, default=12, help="clips to judge the sound on")
    return parser.parse_args()


if __name__ == "__main__":
    main()
