"""What the manifest of a voice says: its graphs, its symbols, and what its audio is counted in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.bundle.manifest import Manifest
from streamer.errors import BundleError
from streamer.tasks.roles import Roles
from streamer.tasks.text.symbols import SymbolTable
from streamer.tasks.voice_graphs import (
    FLOAT,
    INT,
    KIND,
    Call,
    Sounding,
    check_length,
    read_symbols,
    read_voices,
    sample_rate_of,
    spell_call,
    temperature_of,
    voice_number,
)
from streamer.tasks.voice_names import PROGRAM


@dataclass(frozen=True, slots=True)
class VoiceModel:
    """A voice, checked against its manifest.

    Roles, of a graph each: `letters` (input, int64 `[letters]`, 0 where there are none) and `sounds` (output, int64
    `[2 * letters]`, symbols, 0 for none), both optional; `symbols` (input, int64 `[symbols]`), with several voices
    `voice` (input, int64 `[]`), `encoded` (output, float32 `[symbols, width]`) and `log_durations` (output, float32
    `[symbols]`, natural logarithm of frames); `expand_encoded` (input, float32 `[symbols, width]`), `source` (input,
    int64 `[frames]`, the symbol of each frame), `place` (input, float32 `[frames, 2]`, the part of its symbol that lies
    before its middle, and the logarithm of that symbol's frames) and `prior` (output, float32 `[frames, bands]`);
    `prior_chunk` and `flow_noise` (inputs, float32 `[frames, bands]` and `[frames, n]`) and `mel` (output, float32
    `[frames, bands]`); `mel_chunk` (input), `wave_noise` (input, float32 `[frames, n]`) and `pcm` (output, float32
    `[frames, frame_samples]`). The last two graphs keep states of one pool, and say the same however frames are cut
    into calls. What the bands are is the bundle's affair: pitch may be among them.

    Parameters: `frame_samples`, `delay_samples` (how much later the sound of a frame leaves the last graph than the
    frame enters it), `temperature`, `voices` ("kathleen,john"). Asset: `symbols`, one a line, beside what the text
    front end reads.
    """

    name: str
    spell: Call | None
    encode: Call
    expand: Call
    flow: Call
    vocode: Call
    letters: int
    bands: int
    flow_noise: int
    wave_noise: int
    sample_rate: int
    frame_samples: int
    delay_samples: int
    temperature: float
    voices: tuple[str, ...]
    symbols: SymbolTable

    @classmethod
    def of(cls, manifest: Manifest, folder: Path) -> VoiceModel | None:
        """Read the bundle in `folder`, or return None for one that is no voice; raises `BundleError`."""
        if manifest.task.kind != KIND:
            return None
        if manifest.task.program != PROGRAM:
            raise BundleError(f"bundle {manifest.name}: expected the program {PROGRAM}, got {manifest.task.program}")
        sample_rate = sample_rate_of(manifest)
        roles = Roles(manifest, f"task {KIND}")
        voices = read_voices(roles)
        spell, letters = spell_call(roles)
        sounding = Sounding.of(roles)
        return cls(
            name=manifest.name,
            spell=spell,
            encode=_encode(roles, len(voices)),
            expand=_expand(roles, sounding.bands),
            flow=sounding.flow,
            vocode=sounding.vocode,
            letters=letters,
            bands=sounding.bands,
            flow_noise=sounding.flow_noise,
            wave_noise=sounding.wave_noise,
            sample_rate=sample_rate,
            frame_samples=sounding.frame_samples,
            delay_samples=roles.integer("delay_samples"),
            temperature=temperature_of(roles),
            voices=voices,
            symbols=read_symbols(manifest, folder),
        )

    @property
    def frame_s(self) -> float:
        """How long a frame sounds, in seconds."""
        return self.frame_samples / self.sample_rate

    def voice(self, name: str) -> int:
        """Return the number of a voice, the first one for ""; raises `InvalidRequest`."""
        return voice_number(self.voices, name)


def _encode(roles: Roles, n_voices: int) -> Call:
    graph, symbols = roles.input("symbols", INT)
    names = {
        "symbols": symbols.name,
        "encoded": roles.output_of(graph, "encoded", FLOAT, 2).name,
        "log_durations": roles.output_of(graph, "log_durations", FLOAT).name,
    }
    if n_voices > 1:
        names["voice"] = roles.input_of(graph, "voice", INT, 0).name
    return Call(graph, names)


def _expand(roles: Roles, bands: int) -> Call:
    graph, encoded = roles.input("expand_encoded", FLOAT, 2)
    prior = roles.output_of(graph, "prior", FLOAT, 2)
    check_length(roles, "prior", prior, bands)
    names = {
        "encoded": encoded.name,
        "source": roles.input_of(graph, "source", INT).name,
        "place": roles.input_of(graph, "place", FLOAT, 2).name,
        "prior": prior.name,
    }
    return Call(graph, names)
