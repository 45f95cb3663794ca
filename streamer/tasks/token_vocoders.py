"""The vocoders of imported voices of tokens: mel frames to samples as soon as the frames ahead of them are there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamer.tasks.roles import Roles
from streamer.tasks.token_asks import Ask, Asks, answered
from streamer.tasks.token_sound import NOTHING
from streamer.tasks.voice_graphs import FLOAT, INT, Call, check_length
from streamer.tasks.voice_noise import Noise, normals, uniforms
from streamer.work import Array


@dataclass(frozen=True, slots=True)
class VocoderState:
    """What was heard and is not all said: frames float32 `[n, bands]` and the source of the first of them float32
    `[m, frame_samples]`; how many frames came before those, and of how many the samples were said.
    """

    mel: Array | None = None
    source: Array | None = None
    gone: int = 0
    said: int = 0


@dataclass(frozen=True, slots=True)
class SourceNoise:
    """What the source is mixed with: for each sample of a frame `harmonics` numbers, of a kind."""

    frame_samples: int
    harmonics: int
    is_normal: bool

    @classmethod
    def of(cls, roles: Roles) -> SourceNoise:
        """Read the parameters; raises `BundleError`."""
        kind = roles.text("source_noise_kind")
        if kind not in ("normal", "uniform"):
            roles.refuse("source_noise_kind", "normal or uniform", kind)
        return cls(roles.integer("frame_samples", 1), roles.integer("harmonics", 1), kind == "normal")

    def of_frames(self, seed: int, first: int, count: int) -> Array:
        """Numbers float32 `[count, frame_samples, harmonics]` of frames from `first` on."""
        draw = normals if self.is_normal else uniforms
        width = self.frame_samples * self.harmonics
        return draw(seed, Noise.WAVE, first, count, width).reshape(count, self.frame_samples, self.harmonics)


@dataclass(frozen=True, slots=True)
class CausalVocoder:
    """A step needs the `ahead` frames after its own, and is `delay_samples` late."""

    call: Call
    noise: SourceNoise
    bands: int
    ahead: int
    delay_samples: int
    source_ahead: int

    @classmethod
    def of(cls, roles: Roles, bands: int) -> CausalVocoder:
        """Read roles and parameters; raises `BundleError`."""
        graph, mel = roles.input("mel_chunk", FLOAT, 2)
        check_length(roles, "mel_chunk", mel, bands)
        names = {
            "mel_chunk": mel.name,
            "mel_ahead": roles.input_of(graph, "mel_ahead", FLOAT, 2).name,
            "ahead_count": roles.input_of(graph, "ahead_count", INT, 0).name,
            "source_noise": roles.input_of(graph, "source_noise", FLOAT, 3).name,
            "source_noise_ahead": roles.input_of(graph, "source_noise_ahead", FLOAT, 2).name,
            "pcm": roles.output_of(graph, "pcm", FLOAT, 2).name,
            "pcm_tail": roles.output_of(graph, "pcm_tail", FLOAT).name,
        }
        numbers = [roles.integer(name) for name in ("ahead_frames", "delay_samples", "source_ahead_samples")]
        return cls(Call(graph, names), SourceNoise.of(roles), bands, *numbers)

    @property
    def frame_samples(self) -> int:
        """Samples of a frame."""
        return self.noise.frame_samples

    @property
    def calls(self) -> tuple[Call, ...]:
        """What it asks for."""
        return (self.call,)

    def make(self, state: VocoderState, mel: Array, is_over: bool, seed: int) -> Asks[tuple[VocoderState, Array]]:
        """Samples float32 `[n]` that frames float32 `[frames, bands]` allow; all others if it `is_over`."""
        waiting = mel if state.mel is None else np.concatenate((state.mel, mel))
        there = 0 if is_over else self.ahead
        count = len(waiting) - there
        if count <= 0:
            return replace(state, mel=waiting), NOTHING
        after = np.zeros((self.ahead, self.bands), np.float32)
        after[:there] = waiting[count:]
        inputs = {
            "mel_chunk": waiting[:count],
            "mel_ahead": after,
            "ahead_count": np.array(there, np.int64),
            "source_noise": self.noise.of_frames(seed, state.said, count),
            "source_noise_ahead": self.noise.of_frames(seed, state.said + count, 1)[0, : self.source_ahead],
        }
        answer = yield Ask(self.call, inputs, start=not state.said)
        pcm = answered(answer, "pcm", count, self.frame_samples).reshape(-1)[0 if state.said else self.delay_samples :]
        if is_over:
            pcm = np.concatenate((pcm, answered(answer, "pcm_tail", self.delay_samples)))
        return VocoderState(waiting[count:], None, 0, state.said + count), pcm


@dataclass(frozen=True, slots=True)
class WindowVocoder:
    """The source of frames of which `source_reach` to each side are known, then samples of those whose sources are."""

    source: Call
    shape: Call
    noise: SourceNoise
    source_reach: int
    window_reach: int
    delay_samples: int = 0

    @classmethod
    def of(cls, roles: Roles, bands: int) -> WindowVocoder:
        """Read roles and parameters; raises `BundleError`."""
        graph, mel = roles.input("mel_window", FLOAT, 2)
        check_length(roles, "mel_window", mel, bands)
        names = {
            "mel_window": mel.name,
            "first": roles.input_of(graph, "first", INT, 0).name,
            "count": roles.input_of(graph, "count", INT, 0).name,
            "source_noise": roles.input_of(graph, "source_noise", FLOAT, 3).name,
            "source": roles.output_of(graph, "source", FLOAT, 2).name,
        }
        source = Call(graph, names)
        graph, mel = roles.input("mel_shaped", FLOAT, 2)
        check_length(roles, "mel_shaped", mel, bands)
        names = {
            "mel_shaped": mel.name,
            "source_window": roles.input_of(graph, "source_window", FLOAT, 2).name,
            "pcm": roles.output_of(graph, "pcm", FLOAT, 2).name,
        }
        reach = [roles.integer(name, 1) for name in ("source_reach", "window_reach")]
        return cls(source, Call(graph, names), SourceNoise.of(roles), *reach)

    @property
    def frame_samples(self) -> int:
        """Samples of a frame."""
        return self.noise.frame_samples

    @property
    def calls(self) -> tuple[Call, ...]:
        """What it asks for."""
        return (self.source, self.shape)

    def make(self, state: VocoderState, mel: Array, is_over: bool, seed: int) -> Asks[tuple[VocoderState, Array]]:
        """Samples float32 `[n]` that frames float32 `[frames, bands]` allow; all others if it `is_over`."""
        state = replace(
            state,
            mel=mel if state.mel is None else np.concatenate((state.mel, mel)),
            source=np.zeros((0, self.frame_samples), np.float32) if state.source is None else state.source,
        )
        known = state.gone + len(_given(state.mel))
        state = yield from self._with_source(state, known if is_over else known - self.source_reach, seed)
        sourced = state.gone + len(_given(state.source))
        return (yield from self._shaped(state, known if is_over else sourced - self.window_reach))

    def _with_source(self, state: VocoderState, end: int, seed: int) -> Asks[VocoderState]:
        """The source up to frame `end`."""
        mel, source, gone = _given(state.mel), _given(state.source), state.gone
        done = gone + len(source)
        if end <= done:
            return state
        first, last = max(done - self.source_reach, gone), min(end + self.source_reach, gone + len(mel))
        inputs = {
            "mel_window": mel[first - gone : last - gone],
            "first": np.array(done - first, np.int64),
            "count": np.array(end - done, np.int64),
            "source_noise": self.noise.of_frames(seed, first, last - first),
        }
        answer = yield Ask(self.source, inputs, start=not done)
        made = answered(answer, "source", last - first, self.frame_samples)[done - first : end - first]
        return replace(state, source=np.concatenate((source, made)))

    def _shaped(self, state: VocoderState, end: int) -> Asks[tuple[VocoderState, Array]]:
        """Samples up to frame `end`; frames that no window needs any more are forgotten."""
        mel, source, gone, said = _given(state.mel), _given(state.source), state.gone, state.said
        if end <= said:
            return state, NOTHING
        first, last = max(said - self.window_reach, gone), min(end + self.window_reach, gone + len(mel))
        cut = slice(first - gone, last - gone)
        answer = yield Ask(self.shape, {"mel_shaped": mel[cut], "source_window": source[cut]})
        pcm = answered(answer, "pcm", last - first, self.frame_samples)[said - first : end - first].reshape(-1)
        forgotten = max(end - max(self.source_reach, self.window_reach) - gone, 0)
        return VocoderState(mel[forgotten:], source[forgotten:], gone + forgotten, end), pcm


def _given(array: Array | None) -> Array:
    assert array is not None
    return array
