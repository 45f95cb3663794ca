"""Export of the models of codes: graphs, states, roles and files that join the bundle of a codec."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.common.bundle_writer import asset, sha256, state_entry, write_graph, write_reference
from models.common.onnx_export import round_weights
from models.common.shared_weights import share_weights
from models.common.slots import SlottedGraph
from models.lmcodec.config import Config, PredictorConfig
from models.lmcodec.floating import FLOAT, float_network
from models.lmcodec.integer import INTEGER
from models.lmcodec.network import Network
from models.lmcodec.predictor import Predictor, predict_graph
from models.lmcodec.steps import Arithmetic, entropy_graph, entropy_next_graph

_REFERENCE_STEPS = 40


@dataclass
class LanguageModels:
    """What to add to the lists and maps of a codec's manifest; `task_assets` goes by role."""

    graphs: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    assets: list[dict[str, str]] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    task_assets: dict[str, str] = field(default_factory=dict)

    def add(
        self, folder: Path, name: str, graph: SlottedGraph, steps: dict[str, Tensor], max_batch: int | None = None
    ) -> None:
        """Export `graph` and record its reference run over `steps`, `[T, *dims]` per input."""
        rows = [steps[key][:2] for key in graph.inputs]
        self.graphs.append(write_graph(folder, name, graph, rows, {"max_batch": max_batch}))
        self.states += [state_entry(state) for state in graph.states]
        self.references.append(write_reference(folder, name, graph, steps))

    def share(self, folder: Path, name: str, source: str) -> None:
        """Let the graph `name` take from the graph `source` what both hold."""
        path = folder / f"{name}.onnx"
        share_weights(path, folder / f"{source}.onnx")
        next(graph for graph in self.graphs if graph["name"] == name)["sha256"] = sha256(path)


def write_language_models(
    folder: Path,
    tables: Path | None = None,
    network: Network | None = None,
    predictor: Predictor | None = None,
    with_floats: bool = True,
) -> LanguageModels:
    """Write what there is of the models to the bundle in `folder` and return the entries of its manifest.

    `tables` is a `tables.npz`; the network's own table of frequencies is in it, so a network needs one. Raises
    `ValueError` if it is missing. `with_floats` adds the network in floats to that in integers.
    """
    entries = LanguageModels()
    if network and not tables:
        raise ValueError("expected tables with the network, for they turn its logits into frequencies, got none")
    if tables:
        entries.assets.append(asset(folder, tables, "tables.npz"))
        entries.task_assets["tables"] = "tables.npz"
    if network:
        _add_network(entries, folder, network.eval(), INTEGER)
        if with_floats:
            _add_network(entries, folder, float_network(network), FLOAT)
            for suffix in ("", "_next"):
                entries.share(folder, FLOAT.name + suffix, INTEGER.name + suffix)
    if predictor:
        _add_predictor(entries, folder, predictor.eval())
    return entries


def _add_network(entries: LanguageModels, folder: Path, network: Network, arithmetic: Arithmetic) -> None:
    config, name = network.config, arithmetic.name
    # The sums of floats depend on what else is in a batch.
    alone = 1 if arithmetic.result.is_floating_point else None
    codes = random_codes(_REFERENCE_STEPS, config.books, config.size)
    entries.add(folder, name, entropy_graph(network, arithmetic), {"codes": codes}, alone)
    generator = torch.Generator().manual_seed(1)
    context = torch.randint(-200, 200, (_REFERENCE_STEPS, config.width), generator=generator, dtype=torch.int32)
    rows = torch.randint(
        config.books * config.contexts - config.below, (_REFERENCE_STEPS, config.books), generator=generator
    )
    context = torch.cat([context, rows.to(torch.int32)], 1).to(arithmetic.result)
    steps = {"context": context, "codes": codes, "book": torch.arange(_REFERENCE_STEPS) % config.books}
    entries.add(folder, f"{name}_next", entropy_next_graph(network, arithmetic), steps, alone)
    entries.parameters["coarse_books"] = config.books
    entries.roles |= {
        f"{name}_previous": f"{name}.codes",
        f"{name}_context": f"{name}.context",
        f"{name}_next_context": f"{name}_next.context",
        f"{name}_codes": f"{name}_next.codes",
        f"{name}_book": f"{name}_next.book",
        f"{name}_logits": f"{name}_next.logits",
    }


def _add_predictor(entries: LanguageModels, folder: Path, predictor: Predictor) -> None:
    config = predictor.config
    round_weights(predictor)
    codes = random_codes(_REFERENCE_STEPS, config.books, config.size)
    # The likeliest codes: a draw near the edge of an interval might fall to either side.
    steps = {"codes": codes, "uniform": torch.full(codes.shape, -1.0)}
    entries.add(folder, "predict", predict_graph(predictor), steps)
    entries.parameters["predict_books"] = config.given
    entries.roles |= {
        "predict_codes": "predict.codes",
        "predict_uniform": "predict.uniform",
        "predict_filled": "predict.filled",
    }


def load_network(path: Path) -> Network:
    """The averaged network of a training checkpoint."""
    saved = torch.load(path, weights_only=True, map_location="cpu")
    network = Network(Config(**{**saved["config"], "dilations": tuple(saved["config"]["dilations"])}))
    network.load_state_dict({**saved["model"], **saved["average"]})
    network.limit()
    return network.eval()


def load_predictor(path: Path) -> Predictor:
    """The averaged predictor of a training checkpoint."""
    saved = torch.load(path, weights_only=True, map_location="cpu")
    predictor = Predictor(PredictorConfig(**saved["config"]))
    predictor.load_state_dict({**saved["model"], **saved["average"]})
    return predictor.eval()


def random_codes(frames: int, books: int, size: int) -> Tensor:
    """Example codes i64[frames, books] of 1, 2 ... books, the rest -1; every eighth frame is not there at all."""
    codes = torch.randint(size, (frames, books), generator=torch.Generator().manual_seed(0))
    count = torch.arange(frames) % 8 * books // 7
    return torch.where(torch.arange(books) < count[:, None], codes, -1)
