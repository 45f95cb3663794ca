"""What a manifest says to a task: which tensor plays which role, and the constants, each checked as it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NoReturn

from streamer.bundle.manifest import Graph, Manifest, Tensor
from streamer.errors import BundleError

_RANKS = {0: "no dimension", 1: "one dimension", 2: "two dimensions", 3: "three dimensions"}


@dataclass(frozen=True, slots=True)
class Roles:
    """Reads the roles and parameters of `manifest` for `reader`, the task or program that is named in errors."""

    manifest: Manifest
    reader: str

    def input(self, role: str, data_type: str, rank: int = 1) -> tuple[Graph, Tensor]:
        """Return an input tensor and its graph; raises `BundleError` if it is missing or of another kind."""
        return self._tensor(role, "inputs", data_type, rank)

    def output(self, role: str, data_type: str, rank: int = 1) -> tuple[Graph, Tensor]:
        """Return an output tensor and its graph; raises `BundleError` if it is missing or of another kind."""
        return self._tensor(role, "outputs", data_type, rank)

    def input_of(self, graph: Graph, role: str, data_type: str, rank: int = 1) -> Tensor:
        """Return an input tensor of `graph`; raises `BundleError` if it is missing, of another kind or elsewhere."""
        return self._of(graph, role, *self.input(role, data_type, rank))

    def output_of(self, graph: Graph, role: str, data_type: str, rank: int = 1) -> Tensor:
        """Return an output tensor of `graph`; raises `BundleError` if it is missing, of another kind or elsewhere."""
        return self._of(graph, role, *self.output(role, data_type, rank))

    def text(self, name: str) -> str:
        """Return a parameter that is text; raises `BundleError`, also if it is missing."""
        value = self.manifest.task.parameters.get(name)
        if not isinstance(value, str):
            self.refuse(name, "text", value)
        return str(value)

    def integer(self, name: str, least: int = 0, default: int | None = None) -> int:
        """Return a parameter of at least `least`; raises `BundleError`, also if it is missing without a default."""
        value = self.manifest.task.parameters.get(name, default)
        if value is None:
            raise BundleError(f"bundle {self.manifest.name}: {self.reader} needs the parameter {name}")
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.refuse(name, f"an integer from {least}", value)
        return int(value)

    def number(self, name: str, default: float) -> float:
        """Return a finite parameter; raises `BundleError`."""
        value = self.manifest.task.parameters.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.refuse(name, "a number", value)
        return float(value)

    def _of(self, graph: Graph, role: str, owner: Graph, tensor: Tensor) -> Tensor:
        if owner.name != graph.name:
            expected = f"a tensor of graph {graph.name}, got one of {owner.name}"
            raise BundleError(f"bundle {self.manifest.name}: role {role}: expected {expected}")
        return tensor

    def _tensor(self, role: str, side: Literal["inputs", "outputs"], data_type: str, rank: int) -> tuple[Graph, Tensor]:
        bundle = self.manifest.name
        if role not in self.manifest.task.roles:
            raise BundleError(f"bundle {bundle}: {self.reader} needs the role {role}")
        graph_name, name = self.manifest.role(role)
        graph = self.manifest.graph(graph_name)
        tensors: tuple[Tensor, ...] = getattr(graph, side)
        tensor = next((tensor for tensor in tensors if tensor.name == name), None)
        if tensor is None:
            raise BundleError(f"bundle {bundle}: role {role}: {name} is on the wrong side of graph {graph_name}")
        if tensor.data_type != data_type or len(tensor.dims) != rank:
            got = f"{tensor.data_type} {list(tensor.dims)}"
            raise BundleError(f"bundle {bundle}: role {role}: expected {data_type} of {_RANKS[rank]}, got {got}")
        return graph, tensor

    def refuse(self, name: str, expected: str, got: object) -> NoReturn:
        """Raise `BundleError` for a parameter."""
        raise BundleError(f"bundle {self.manifest.name}: parameter {name}: expected {expected}, got {got!r}")
