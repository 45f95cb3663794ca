"""Audio that is played to a server: decoded once, cut into frames once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.errors import InvalidRequest

_SAMPLES = Path(__file__).parents[2] / "tests" / "samples"


@dataclass(frozen=True, slots=True)
class Clip:
    """Mono audio at the file's own rate, in the very format in which batch transcription feeds files."""

    name: str
    rate: int
    pcm: bytes
    encoding: str = "pcm_f32le"
    channels: int = 1
    sample_bytes: int = 4

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / self.sample_bytes / self.rate

    def frames(self, frame_ms: float) -> tuple[bytes, ...]:
        """Cut the clip into frames of this length; a shorter rest is left out unless it is all there is."""
        size = max(1, round(self.rate * frame_ms / 1000)) * self.sample_bytes
        starts = range(0, max(1, len(self.pcm) - size + 1), size)
        return tuple(self.pcm[start : start + size] for start in starts)


def read_clip(path: Path) -> Clip:
    """Decode a file; raises `InvalidRequest`."""
    from streamer.audio.files import open_audio

    with open_audio(path) as audio:
        pcm = b"".join(block.astype("<f4").tobytes() for block in audio.blocks())
        return Clip(path.name, audio.sample_rate, pcm)


def sample_clips() -> list[Path]:
    """Return the clips of this checkout; raises `InvalidRequest` where there is none, as in an installed wheel."""
    paths = sorted(_SAMPLES.glob("*.flac"))
    if not paths:
        raise InvalidRequest("no sample clips in this installation, expected the path of an audio file")
    return paths
