"""The host loop of voice activity detectors: probabilities per frame to where speech begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamer.bundle.manifest import Audio, Graph, Manifest
from streamer.errors import BundleError, ModelFault
from streamer.tasks.base import Activity, TaskStep
from streamer.tasks.detection import Vad
from streamer.tasks.endpoint import Endpointing
from streamer.tasks.roles import Roles
from streamer.work import Array, Tensors

# Speech that goes on may be less certain than speech that begins.
HYSTERESIS = 0.15
# A frame's probability is the mean of so many frames around it, which takes out single wrong ones.
SMOOTHED_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Detection:
    """A detector of one graph call per chunk, checked against its manifest.

    Roles: `pcm` (input, float32 `[chunk_samples]`) and `speech` (output, float32 `[frames]`, probabilities).
    Parameters: `frame_samples`, and `speech_delay_samples` (by how much an answer comes after the frame it speaks of).
    """

    graph: Graph
    audio: Audio
    speech: str
    sample_rate: int
    frame_samples: int
    delay_samples: int

    @classmethod
    def of(cls, manifest: Manifest) -> Detection:
        """Read the roles and parameters of a bundle; raises `BundleError` saying what is missing or wrong."""
        name, roles = manifest.name, Roles(manifest, "task vad")
        graph, pcm = roles.input("pcm", "TYPE_FP32")
        owner, speech = roles.output("speech", "TYPE_FP32")
        audio = graph.audio
        if audio is None or audio.input != pcm.name:
            raise BundleError(f"bundle {name}: role pcm: graph {graph.name} has no audio input {pcm.name}")
        if owner.name != graph.name:
            raise BundleError(f"bundle {name}: expected pcm and speech in one graph")
        frame, delay = roles.integer("frame_samples", 1), roles.integer("speech_delay_samples")
        if speech.dims != (audio.hop_samples // frame,) or audio.hop_samples % frame or delay % frame:
            got = f"{list(speech.dims)} for a hop of {audio.hop_samples} and frames of {frame}"
            raise BundleError(f"bundle {name}: role speech: expected whole frames that cover the hop, got {got}")
        assert manifest.sample_rate is not None  # the format requires it of a graph with audio
        return cls(graph, audio, speech.name, manifest.sample_rate, frame, delay)

    def probabilities(self, outputs: Tensors) -> Array:
        """Read a step's probabilities, float32 `[frames]`; raises `ModelFault` for what cannot be."""
        values = np.asarray(outputs.get(self.speech, ()))
        expected = (self.audio.hop_samples // self.frame_samples,)
        if values.shape != expected:
            raise ModelFault(f"expected probabilities of speech {expected}, got {values.shape}")
        if not np.all((values >= 0) & (values <= 1)):
            raise ModelFault("expected probabilities of speech from 0 to 1")
        return values


class DetectSpeech:
    """Implements `streamer.tasks.base.Task` for detectors.

    Speech begins with a frame of at least `threshold` from which on no frame falls below `threshold - HYSTERESIS` for
    `min_speech_s`; it ends with the last such frame before `min_silence_s` of lower ones. What it says depends on the
    audio alone, not on how it came. Frames of chunks that end in padding end no speech; `finish_segment` does.

    `spans` are the stretches of audio that may hold speech, with no minimum: what a gate must let through. They are
    kept once `keep_spans` was called; whoever calls it forgets them too, or they would grow with the stream.
    """

    def __init__(self, detection: Detection, options: Vad) -> None:
        self._detection = detection
        self.sample_rate = detection.sample_rate
        self.chunk_samples = detection.audio.chunk_samples
        self.hop_samples = detection.audio.hop_samples
        self.delay_samples = detection.audio.delay_samples
        self.flush_samples = detection.delay_samples + (SMOOTHED_FRAMES // 2) * detection.frame_samples
        frames_per_s = detection.sample_rate / detection.frame_samples
        self._threshold = options.threshold
        self._least_speech = max(1, round(options.min_speech_s * frames_per_s))
        self._least_silence = max(1, round(options.min_silence_s * frames_per_s))
        self._start = frozenset(detection.graph.groups)
        self._late_frames = detection.delay_samples // detection.frame_samples
        # Answers so far, and the last of them that speak of a frame.
        self._answers = 0
        self._recent: list[float] = []
        # Frames judged so far.
        self._frames = 0
        # First and last frame of what is, or may become, speech; no first one in silence.
        self._first: int | None = None
        self._last = 0
        self._speaks = False
        self._spans: list[tuple[int, int]] = []
        self._keeps_spans = False

    @property
    def heard(self) -> int:
        """Position up to which frames are judged, in samples."""
        return self._frames * self._detection.frame_samples

    @property
    def spans(self) -> Sequence[tuple[int, int]]:
        """From which sample to which there may be speech, in order, as far as not forgotten."""
        size = self._detection.frame_samples
        return [(first * size, end * size) for first, end in self._spans]

    def keep_spans(self) -> None:
        """From now on somebody asks for `spans`."""
        self._keeps_spans = True

    def forget(self, position: int) -> None:
        """Drop the spans that end at the sample `position` or before."""
        self._spans = [span for span in self._spans if span[1] * self._detection.frame_samples > position]

    def step(self, chunk: Array) -> TaskStep:
        """Turn the next chunk (float32 `[chunk_samples]`) into a step."""
        return TaskStep(self._detection.graph.name, {self._detection.audio.input: chunk}, self._start)

    def complete(self, outputs: Tensors, is_padded: bool = False, interims: bool = True) -> Sequence[Activity]:
        """Take the outputs of a step; returns where speech was found to begin or end."""
        self._start = frozenset()
        return self._take(self._detection.probabilities(outputs), is_padded)

    def skip(self, is_padded: bool = False, interims: bool = True) -> Sequence[Activity]:
        """Take the next chunk for silence; the step after it starts anew."""
        self._start = frozenset(self._detection.graph.groups)
        return self._take(np.zeros(self.hop_samples // self._detection.frame_samples, np.float32), is_padded)

    def end_at(self, sample: int) -> None:
        """Speech that goes on is ended by `finish_segment`."""

    def finish_segment(self) -> Sequence[Activity]:
        """End the speech that goes on, if any; what follows has to be long enough to be speech again."""
        found = [self._ends()] if self._speaks else []
        self._first = None
        return found

    def update(self, endpointing: Endpointing) -> None:
        """Endpoint rules say nothing to a detector."""

    def state(self) -> dict[str, Any]:
        """Return everything the task remembers, as JSON-compatible data."""
        return {
            "start": sorted(self._start),
            "answers": self._answers,
            "recent": list(self._recent),
            "frames": self._frames,
            "first": self._first,
            "last": self._last,
            "speaks": self._speaks,
            "spans": [list(span) for span in self._spans],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._start = frozenset(state["start"])
        self._answers, self._recent, self._frames = state["answers"], list(state["recent"]), state["frames"]
        self._first, self._last, self._speaks = state["first"], state["last"], state["speaks"]
        self._spans = [(first, end) for first, end in state["spans"]]

    def _take(self, values: Array, is_padded: bool) -> list[Activity]:
        found: list[Activity] = []
        for value in values:
            self._answers += 1
            if self._answers <= self._late_frames:
                continue
            self._recent = [*self._recent, float(value)][-SMOOTHED_FRAMES:]
            # The first frame has no other before it.
            if len(self._recent) > SMOOTHED_FRAMES // 2:
                found += self._judge(sum(self._recent) / len(self._recent), is_padded)
        return found

    def _judge(self, speech: float, is_padded: bool) -> list[Activity]:
        """Take the probability of the next frame."""
        frame = self._frames
        self._frames += 1
        if speech >= self._threshold - HYSTERESIS:
            if self._keeps_spans:
                self._note(frame)
            if self._first is None and speech >= self._threshold:
                self._first = frame
            self._last = frame
            if self._first is not None and not self._speaks and frame - self._first + 1 >= self._least_speech:
                self._speaks = True
                return [Activity("speech_start", self._first * self._detection.frame_samples)]
        elif not self._speaks:
            self._first = None
        elif not is_padded and frame - self._last >= self._least_silence:
            self._first = None
            return [self._ends()]
        return []

    def _ends(self) -> Activity:
        self._speaks = False
        return Activity("speech_end", (self._last + 1) * self._detection.frame_samples)

    def _note(self, frame: int) -> None:
        if self._spans and self._spans[-1][1] == frame:
            self._spans[-1] = (self._spans[-1][0], frame + 1)
        else:
            self._spans.append((frame, frame + 1))
