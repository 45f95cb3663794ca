"""Speech tokens to samples where a call is one step of the flow, for a prompt and a speaker: imported bundles.

The prompt's tokens go first, and its frames are left out of what is heard. The flow keeps what it needs of the chunks
before in pages, or runs over the whole prefix again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from streamer.errors import BundleError
from streamer.tasks.roles import Roles
from streamer.tasks.token_asks import Ask, Asks, answered
from streamer.tasks.token_encoder import Encoder, paged
from streamer.tasks.token_prompts import Prompt
from streamer.tasks.token_sound import Making
from streamer.tasks.token_text import Ids
from streamer.tasks.token_vocoders import CausalVocoder, VocoderState, WindowVocoder
from streamer.tasks.voice_graphs import FLOAT, INT, Call, check_length, length_of
from streamer.tasks.voice_noise import Noise, normals
from streamer.work import Array

FLOWS = ("cached", "prefix")
VOCODERS: dict[str, type[CausalVocoder] | type[WindowVocoder]] = {"causal": CausalVocoder, "window": WindowVocoder}


@dataclass(frozen=True, slots=True)
class SteppedState:
    """How far an utterance is: chunks that were made, the prior of all of them if the flow wants it, and the vocoder's.

    `is_over`: all of it was said.
    """

    chunks: int = 0
    prior: Array | None = None
    vocoder: VocoderState = field(default_factory=VocoderState)
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class SteppedFlow:
    """The prior of frames to their mel, in `steps` calls. `pages` chunks are kept, None: the prefix is given again.

    `noise` float32 `[n, bands]` is what the frames begin with, again from the first one on after the last; None: what
    is drawn of the stream's seed.
    """

    call: Call
    steps: int
    bands: int
    speaker: int
    pages: int | None
    noise: Array | None

    @classmethod
    def of(cls, roles: Roles, folder: Path) -> SteppedFlow:
        """Read roles, parameters and the asset `flow_noise` if there is one; raises `BundleError`."""
        graph, noisy = roles.input("noisy", FLOAT, 2)
        bands = length_of(noisy)
        names = {"noisy": noisy.name, "denoised": roles.output_of(graph, "denoised", FLOAT, 2).name}
        for role in ("mu_chunk", "prompt_mel"):
            tensor = roles.input_of(graph, role, FLOAT, 2)
            check_length(roles, role, tensor, bands)
            names[role] = tensor.name
        speaker = roles.input_of(graph, "speaker", FLOAT)
        names |= {"speaker": speaker.name, "step": roles.input_of(graph, "step", INT, 0).name}
        is_cached = roles.text("flow") == "cached"
        if is_cached:
            names["pages"] = roles.input_of(graph, "flow_pages", INT).name
            names["page"] = roles.input_of(graph, "flow_page", INT, 0).name
            if "frame" in roles.manifest.task.roles:
                names["frame"] = roles.input_of(graph, "frame", INT, 0).name
        pages = roles.integer("pages", 2) if is_cached else None
        noise = _read_noise(roles, folder, bands)
        return cls(Call(graph, names), roles.integer("steps", 1), bands, length_of(speaker), pages, noise)

    def solve(self, prior: Array, frame: int, chunk: int, kept: int, how: Making) -> Asks[Array]:
        """The mel float32 `[n, bands]` of frames from number `frame` on, which are chunk `chunk` and those before it if
        they are given again; the pages of the prompt's first `kept` chunks are not given up.
        """
        count = len(prior)
        inputs = {
            "mu_chunk": prior,
            "prompt_mel": _cut(how.prompt.mel, frame, count),
            "speaker": how.prompt.speaker,
        }
        if self.pages is not None:
            inputs |= paged(chunk, self.pages, kept)
        if "frame" in self.call.names:
            inputs["frame"] = np.array(frame, np.int64)
        mel = self._noise(how.seed, frame, count) * np.float32(how.temperature)
        for step in range(self.steps):
            row = {**inputs, "noisy": mel, "step": np.array(step, np.int64)}
            answer = yield Ask(self.call, row, start=not (chunk or step))
            mel = answered(answer, "denoised", count, self.bands)
        return mel

    def _noise(self, seed: int, frame: int, count: int) -> Array:
        if self.noise is None:
            return normals(seed, Noise.FLOW, frame, count, self.bands)
        rows: Array = self.noise[np.arange(frame, frame + count) % len(self.noise)]
        return rows


@dataclass(frozen=True, slots=True)
class SteppedSound:
    """Implements `token_model.Sounds`."""

    encoder: Encoder
    flow: SteppedFlow
    vocoder: CausalVocoder | WindowVocoder

    @classmethod
    def of(cls, roles: Roles, folder: Path) -> SteppedSound:
        """Read roles, parameters and assets; raises `BundleError`."""
        kind = roles.text("vocoder")
        if kind not in VOCODERS:
            roles.refuse("vocoder", " or ".join(VOCODERS), kind)
        flow = SteppedFlow.of(roles, folder)
        return cls(Encoder.of(roles, flow.bands), flow, VOCODERS[kind].of(roles, flow.bands))

    def check(self, roles: Roles, prompts: tuple[Prompt, ...]) -> None:
        """Raise `BundleError` if the pages of a prompt leave no room for speech."""
        if self.flow.pages is None:
            return
        most = max(len(prompt.tokens) for prompt in prompts) // self.encoder.chunk
        if most + 2 > self.flow.pages:
            where = f"bundle {roles.manifest.name}: asset prompts"
            raise BundleError(f"{where}: expected at most {self.flow.pages - 2} chunks of a prompt, got {most}")

    @property
    def frame_samples(self) -> int:
        """See `token_model.Sounds`."""
        return self.vocoder.frame_samples

    @property
    def delay_samples(self) -> int:
        """See `token_model.Sounds`."""
        return self.vocoder.delay_samples

    @property
    def calls(self) -> tuple[Call, ...]:
        """See `token_model.Sounds`."""
        return (self.encoder.call, self.flow.call, *self.vocoder.calls)

    def wanted(self, state: SteppedState | None, prompt: Prompt) -> int:
        """See `token_model.Sounds`."""
        return self.encoder.wanted(state.chunks if state else 0) - len(prompt.tokens)

    def make(
        self, state: SteppedState | None, tokens: Ids, is_all: bool, how: Making
    ) -> Asks[tuple[SteppedState, Array]]:
        """See `token_model.Sounds`."""
        state, size = state or SteppedState(), self.encoder.chunk
        every = (*how.prompt.tokens, *tokens)
        mel, prior = np.zeros((0, self.flow.bands), np.float32), state.prior
        if state.chunks * size < len(every):
            mu = yield from self.encoder.encode(every, state.chunks)
            frame, kept = state.chunks * size * self.encoder.token_frames, len(how.prompt.tokens) // size
            if self.flow.pages is None:
                prior = mu if prior is None else np.concatenate((prior, mu))
                solved = yield from self.flow.solve(prior, 0, state.chunks, kept, how)
                solved = solved[frame:]
            else:
                solved = yield from self.flow.solve(mu, frame, state.chunks, kept, how)
            mel = solved[max(len(how.prompt.mel) - frame, 0) :]
        is_over = is_all and (state.chunks + 1) * size >= len(every)
        vocoder, pcm = yield from self.vocoder.make(state.vocoder, mel, is_over, how.seed)
        return replace(state, chunks=state.chunks + 1, prior=prior, vocoder=vocoder, is_over=is_over), pcm


def _read_noise(roles: Roles, folder: Path, bands: int) -> Array | None:
    manifest = roles.manifest
    if "flow_noise" not in manifest.task.assets:
        return None
    where = f"bundle {manifest.name}: asset flow_noise"
    try:
        with (folder / manifest.task.assets["flow_noise"]).open("rb") as file:
            rows: Array = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError):
        raise BundleError(f"{where}: expected an array, got other bytes") from None
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != bands or not len(rows):
        raise BundleError(f"{where}: expected float32 [n, {bands}], got {rows.dtype} {list(rows.shape)}")
    if not np.isfinite(rows).all():
        raise BundleError(f"{where}: expected finite numbers, got others")
    return rows


def _cut(mel: Array, first: int, count: int) -> Array:
    """Rows float32 `[count, bands]` from `first` on, zero beyond the end."""
    rows = np.zeros((count, mel.shape[1]), np.float32)
    part = mel[first : first + count]
    rows[: len(part)] = part
    return rows
