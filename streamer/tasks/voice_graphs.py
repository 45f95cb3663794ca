"""What bundles of voices have in common: graphs by their roles, symbols, names of voices and temperature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.bundle.manifest import Graph, Manifest, Tensor
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.roles import Roles
from streamer.tasks.synthesis_options import MOST_TEMPERATURE
from streamer.tasks.text.symbols import SymbolTable
from streamer.tasks.voice_names import voices_of

KIND = "synthesize"
INT, FLOAT = "TYPE_INT64", "TYPE_FP32"


@dataclass(frozen=True, slots=True)
class Call:
    """A graph of the voice, and what its inputs and outputs are called, by their roles."""

    graph: Graph
    names: dict[str, str]


@dataclass(frozen=True, slots=True)
class Sounding:
    """The graphs from frames to sound; frames are float32 `[n, bands]`, a frame is `frame_samples` samples.

    `flow` and `vocode` take frames by the names "prior" and "mel", and "noise" float32 `[n, flow_noise]` and `[n,
    wave_noise]`.
    """

    flow: Call
    vocode: Call
    bands: int
    frame_samples: int
    flow_noise: int
    wave_noise: int

    @classmethod
    def of(cls, roles: Roles) -> Sounding:
        """Read the roles and `frame_samples`; raises `BundleError`."""
        frame = roles.integer("frame_samples", 1)
        graph, prior = roles.input("prior_chunk", FLOAT, 2)
        bands = length_of(prior)
        noise, mel = roles.input_of(graph, "flow_noise", FLOAT, 2), roles.output_of(graph, "mel", FLOAT, 2)
        flow = Call(graph, {"prior": prior.name, "noise": noise.name, "mel": mel.name})
        graph, heard = roles.input("mel_chunk", FLOAT, 2)
        pcm = roles.output_of(graph, "pcm", FLOAT, 2)
        wave = roles.input_of(graph, "wave_noise", FLOAT, 2)
        vocode = Call(graph, {"mel": heard.name, "noise": wave.name, "pcm": pcm.name})
        for role, tensor in (("mel", mel), ("mel_chunk", heard)):
            check_length(roles, role, tensor, bands)
        check_length(roles, "pcm", pcm, frame)
        return cls(flow, vocode, bands, frame, length_of(noise), length_of(wave))


def read_voices(roles: Roles) -> tuple[str, ...]:
    """Read the parameter `voices`; raises `BundleError`."""
    written, voices = roles.text("voices"), voices_of(roles.manifest)
    if not all(voices):
        roles.refuse("voices", "names with commas between them", written)
    return voices


def voice_number(voices: tuple[str, ...], name: str) -> int:
    """Return the number of a voice, the first one for ""; raises `InvalidRequest`."""
    if name and name not in voices:
        raise InvalidRequest(f"synthesis voice: expected one of {', '.join(voices)}, got {name!r:.100}")
    return voices.index(name) if name else 0


def temperature_of(roles: Roles) -> float:
    """Read the parameter `temperature`; raises `BundleError`."""
    temperature = roles.number("temperature", 1.0)
    if not 0 <= temperature <= MOST_TEMPERATURE:
        roles.refuse("temperature", f"a number from 0 to {MOST_TEMPERATURE:g}", temperature)
    return temperature


def sample_rate_of(manifest: Manifest) -> int:
    """Return the rate of the audio; raises `BundleError` for a bundle without."""
    if manifest.sample_rate is None:
        raise BundleError(f"bundle {manifest.name}: expected a sample_rate, got none")
    return manifest.sample_rate


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


def spell_call(roles: Roles) -> tuple[Call | None, int]:
    """Return the graph that spells and how many letters it takes, None if there is none; raises `BundleError`."""
    if "letters" not in roles.manifest.task.roles:
        return None, 0
    graph, letters = roles.input("letters", INT)
    sounds = roles.output_of(graph, "sounds", INT)
    length = length_of(letters)
    if length < 1 or length_of(sounds) != 2 * length:
        got = f"{length} and {length_of(sounds)}"
        raise BundleError(f"bundle {roles.manifest.name}: roles letters, sounds: expected n and 2 n, got {got}")
    return Call(graph, {"letters": letters.name, "sounds": sounds.name}), length


def length_of(tensor: Tensor) -> int:
    """Return its last dimension."""
    return tensor.dims[-1]


def check_length(roles: Roles, role: str, tensor: Tensor, expected: int) -> None:
    """Raise `BundleError` unless the last dimension is `expected`, at least 1."""
    if length_of(tensor) != expected or expected < 1:
        where = f"bundle {roles.manifest.name}: role {role}"
        raise BundleError(f"{where}: expected a last dimension of {max(expected, 1)}, got {list(tensor.dims)}")
