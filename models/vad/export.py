"""Export a trained detector as a bundle: one ONNX call per chunk, PCM in, probabilities of speech out."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.common.bundle_writer import asset, state_entry, write_graph, write_manifest, write_reference
from models.common.features import CARRY, HOP, MELS, SAMPLE_RATE
from models.common.onnx_export import round_weights
from models.common.slots import Rows, SlottedGraph, StateSpec, Update
from models.vad.config import DELAY_FRAMES, FRAME_SAMPLES, SUBSAMPLING, Config
from models.vad.model import Detector, State

CARD = Path(__file__).with_name("README.md")
_REFERENCE_STEPS = 8


class DetectorStep(torch.nn.Module):
    """One chunk of many streams as a `RowStep`: input `pcm`, output `speech`, probabilities f32[B, frames]."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take `pcm` f32[B, chunk_samples] and the rows of `states(config)`."""
        logits, after = self.model.step(inputs["pcm"], State(*(state[name] for name in State._fields)))
        return {"speech": torch.sigmoid(logits)}, after._asdict()


def states(config: Config) -> list[StateSpec]:
    """What a stream remembers, in the order of the graph's inputs."""
    return [
        StateSpec("samples", (CARRY,)),
        StateSpec("rows", (MELS, SUBSAMPLING)),
        StateSpec("past", (config.narrow, sum(config.past))),
        StateSpec("frame", (), torch.int64),
    ]


def step_graph(model: Detector) -> SlottedGraph:
    """The graph `step` of the bundle."""
    return SlottedGraph(DetectorStep(model), ["pcm"], ["speech"], states(model.config))


def receptive_field(config: Config) -> int:
    """How many samples back an answer can depend on: the dilated convolutions, the first one, the front end."""
    return (sum(config.past) + 1) * FRAME_SAMPLES + SUBSAMPLING * HOP + CARRY


def export_bundle(model: Detector, folder: Path, about: Mapping[str, str]) -> None:
    """Write the bundle of `model` to `folder`; `about` holds name, version, description and licence."""
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    round_weights(model)
    step, chunk = step_graph(model), model.config.chunk_samples
    delay = DELAY_FRAMES * FRAME_SAMPLES
    audio = {"input": "pcm", "chunk_samples": chunk, "hop_samples": chunk, "delay_samples": chunk + delay}
    task = {
        "kind": "vad",
        "roles": {"pcm": "step.pcm", "speech": "step.speech"},
        "parameters": {"frame_samples": FRAME_SAMPLES, "speech_delay_samples": delay},
    }
    entry = write_graph(folder, "step", step, [noise(2, chunk)], {"audio": audio})
    write_manifest(
        folder,
        {
            **about,
            "sample_rate": SAMPLE_RATE,
            "receptive_field_samples": receptive_field(model.config),
            "task": task,
            "pools": [{"name": "stream"}],
            "states": [state_entry(state) for state in step.states],
            "graphs": [entry],
            "assets": [asset(folder, CARD, "README.md")],
            "references": [write_reference(folder, "step", step, {"pcm": noise(_REFERENCE_STEPS, chunk)})],
        },
    )


def load_checkpoint(path: Path) -> Detector:
    """Load the averaged weights of a training checkpoint, safely."""
    saved = torch.load(path, weights_only=True, map_location="cpu")
    config = Config(**{**saved["config"], "dilations": tuple(saved["config"]["dilations"])})
    model = Detector(config)
    model.load_state_dict(saved["average"])
    return model.eval()


def noise(rows: int, samples: int) -> Tensor:
    """Example rows of PCM f32[rows, samples], the same every time."""
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(0)) * 0.1


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint written by train")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--version", default="0.1.0")
    arguments = parser.parse_args()
    about = {
        "name": "vad",
        "version": arguments.version,
        "description": "Voice activity detector: causal dilated convolutions, 80 ms chunks, 20 ms frames",
        "licence": "Apache-2.0; training data credited in README.md",
    }
    export_bundle(load_checkpoint(arguments.checkpoint), arguments.out, about)


if __name__ == "__main__":
    main()
