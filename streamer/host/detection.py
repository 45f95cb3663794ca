"""The detector beside a recogniser, made of the bundle that is served for the task vad."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamer.session.detector import SpeechDetector
from streamer.session.messages import Config
from streamer.tasks.options import TaskOptions
from streamer.tasks.vad import DetectSpeech

if TYPE_CHECKING:
    from streamer.host.catalogue import Model


def detection_task(model: Model, config: Config) -> DetectSpeech:
    """Return a fresh host loop of `model`, whose gate is the session's affair."""
    task = model.make_task(TaskOptions(vad=replace(config.vad, gate=False)))
    assert isinstance(task, DetectSpeech)
    return task


def speech_detector(model: Model, config: Config) -> SpeechDetector:
    """Return a fresh second lane for a stream."""
    return SpeechDetector(detection_task(model, config), config.sample_rate)
