"""What the config of a stream asks of its host loop."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamer.tasks.codec_options import CodecOptions
from streamer.tasks.decoding import Decoding
from streamer.tasks.detection import Vad
from streamer.tasks.endpoint import Endpointing
from streamer.tasks.synthesis_options import SynthesisOptions


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """Options of all tasks; each takes its own, and refuses those that it cannot follow.

    `language` is the code of what will be spoken, for models that are told; "" leaves it to them. `encoding` is that of
    what comes in, and `is_live` whether it comes as fast as it is spoken.
    """

    endpointing: Endpointing = field(default_factory=Endpointing)
    decoding: Decoding = field(default_factory=Decoding)
    vad: Vad = field(default_factory=Vad)
    language: str = ""
    codec: CodecOptions = field(default_factory=CodecOptions)
    synthesis: SynthesisOptions = field(default_factory=SynthesisOptions)
    encoding: str = "pcm_s16le"
    is_live: bool = True
