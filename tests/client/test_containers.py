"""Files that are streamed compressed, told by their first bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from streamer.client.containers import HEAD_BYTES, Compressed, compressed, is_wav
from streamer.errors import InvalidRequest

CLIP = next((Path(__file__).parent.parent / "samples").glob("*.flac"))


def test_flac_declares_rate_and_channels():
    """Real files, of several rates and channels."""
    assert compressed(CLIP.read_bytes()[:HEAD_BYTES]) == Compressed("flac", 16000, 1)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (8000, 1), (48000, 2)])
def test_flac_of_other_formats(tmp_path, rate, channels):
    """As libsndfile writes them."""
    soundfile.write(tmp_path / "a.flac", [[0.1] * channels] * 100, rate)
    assert compressed((tmp_path / "a.flac").read_bytes()[:HEAD_BYTES]) == Compressed("flac", rate, channels)


def test_ogg_opus_is_told_from_ogg_vorbis(tmp_path):
    """Opus is always 48 kHz; Vorbis cannot be streamed."""
    soundfile.write(tmp_path / "a.opus", [[0.1, 0.2]] * 4800, 48000, format="OGG", subtype="OPUS")
    assert compressed((tmp_path / "a.opus").read_bytes()[:HEAD_BYTES]) == Compressed("ogg_opus", 48000, 2)
    soundfile.write(tmp_path / "a.ogg", [[0.1, 0.2]] * 4800, 48000)
    with pytest.raises(InvalidRequest, match=r"^audio: expected wav, flac or Ogg Opus over gRPC; "):
        compressed((tmp_path / "a.ogg").read_bytes()[:HEAD_BYTES])


@pytest.mark.parametrize("head", [b"fLaC", b"OggS", b"", b"ID3"])
def test_other_beginnings_are_refused(head):
    """Also those that break off."""
    with pytest.raises(InvalidRequest):
        compressed(head)


def test_wav_is_told():
    """By both of its marks."""
    assert is_wav(b"RIFF1234WAVE")
    assert not is_wav(b"RIFF1234AVI ")
