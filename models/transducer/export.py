"""Export a trained transducer as a bundle: one ONNX call per chunk, PCM in, tokens out, for any batch of streams."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.common.bundle_writer import asset, state_entry, write_graph, write_manifest, write_reference
from models.common.features import CARRY, HOP, MELS, SAMPLE_RATE
from models.common.onnx_export import read_weights, round_weights
from models.common.slots import RingRows, Rows, SlottedGraph, StateSpec, Update
from models.common.text import BLANK, Pieces
from models.transducer.config import SUBSAMPLING, Config
from models.transducer.language_model import NGRAMS, WORDS
from models.transducer.model import EncoderState, Transducer

OTHER_WEIGHTS = "other_weights.npz"
# Where `SlottedGraph` and `TransducerStep` put the model.
_PREFIX = "step.model."
# What the front end computes for itself.
_CONSTANTS = ("log_mel.", "encoder.subsampling.mean")
FRAME_SAMPLES = SUBSAMPLING * HOP
CARD = Path(__file__).with_name("README.md")
_REFERENCE_STEPS = 6
# A transducer may speak of a sound a few frames late; one more chunk of silence lets the last word out.
_EMISSION_CHUNKS = 1
# Weights of the beam search with the language model, chosen on the dev speakers.
LM_SCALE, TOKEN_BONUS = 0.35, 0.7


class TransducerStep(torch.nn.Module):
    """One chunk of many streams as a `RowStep`: input `pcm`, outputs `token_ids`, `token_logp` and `encoded`.

    `encoded` is for searches outside the graph; `log_mel`, f32[B, 8 C, 80], is a tap.
    """

    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take `pcm` f32[B, chunk_samples] and the rows of `states(config)`."""
        model = self.model
        before = EncoderState(*(state[name] for name in EncoderState._fields))
        log_mel, samples = model.log_mel.step(inputs["pcm"], state["samples"], before.frame == 0)
        frames, after, keys, values = model.encoder.step(log_mel, before)
        encoded = model.enter(frames)
        ids, scores, context = model.search(encoded, started(state["context"]))
        chunk, left = model.config.chunk, model.config.left
        ring = (before.frame[:, None] + torch.arange(chunk)) % left
        updates: dict[str, Update] = {"samples": samples, "context": context, **after._asdict()}
        updates["keys"], updates["values"] = RingRows(keys, ring), RingRows(values, ring)
        return {"token_ids": ids, "token_logp": scores, "encoded": encoded, "log_mel": log_mel}, updates


class TransducerJoint(torch.nn.Module):
    """The joiner as a stateless `RowStep`: one frame of a stream with every hypothesis of its search.

    Inputs `encoded` f32[B, joint], a frame of the step's output, and `contexts` i64[B, K, 2], the last tokens of K
    hypotheses, oldest first, -1 for none (a hypothesis without tokens has -1 and blank). Output `log_probs`
    f32[B, K, vocabulary]; the predictor's rows `predicted` f32[B, K, joint] are a tap.
    """

    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take the inputs above and no state."""
        predicted = self.model.predictor(inputs["contexts"])
        logits = self.model.join(inputs["encoded"][:, None], predicted)
        return {"log_probs": torch.log_softmax(logits, -1), "predicted": predicted}, {}


def states(config: Config) -> list[StateSpec]:
    """What a stream remembers, in the order of the graph's inputs."""
    ring = (config.layers, config.left, config.width)
    return [
        StateSpec("samples", (CARRY,)),
        StateSpec("conv1", (1, 1, MELS)),
        StateSpec("conv2", (config.channels, 1, MELS // 2)),
        StateSpec("conv3", (config.channels, 1, MELS // 4)),
        StateSpec("keys", ring),
        StateSpec("values", ring),
        StateSpec("gated", (config.layers, config.kernel - 1, config.width)),
        StateSpec("frame", (), torch.int64),
        # The last tokens, oldest first; an initial state has one value, so `started` turns it into -1 and blank.
        StateSpec("context", (config.context,), torch.int64, initial=-1, group="search"),
    ]


def step_graph(model: Transducer) -> SlottedGraph:
    """The graph `step` of the bundle."""
    return SlottedGraph(TransducerStep(model), ["pcm"], ["token_ids", "token_logp", "encoded"], states(model.config))


def joint_graph(model: Transducer) -> SlottedGraph:
    """The graph `joint` of the bundle."""
    return SlottedGraph(TransducerJoint(model), ["encoded", "contexts"], ["log_probs"], [])


def export_bundle(
    model: Transducer,
    pieces: Pieces,
    folder: Path,
    about: Mapping[str, str],
    delay_frames: int,
    language_model: Path | None = None,
    calibration: Mapping[str, float] | None = None,
) -> None:
    """Write the bundle of `model` to `folder`; `about` holds name, version, description and licence.

    `language_model` is a folder written by `models.transducer.language_model`, `calibration` what
    `models.transducer.calibrate` has fitted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    round_weights(model)
    step, chunk = step_graph(model), model.chunk_samples
    audio = {"input": "pcm", "chunk_samples": chunk, "hop_samples": chunk, "delay_samples": chunk}
    entry = write_graph(folder, "step", step, [noise(2, chunk)], {"audio": audio}, taps=["log_mel"])
    reference = write_reference(folder, "step", step, {"pcm": noise(_REFERENCE_STEPS, chunk)})
    joint, joint_reference = write_joint(folder, model)
    write_other_weights(model, folder)
    pieces.write_tokens(folder / "tokens.txt")
    assets = [asset(folder, folder / "tokens.txt", "tokens.txt"), asset(folder, CARD, "README.md")]
    assets.append(asset(folder, folder / OTHER_WEIGHTS, OTHER_WEIGHTS))
    task = task_entry(model.config, chunk, delay_frames)
    task["parameters"] |= calibration or {}
    if language_model is not None:
        assets += [asset(folder, language_model / name, name) for name in (WORDS, NGRAMS)]
        task["assets"] |= {"words": WORDS, "ngrams": NGRAMS}
        task["parameters"] |= {"lm_scale": LM_SCALE, "token_bonus": TOKEN_BONUS}
    write_manifest(
        folder,
        {
            **about,
            "languages": ["en"],
            "sample_rate": SAMPLE_RATE,
            "receptive_field_samples": receptive_field(model.config),
            "task": task,
            "pools": [{"name": "stream"}],
            "states": [state_entry(state) for state in step.states],
            "graphs": [entry, joint],
            "assets": assets,
            "references": [reference, joint_reference],
        },
    )


def write_joint(folder: Path, model: Transducer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the graph `joint` with a recorded run; returns the manifest's entries of both."""
    joint, inputs = joint_graph(model), joint_inputs(model.config, 2)
    free = {"contexts": ["hypotheses"], "log_probs": ["hypotheses"]}
    entry = write_graph(folder, "joint", joint, inputs, {}, taps=["predicted"], free=free)
    encoded, contexts = joint_inputs(model.config, _REFERENCE_STEPS)
    return entry, write_reference(folder, "joint", joint, {"encoded": encoded, "contexts": contexts})


def load_bundle_weights(folder: Path) -> dict[str, Tensor]:
    """Read all weights of a bundle back, rounded as they are there, to train on from them."""
    weights = {
        name: weight
        for name, weight in read_weights(folder / "step.onnx", _PREFIX).items()
        if not name.startswith(_CONSTANTS)
    }
    with np.load(folder / OTHER_WEIGHTS) as others:
        return weights | {name: torch.from_numpy(others[name]).float() for name in others.files}


def write_other_weights(model: Transducer, folder: Path) -> None:
    """Keep beside the graph what only training uses, and what the tracer merged because it was equal."""
    in_graph = read_weights(folder / "step.onnx", _PREFIX).keys()
    others = {name: w.numpy().astype(np.float16) for name, w in model.state_dict().items() if name not in in_graph}
    np.savez_compressed(folder / OTHER_WEIGHTS, **others)


def receptive_field(config: Config) -> int:
    """How many samples back an encoder output can depend on: the rings and convolutions of all layers, summed."""
    frames = config.layers * (config.left + config.chunk - 1 + config.kernel - 1)
    # Three 3-wide convolutions of stride 2 reach 1 + 2 + 4 log-mel rows back, and the first of these rows.
    return frames * FRAME_SAMPLES + 7 * HOP + CARRY


def load_checkpoint(path: Path) -> Transducer:
    """Load the averaged weights of a training checkpoint, safely."""
    saved = torch.load(path, weights_only=True, map_location="cpu")
    model = Transducer(Config(**saved["config"]))
    model.load_state_dict(saved["average"])
    return model.eval()


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint written by train")
    parser.add_argument("--pieces", type=Path, required=True, help="pieces.model written by prepare")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--name", default="asr-en")
    parser.add_argument("--version", default="0.2.0")
    parser.add_argument("--delay-frames", type=int, default=2, help="by how many frames tokens come late, measured")
    parser.add_argument("--language-model", type=Path, help="folder written by language_model, for the beam search")
    parser.add_argument("--calibration", type=Path, help="file written by calibrate, for the confidence of words")
    arguments = parser.parse_args()
    about = {
        "name": arguments.name,
        "version": arguments.version,
        "description": "English recogniser: chunked causal conformer transducer, 320 ms chunks, lower-case text",
        "licence": "Apache-2.0; training data credited in README.md",
    }
    pieces = Pieces(arguments.pieces)
    model = load_checkpoint(arguments.checkpoint)
    calibration = json.loads(arguments.calibration.read_text()) if arguments.calibration else None
    export_bundle(model, pieces, arguments.out, about, arguments.delay_frames, arguments.language_model, calibration)


def task_entry(config: Config, chunk: int, delay_frames: int) -> dict[str, Any]:
    """Describe the task for the manifest; `chunk` in samples."""
    return {
        "kind": "transcribe",
        "program": "beam_search",
        "roles": {
            "pcm": "step.pcm",
            "token_ids": "step.token_ids",
            "token_logp": "step.token_logp",
            "encoded": "step.encoded",
            "joint_encoded": "joint.encoded",
            "joint_contexts": "joint.contexts",
            "log_probs": "joint.log_probs",
        },
        "parameters": {
            "blank_id": BLANK,
            "context_size": config.context,
            "frame_samples": FRAME_SAMPLES,
            "token_delay_samples": delay_frames * FRAME_SAMPLES,
            "flush_samples": _EMISSION_CHUNKS * chunk,
        },
        "assets": {"tokens": "tokens.txt"},
    }


def started(context: Tensor) -> Tensor:
    """Read the last token of a stream that has none as blank, as in training."""
    return torch.stack([context[:, 0], context[:, 1].clamp(min=BLANK)], 1)


def joint_inputs(config: Config, rows: int) -> list[Tensor]:
    """Example rows of the graph `joint`: `encoded` f32[rows, joint] and `contexts` i64[rows, 3, 2] from -1 on."""
    generator = torch.Generator().manual_seed(0)
    encoded = torch.randn(rows, config.joint, generator=generator)
    contexts = torch.randint(BLANK, config.vocabulary, (rows, 3, config.context), generator=generator)
    contexts[:, 0] = torch.tensor([*[-1] * (config.context - 1), BLANK])
    return [encoded, contexts]


def noise(rows: int, samples: int) -> Tensor:
    """Example rows of PCM f32[rows, samples], the same every time."""
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(0)) * 0.1


if __name__ == "__main__":
    main()
