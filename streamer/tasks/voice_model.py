"""What the manifest of a voice says: its graphs, its symbols, and what its audio is counted in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.bundle.manifest import Graph, Manifest, Tensor
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.roles import Roles
from streamer.tasks.synthesis_options import MOST_TEMPERATURE
from streamer.tasks.text.symbols import SymbolTable

KIND, PROGRAM = "synthesize", "flow_voice"
_INT, _FLOAT = "TYPE_INT64", "TYPE_FP32"


@dataclass(frozen=True, slots=True)
class Call:
    """A graph of the voice, and what its inputs and outputs are called, by their roles."""

    graph: Graph
    names: dict[str, str]


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
        if manifest.sample_rate is None:
            raise BundleError(f"bundle {manifest.name}: expected a sample_rate, got none")
        roles = Roles(manifest, f"task {KIND}")
        voices = tuple(voice.strip() for voice in roles.text("voices").split(","))
        if not all(voices):
            roles.refuse("voices", "names with commas between them", roles.text("voices"))
        spell, letters = _spell(roles)
        flow, vocode, bands, frame = _sound(roles)
        temperature = roles.number("temperature", 1.0)
        if not 0 <= temperature <= MOST_TEMPERATURE:
            roles.refuse("temperature", f"a number from 0 to {MOST_TEMPERATURE:g}", temperature)
        return cls(
            name=manifest.name,
            spell=spell,
            encode=_encode(roles, len(voices)),
            expand=_expand(roles, bands),
            flow=flow,
            vocode=vocode,
            letters=letters,
            bands=bands,
            flow_noise=_length(roles.input_of(flow.graph, "flow_noise", _FLOAT, 2)),
            wave_noise=_length(roles.input_of(vocode.graph, "wave_noise", _FLOAT, 2)),
            sample_rate=manifest.sample_rate,
            frame_samples=frame,
            delay_samples=roles.integer("delay_samples"),
            temperature=temperature,
            voices=voices,
            symbols=read_symbols(manifest, folder),
        )

    @property
    def frame_s(self) -> float:
        """How long a frame sounds, in seconds."""
        return self.frame_samples / self.sample_rate

    def voice(self, name: str) -> int:
        """Return the number of a voice, the first one for ""; raises `InvalidRequest`."""
        if name and name not in self.voices:
            raise InvalidRequest(f"synthesis voice: expected one of {', '.join(self.voices)}, got {name!r:.100}")
        return self.voices.index(name) if name else 0


def read_symbols(manifest: Manifest, folder: Path) -> SymbolTable:
    """Read the asset `symbols`; raises `BundleError`."""
    if "symbols" not in manifest.task.assets:
        raise BundleError(f"bundle {manifest.name}: task {KIND} needs the asset symbols")
    try:
        return SymbolTable.parse((folder / manifest.task.assets["symbols"]).read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        raise BundleError(f"bundle {manifest.name}: asset symbols: expected text in UTF-8, got other bytes") from None
    except BundleError as error:
        raise BundleError(f"bundle {manifest.name}: asset {error}") from None


def _spell(roles: Roles) -> tuple[Call | None, int]:
    if "letters" not in roles.manifest.task.roles:
        return None, 0
    graph, letters = roles.input("letters", _INT)
    sounds = roles.output_of(graph, "sounds", _INT)
    length = _length(letters)
    if length < 1 or _length(sounds) != 2 * length:
        got = f"{length} and {_length(sounds)}"
        raise BundleError(f"bundle {roles.manifest.name}: roles letters, sounds: expected n and 2 n, got {got}")
    return Call(graph, {"letters": letters.name, "sounds": sounds.name}), length


def _encode(roles: Roles, n_voices: int) -> Call:
    graph, symbols = roles.input("symbols", _INT)
    names = {
        "symbols": symbols.name,
        "encoded": roles.output_of(graph, "encoded", _FLOAT, 2).name,
        "log_durations": roles.output_of(graph, "log_durations", _FLOAT).name,
    }
    if n_voices > 1:
        names["voice"] = roles.input_of(graph, "voice", _INT, 0).name
    return Call(graph, names)


def _expand(roles: Roles, bands: int) -> Call:
    graph, encoded = roles.input("expand_encoded", _FLOAT, 2)
    prior = roles.output_of(graph, "prior", _FLOAT, 2)
    _check_length(roles, "prior", prior, bands)
    names = {
        "encoded": encoded.name,
        "source": roles.input_of(graph, "source", _INT).name,
        "place": roles.input_of(graph, "place", _FLOAT, 2).name,
        "prior": prior.name,
    }
    return Call(graph, names)


def _sound(roles: Roles) -> tuple[Call, Call, int, int]:
    """Return the graphs with states, the bands of a mel frame and the samples of a frame."""
    frame = roles.integer("frame_samples", 1)
    graph, prior = roles.input("prior_chunk", _FLOAT, 2)
    bands = _length(prior)
    noise, mel = roles.input_of(graph, "flow_noise", _FLOAT, 2), roles.output_of(graph, "mel", _FLOAT, 2)
    flow = Call(graph, {"prior": prior.name, "noise": noise.name, "mel": mel.name})
    graph, heard = roles.input("mel_chunk", _FLOAT, 2)
    pcm = roles.output_of(graph, "pcm", _FLOAT, 2)
    wave = roles.input_of(graph, "wave_noise", _FLOAT, 2)
    vocode = Call(graph, {"mel": heard.name, "noise": wave.name, "pcm": pcm.name})
    for role, tensor, length in (("mel", mel, bands), ("mel_chunk", heard, bands)):
        _check_length(roles, role, tensor, length)
    _check_length(roles, "pcm", pcm, frame)
    return flow, vocode, bands, frame


def _length(tensor: Tensor) -> int:
    return tensor.dims[-1]


def _check_length(roles: Roles, role: str, tensor: Tensor, expected: int) -> None:
    if _length(tensor) != expected or expected < 1:
        where = f"bundle {roles.manifest.name}: role {role}"
        raise BundleError(f"{where}: expected a last dimension of {max(expected, 1)}, got {list(tensor.dims)}")
