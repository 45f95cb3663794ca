"""Imports a sherpa-onnx model as a bundle: finds out what it is and has the importer of its type make the graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from streamer.bundle.manifest import Manifest
from streamer.bundle.sherpa.nemo import import_nemo_ctc, import_nemo_transducer
from streamer.bundle.sherpa.paraformer import import_paraformer
from streamer.bundle.sherpa.parts import Built
from streamer.bundle.sherpa.source import Model, Source, read_model
from streamer.bundle.sherpa.states import STATES
from streamer.bundle.sherpa.t_one import import_t_one_ctc
from streamer.bundle.sherpa.transducer import import_transducer
from streamer.bundle.sherpa.wenet import import_wenet_ctc
from streamer.bundle.sherpa.writer import About, write_imported
from streamer.bundle.sherpa.zipformer_ctc import import_zipformer2_ctc
from streamer.errors import BundleError

IMPORTERS: Mapping[str, Callable[[Source], Built]] = {
    **dict.fromkeys(STATES, import_transducer),
    "nemo_ctc": import_nemo_ctc,
    "nemo_transducer": import_nemo_transducer,
    "paraformer": import_paraformer,
    "t_one_ctc": import_t_one_ctc,
    "wenet_ctc": import_wenet_ctc,
    "zipformer2_ctc": import_zipformer2_ctc,
}
"""Who imports what, by the type that `type_of` finds."""


def import_model(
    files: Mapping[str, Path], tokens: Path, pieces: Sequence[str | None], folder: Path, about: About
) -> Manifest:
    """Write a bundle of the model in `files` (by part, see `source.find_files`) into the existing, empty `folder`.

    `pieces` is what `tokens` lists. Raises `BundleError` saying which file is not what its type calls for.
    """
    source = Source({part: read_model(path) for part, path in files.items()}, tokens, pieces)
    return write_imported(folder, IMPORTERS[type_of(source.models)](source), source, about)


def type_of(models: Mapping[str, Model]) -> str:
    """Return the key of `IMPORTERS` for a model; raises `BundleError` naming what is supported."""
    first = models.get("encoder") or models["model"]
    metadata = first.metadata.values
    kind = metadata.get("model_type", "")
    if "joiner" in models:
        found = "nemo_transducer" if "cache_last_channel_dim1" in metadata else kind
    elif "encoder" in models:
        found = "paraformer" if "lfr_window_size" in metadata else f"{kind} without joiner"
    elif "cache_last_channel_dim1" in metadata:
        found = "nemo_ctc"
    elif {"head", "num_blocks", "cnn_module_kernel"} <= metadata.keys():
        found = "wenet_ctc"
    elif {"frame_length_ms", "state_dim"} <= metadata.keys():
        found = "t_one_ctc"
    else:
        found = f"{kind.removesuffix('_ctc')}_ctc" if kind else kind
    if found not in IMPORTERS:
        raise BundleError(
            f"{first.file}: model_type: expected one of {', '.join(sorted(IMPORTERS))}, got {found!r:.60}"
        )
    return found
