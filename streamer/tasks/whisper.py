"""What the manifest of a Whisper model that hears streams says: which tensor plays which role, and the constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamer.bundle.manifest import Audio, Graph, Manifest
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.decoding import MOST_HYPOTHESES
from streamer.tasks.ranks import SUFFIX, read_ranks
from streamer.tasks.recogniser import read_calibration
from streamer.tasks.roles import Roles
from streamer.tasks.tokens import Writing, read_tokens
from streamer.tasks.whisper_prompt import Prompt
from streamer.tasks.whisper_rules import Mode, Rules
from streamer.tasks.whisper_window import WindowRules
from streamer.tasks.words import Calibration, Timing

PROGRAM = "whisper"

_FLAG, _INT, _FLOAT = "TYPE_BOOL", "TYPE_INT64", "TYPE_FP32"
# For each graph its roles, with type and rank.
_LISTEN_IN = {"pcm": (_FLOAT, 1)}
_LISTEN_OUT = {"heard": (_INT, 0)}
_ENCODE_IN = {
    "offsets": (_INT, 1),
    "window": (_INT, 1),
    "origin": (_INT, 0),
    "bank": (_INT, 0),
    "fresh": (_FLAG, 0),
}
_ENCODE_OUT = {"encoded_frames": (_INT, 0)}
_DECODE_IN = {
    "tokens": (_INT, 1),
    "places": (_INT, 1),
    "past": (_FLAG, 2),
    "fresh_nodes": (_FLAG, 2),
    "keep": (_INT, 0),
    "count": (_INT, 0),
    "audio": (_INT, 1),
    "decode_bank": (_INT, 0),
    "ask": (_INT, 1),
    "check": (_INT, 1),
    "blank": (_FLAG, 0),
}
_DECODE_OUT = {
    "best": (_INT, 1),
    "best_logit": (_FLOAT, 1),
    "check_logit": (_FLOAT, 1),
    "check_rank": (_INT, 1),
    "log_sum": (_FLOAT, 1),
    "top_ids": (_INT, 2),
    "top_logps": (_FLOAT, 2),
    "attended": (_INT, 1),
    "cells": (_INT, 0),
}
_GROUPS = {"listen": "listener", "encode": "encoder", "decode": "search"}


@dataclass(frozen=True, slots=True)
class WhisperModel:
    """A Whisper model of three graphs, checked against its manifest. A stream has one row of them.

    `listen` turns PCM into rows of a mel ring and counts them (roles `pcm`, `heard`). `encode` adds frames to one of
    the two windows of a row: `offsets` i64[n] and `window` i64[C] say by their lengths how many, and how many of the
    cached ones are looked at; `origin` is the window's first mel row, `bank` which window, `fresh` whether it begins;
    `encoded_frames` counts its frames. `decode` adds nodes to a tree of tokens and answers about some of them:
    `tokens`, `places` i64[M], `past` bool[M, S], `fresh_nodes` bool[M, M], `keep`, `count`, `audio` i64[X],
    `decode_bank`, `ask`, `check` i64[Q], `blank`; `best`, `best_logit`, `check_logit`, `check_rank`, `log_sum`,
    `attended` [Q], `top_ids`, `top_logps` [Q, K] and `cells`.

    Parameters: `gran` and `extra` (frames of a chunk; the first call takes `extra + 1` chunks), `max_frames`,
    `max_text`, `cells`, `frame_samples`, `token_delay_samples`, `flush_samples`, `sot`, `eot`, `transcribe`,
    `no_timestamps`, `first_language` (-1: the model knows one language); optionally `language` (of streams that name
    none), `decode_every` (chunks), and those of `WindowRules` and of the searches. Assets: `tokens` (`tokens.txt` or
    `*.tiktoken`), and `languages`, one code a line, of a model that knows several.
    """

    graph: Graph
    audio: Audio
    encode: Graph
    decode: Graph
    names: Mapping[str, str]
    timing: Timing
    flush_samples: int
    vocabulary: Writing
    prompt: Prompt
    windows: WindowRules
    rules: Rules
    decode_every: int
    calibration: Calibration | None

    @classmethod
    def of(cls, manifest: Manifest, folder: Path) -> WhisperModel | None:
        """Read roles, parameters and assets, or return None for a bundle without the program; raises `BundleError`."""
        if manifest.task.program != PROGRAM:
            return None
        roles = Roles(manifest, f"program {PROGRAM}")
        listen, encode, decode = (
            _graph(roles, which, inputs, outputs)
            for which, inputs, outputs in (
                ("listen", _LISTEN_IN, _LISTEN_OUT),
                ("encode", _ENCODE_IN, _ENCODE_OUT),
                ("decode", _DECODE_IN, _DECODE_OUT),
            )
        )
        names = {role: manifest.role(role)[1] for role in _ALL_ROLES}
        audio = listen.audio
        if audio is None or audio.input != names["pcm"]:
            pcm = names["pcm"]
            raise BundleError(f"bundle {manifest.name}: role pcm: graph {listen.name} has no audio input {pcm}")
        assert manifest.sample_rate is not None  # the format requires it of a graph with audio
        timing = Timing(
            manifest.sample_rate, roles.integer("frame_samples", 1), roles.integer("token_delay_samples", default=0)
        )
        gran, max_text = roles.integer("gran", 1), roles.integer("max_text", 16)
        first = gran * (roles.integer("extra", default=0) + 1)
        _check_hop(manifest.name, audio, gran, timing.frame_samples)
        decode_every = roles.integer("decode_every", 1, default=1)
        # What was said last must be heard in a first block, and be decoded.
        flush = max(roles.integer("flush_samples"), first * timing.frame_samples + audio.right_context_samples)
        return cls(
            listen,
            audio,
            encode,
            decode,
            names,
            timing,
            flush + (decode_every - 1) * audio.hop_samples,
            _read_vocabulary(manifest, folder),
            Prompt.of(roles, folder),
            WindowRules.of(roles, first, max_text - _ROOM),
            _rules(roles, max_text),
            decode_every,
            read_calibration(manifest, "confidence"),
        )

    def language(self, model: str, code: str) -> int:
        """The id of a language's token, -1 for none; raises `InvalidRequest` for one that the model does not know."""
        try:
            return self.prompt.language(code)
        except KeyError:
            known = len(self.prompt.languages)
            raise InvalidRequest(f"model {model} knows {known} languages, got language {code!r}") from None


# Room for the prompt and the tokens of one more chunk.
_ROOM = 40
# Of bundles that do not state their own; see `Rules`.
_LOOK_BACK, _WINDOW, _MOST_A_CHUNK = 2, 8, 12
_ALL_ROLES = (*_LISTEN_IN, *_LISTEN_OUT, *_ENCODE_IN, *_ENCODE_OUT, *_DECODE_IN, *_DECODE_OUT)


def _graph(
    roles: Roles, which: str, inputs: Mapping[str, tuple[str, int]], outputs: Mapping[str, tuple[str, int]]
) -> Graph:
    """The graph that has all of some roles, and the group that a call of it may start."""
    found = [roles.input(role, *kind)[0] for role, kind in inputs.items()]
    found += [roles.output(role, *kind)[0] for role, kind in outputs.items()]
    if len({graph.name for graph in found}) > 1:
        expected = ", ".join((*inputs, *outputs))
        raise BundleError(f"bundle {roles.manifest.name}: expected the roles {expected} in one graph")
    if _GROUPS[which] not in found[0].groups:
        raise BundleError(f"bundle {roles.manifest.name}: graph {found[0].name}: expected the group {_GROUPS[which]}")
    return found[0]


def _rules(roles: Roles, max_text: int) -> Rules:
    """The constants of the searches; a stream chooses the width of its beam."""
    mode = roles.manifest.task.parameters.get("mode", Mode.EXACT)
    if mode not in tuple(Mode):
        expected = " or ".join(Mode)
        raise BundleError(f"bundle {roles.manifest.name}: parameter mode: expected {expected}, got {mode!r}")
    look_back = roles.integer("look_back", default=_LOOK_BACK)
    return Rules(
        roles.integer("eot"),
        max_text,
        # Room for the last tokens of every hypothesis beside a whole text.
        roles.integer("cells", max_text + 2 * MOST_HYPOTHESES),
        Mode(mode),
        roles.integer("window", look_back, max(look_back, _WINDOW)),
        look_back,
        roles.integer("max_tokens_per_chunk", 1, _MOST_A_CHUNK),
    )


def _check_hop(bundle: str, audio: Audio, gran: int, frame_samples: int) -> None:
    if gran * frame_samples != audio.hop_samples:
        got = f"{gran} frames of {frame_samples} samples for a hop of {audio.hop_samples}"
        raise BundleError(f"bundle {bundle}: expected frames that cover the hop, got {got}")


def _read_vocabulary(manifest: Manifest, folder: Path) -> Writing:
    if "tokens" not in manifest.task.assets:
        raise BundleError(f"bundle {manifest.name}: task transcribe needs the asset tokens")
    path = folder / manifest.task.assets["tokens"]
    return read_ranks(path) if path.suffix == SUFFIX else read_tokens(path)
