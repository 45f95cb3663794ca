"""Export a trained voice as a bundle: text and frames, flow, vocoder, and what the text front end needs."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.common.bundle_writer import asset, sha256, state_entry, write_graph, write_manifest, write_reference
from models.common.onnx_export import FreeLengths, round_weights
from models.common.slots import SlottedGraph
from models.flow_tts import vocoder, voice
from models.flow_tts.calibrate import read_calibration
from models.flow_tts.config import FRAME, MELS, RATE, TEMPERATURE
from models.flow_tts.grain import Grain
from models.flow_tts.melody import widen
from models.flow_tts.serving import (
    ExpandStep,
    FlowStep,
    TextStep,
    VocoderStep,
    example,
    flow_noise,
    flow_states,
    noise,
    vocoder_states,
)
from models.flow_tts.spell import load_checkpoint
from models.flow_tts.spell_export import write_spell
from models.flow_tts.symbols import write_symbols

CARD = Path(__file__).with_name("README.md")
LICENCE = "lexicon.LICENSE"
"""Of the dictionary that the lexicon was made of; it lies beside it."""
_SYMBOLS, _FRAMES, _STEPS = 24, 30, 4
_FREE: FreeLengths = {
    "symbols": ["symbols"], "encoded": ["symbols"], "log_durations": ["symbols"], "source": ["frames"],
    "place": ["frames"], "prior": ["frames"], "noise": ["frames"], "mel": ["frames"], "pcm": ["frames"],
}  # fmt: skip


def graphs(model: voice.Voice, made: vocoder.Vocoder, grain: Grain | None = None) -> dict[str, SlottedGraph]:
    """The graphs of the bundle by name."""
    flow = FlowStep(model.flow, grain)
    return {
        "text_encode": SlottedGraph(TextStep(model.encoder), ["symbols"], ["encoded", "log_durations"], []),
        "expand": SlottedGraph(ExpandStep(model.expander), ["encoded", "source", "place"], ["prior"], []),
        "flow_step": SlottedGraph(flow, ["prior", "noise"], ["mel"], flow_states(model.flow, grain)),
        "vocoder_step": SlottedGraph(VocoderStep(made), ["mel", "noise"], ["pcm"], vocoder_states(made)),
    }


def export_bundle(
    model: voice.Voice,
    made: vocoder.Vocoder,
    folder: Path,
    about: Mapping[str, Any],
    lexicon: Path,
    spell: Mapping[str, Any] | None = None,
    card: Path = CARD,
    grain: Grain | None = None,
) -> None:
    """Write the bundle; `about` holds name, version, description and licence, `spell` the entry of a written graph."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in (model, made):
        module.eval()
        round_weights(module)
    found = graphs(model, made, grain)
    # Rows that share a batch may differ in the last bit: pitch and durations must not depend on who does.
    alone = {"max_batch": 1}
    extra: dict[str, Mapping[str, Any]] = {"text_encode": alone, "expand": alone, **_SMALL}
    written, references = [], []
    for name, graph in found.items():
        inputs = [rows[0] for rows in _examples(graph, model, 1, grain)]
        tables = _TABLES if name == "vocoder_step" else {}
        written.append(write_graph(folder, name, graph, inputs, extra.get(name, {}), free=_FREE, tables=tables))
        steps = dict(zip(graph.inputs, (rows[:, 0] for rows in _examples(graph, model, _STEPS, grain)), strict=True))
        references.append(write_reference(folder, name, graph, steps))
    write_symbols(folder / "symbols.txt")
    files = [
        asset(folder, card, "README.md"),
        asset(folder, folder / "symbols.txt", "symbols.txt"),
        asset(folder, lexicon, "lexicon.txt.gz"),
        asset(folder, lexicon.with_name(LICENCE), LICENCE),
    ]
    states = [state for graph in found.values() for state in graph.states]
    roles = _ROLES | ({"letters": "spell.letters", "sounds": "spell.sounds"} if spell else {})
    write_manifest(
        folder,
        {
            **about,
            "languages": ["en"],
            "sample_rate": RATE,
            "receptive_field_samples": None,
            "task": {
                "kind": "synthesize",
                "program": "flow_voice",
                "roles": roles,
                "parameters": _PARAMETERS,
                "assets": {"symbols": "symbols.txt", "lexicon": "lexicon.txt.gz"},
            },
            "pools": [{"name": "stream"}],
            "states": [state_entry(state) for state in states],
            "graphs": [*written, *([spell] if spell else [])],
            "assets": files,
            "references": references,
        },
    )


# On a CPU more rows at a time are hardly cheaper, and whoever begins to speak waits for those that run.
_SMALL = {"flow_step": {"max_batch": 2}, "vocoder_step": {"max_batch": 2}}
_TABLES = {"step.vocoder.analysis": vocoder.analysis(), "step.vocoder.synthesis": vocoder.synthesis()}
_PARAMETERS = {
    "frame_samples": FRAME,
    "delay_samples": vocoder.DELAY,
    "temperature": TEMPERATURE,
    "voices": "kathleen",
    "mel_bands": MELS,
}
_ROLES = {
    "symbols": "text_encode.symbols",
    "encoded": "text_encode.encoded",
    "log_durations": "text_encode.log_durations",
    "expand_encoded": "expand.encoded",
    "source": "expand.source",
    "place": "expand.place",
    "prior": "expand.prior",
    "prior_chunk": "flow_step.prior",
    "flow_noise": "flow_step.noise",
    "mel": "flow_step.mel",
    "mel_chunk": "vocoder_step.mel",
    "wave_noise": "vocoder_step.noise",
    "pcm": "vocoder_step.pcm",
}


def _examples(graph: SlottedGraph, model: nn.Module, steps: int, grain: Grain | None) -> list[torch.Tensor]:
    """Example inputs `[steps, B = 2, *dims]` in the order of the graph's inputs."""
    assert isinstance(model, voice.Voice)
    width = model.encoder.config.width

    def rows(name: str, seed: int) -> torch.Tensor:
        if name == "noise":
            return noise(flow_noise(grain) if "prior" in graph.inputs else FRAME, 2, _FRAMES, seed)
        return example(name, 2, _FRAMES, _SYMBOLS, width, seed)

    return [torch.stack([rows(name, seed) for seed in range(steps)]) for name in graph.inputs]


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--acoustic", type=Path, required=True, help="checkpoint of acoustic_train, or a bundle")
    parser.add_argument("--vocoder", type=Path, required=True, help="checkpoint of vocoder_train, or a bundle")
    parser.add_argument("--calibration", type=Path, help="what calibrate measured of the two")
    parser.add_argument("--lexicon", type=Path, required=True, help="the asset lexicon.txt.gz")
    parser.add_argument(
        "--spell", type=Path, help="checkpoint of spell_train, or a bundle; without it unknown words are letters"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--name", default="voice-en")
    parser.add_argument("--version", default="0.1.0")
    arguments = parser.parse_args()
    about = {
        "name": arguments.name,
        "version": arguments.version,
        "description": "English voice for 24 kHz: causal flow matching over 20 ms frames, harmonic-plus-noise vocoder",
        "licence": "Apache-2.0; training data credited in README.md",
    }
    spell = write_spell(arguments.out, load_checkpoint(arguments.spell)) if arguments.spell else None
    made = vocoder.load_vocoder(arguments.vocoder)
    spoken, grain = voice.load(arguments.acoustic), None
    if arguments.calibration:
        found = read_calibration(arguments.calibration)
        widen(spoken.expander, found.melody)
        grain = found.grain()
    export_bundle(spoken, made, arguments.out, about, arguments.lexicon, spell, grain=grain)
    print(f"wrote {arguments.out}: {sha256(arguments.out / 'manifest.json')}")


if __name__ == "__main__":
    main()
