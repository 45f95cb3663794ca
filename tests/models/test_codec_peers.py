"""Peers of the codec: their bits, their losses, and what is said where one is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.codec import quality  # noqa: E402
from models.codec.evaluate import peer_systems  # noqa: E402
from models.codec.peers import codec2, lyra, opus, speex  # noqa: E402
from models.codec.peers.coded import MissingPeer, library, to_float, to_int16  # noqa: E402

SAMPLES = Path(__file__).parents[1] / "samples"
LYRA = Path(__file__).parents[2].parent / "shared" / "peers" / "lyra_v2"


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two seconds of a synthetic voice at 16 kHz."""
    return soundfile.read(SAMPLES / "ferry.flac", dtype="float32")[0][:32_000]


def present(peer: object) -> None:
    """Skip the test where a peer is absent."""
    try:
        peer.systems()
    except MissingPeer as error:
        pytest.skip(str(error))


def test_bits_of_opus_are_those_of_its_rate(speech: np.ndarray) -> None:
    """Constant bitrate: every packet of 20 ms has 15, 20, 30 bytes."""
    present(opus)
    for rate, size in ((6000, 15), (8000, 20), (12_000, 30)):
        packets = opus.encode(speech, rate, 0)
        assert {len(packet) for packet in packets} == {size}
        assert opus.code(speech, rate).payload_bits == 8 * size * len(packets)


@pytest.mark.parametrize("peer", [speex, codec2], ids=["speex", "codec2"])
def test_speech_comes_out_of_the_other_libraries(peer: object, speech: np.ndarray) -> None:
    """At every rate: all of the recording, at its level, of bits that grow with the rate."""
    present(peer)
    coded = [system.code(speech) for system in peer.systems()]
    bits = [each.payload_bits for each in coded]
    assert bits == sorted(bits)
    assert all(len(each.samples) >= len(speech) for each in coded)
    assert all(0.5 < each.samples.std() / speech.std() < 2 for each in coded)


def test_codec2_spends_what_its_mode_is_called(speech: np.ndarray) -> None:
    """3200 bits in a second, with the frames that flush its delay."""
    present(codec2)
    coded = codec2.code(speech, codec2.MODES["3200"])
    assert coded.payload_bits == 64 * len(coded.samples) / 320


def test_lyra_codes_frames_of_its_bits(speech: np.ndarray) -> None:
    """64 bits each 20 ms at 3.2 kbit/s; without a delay."""
    try:
        systems = lyra.systems(LYRA)
    except MissingPeer as error:
        pytest.skip(str(error))
    coded = systems[0].code(speech)
    assert coded.payload_bits == 64 * 100
    assert abs(quality.lag([(speech, coded.samples)])) < 16


def test_what_is_missing_is_told_by_the_name_to_install(tmp_path: Path) -> None:
    """A library of Debian by its package; models of a peer by their files."""
    with pytest.raises(
        MissingPeer, match="^expected the library libnothing.so.0, found none: apt-get install nothing0$"
    ):
        library("libnothing.so.0", "nothing0")
    with pytest.raises(SystemExit, match="soundstream_encoder.tflite, quantizer.tflite, lyragan.tflite"):
        peer_systems(["lyra"], tmp_path)


def test_opus_decodes_what_arrives(speech: np.ndarray) -> None:
    """As many samples with losses as without; a lost frame differs, forward correction brings it nearer."""
    present(opus)
    lost = np.zeros(101, bool)
    lost[20:90:4] = True
    whole = opus.code(speech, 24_000).samples
    plain, mended = (opus.code(speech, 24_000, lost, expected).samples for expected in (0, 25))
    assert len(plain) == len(mended) == len(whole)
    assert np.array_equal(plain[: 20 * 320], whole[: 20 * 320])
    reference = [opus.code(speech, 24_000, (), expected).samples for expected in (0, 25)]
    harm, mended_harm = (np.square(a - b).sum() for a, b in zip((plain, mended), reference, strict=True))
    assert mended_harm < harm / 2


def test_sixteen_bits_and_back(speech: np.ndarray) -> None:
    """Peers take and give 16 bits: full scale is kept, what is over is clipped."""
    assert to_int16(np.array([1.5, -1.5, 0.0])).tolist() == [32767, -32768, 0]
    assert np.abs(to_float(to_int16(speech)) - speech).max() <= 0.5 / 32768
