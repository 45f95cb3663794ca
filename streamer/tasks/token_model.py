"""What the manifest of a voice of tokens says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.bundle.manifest import Manifest
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.roles import Roles
from streamer.tasks.synthesis_options import SynthesisOptions
from streamer.tasks.text.symbols import SymbolTable
from streamer.tasks.token_lm import LanguageModel
from streamer.tasks.token_sound import Sound
from streamer.tasks.token_text import Composer
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

PROGRAM = "token_voice"


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
    """

    name: str
    sample_rate: int
    temperature: float
    voices: tuple[str, ...]
    symbols: SymbolTable
    spell: Call | None
    letters: int
    lm: LanguageModel
    sound: Sound
    composer: Composer

    @classmethod
    def of(cls, manifest: Manifest, folder: Path) -> TokenModel | None:
        """Read the bundle in `folder`, or return None for one of another program; raises `BundleError`."""
        if manifest.task.kind != KIND or manifest.task.program != PROGRAM:
            return None
        roles = Roles(manifest, f"program {PROGRAM}")
        for name, expected in (("flow", "whole"), ("vocoder", "pulses")):
            if roles.text(name) != expected:
                roles.refuse(name, expected, roles.text(name))
        voices = read_voices(roles)
        if len(voices) > 1:
            roles.refuse("voices", "one name", roles.text("voices"))
        spell, letters = spell_call(roles)
        lm, symbols = LanguageModel.of(roles), read_symbols(manifest, folder)
        if len(symbols) > lm.speech:
            raise BundleError(f"bundle {manifest.name}: expected at most {lm.speech} symbols, got {len(symbols)}")
        return cls(
            name=manifest.name,
            sample_rate=sample_rate_of(manifest),
            temperature=temperature_of(roles),
            voices=voices,
            symbols=symbols,
            spell=spell,
            letters=letters,
            lm=lm,
            sound=Sound.of(roles),
            composer=Composer.of(symbols, lm.most_text),
        )

    def voice(self, name: str) -> int:
        """Return the number of a voice, the first one for ""; raises `InvalidRequest`."""
        return voice_number(self.voices, name)

    def require_possible(self, options: SynthesisOptions) -> None:
        """Raise `InvalidRequest` for what tokens cannot do: nobody knows how long they make a symbol."""
        if options.speed != 1:
            raise InvalidRequest(f"synthesis speed: model {self.name} has no other than 1, got {options.speed:g}")
        if options.word_times:
            raise InvalidRequest(f"synthesis word_times: model {self.name} knows no times of words, expected false")
