"""Export a transducer with look-ahead as a bundle: one ONNX call per tick, as many frames out as are ready."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from models.common.bundle_writer import asset, state_entry, write_graph, write_manifest, write_reference
from models.common.features import CARRY, HOP, SAMPLE_RATE
from models.common.onnx_export import round_weights
from models.common.text import Pieces
from models.transducer.ancat import AncatTransducer, LookAhead
from models.transducer.ancat_stream import tick_graph
from models.transducer.config import Config
from models.transducer.export import (
    FRAME_SAMPLES,
    OTHER_WEIGHTS,
    noise,
    task_entry,
    write_joint,
    write_other_weights,
)

CARD = Path(__file__).with_name("ANCAT.md")
_REFERENCE_STEPS = 8


def load_checkpoint(path: Path) -> AncatTransducer:
    """Load the averaged weights of a checkpoint of `ancat_train`, safely."""
    saved = torch.load(path, weights_only=True, map_location="cpu")
    config = dict(saved["config"])
    config.pop("delay_weight")
    look_ahead = LookAhead(**config.pop("look_ahead"))
    model = AncatTransducer(Config(**config), look_ahead)
    model.load_state_dict(saved["average"])
    return model.eval()


def export_bundle(
    model: AncatTransducer, pieces: Pieces, folder: Path, about: Mapping[str, str], delay_frames: int
) -> None:
    """Write the bundle of `model` to `folder`; `about` holds name, version, description and licence."""
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    round_weights(model)
    graph, chunk = tick_graph(model), model.chunk_samples
    entry = write_graph(folder, "step", graph, [noise(2, chunk)], _extra(model))
    joint, joint_reference = write_joint(folder, model)
    write_other_weights(model, folder)
    reference = write_reference(folder, "step", graph, {"pcm": noise(_REFERENCE_STEPS, chunk)})
    pieces.write_tokens(folder / "tokens.txt")
    assets = [asset(folder, folder / "tokens.txt", "tokens.txt"), asset(folder, CARD, "README.md")]
    assets.append(asset(folder, folder / OTHER_WEIGHTS, OTHER_WEIGHTS))
    task = task_entry(model.config, chunk, delay_frames)
    # All frames of the audio are ready once as much silence has followed it as the layers may look ahead.
    task["parameters"]["flush_samples"] += _ahead(model)
    write_manifest(
        folder,
        {
            **about,
            "languages": ["en"],
            "sample_rate": SAMPLE_RATE,
            "receptive_field_samples": receptive_field(model),
            "task": task,
            "pools": [{"name": "stream"}],
            "states": [state_entry(state) for state in graph.states],
            "graphs": [entry, joint],
            "assets": assets,
            "references": [reference, joint_reference],
        },
    )


def receptive_field(model: AncatTransducer) -> int:
    """How many samples back an encoder output can depend on: the windows and convolutions of all layers, summed.

    A frame may leave so much later than its sound, for the look-ahead of frames before it, as the layers look ahead.
    """
    config = model.config
    frames = config.layers * (config.left + config.kernel - 1)
    return frames * FRAME_SAMPLES + _ahead(model) + 7 * HOP + CARRY


def _ahead(model: AncatTransducer) -> int:
    return model.encoder.look_ahead.total * FRAME_SAMPLES


def _extra(model: AncatTransducer) -> dict[str, object]:
    chunk, ahead = model.chunk_samples, _ahead(model)
    audio = {
        "input": "pcm",
        "chunk_samples": chunk,
        "hop_samples": chunk,
        "right_context_samples": ahead,
        "delay_samples": chunk + ahead,
    }
    return {"audio": audio, "n_valid": "n_valid", "first_frame": "first_frame"}


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint written by ancat_train")
    parser.add_argument("--pieces", type=Path, required=True, help="pieces.model written by prepare")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--name", help="name of the bundle; that of the folder if not given")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--delay-frames", type=int, default=2, help="by how many frames tokens come late, measured")
    arguments = parser.parse_args()
    model = load_checkpoint(arguments.checkpoint)
    about = {
        "name": arguments.name or arguments.out.resolve().name,
        "version": arguments.version,
        "description": f"English recogniser with {model.encoder.look_ahead.mode} look-ahead, lower-case text",
        "licence": "Apache-2.0; training data credited in README.md",
    }
    export_bundle(model, Pieces(arguments.pieces), arguments.out, about, arguments.delay_frames)


if __name__ == "__main__":
    main()
