"""What the manifest of a voice of tokens says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from streamer.bundle.manifest import Manifest
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.roles import Roles
from streamer.tasks.synthesis_options import SynthesisOptions
from streamer.tasks.text.symbols import SymbolTable
from streamer.tasks.token_asks import Asks
from streamer.tasks.token_bpe import BytePairs
from streamer.tasks.token_encoder import Encoder
from streamer.tasks.token_lm import LanguageModel
from streamer.tasks.token_prompts import NO_PROMPT, Prompt, PromptSizes, read_prompts
from streamer.tasks.token_reading import PieceReader, UnitReader
from streamer.tasks.token_sound import Making, Sound
from streamer.tasks.token_stepped import FLOWS, SteppedSound
from streamer.tasks.token_text import Composer, Ids, UnitComposer
from streamer.tasks.voice_graphs import (
    KIND,
    Call,
    read_symbols,
    read_voices,
    sample_rate_of,
    spell_call,
    temperature_of,
    voice_number,
)
from streamer.tasks.voice_reading import VoiceText
from streamer.work import Array

PROGRAM = "token_voice"


class Sounds(Protocol):
    """Speech tokens to samples. A state is whatever it returned last, None for an utterance that begins."""

    @property
    def encoder(self) -> Encoder:
        """What says of how many tokens a chunk is."""

    @property
    def frame_samples(self) -> int:
        """Samples of a frame."""

    @property
    def delay_samples(self) -> int:
        """How much later the sound of a frame leaves the vocoder than the frame enters it."""

    @property
    def calls(self) -> tuple[Call, ...]:
        """What it asks for, in the order of a chunk."""

    def wanted(self, state: Any, prompt: Prompt) -> int:
        """Return how many tokens must be there before `make` can be called, unless they are all."""

    def make(self, state: Any, tokens: Ids, is_all: bool, how: Making) -> Asks[tuple[Any, Array]]:
        """Return the state after the next chunk of an utterance, and its samples; `is_all`: no other tokens follow."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """Implements `voice_reading.Spelling`."""

    symbols: SymbolTable
    letters: int


@dataclass(frozen=True, slots=True)
class TokenModel:
    """A voice of tokens, checked against its manifest.

    Roles of the language model: `ids` (input, int64 `[n]`), `cells` (input, int64 `[n]`, pages of what was given
    before, -1 for none) and `logits` (output, float32 `[n]`). Of the encoder: `tokens` (input, int64 `[n]`),
    `tokens_ahead` (input, int64 `[ahead_tokens]`, -1 for none), `encode_pages` (input, int64 `[n]`), `encode_page`
    (input, int64 `[]`) and `mu` (output, float32 `[frames, bands]`). Of flow and vocoder, and of an optional graph that
    spells: as `VoiceModel` has them. All but the last keep states of one pool.

    Parameters, beside those of `VoiceModel`: `speech_id`, `speech_tokens`, `start_id`, `task_id`, `text_block`,
    `speech_block`, `fewest_tokens` and `most_tokens` (for each symbol), `top_p`, `top_k`, `win_size`, `tau_r`,
    `lm_page`, `lm_pages`, `token_frames`, `chunk_tokens`, `ahead_tokens`, `pages`; `flow` is "whole" and `vocoder`
    "pulses". Assets: as `VoiceModel` has them.

    With another `flow`, "cached" or "prefix", and the `vocoder` "causal" or "window", the bundle is an imported one:
    models/flow_tts/IMPORT.md tells its roles, parameters and assets.
    """

    name: str
    sample_rate: int
    temperature: float
    voices: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    spell: Call | None
    lm: LanguageModel
    sound: Sounds
    composer: Composer | UnitComposer
    reader: Callable[[SynthesisOptions], PieceReader]

    @classmethod
    def of(cls, manifest: Manifest, folder: Path) -> TokenModel | None:
        """Read the bundle in `folder`, or return None for one of another program; raises `BundleError`."""
        if manifest.task.kind != KIND or manifest.task.program != PROGRAM:
            return None
        roles = Roles(manifest, f"program {PROGRAM}")
        if roles.text("flow") in FLOWS:
            return cls._imported(roles, folder)
        if roles.text("flow") != "whole":
            roles.refuse("flow", f"whole, {' or '.join(FLOWS)}", roles.text("flow"))
        if roles.text("vocoder") != "pulses":
            roles.refuse("vocoder", "pulses", roles.text("vocoder"))
        voices = read_voices(roles)
        if len(voices) > 1:
            roles.refuse("voices", "one name", roles.text("voices"))
        spell, letters = spell_call(roles)
        lm, symbols = LanguageModel.of(roles, ends=1), read_symbols(manifest, folder)
        if len(symbols) > lm.speech:
            raise BundleError(f"bundle {manifest.name}: expected at most {lm.speech} symbols, got {len(symbols)}")
        return cls(
            name=manifest.name,
            sample_rate=sample_rate_of(manifest),
            temperature=temperature_of(roles),
            voices=voices,
            prompts=(NO_PROMPT,),
            spell=spell,
            lm=lm,
            sound=Sound.of(roles),
            composer=Composer.of(symbols, lm.most_text(roles, ())),
            reader=VoiceText.of(Spelling(symbols, letters), manifest, folder).reader,
        )

    @classmethod
    def _imported(cls, roles: Roles, folder: Path) -> TokenModel:
        manifest, voices = roles.manifest, read_voices(roles)
        lm, sound = LanguageModel.of(roles), SteppedSound.of(roles, folder)
        units = BytePairs.read(*(_asset(manifest, folder, name) for name in ("vocab_json", "merges_txt")))
        if units.most >= lm.speech:
            raise BundleError(f"bundle {manifest.name}: expected ids of text below {lm.speech}, got {units.most}")
        token_frames = sound.encoder.token_frames
        sizes = PromptSizes(lm.speech, lm.tokens, token_frames, sound.flow.bands, sound.flow.speaker)
        prompts = read_prompts(_asset(manifest, folder, "prompts"), voices, sizes)
        sound.check(roles, prompts)
        return cls(
            name=manifest.name,
            sample_rate=sample_rate_of(manifest),
            temperature=temperature_of(roles),
            voices=voices,
            prompts=prompts,
            spell=None,
            lm=lm,
            sound=sound,
            composer=UnitComposer(lm.most_text(roles, prompts)),
            reader=partial(_unit_reader, manifest.name, units),
        )

    @property
    def chunk_samples(self) -> int:
        """Samples of a chunk."""
        encoder = self.sound.encoder
        return encoder.chunk * encoder.token_frames * self.sound.frame_samples

    def voice(self, name: str) -> int:
        """Return the number of a voice, the first one for ""; raises `InvalidRequest`."""
        return voice_number(self.voices, name)

    def require_possible(self, options: SynthesisOptions) -> None:
        """Raise `InvalidRequest` for what tokens cannot do: nobody knows how long they make a symbol."""
        if options.speed != 1:
            raise InvalidRequest(f"synthesis speed: model {self.name} has no other than 1, got {options.speed:g}")
        if options.word_times:
            raise InvalidRequest(f"synthesis word_times: model {self.name} knows no times of words, expected false")


def _unit_reader(model: str, units: BytePairs, options: SynthesisOptions) -> PieceReader:
    if options.phonemes:
        raise InvalidRequest(f"synthesis phonemes: model {model} reads no phonemes, got {options.phonemes!r}")
    return UnitReader(units, options.pieces == "words")


def _asset(manifest: Manifest, folder: Path, name: str) -> Path:
    if name not in manifest.task.assets:
        raise BundleError(f"bundle {manifest.name}: program {PROGRAM} needs the asset {name}")
    return folder / manifest.task.assets[name]
