"""Writes a transducer bundle as the files that sherpa-onnx runs: `encoder.onnx`, `decoder.onnx`, `joiner.onnx`, tokens.

It needs of the bundle: a transcribe task with the roles `pcm`, `encoded`, `joint_encoded`, `joint_contexts` and
`log_probs`, the parameters `blank_id` and `context_size`, the asset `tokens`, and two inner tensors by name: `log_mel`,
Kaldi's filterbank one row late, in the graph of `encoded`, and `predicted`, the predictor's rows, in the joiner's.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from streamer.bundle.loader import Bundle
from streamer.bundle.manifest import Graph, Manifest, Tensor
from streamer.bundle.sherpa import export_graphs as graphs
from streamer.bundle.sherpa.cut import cut
from streamer.bundle.sherpa.export_features import check_front_end
from streamer.bundle.sherpa.export_graphs import LOG_MEL, PREDICTED, ROWS_PER_OUTPUT, Shapes
from streamer.errors import BundleError, InvalidRequest

ROLES = ("pcm", "encoded", "joint_encoded", "joint_contexts", "log_probs")
PARAMETERS = ("blank_id", "context_size")
SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class _Source:
    """The graphs of a bundle that the export is made of, with their models."""

    manifest: Manifest
    step: Graph
    step_model: onnx.ModelProto
    joint_model: onnx.ModelProto

    def tensor(self, role: str) -> Tensor:
        """What the manifest says of the tensor in `role`."""
        graph_name, name = self.manifest.role(role)
        graph = self.manifest.graph(graph_name)
        return next(tensor for tensor in (*graph.inputs, *graph.outputs) if tensor.name == name)


def export_sherpa(bundle: Bundle, target: Path) -> tuple[Path, ...]:
    """Write `bundle` for sherpa-onnx to the new folder `target`, whole or not at all; return the files.

    Raises `InvalidRequest` if `target` exists, `BundleError` if sherpa-onnx could not run the bundle.
    """
    if target.exists():
        raise InvalidRequest(f"export: expected a new folder, got {str(target)!r}, which exists")
    source = _source(bundle)
    models = _models(source, _shapes(source))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for name, model in models.items():
            onnx.save(model, partial / f"{name}.onnx")
        shutil.copyfile(bundle.folder / source.manifest.task.assets["tokens"], partial / "tokens.txt")
        partial.chmod(0o755)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return tuple(sorted(target.iterdir()))


def _source(bundle: Bundle) -> _Source:
    manifest = bundle.manifest
    missing = [f"role {role}" for role in ROLES if role not in manifest.task.roles]
    missing += [f"parameter {name}" for name in PARAMETERS if name not in manifest.task.parameters]
    missing += ["asset tokens"] if "tokens" not in manifest.task.assets else []
    if manifest.task.kind != "transcribe" or missing:
        lacks = ", ".join(missing) or f"the task transcribe, is {manifest.task.kind}"
        raise BundleError(f"bundle {manifest.name}: cannot be exported to sherpa-onnx: lacks {lacks}")
    step, joint = (manifest.graph(manifest.role(role)[0]) for role in ("encoded", "log_probs"))
    models = (onnx.load(bundle.folder / graph.file) for graph in (step, joint))
    return _checked(_Source(manifest, step, *models), joint)


def _checked(source: _Source, joint: Graph) -> _Source:
    manifest = source.manifest
    rate, blank = manifest.sample_rate, manifest.task.parameters["blank_id"]
    problems = {
        f"expected {SAMPLE_RATE} Hz, got {rate}": rate != SAMPLE_RATE,
        f"expected blank_id 0, got {blank}": blank != 0,
        f"graph {source.step.name} has no tensor {LOG_MEL}": not _makes(source.step_model, LOG_MEL),
        f"graph {joint.name} has no tensor {PREDICTED}": not _makes(source.joint_model, PREDICTED),
        f"graph {source.step.name} returns a number of frames that varies": source.step.n_valid is not None,
        f"graph {source.step.name} takes no audio": source.step.audio is None,
        f"graph {joint.name} keeps states": bool(joint.reads),
    }
    for problem in (text for text, is_wrong in problems.items() if is_wrong):
        raise BundleError(f"bundle {manifest.name}: cannot be exported to sherpa-onnx: {problem}")
    return source


def _makes(model: onnx.ModelProto, tensor: str) -> bool:
    return any(tensor in node.output for node in model.graph.node)


def _shapes(source: _Source) -> Shapes:
    manifest = source.manifest
    rows, mels = check_front_end(source.step_model, manifest, source.step)
    frames, joint = source.tensor("encoded").dims
    if rows % (frames * ROWS_PER_OUTPUT):
        raise BundleError(
            f"bundle {manifest.name}: expected frames of a multiple of 40 ms, got {frames} of {rows} rows"
        )
    vocabulary = source.tensor("log_probs").dims[-1]
    context = int(manifest.task.parameters["context_size"])
    return Shapes(rows, mels, frames, joint, vocabulary, context, int(manifest.task.parameters["blank_id"]))


def _models(source: _Source, shapes: Shapes) -> Mapping[str, onnx.ModelProto]:
    manifest, joint = source.manifest, source.joint_model
    about = {"bundle": f"{manifest.name}@{manifest.version}", "licence": manifest.licence}
    encoded, heard, contexts, log_probs = (
        manifest.role(role)[1] for role in ("encoded", "joint_encoded", "joint_contexts", "log_probs")
    )
    part, states = graphs.cut_with_states(source.step_model, manifest, [LOG_MEL], encoded)
    return {
        "encoder": graphs.encoder(part, source.step, states, encoded, shapes, about),
        "decoder": graphs.decoder(cut(joint, [contexts], [PREDICTED]), contexts, shapes, about),
        "joiner": graphs.joiner(cut(joint, [heard, PREDICTED], [log_probs]), heard, log_probs, shapes, about),
    }
