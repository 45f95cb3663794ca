"""A folder of CosyVoice 2 or 3: its files to models, all checked. Nothing in them is run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.common.safe_files import CheckpointError, load_tensors, weights_by_name
from models.flow_tts.cosyvoice.flow import Flow, Flow2, Flow3
from models.flow_tts.cosyvoice.hift import Hift
from models.flow_tts.cosyvoice.ids import Ids, ids_of
from models.flow_tts.cosyvoice.inference import (
    Shapes,
    dit_sizes,
    encoder_sizes,
    hift_sizes,
    lm_sizes,
    plain_encoder_sizes,
    read_config,
    unet_sizes,
    version_of,
)
from models.flow_tts.cosyvoice.lm import TokenLm
from models.flow_tts.cosyvoice.names import load
from models.flow_tts.cosyvoice.settings import Settings, read_settings

FLOW, HIFT, LM = "flow.pt", "hift.pt", "llm.pt"
TEXT_MODEL = "CosyVoice-BlankEN"
_YAML = {2: "cosyvoice2.yaml", 3: "cosyvoice3.yaml"}
# Names that a tokeniser's files have.
_TOKENISER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")
_GENERATOR = "generator."
_INV_FREQ = "decoder.estimator.rotary_embed.inv_freq"
# The text model's own head, and what older versions of its package keep.
_UNUSED_OF_LM = ("llm.model.lm_head.weight", "llm.model.model.rotary_emb.inv_freq")


@dataclass(frozen=True)
class Checkpoint:
    """Models in float32, what the yaml file says, and the files that they were read from."""

    version: int
    flow: Flow
    hift: Hift
    lm: TokenLm
    ids: Ids
    settings: Settings
    files: tuple[Path, ...]
    tokeniser: tuple[Path, ...]


def read_checkpoint(folder: Path, lm_file: str = LM) -> Checkpoint:
    """Read all of `folder`; raises `CheckpointError` that says all that is wrong with the first file that is."""
    missing = [name for name in (FLOW, HIFT, lm_file) if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder}: expected the files {FLOW}, {HIFT} and {lm_file}, lacks {', '.join(missing)}")
    found = read_tensors(folder / FLOW)
    version = version_of(FLOW, found)
    settings = _settings(folder, version)
    flow = flow_of(found, version, settings)
    del found
    hift = hift_of(read_tensors(folder / HIFT), version)
    config = folder / TEXT_MODEL / "config.json"
    lm = lm_of(lm_file, read_tensors(folder / lm_file), version, read_config(config))
    ids = ids_of(lm.sizes, flow.tokens)
    beside = [folder / _YAML[version], config]
    files = [folder / name for name in (FLOW, HIFT, lm_file)] + [path for path in beside if path.is_file()]
    tokeniser = [folder / TEXT_MODEL / name for name in _TOKENISER]
    return Checkpoint(
        version, flow, hift, lm, ids, settings, tuple(files), tuple(path for path in tokeniser if path.is_file())
    )


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a file by name; raises `CheckpointError` and runs no foreign code."""
    return weights_by_name(path, load_tensors(path))


def flow_of(found: Mapping[str, Any], version: int, settings: Settings) -> Flow:
    """The flow of the tensors of a file; raises `CheckpointError`."""
    shapes = Shapes(FLOW, found)
    if version == 2:
        flow: Flow = Flow2(encoder_sizes(shapes), unet_sizes(shapes, settings.head_width))
    else:
        flow = Flow3(plain_encoder_sizes(shapes), dit_sizes(shapes, settings.head_width))
    load(FLOW, flow, found, optional=[_INV_FREQ])
    return flow.eval().requires_grad_(False)


def hift_of(found: Mapping[str, Any], version: int) -> Hift:
    """The vocoder of the tensors of a file, whose names may begin with `generator.`; raises `CheckpointError`."""
    named = {name.removeprefix(_GENERATOR): value for name, value in found.items()}
    if len(named) < len(found):
        raise CheckpointError(f"{HIFT}: expected each tensor once, got some with and without {_GENERATOR}")
    hift = Hift(hift_sizes(Shapes(HIFT, named), version))
    load(HIFT, hift, named)
    return hift.eval().requires_grad_(False)


def lm_of(where: str, found: Mapping[str, Any], version: int, config: Mapping[str, Any]) -> TokenLm:
    """The language model of the tensors of a file; raises `CheckpointError`."""
    lm = TokenLm(lm_sizes(Shapes(where, found), config, version))
    load(where, lm, found, optional=_UNUSED_OF_LM)
    return lm.eval().requires_grad_(False)


def _settings(folder: Path, version: int) -> Settings:
    """Of the yaml file of this version; raises `CheckpointError` where there is another version's alone."""
    path, other = folder / _YAML[version], folder / _YAML[5 - version]
    if path.is_file():
        return read_settings(path)
    if other.is_file():
        raise CheckpointError(
            f"{FLOW}: expected CosyVoice {5 - version}, as {other.name} says, got CosyVoice {version}"
        )
    return Settings()
