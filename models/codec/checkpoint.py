"""Codecs on disk: what a training run saves, and what a bundle holds of one."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from models.codec.config import Config, Side
from models.codec.model import Codec
from models.common.onnx_export import read_weights

# The file of a bundle that says the sizes.
CONFIG = "config.json"


def plain(config: Config) -> dict[str, Any]:
    """The config as what a checkpoint may hold."""
    return json.loads(json.dumps(asdict(config)))


def config_of(values: dict[str, Any]) -> Config:
    """The config that `plain` made `values` of."""
    sides = {name: Side(**values[name]) for name in ("encoder", "decoder")}
    return Config(**{**values, **sides, "levels": tuple(values["levels"])})


def load(path: Path) -> Codec:
    """The averaged codec of a checkpoint, on the CPU."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Codec(config_of(saved["config"]))
    model.load_state_dict({**saved["model"], **saved["average"]})
    return model.eval()


def read_bundle(folder: Path) -> Codec:
    """The codec of a bundle, to train on; raises `ValueError` for weights that were folded into others."""
    model = Codec(config_of(json.loads((folder / CONFIG).read_text(encoding="utf-8"))))
    found = {**read_weights(folder / "encode.onnx", "step."), **read_weights(folder / "decode.onnx", "step.")}
    missing, _ = model.load_state_dict({name: found[name] for name in model.state_dict() if name in found}, False)
    # How often a word was used is known to training alone.
    needed = [name for name in missing if not name.endswith((".usage", ".mass"))]
    if needed:
        raise ValueError(f"bundle {folder.name}: expected weights called {', '.join(needed)}, got none")
    return model.eval()
