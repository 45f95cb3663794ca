"""Small models of codes with random weights, and bundles of nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.common.bundle_writer import write_manifest
from models.lmcodec.config import Config, PredictorConfig
from models.lmcodec.export import write_language_models
from models.lmcodec.network import Network
from models.lmcodec.predictor import Predictor
from models.lmcodec.tables import Shape, build_tables

SIZE, BOOKS = 32, 5
CONFIG = Config(books=3, size=SIZE, width=24, dilations=(1, 2, 4), rank=8, previous=5, below=3)
PREDICTOR = PredictorConfig(books=BOOKS, given=2, size=SIZE, width=16)


def toy_network(config: Config = CONFIG, seed: int = 0) -> Network:
    """Random weights, biases and frequencies that make use of the whole range."""
    torch.manual_seed(seed)
    network = Network(config).eval()
    with torch.no_grad():
        network.heads.prior.weight.uniform_(-15, 0)
        network.previous_class.random_(0, config.previous)
        network.below_class.random_(0, config.below)
        network.heads.head.weight.mul_(10)
        for name, parameter in network.named_parameters():
            if name.endswith("bias") and parameter.requires_grad:
                parameter.normal_(std=0.3)
    network.limit()
    return network


def toy_predictor(seed: int = 0) -> Predictor:
    """Random weights with opinions."""
    torch.manual_seed(seed)
    predictor = Predictor(PREDICTOR).eval()
    with torch.no_grad():
        predictor.heads.mul_(4)
    return predictor


def toy_codes(frames: int, books: int = BOOKS, seed: int = 0) -> np.ndarray:
    """Codes i64[frames, books] that follow one another: each is the one before or the one below, and something."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((frames, books), np.int64)
    for t in range(frames):
        for k in range(books):
            neighbour = codes[t - 1, k] if rng.random() < 0.5 or not k else codes[t, k - 1]
            codes[t, k] = (neighbour * 5 + rng.geometric(0.5)) % SIZE
    return codes


def toy_bundle(
    folder: Path, network: Network | None = None, predictor: Predictor | None = None, with_floats: bool = False
) -> Path:
    """A bundle of tables, and of the models given, the network in floats too if it is to be `with_floats`."""
    tables = folder / "counted.npz"
    np.savez_compressed(tables, **build_tables([toy_codes(2000)], SIZE, Shape(previous=5, below=3)))
    bundle = folder / "toy-codes"
    bundle.mkdir()
    entries = write_language_models(bundle, tables, network, predictor, with_floats)
    task = {"kind": "none", "roles": entries.roles, "parameters": entries.parameters, "assets": entries.task_assets}
    about = {"name": "toy-codes", "version": "0.0.1", "description": "random weights", "licence": "Apache-2.0"}
    parts = {"graphs": entries.graphs, "assets": entries.assets, "references": entries.references}
    write_manifest(bundle, {**about, "task": task, "pools": [{"name": "stream"}], "states": entries.states, **parts})
    return bundle
