"""Export the token path as a bundle of the program `token_voice`.

Language model and encoder have the roles that IMPORT.md tells; flow and vocoder those of `flow_voice`: all steps of the
ODE are one call, there is no guidance, and pitch goes beside the mel.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.common.bundle_writer import asset, sha256, state_entry, write_graph, write_manifest, write_reference
from models.common.onnx_export import FreeLengths, round_weights
from models.common.slots import SlottedGraph
from models.flow_tts import vocoder
from models.flow_tts.config import FRAME, MELS, RATE, TEMPERATURE
from models.flow_tts.cosyvoice.config import TOKEN_FRAMES, Options
from models.flow_tts.cosyvoice.settings import Sampling
from models.flow_tts.cosyvoice.steps import LM_PAGE, LmStep
from models.flow_tts.export import CARD, LICENCE
from models.flow_tts.serving import example, noise
from models.flow_tts.spell import load_checkpoint
from models.flow_tts.spell_export import write_spell
from models.flow_tts.symbols import write_symbols
from models.flow_tts.tokens.config import TOKENS_A_SECOND
from models.flow_tts.tokens.decoding import Limits
from models.flow_tts.tokens.flow import TokenFlow, load_flow
from models.flow_tts.tokens.layouts import Blocks
from models.flow_tts.tokens.lm import SpeechLm, load_lm
from models.flow_tts.tokens.streaming import ENCODE, FLOW, SECONDS, VOCODER, graphs

PROGRAM = "token_voice"
LM = "lm_step"
_CELLS = 2048
_FRAMES, _IDS, _STEPS = 30, 7, 2
_FREE: FreeLengths = {
    "ids": ["ids"], "cells": ["lm_pages"], "tokens": ["tokens"], "pages": ["encode_pages"], "mu": ["frames"],
    "prior": ["frames"], "noise": ["frames"], "mel": ["frames"], "pcm": ["frames"],
}  # fmt: skip
# Rows that share a call may differ in the last bit, and pitch, which the encoder rounds, must not depend on who does.
# On a CPU more rows at a time are hardly cheaper but for the language model, which is called for every token.
_MOST_ROWS: dict[str, dict[str, Any]] = {ENCODE: {"max_batch": 1}, FLOW: {"max_batch": 2}, VOCODER: {"max_batch": 2}}
_TABLES = {"step.vocoder.analysis": vocoder.analysis(), "step.vocoder.synthesis": vocoder.synthesis()}
_ROLES = {
    **{role: f"{LM}.{role}" for role in ("ids", "cells", "logits")},
    **{role: f"{ENCODE}.{role}" for role in ("tokens", "tokens_ahead", "mu")},
    "encode_pages": f"{ENCODE}.pages",
    "encode_page": f"{ENCODE}.page",
    "prior_chunk": f"{FLOW}.prior",
    "flow_noise": f"{FLOW}.noise",
    "mel": f"{FLOW}.mel",
    "mel_chunk": f"{VOCODER}.mel",
    "wave_noise": f"{VOCODER}.noise",
    "pcm": f"{VOCODER}.pcm",
}


def all_graphs(lm: SpeechLm, flow: TokenFlow, made: vocoder.Vocoder, chunk: int) -> dict[str, SlottedGraph]:
    """The graphs of the bundle by name, for chunks of `chunk` tokens."""
    options = Options(chunk=chunk, cells=_CELLS)
    step = LmStep(lm, options)
    return {
        LM: SlottedGraph(step, step.inputs, step.outputs, step.states),
        **graphs(flow, made, chunk, pages_for(chunk)),
    }


def pages_for(chunk: int) -> int:
    """How many chunks the encoder looks back at."""
    return -(-SECONDS * TOKENS_A_SECOND // chunk)


def export_bundle(
    lm: SpeechLm,
    blocks: Blocks,
    flow: TokenFlow,
    made: vocoder.Vocoder,
    folder: Path,
    about: Mapping[str, Any],
    lexicon: Path,
    chunk: int | None = None,
    card: Path = CARD,
    spell: Mapping[str, Any] | None = None,
) -> None:
    """Write the bundle; `about` holds name, version, description and licence, `lexicon` lies beside its licence.

    `spell` is the entry of a written graph for words that the lexicon lacks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for module in (lm, flow, made):
        module.eval()
        round_weights(module)
    size = chunk or flow.config.chunk
    found = all_graphs(lm, flow, made, size)
    written, references = [], []
    for name, graph in found.items():
        steps = [_examples(name, lm, flow, size, step) for step in range(_STEPS)]
        inputs = [steps[0][key] for key in graph.inputs]
        tables = _TABLES if name == VOCODER else {}
        extra = _MOST_ROWS.get(name, {})
        written.append(write_graph(folder, name, graph, inputs, extra, free=_FREE, tables=tables))
        rows = {key: torch.stack([step[key][0] for step in steps]) for key in graph.inputs}
        references.append(write_reference(folder, name, graph, rows))
    write_symbols(folder / "symbols.txt")
    files = [
        asset(folder, card, "README.md"),
        asset(folder, folder / "symbols.txt", "symbols.txt"),
        asset(folder, lexicon, "lexicon.txt.gz"),
        asset(folder, lexicon.with_name(LICENCE), LICENCE),
    ]
    write_manifest(
        folder,
        {
            **about,
            "languages": ["en"],
            "sample_rate": RATE,
            "receptive_field_samples": None,
            "task": {
                "kind": "synthesize",
                "program": PROGRAM,
                "roles": _ROLES | ({"letters": "spell.letters", "sounds": "spell.sounds"} if spell else {}),
                "parameters": parameters_of(lm, blocks, flow, size),
                "assets": {"symbols": "symbols.txt", "lexicon": "lexicon.txt.gz"},
            },
            "pools": [{"name": "stream"}],
            "states": [state_entry(state) for graph in found.values() for state in graph.states],
            "graphs": [*written, *([spell] if spell else [])],
            "assets": files,
            "references": references,
        },
    )


def parameters_of(lm: SpeechLm, blocks: Blocks, flow: TokenFlow, chunk: int) -> dict[str, int | float | str]:
    """What the program must know beside the graphs; names as IMPORT.md has them."""
    ids, sampling, limits = lm.ids, Sampling(), Limits()
    return {
        "frame_samples": FRAME,
        "token_frames": TOKEN_FRAMES,
        "mel_bands": MELS,
        "speech_id": ids.speech,
        "speech_tokens": ids.tokens,
        "start_id": ids.start,
        "task_id": ids.task,
        "end_id": ids.end,
        "fill_id": ids.fill,
        "text_block": blocks.text,
        "speech_block": blocks.speech,
        "fewest_tokens": limits.fewest,
        "most_tokens": limits.most,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "win_size": sampling.win_size,
        "tau_r": sampling.tau_r,
        "lm_page": LM_PAGE,
        "lm_pages": -(-_CELLS // LM_PAGE),
        "chunk_tokens": chunk,
        "ahead_tokens": flow.ahead,
        "pages": pages_for(chunk),
        "flow": "whole",
        "vocoder": "pulses",
        "temperature": TEMPERATURE,
        "delay_samples": vocoder.DELAY,
        "voices": "kathleen",
    }


def _examples(name: str, lm: SpeechLm, flow: TokenFlow, chunk: int, step: int) -> dict[str, Tensor]:
    """Example inputs `[2, *dims]` of a step that look like those of a stream."""
    rng = torch.Generator().manual_seed(step)
    if name == LM:
        ids = torch.randint(lm.ids.speech + lm.ids.tokens, (2, _IDS), generator=rng)
        return {"ids": ids, "cells": torch.tensor([[0, -1], [0, -1]])}
    if name == ENCODE:
        return {
            "tokens": torch.randint(flow.config.tokens, (2, chunk), generator=rng),
            "tokens_ahead": torch.randint(flow.config.tokens, (2, flow.ahead), generator=rng),
            "pages": torch.full((2, 2), -1 if step == 0 else 0),
            "page": torch.full((2,), step),
        }
    rows = "prior" if name == FLOW else "mel"
    width = MELS if name == FLOW else FRAME
    return {rows: example(rows, 2, _FRAMES, 0, 0, step), "noise": noise(width, 2, _FRAMES, step)}


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of lm, flow and vocoder")
    parser.add_argument("--vocoder", type=Path, help="checkpoint of vocoder_train, if it is elsewhere")
    parser.add_argument("--lexicon", type=Path, required=True, help="the asset lexicon.txt.gz, beside its licence")
    parser.add_argument("--spell", type=Path, help="checkpoint of spell_train; without it unknown words are letters")
    parser.add_argument("--chunk", type=int, help="tokens that are made at once, by default as in training")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--name", default="token-voice-en")
    parser.add_argument("--version", default="0.1.0")
    arguments = parser.parse_args()
    about = {
        "name": arguments.name,
        "version": arguments.version,
        "description": "English voice for 24 kHz: speech tokens of a language model, causal flow matching on them",
        "licence": "Apache-2.0; training data credited in README.md",
    }
    folder = arguments.checkpoints
    lm, blocks = load_lm(folder / "lm" / "checkpoint.pt")
    flow = load_flow(folder / "flow" / "checkpoint.pt")
    made = vocoder.load_vocoder(arguments.vocoder or folder / "vocoder" / "checkpoint.pt")
    spell = write_spell(arguments.out, load_checkpoint(arguments.spell)) if arguments.spell else None
    export_bundle(lm, blocks, flow, made, arguments.out, about, arguments.lexicon, arguments.chunk, spell=spell)
    print(f"wrote {arguments.out}: {sha256(arguments.out / 'manifest.json')}")


if __name__ == "__main__":
    main()
