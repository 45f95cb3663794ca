"""Write the bundle of a checkpoint; IMPORT.md says what each role and parameter is."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from models.common.bundle_writer import asset, state_entry, write_graph, write_manifest, write_reference
from models.common.onnx_export import round_weights
from models.flow_tts.cosyvoice.checkpoint import Checkpoint
from models.flow_tts.cosyvoice.config import FRAME, MELS, RATE, SPEAKER, STEPS, TOKEN_FRAMES, Options
from models.flow_tts.cosyvoice.graphs import Part, inputs_of, parts_of
from models.flow_tts.cosyvoice.hift_windows import SOURCE_REACH, window_reach
from models.flow_tts.cosyvoice.ids import SPEECH_BLOCK, TEXT_BLOCK
from models.flow_tts.cosyvoice.steps import LM_PAGE

PROGRAM = "token_voice"
NOISE = "flow_noise.npy"
PROMPTS = "prompts.npz"
UPSTREAM_FRAMES = 15_000
"""Frames of the noise that upstream draws once, 300 s."""


def export_bundle(
    checkpoint: Checkpoint,
    options: Options,
    folder: Path,
    about: Mapping[str, Any],
    card: Path,
    half_weights: bool = False,
    upstream_noise: bool = False,
    voices: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType({}),
) -> None:
    """Write the bundle of `checkpoint` to `folder`; `about` holds name, version, description and licence.

    `half_weights` rounds matrices to half precision and keeps them so; `upstream_noise` adds the noise of the upstream
    package as an asset. `voices` are prompts by name, each with `text` ids, speech `tokens`, `mel` and `speaker`, and
    become the asset `prompts`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if half_weights:
        for model in (checkpoint.lm, checkpoint.flow, checkpoint.hift):
            round_weights(model)
    parts = parts_of(checkpoint, options)
    graphs = [_write(folder, part) for part in parts]
    references = [_write_reference(folder, part) for part in parts]
    files = [asset(folder, card, "README.md"), *(asset(folder, path, path.name) for path in checkpoint.tokeniser)]
    named = {path.name.replace(".", "_"): path.name for path in checkpoint.tokeniser}
    if upstream_noise:
        np.save(folder / NOISE, upstream_noise_rows())
        files.append(asset(folder, folder / NOISE, NOISE))
        named["flow_noise"] = NOISE
    if voices:
        arrays = {f"{name}.{key}": array for name, one in voices.items() for key, array in one.items()}
        np.savez(folder / PROMPTS, **arrays)  # type: ignore[arg-type]  # no name is that of another parameter
        files.append(asset(folder, folder / PROMPTS, PROMPTS))
        named["prompts"] = PROMPTS
    write_manifest(
        folder,
        {
            **about,
            "sample_rate": RATE,
            "receptive_field_samples": None,
            "task": {
                "kind": "synthesize",
                "program": PROGRAM,
                "roles": {role: tensor for part in parts for role, tensor in part.roles().items()},
                "parameters": parameters_of(checkpoint, options) | ({"voices": ",".join(voices)} if voices else {}),
                "assets": named,
            },
            "pools": [{"name": "stream"}],
            "states": [state_entry(state) for part in parts for state in part.step.states],
            "graphs": graphs,
            "assets": files,
            "references": references,
        },
    )


def parameters_of(checkpoint: Checkpoint, options: Options) -> dict[str, int | float | str]:
    """What the program must know beside the graphs."""
    ids, sampling, hift = checkpoint.ids, checkpoint.settings.sampling, checkpoint.hift
    return {
        "frame_samples": FRAME,
        "token_frames": TOKEN_FRAMES,
        "bands": MELS,
        "speaker_width": SPEAKER,
        # The language model's ids.
        "speech_id": ids.speech,
        "speech_tokens": ids.tokens,
        "start_id": ids.start,
        "task_id": ids.task,
        "end_id": ids.end,
        "fill_id": ids.fill,
        "text_block": TEXT_BLOCK,
        "speech_block": SPEECH_BLOCK,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "win_size": sampling.win_size,
        "tau_r": sampling.tau_r,
        "lm_page": LM_PAGE,
        "lm_pages": -(-options.cells // LM_PAGE),
        # The flow's chunks.
        "chunk_tokens": options.chunk,
        "ahead_tokens": checkpoint.flow.ahead,
        "steps": STEPS,
        "flow": "cached" if options.cached else "prefix",
        "pages": options.pages,
        # The vocoder.
        "vocoder": "causal" if hift.sizes.causal else "window",
        "harmonics": hift.sizes.harmonics,
        "source_noise_kind": "uniform" if hift.sizes.causal else "normal",
        **_reach(checkpoint),
    }


def upstream_noise_rows() -> np.ndarray:
    """The noise float32 [15000, 80] that upstream draws after seeding torch with 0, by frame."""
    noise = torch.randn(1, MELS, UPSTREAM_FRAMES, generator=torch.Generator().manual_seed(0))
    return np.ascontiguousarray(noise[0].T.numpy())


def _reach(checkpoint: Checkpoint) -> dict[str, int]:
    hift = checkpoint.hift
    if hift.sizes.causal:
        half = hift.sizes.n_fft // 2
        return {"ahead_frames": hift.sizes.ahead, "delay_samples": half, "source_ahead_samples": half}
    return {"source_reach": SOURCE_REACH, "window_reach": window_reach(hift), "delay_samples": 0}


def _write(folder: Path, part: Part) -> dict[str, Any]:
    return write_graph(folder, part.name, part.graph(), list(inputs_of(part, 0).values()), {}, free=part.free)


def _write_reference(folder: Path, part: Part) -> dict[str, Any]:
    """Record the example steps of one row."""
    steps = [inputs_of(part, step) for step in range(len(part.steps))]
    stacked = {name: torch.stack([step[name][0] for step in steps]) for name in part.step.inputs}
    return write_reference(folder, part.name, part.graph(), stacked)
