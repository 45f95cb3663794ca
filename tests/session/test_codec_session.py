"""Codec streams from config to messages, over a toy codec whose output is known to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.audio.pcm import decode
from streamer.audio.resample import Resampler
from streamer.audio.snc1 import Header, Lost, Packet, encode_header, encode_packet, raw_bytes
from streamer.audio.snc1_reader import PacketReader
from streamer.bundle.runtime import Runtime
from streamer.errors import InvalidRequest, MessageTooLarge, TooFast
from streamer.session.messages import (
    Audio,
    AudioOut,
    ClientMessage,
    CodecOptions,
    Config,
    Decoding,
    Done,
    End,
    Endpointing,
    Finalize,
    Flow,
    Packets,
    Ready,
    Update,
    Vad,
)
from streamer.session.session import SessionSettings
from streamer.tasks.codec_options import OUTPUTS
from tests.session.codec_driver import (
    FILE,
    LIVE,
    CodecBench,
    cuts,
    decoding,
    encoding,
    speech,
    transcoding,
)
from tests.toys.codec import FRAME, RATE, RATES, SILENCE, codec_expected, write_other_tables, write_plain_codec

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "slow": {"bitrate": 800, "frames_per_packet": 1},
    "large_packets": {"frames_per_packet": 16},
    "redundant": {"fec": True, "frames_per_packet": 2},
    "tables": {"entropy": "tables", "bitrate": 1600},
    "network": {"entropy": "network"},
    "network_of_one_book": {"entropy": "network", "bitrate": 800, "keyframe_every": 3},
    "float": {"entropy": "float"},
    "float_of_two_books": {"entropy": "float", "bitrate": 1600, "fec": True, "keyframe_every": 2},
    "everything": {"entropy": "network", "fec": True, "frames_per_packet": 3, "keyframe_every": 2},
}


@pytest.fixture
def bench(tmp_path: Path) -> CodecBench:
    return CodecBench(tmp_path)


def of(options: dict[str, Any]) -> int:
    return RATES[options.get("bitrate", 3200)]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("n", [0, 1, FRAME - 20, FRAME - 19, 16 * FRAME, 4001])
def test_what_is_sent_comes_out(bench: CodecBench, name: str, n: int) -> None:
    """Exactly as many samples as were sent come out of a decoder, whatever the packets and the entropy coding."""
    options, audio = OPTIONS[name], speech(n)
    data = bench.encoded(audio, encoding(**options))
    np.testing.assert_allclose(bench.decoded(data), codec_expected(audio, of(options)), atol=1e-6)


@pytest.mark.parametrize("name", ["default", "everything"])
@pytest.mark.parametrize("size", [4, 52, 1996])
def test_cuts_say_nothing(bench: CodecBench, name: str, size: int) -> None:
    """Bytes in, audio or packets, may be cut anywhere."""
    audio = speech(3000)
    whole = bench.encoded(audio, encoding(**OPTIONS[name]))
    assert bench.whole(encoding(**OPTIONS[name]), cuts(audio.tobytes(), size)).packets == whole
    expected = bench.decoded(whole)
    for part in (1, size):
        np.testing.assert_array_equal(bench.whole(decoding(), cuts(whole, part)).samples, expected)


@pytest.mark.parametrize(("one", "other"), [("network", "network"), ("network", "float"), ("float", "float")])
def test_streams_of_all_kinds_share_batches(bench: CodecBench, one: str, other: str) -> None:
    """Interleaved in one batch, streams of all kinds, networks, rates and packets say what each says alone."""
    audio = [speech(2500 + 80 * index, index) for index in range(4)]
    data = bench.encoded(audio[3], encoding(fec=True, entropy="tables"))
    configs = [
        (encoding(bitrate=800), audio[0].tobytes()),
        (encoding(entropy=one, frames_per_packet=1), audio[1].tobytes()),
        (encoding(LIVE, entropy="tables", bitrate=1600), audio[2].tobytes()),
        (decoding(), bench.encoded(audio[3], encoding(entropy=one, frames_per_packet=2))),
        (decoding(LIVE, predict=True), bench.encoded(audio[0], encoding(entropy=other, bitrate=1600))),
        (transcoding(bitrate=1600, entropy=other, frames_per_packet=3), data),
    ]
    alone = [bench.whole(config, cuts(part, 400)) for config, part in configs]
    together = [bench.open(config, slot) for slot, (config, _) in enumerate(configs)]
    bench.batches.clear()
    for stream, (_, part) in zip(together, configs, strict=True):
        for each in cuts(part, 400):
            stream.send(each)
        stream.send(End())
    bench.run(*together)
    assert max(bench.batches) == len(configs)
    for one, other in zip(alone, together, strict=True):
        assert (one.packets, one.pcm) == (other.packets, other.pcm)
        assert isinstance(other.said[-1], Done)


@pytest.mark.parametrize("output_rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("output", ["pcm_s16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw"])
def test_output_rates_and_encodings(bench: CodecBench, output: str, output_rate: int) -> None:
    """Decoded audio comes at the rate and in the encoding that was asked for, numbered at that rate."""
    audio = speech(4000)
    stream = bench.whole(
        decoding(output=output, output_rate=output_rate), [bench.encoded(audio, encoding(frames_per_packet=1))]
    )
    resampler = Resampler(RATE, output_rate)
    expected = np.concatenate((resampler.push(codec_expected(audio)), resampler.flush()))
    heard = decode(stream.pcm, output)
    assert len(heard) == 4000 * output_rate // RATE
    coarse = {"pcm_mulaw": 0.04, "pcm_alaw": 0.04, "pcm_s16le": 1e-4, "pcm_f32le": 1e-5}[output]
    np.testing.assert_allclose(heard, np.clip(expected, -1, 1), atol=coarse)
    position = 0
    for message in stream.said:
        if isinstance(message, AudioOut):
            assert message.first_sample == position
            position += len(decode(message.data, output))


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_other_wire_rates(bench: CodecBench, rate: int) -> None:
    """Audio at another rate is resampled before it is encoded, and packets count the client's samples."""
    audio = speech(rate // 4)
    stream = bench.whole(replace(encoding(), sample_rate=rate), cuts(audio.tobytes(), 4000))
    packets = [message for message in stream.said if isinstance(message, Packets)]
    assert [message.first_sample for message in packets] == list(
        np.cumsum([0, *(message.samples for message in packets[:-1])])
    )
    assert sum(message.samples for message in packets) == len(audio)
    resampler = Resampler(rate, RATE)
    inside = np.concatenate((resampler.push(audio), resampler.flush()))
    np.testing.assert_allclose(bench.decoded(stream.packets), codec_expected(inside), atol=1e-6)


def items(data: bytes) -> tuple[Header, list[Packet]]:
    """The packets of a whole stream."""
    reader = PacketReader()
    found = [*reader.feed(data), *reader.finish()]
    assert reader.header is not None
    return reader.header, [item for item in found if not isinstance(item, Lost)]


def without(data: bytes, *lost: int) -> bytes:
    """A stream whose packets of these numbers never came."""
    header, packets = items(data)
    reader = PacketReader()
    [*reader.feed(data)]
    header = replace(header, total_samples=reader.total_samples)
    kept = [packet for index, packet in enumerate(packets) if index not in lost]
    return encode_header(header) + b"".join(map(encode_packet, kept))


def frames_of(samples: np.ndarray) -> np.ndarray:
    """Decoded audio by the frames of the decoder, which begin 20 samples earlier: `[frames, 80]`."""
    padded = np.concatenate((np.zeros(20, np.float32), samples))
    return padded[: len(padded) // FRAME * FRAME].reshape(-1, FRAME)


@pytest.mark.parametrize("lost", [(3,), (3, 4), (2, 5, 6, 7)])
def test_losses_are_concealed_and_forgotten(bench: CodecBench, lost: tuple[int, ...]) -> None:
    """A lost frame sounds like the one before it, halved for each in a row; two packets later nothing is left of it."""
    audio = speech(20 * FRAME)
    data = bench.encoded(audio, encoding(frames_per_packet=1))
    heard, whole = (frames_of(bench.decoded(each)) for each in (without(data, *lost), data))
    assert len(heard) == len(whole)
    run = 0
    for index in range(1, 18):
        run = run + 1 if index in lost else 0
        if run:
            np.testing.assert_allclose(heard[index], heard[index - run] * 0.5**run, atol=1e-6)
        elif index - 1 not in lost:
            np.testing.assert_array_equal(heard[index], whole[index])


def test_redundancy_rescues_coarse_codes(bench: CodecBench) -> None:
    """Of a lost packet, the next one repeats the first two books; only the last of several in a row is rescued."""
    audio = speech(20 * FRAME)
    data = bench.encoded(audio, encoding(frames_per_packet=2, fec=True))
    heard, whole = (frames_of(bench.decoded(each)) for each in (without(data, 3, 4), data))
    np.testing.assert_allclose(heard[6], heard[5] * 0.5, atol=1e-6)
    # The rescued packet: its turn is that of the last frame that came, so only its second frame is right.
    np.testing.assert_array_equal(heard[9][:40], whole[9][:40])
    np.testing.assert_array_equal(heard[9][40:], 0)
    np.testing.assert_array_equal(heard[10:], whole[10:])


@pytest.mark.parametrize("entropy", ["tables", "network", "float"])
def test_entropy_coded_packets_wait_for_a_keyframe(bench: CodecBench, entropy: str) -> None:
    """After a loss, what needs the packets before it is concealed too, until the next keyframe."""
    audio = speech(30 * FRAME)
    data = bench.encoded(audio, encoding(frames_per_packet=1, entropy=entropy, keyframe_every=8))
    heard, whole = (frames_of(bench.decoded(each)) for each in (without(data, 10), data))
    np.testing.assert_array_equal(heard[:10], whole[:10])
    for index in range(10, 16):
        np.testing.assert_allclose(heard[index], heard[9] * 0.5 ** (index - 9), atol=1e-6)
    np.testing.assert_array_equal(heard[17:29], whole[17:29])


def test_silence_is_not_sent(bench: CodecBench) -> None:
    """With dtx, frames of silence that has lasted are marks of five bytes, and sound like silence."""
    audio = np.concatenate((speech(2000), np.zeros(16000, np.float32), speech(2000, 1)))
    data = bench.encoded(audio, encoding(LIVE, dtx=True))
    header, packets = items(data)
    assert header.dtx
    silent = [index for index, packet in enumerate(packets) if packet.is_silence]
    assert silent == list(range(2000 // FRAME + 40, 18000 // FRAME))
    heard = frames_of(bench.decoded(data))
    np.testing.assert_array_equal(heard[silent], np.float32(SILENCE))
    np.testing.assert_allclose(bench.decoded(data)[18080:], codec_expected(audio)[18080:], atol=1e-6)
    assert len(data) < len(bench.encoded(audio, encoding(LIVE)))


def test_a_flipped_bit_is_a_loss(bench: CodecBench) -> None:
    """A packet whose checksum is wrong is concealed, and the others are decoded as ever."""
    audio = speech(40 * FRAME)
    data = bytearray(bench.encoded(audio, encoding(frames_per_packet=1)))
    whole = frames_of(bench.decoded(bytes(data)))
    header, packets = items(bytes(data))
    data[len(encode_header(header)) + 7 * len(encode_packet(packets[0])) + 4] ^= 4
    heard = frames_of(bench.decoded(bytes(data)))
    np.testing.assert_allclose(heard[7], heard[6] * 0.5, atol=1e-6)
    np.testing.assert_array_equal(heard[9:], whole[9:])


@pytest.mark.parametrize("entropy", ["network", "float"])
def test_damage_anywhere_ends_well(bench: CodecBench, entropy: str) -> None:
    """Whatever byte is hit, a stream ends with audio or with a precise refusal."""
    data = bench.encoded(speech(1000), encoding(entropy=entropy, fec=True, frames_per_packet=2))
    for place in range(0, len(data), 5):
        damaged = bytearray(data)
        damaged[place] ^= 0x5A
        stream = bench.open(decoding())
        try:
            stream.send(bytes(damaged))
            bench.run(stream)
            stream.send(End())
            bench.run(stream)
        except InvalidRequest:
            continue
        assert isinstance(stream.said[-1], Done)
        assert len(stream.samples) <= 1000 + 2 * FRAME


@pytest.mark.parametrize("cut", [20, 48, 55, 100])
def test_a_cut_stream_says_so(bench: CodecBench, cut: int) -> None:
    """What was heard until the cut stands, and a warning says what is missing; half a header is refused."""
    data = bench.encoded(speech(4000), encoding(frames_per_packet=2))
    whole = bench.decoded(data)
    stream = bench.open(decoding())
    stream.send(data[:cut])
    bench.run(stream)
    if cut < 48:
        with pytest.raises(InvalidRequest, match=r"^snc1 stream is truncated, it lacks its header$"):
            stream.send(End())
        return
    stream.send(End())
    bench.run(stream)
    np.testing.assert_array_equal(stream.samples, whole[: len(stream.samples)])
    assert [warning.code for warning in stream.warnings] == (["truncated_audio"] if cut > 48 else [])


def test_an_empty_stream_of_packets(bench: CodecBench) -> None:
    """Nothing in, nothing out."""
    for config in (decoding(), transcoding()):
        assert [type(message) for message in bench.whole(config, []).said] == [Ready, Done]


@pytest.mark.parametrize("entropy", ["raw", "tables", "network", "float"])
def test_transcoding_is_encoding_at_a_lower_rate(bench: CodecBench, entropy: str) -> None:
    """The same bytes come out as if the audio had been encoded that way; no model hears or makes audio."""
    audio = speech(3000)
    data = bench.encoded(audio, encoding(frames_per_packet=2))
    for options in ({"bitrate": 800}, {"bitrate": 1600, "frames_per_packet": 5}, {"frames_per_packet": 1, "fec": True}):
        expected = bench.encoded(audio, encoding(**{"frames_per_packet": 2, "entropy": entropy, **options}))
        made = bench.whole(transcoding(**{"entropy": entropy, **options}), cuts(data, 100)).packets
        found, wanted = items(made), items(expected)
        # Only the encoder knows what follows the end; a larger last packet is filled up without it.
        assert (found[0], found[1][:-1]) == (wanted[0], wanted[1][:-1])
        assert len(found[1]) == len(wanted[1])
        np.testing.assert_array_equal(bench.decoded(made), bench.decoded(expected))


def test_transcoding_back_to_raw(bench: CodecBench) -> None:
    """Codes come out of the networks, and out of tables, as they went in."""
    audio = speech(3000)
    raw = bench.encoded(audio, encoding())
    for entropy in ("tables", "network", "float"):
        data = bench.encoded(audio, encoding(entropy=entropy))
        assert len(data) != len(raw)
        assert items(bench.whole(transcoding(entropy="raw"), [data]).packets) == items(raw)


@pytest.mark.parametrize("coded", ["network", "float"])
def test_networks_do_not_follow_networks(bench: CodecBench, coded: str) -> None:
    """A stream that is read by a network is not written by one."""
    data = bench.encoded(speech(3000), encoding(entropy=coded))
    for options in ({"bitrate": 800}, {"entropy": "network"}, {"entropy": "float"}):
        with pytest.raises(InvalidRequest) as caught:
            bench.whole(transcoding(**options), [data])
        expected = "expected raw or tables for packets that are coded by a network already"
        assert str(caught.value) == f"codec entropy: {expected}"


def test_transcoding_keeps_losses_and_silence(bench: CodecBench) -> None:
    """A lost packet stays lost, silence stays silence, and the time between them is what it was."""
    audio = np.concatenate((speech(2000), np.zeros(6000, np.float32), speech(2000, 1)))
    data = bench.encoded(audio, encoding(LIVE, dtx=True))
    damaged = without(data, 3)
    made = bench.whole(transcoding(LIVE, bitrate=1600), [damaged]).packets
    expected = bench.encoded(audio, encoding(LIVE, dtx=True, bitrate=1600))
    np.testing.assert_array_equal(bench.decoded(made), bench.decoded(without(expected, 3)))
    merged = bench.decoded(bench.whole(transcoding(LIVE, frames_per_packet=4), [damaged]).packets)
    assert len(merged) == len(audio)
    np.testing.assert_allclose(merged[9000:], codec_expected(audio)[9000:], atol=1e-6)


def test_made_up_codes(bench: CodecBench) -> None:
    """What was not sent is made up by the predictor, the same however the stream is cut; what was sent stays."""
    audio = speech(4000)
    data = bench.encoded(audio, encoding(bitrate=1600, frames_per_packet=2))
    plain, filled = bench.decoded(data), bench.decoded(data, decoding(predict=True))
    is_sent = frames_of(plain) != 0
    np.testing.assert_array_equal(frames_of(filled)[is_sent], frames_of(plain)[is_sent])
    assert np.count_nonzero(filled == 0) < np.count_nonzero(plain == 0) / 2
    again = bench.whole(decoding(predict=True), cuts(data, 7), slot=3).samples
    np.testing.assert_array_equal(again, filled)


def test_flow_and_done_count_what_packets_stand_for(bench: CodecBench) -> None:
    """A decoding stream counts samples as an encoding one does."""
    audio = speech(FRAME * 25 - 20)
    data = bench.encoded(audio, encoding(frames_per_packet=5))
    stream = bench.open(decoding())
    stream.send(data)
    assert stream.session.heard_s == pytest.approx(25 * FRAME / RATE)
    assert stream.session.buffered_samples == 25 * FRAME
    bench.now = 2.0
    bench.run(stream)
    assert stream.session.buffered_samples == 0
    stream.send(End())
    bench.run(stream)
    assert [m.processed_sample for m in stream.said if isinstance(m, Flow)][-1:] == [400]
    assert stream.said[-1] == Done(25 * FRAME, 0)


def test_live_packets_are_held_to_real_time(bench: CodecBench) -> None:
    """A few bytes stand for much audio: the pace counts what packets stand for. Files have no pace."""
    data = bench.encoded(speech(12 * RATE), encoding(frames_per_packet=16))
    stream = bench.open(decoding(LIVE))
    with pytest.raises(TooFast, match=r"^audio is 10\d\d\d ms ahead of real time, limit is 10000 ms"):
        stream.send(data)
    bench.open(decoding()).send(data)


def test_endless_losses_cost_nothing_until_they_are_played(bench: CodecBench) -> None:
    """Packets whose numbers jump tell of hundreds of lost ones each: they are counted, not listed."""
    header = replace(HEADER, frames_per_packet=16)
    packets = [Packet(255 * index % 256, 1, True, False, False, bytes(8)) for index in range(2000)]
    data = encode_header(header) + b"".join(map(encode_packet, packets))
    stream = bench.open(decoding())
    for part in cuts(data, 20_000):
        stream.send(part)
    assert stream.session.buffered_samples == (1999 * 255 + 1) * 16 * FRAME
    for _ in range(4):
        bench.step(stream)
    heard = frames_of(stream.samples)
    np.testing.assert_array_equal(heard[0][20:], heard[0][20])
    for index in range(1, 48):
        np.testing.assert_allclose(heard[16 + index], heard[15] * 0.5 ** (index + 1), atol=1e-6)


def test_frames_of_too_many_bytes_are_refused(tmp_path: Path) -> None:
    """As in every other stream."""
    bench = CodecBench(tmp_path, settings=SessionSettings(max_frame_bytes=100))
    with pytest.raises(MessageTooLarge, match=r"^audio frame of 101 bytes exceeds the limit of 100 bytes$"):
        bench.open(decoding()).send(bytes(101))


@pytest.mark.parametrize("message", [Finalize("a"), Update(Endpointing())])
def test_controls_of_words_are_refused(bench: CodecBench, message: ClientMessage) -> None:
    """There are no segments to finish, and no rules for them."""
    name = type(message).__name__.lower()
    with pytest.raises(InvalidRequest, match=f"^expected no {name} in a stream of task codec, which has no segments$"):
        bench.open(encoding()).send(message)


SNC1 = replace(FILE, encoding="snc1")
BAD: list[tuple[Config, str]] = [
    (replace(FILE, task="transcribe", encoding="snc1"), "expected task codec for encoding snc1, got 'transcribe'"),
    (
        replace(FILE, task="transcribe", codec=CodecOptions(fec=True)),
        "expected no codec options for task transcribe, got some",
    ),
    (replace(FILE, vad=Vad(events=True)), "expected no vad in a stream of task codec, got vad.events or vad.gate"),
    (replace(FILE, resumable=True), "expected a task of words for a stream that can be resumed, got codec"),
    (replace(SNC1, resumable=True), "expected a task of words for a stream that can be resumed, got codec"),
    (replace(SNC1, channels=2), "expected 1 channel, got 2"),
    (
        replace(FILE, decoding=Decoding(n_best=2)),
        "model codec codes audio and has no search, got options of decoding",
    ),
    (encoding(bitrate=5), "codec bitrate: expected one of 800, 1600, 3200 for model codec, got 5"),
    (encoding(output="pcm_s16le"), "codec output: expected snc1 for audio in pcm_f32le, got 'pcm_s16le'"),
    (encoding(output="mp3"), f"codec output: expected one of {', '.join(OUTPUTS)} or nothing, got 'mp3'"),
    (encoding(entropy="zip"), "codec entropy: expected one of raw, tables, network, float or nothing, got 'zip'"),
    (encoding(frames_per_packet=17), "codec frames_per_packet: expected an integer from 0 to 16, got 17"),
    (encoding(predict=True), "codec predict: expected nothing in a stream that makes packets, got an option"),
    (decoding(bitrate=800), "codec bitrate: expected nothing in a stream that makes audio, got an option"),
    (decoding(output_rate=4000), "codec output_rate: expected 0 or a rate from 8000 to 48000 Hz, got 4000"),
    (transcoding(dtx=True), "codec dtx: expected nothing where no audio comes in, got an option"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "message"), BAD)
def test_refuses_bad_configs(bench: CodecBench, config: Config, message: str) -> None:
    """At once, and precisely."""
    with pytest.raises(InvalidRequest) as caught:
        bench.open(config)
    assert str(caught.value) == message


PLAIN: list[tuple[Config, str]] = [
    (encoding(entropy="tables"), "codec entropy: model plain has no tables to code with"),
    (encoding(entropy="network"), "codec entropy: model plain has no network to code with"),
    (encoding(entropy="float"), "codec entropy: model plain has no float network to code with"),
    (encoding(dtx=True), "codec dtx: model plain does not say what silence is"),
    (decoding(predict=True), "codec predict: model plain cannot make up codes"),
]


@pytest.mark.parametrize(("config", "message"), PLAIN)
def test_refuses_what_a_model_does_not_have(tmp_path: Path, config: Config, message: str) -> None:
    """A bundle may have the codec alone."""
    with pytest.raises(InvalidRequest) as caught:
        CodecBench(tmp_path, write_plain_codec).open(config)
    assert str(caught.value) == message


HEADER = Header(RATE, FRAME, 4, 4, preskip=20)
HERE = f"{Runtime().number:08x}"
FOREIGN: list[tuple[Header, str]] = [
    (replace(HEADER, sample_rate=8000), "expected sample_rate 8000, which the snc1 header says, got 16000"),
    (replace(HEADER, frame_samples=320), "expected packets of model codec with frame_samples 80, got 320"),
    (replace(HEADER, books=8), "expected packets of model codec with books 4, got 8"),
    (replace(HEADER, bits_per_book=10), "expected packets of model codec with bits_per_book 4, got 10"),
    (
        replace(HEADER, entropy_mode=3, runtime=0x1F),
        f"expected packets of model codec in float of the runtime {HERE}, got those of another, 0000001f",
    ),
    (
        replace(HEADER, entropy_mode=3),
        f"expected packets of model codec in float of the runtime {HERE}, got those of another, 00000000",
    ),
]


@pytest.mark.parametrize(("header", "message"), FOREIGN)
def test_refuses_packets_of_other_models(bench: CodecBench, header: Header, message: str) -> None:
    """Whose codes would be noise here."""
    payload = bytes(raw_bytes(header, 1))
    with pytest.raises(InvalidRequest) as caught:
        bench.whole(decoding(), [encode_header(header) + encode_packet(Packet(0, 1, True, False, False, payload))])
    assert str(caught.value) == message


def test_refuses_packets_of_another_version_of_the_model(bench: CodecBench) -> None:
    """The fingerprint in the header tells decoders apart that take the same codes."""
    stream = bench.open(decoding())
    header = replace(HEADER, model=b"12345678")
    stream.send(encode_header(header) + encode_packet(Packet(0, 1, True, False, False, bytes(1))))
    with pytest.raises(InvalidRequest, match=r"^expected packets of model codec, [0-9a-f]{16}, got those of another"):
        bench.run(stream)


def test_tables_of_another_version_matter_to_who_uses_them(tmp_path: Path) -> None:
    """Raw codes are understood by whoever has the decoder; coded ones need the tables that they were coded by."""
    audio = speech(1000)
    (tmp_path / "other").mkdir()
    ours, theirs = CodecBench(tmp_path), CodecBench(tmp_path / "other", write_other_tables)
    np.testing.assert_allclose(ours.decoded(theirs.encoded(audio)), codec_expected(audio), atol=1e-6)
    for entropy in ("tables", "network", "float"):
        with pytest.raises(
            InvalidRequest, match=r"^expected packets of model codec, [0-9a-f]{16}, got those of another"
        ):
            ours.decoded(theirs.encoded(audio, encoding(entropy=entropy)))


def test_numbered_packets_are_refused(bench: CodecBench) -> None:
    """Bytes have no sample numbers."""
    with pytest.raises(InvalidRequest, match=r"^expected no first_sample with encoding snc1, got 0$"):
        bench.open(decoding()).send(Audio(b"S", 0))


def test_ready_tells_steps_and_delays(bench: CodecBench) -> None:
    """A packet is a step; the delay is the codec's, waiting for a whole packet included."""
    ready = bench.open(encoding(frames_per_packet=4)).said[0]
    assert isinstance(ready, Ready)
    assert (ready.chunk_ms, ready.delay_ms) == (20.0, 20.0 + 1.25)
    ready = bench.open(decoding()).said[0]
    assert isinstance(ready, Ready)
    assert (ready.chunk_ms, ready.delay_ms) == (5.0, 1.25)
    ready = bench.open(decoding(output_rate=48000)).said[0]
    assert isinstance(ready, Ready)
    assert ready.delay_ms == pytest.approx(1.25 + 2.5)
