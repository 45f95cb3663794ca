"""The evaluation of codecs: delays are found, bits counted exactly, figures move with quality, results kept."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.codec import quality, quality_report, wire_bits  # noqa: E402
from models.codec.coded_cache import CodedCache  # noqa: E402
from models.codec.judging import Clip, Judge, Measured, original  # noqa: E402
from models.codec.packet_loss import losses  # noqa: E402
from models.codec.peers import opus  # noqa: E402
from models.codec.peers.coded import Coded, MissingPeer, System  # noqa: E402
from models.codec.served import payload_bits, serving, without  # noqa: E402
from models.common.evaluation_cache import digest  # noqa: E402
from streamer.audio.snc1 import Header, Lost, Packet  # noqa: E402
from streamer.audio.snc1_reader import PacketReader  # noqa: E402
from streamer.audio.snc1_writer import StreamWriter  # noqa: E402
from streamer.session.messages import CodecOptions  # noqa: E402
from streamer.tasks.bit_packing import pack  # noqa: E402

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two seconds of a synthetic voice at 16 kHz."""
    return soundfile.read(SAMPLES / "ferry.flac", dtype="float32")[0][:32_000]


def needs(*modules: str) -> None:
    """Skip the test where a package of the metrics is absent."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: make evaluate-codec installs them")


@pytest.mark.parametrize("late", [-1500, -3, 0, 1, 104, 1999])
def test_a_known_delay_is_found(speech: np.ndarray, late: int) -> None:
    """To the sample, early or late, under noise as loud as -20 dB of the speech."""
    moved = np.pad(speech, (late, 0)) if late >= 0 else speech[-late:]
    noise = np.random.default_rng(1).standard_normal(len(moved)) * 0.1 * speech.std()
    assert quality.lag([(speech, moved + noise)]) == late


def test_the_delay_of_a_codec_that_keeps_no_phases_is_found() -> None:
    """Every phase of the spectrum drawn anew in frames of 16 ms: envelopes tell, within four milliseconds."""
    rng = np.random.default_rng(2)
    pairs = []
    for name in ("ferry", "honey", "river"):
        speech = soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")[0]
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(speech, 128), 256)[::64] * np.hanning(256)
        spectra = np.abs(np.fft.rfft(frames)) * np.exp(2j * np.pi * rng.random((len(frames), 129)))
        made = np.zeros(len(speech) + 512)
        for index, frame in enumerate(np.fft.irfft(spectra) * np.hanning(256)):
            made[64 * index : 64 * index + 256] += frame
        pairs.append((speech, np.pad(made[128:], (300, 0))))
    assert quality.lag(pairs) == pytest.approx(300, abs=64)


def test_signals_are_cut_to_what_they_share(speech: np.ndarray) -> None:
    """A late start and a long tail go."""
    reference, decoded = quality.aligned(speech, np.pad(speech, (40, 500)), 40)
    assert np.array_equal(reference, speech)
    assert np.array_equal(decoded, speech)
    reference, decoded = quality.aligned(speech, speech[40:], -40)
    assert np.array_equal(reference, decoded)


def test_figures_rise_with_the_bitrate_of_opus(speech: np.ndarray) -> None:
    """6, 12 and 32 kbit/s: PESQ, STOI, ViSQOL."""
    needs("pesq", "pystoi", "visqol")
    present(opus)
    found = [quality.quick([(speech, opus.code(speech, rate).samples)]) for rate in (6000, 12_000, 32_000)]
    for name in ("pesq", "stoi", "visqol"):
        values = [figures[name] for figures in found]
        assert values == sorted(values), (name, values)
        assert values[0] < values[-1] - (0.05 if name == "stoi" else 0.5)


def test_judges_without_an_original_hear_noise(speech: np.ndarray) -> None:
    """DNSMOS and PLCMOS fall when half of the packets become silence; they say the same thing twice."""
    needs("speechmos")
    holes = speech.reshape(-1, 320).copy()
    holes[::2] = 0
    for judge, name in ((quality.dnsmos, "ovrl"), (quality.plcmos, "plcmos")):
        whole, broken = judge(speech, speech)[name], judge(speech, holes.ravel())[name]
        assert whole > broken + 0.3
        assert judge(speech, speech)[name] == whole


def present(peer: object) -> None:
    """Skip the test where a peer is absent."""
    try:
        peer.systems()
    except MissingPeer as error:
        pytest.skip(str(error))


def stream_of(packets: int) -> bytes:
    """An SNC1 stream of one frame of 3 books of 10 bits in each packet."""
    header = Header(16_000, 320, books=12, bits_per_book=10, preskip=160, total_samples=packets * 320 - 160)
    writer = StreamWriter(header)
    codes = np.arange(3)[None]
    return writer.begin() + b"".join(
        writer.packet(pack(codes + index, 10), 3, is_keyframe=True) for index in range(packets)
    )


def test_bits_of_our_packets_are_counted_exactly() -> None:
    """30 bits are 4 bytes; 5 more for what is around them, and 48 at the front."""
    stream = stream_of(7)
    assert payload_bits(stream) == 7 * 32
    assert len(stream) == 48 + 7 * (4 + 5)


def test_lost_packets_leave_the_stream() -> None:
    """Those marked are lost to a reader, the last one too; all others come as they were."""
    lost = np.array([False, True, True, False, False, False, True])
    reader = PacketReader()
    items = [*reader.feed(without(stream_of(7), lost)), *reader.finish()]
    assert [item.n_packets if isinstance(item, Lost) else "packet" for item in items[:5]] == [
        "packet",
        2,
        *["packet"] * 3,
    ]
    assert [item.seq for item in items if isinstance(item, Packet)] == [0, 3, 4, 5]
    assert reader.total_samples == 7 * 320 - 160
    with pytest.raises(ValueError, match="expected a whole stream"):
        payload_bits(without(stream_of(7), lost))


def test_losses_come_in_bursts_and_alike_for_all() -> None:
    """A fifth of a long recording, two at a time; drawn by the recording alone; none at all at 0."""
    samples = np.random.default_rng(3).standard_normal(320 * 20_000)
    lost = losses(samples, 0.2)
    bursts = np.flatnonzero(np.diff(lost.astype(int)) == 1).size
    assert lost.mean() == pytest.approx(0.2, abs=0.02)
    assert lost.sum() / bursts == pytest.approx(2, abs=0.2)
    assert np.array_equal(lost, losses(samples.copy(), 0.2))
    assert not losses(samples, 0.0).any()


def measured(name: str, values: list[float], errors: list[int], kbps: float = 3.0) -> Measured:
    scores = dict.fromkeys(("pesq", "stoi", "visqol", "ovrl"), values)
    return Measured(name, name, name, kbps, None, 0, scores, errors, [10] * len(errors))


def test_differences_are_told_with_their_confidence() -> None:
    """The same gap on every clip has no spread; one clip that differs widens it; words are pooled."""
    values = list(np.linspace(1, 4, 50))
    ours, peer = measured("ours 3", [v + 0.25 for v in values], [2, 4]), measured("peer", values, [1, 3])
    assert quality_report.difference(ours, peer, "pesq") == pytest.approx((0.25, 0.25, 0.25))
    assert quality_report.difference(ours, peer, "wer") == pytest.approx((0.1, 0.1, 0.1))
    mixed = measured("mixed", [v + (0.5 if i % 2 else 0) for i, v in enumerate(values)], [0, 4])
    mean, low, high = quality_report.difference(mixed, peer, "pesq")
    assert mean == pytest.approx(0.25)
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 * 0.25 / np.sqrt(50), rel=0.15)
    rows = quality_report.differences([ours], [peer, mixed]).splitlines()
    assert rows[2].startswith("| ours 3 | peer | +0.25 [+0.25, +0.25] | +0.250 [+0.250, +0.250] |")
    assert rows[2].endswith("| +10.0 [+10.0, +10.0] |")
    assert len(rows) == 4


def test_only_codecs_of_about_the_same_rate_are_compared() -> None:
    """Twice the bits, or half of them, is another question."""
    ours = measured("ours", [1.0, 2.0], [1, 1])
    peers = [measured(str(kbps), [1.0, 2.0], [1, 1], kbps) for kbps in (1.5, 2.5, 4.0, 6.0)]
    rows = quality_report.differences([ours], peers).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["2.5", "4.0"]


def test_the_table_and_the_plot_show_every_codec(tmp_path: Path) -> None:
    """A row each, a dash for what was not measured, a picture of all figures there are."""
    found = [measured("original", [4.5], [1]), measured("ours", [2.5], [2]), measured("peer", [2.0], [])]
    rows = quality_report.table(found).splitlines()
    assert rows[3] == "| ours | 3.00 | - | 0 | 2.50 | 2.500 | 2.50 | 2.50 | - | - | 20.0 % |"
    assert rows[4].endswith("| - |")
    quality_report.draw(found, tmp_path / "plot.png", ["ours", "ours (network)"])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_results_are_kept_by_content(tmp_path: Path, speech: np.ndarray) -> None:
    """A recording is coded once under one key; other samples, or another key, are coded anew."""
    calls = []

    def code(samples: np.ndarray) -> Coded:
        calls.append(len(samples))
        return Coded(samples * 0.5, 17, None if len(calls) == 1 else 5)

    cache, system = CodedCache(tmp_path), System("half", "half", "half 1", code)
    first, again = cache.coded(system, speech), CodedCache(tmp_path).coded(system, speech)
    assert np.array_equal(first.samples, again.samples)
    assert (again.payload_bits, again.wire_bytes) == (17, None)
    assert cache.coded(system, speech[:100]).wire_bytes == 5
    cache.coded(System("half", "half", "half 2", code), speech)
    assert calls == [len(speech), 100, len(speech)]
    assert digest("a", speech) != digest("a", -speech) != digest("b", -speech)
    assert not list(tmp_path.glob(".partial*"))


def test_clips_are_measured_one_by_one(tmp_path: Path, speech: np.ndarray) -> None:
    """Bits per second and the delay over all clips, a figure for each; no clip is measured twice."""
    needs("pystoi")
    clips = [Clip("a", speech), Clip("b", speech[:24_000])]
    late = System("late", "late", "late", lambda samples: Coded(np.pad(samples, (50, 0)), len(samples) // 8, 40))
    found = Judge(clips, CodedCache(tmp_path), processes=1).measure(late, ["stoi"])
    assert (found.lag_samples, found.payload_kbps) == (50, 2.0)
    assert found.wire_kbps == pytest.approx(8 * 80 / 3.5 / 1000)
    assert found.scores["stoi"] == pytest.approx([1, 1], abs=1e-3)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = Judge(clips, CodedCache(tmp_path), processes=1).measure(late, ["stoi"])
    assert json.dumps(again.as_json()) == json.dumps(found.as_json())
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert original().code(speech).payload_bits == 16 * len(speech)


def test_the_codec_is_served_from_audio_to_packets_and_back(codec_bundle: Path, tmp_path: Path) -> None:
    """A toy at each of its rates: every sample comes back, with losses too; bits are those of its books."""
    samples = np.random.default_rng(4).standard_normal(10_000).astype(np.float32) * 0.1
    with serving(codec_bundle) as served:
        for system, rate in zip(served.systems(), served.rates, strict=True):
            coded = system.code(samples)
            assert len(coded.samples) == len(samples)
            # Packets of 100 ms, the last one filled up, each a whole number of bytes.
            assert rate * len(samples) / 16_000 <= coded.payload_bits <= rate * 0.9 + 9 * 7
        stream = served.encode(samples, CodecOptions(frames_per_packet=1))
        assert len(served.decode(without(stream, np.arange(40) % 3 == 1))) == len(samples)
        found = wire_bits.measure([Clip("a", samples)], served, CodedCache(tmp_path))
    assert [each["rate"] for each in found] == sorted(rate for rate in served.rates for _ in range(2))
    assert all(each["wire_kbps"] > each["payload_kbps"] >= each["rate"] / 1000 for each in found)
    assert len(wire_bits.table(found).splitlines()) == 2 + len(found)
