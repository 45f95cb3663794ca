"""What the codec does when packets are lost, when audio is broken, and how far back anything is remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.codec.config import LOST, ORDINARY, SILENT  # noqa: E402
from models.codec.export import decode_graph, encode_graph  # noqa: E402
from models.codec.model import Codec  # noqa: E402
from models.codec.serving import DECODER, decoder_reach, encoder_reach  # noqa: E402
from models.common.parity import EngineRun, first_change, torch_alone  # noqa: E402
from streamer.engine.runner import Runner  # noqa: E402
from streamer.work import Lease, Row  # noqa: E402
from tests.models.codec_toys import code_stream, decoded, encoded, one_step, pcm_stream, run  # noqa: E402

SEED = 23
Stream = list[dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def runner(codec_bundle: Path) -> Runner:
    return EngineRun(codec_bundle, "decode").runner


def packets(codec: Codec, frames: int) -> Stream:
    """One frame a step, all of them received."""
    rng = np.random.default_rng(SEED)
    return [{**chunk, "kind": np.array([ORDINARY])} for chunk in code_stream(rng, frames, 1, codec.config)]


def with_kinds(stream: Stream, kinds: dict[int, int]) -> Stream:
    """The stream with other kinds at some frames."""
    return [{**chunk, "kind": np.array([kinds.get(t, chunk["kind"][0])])} for t, chunk in enumerate(stream)]


def differing(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The frames at which two outputs are not equal to the last bit."""
    return np.flatnonzero((one != other).any(1))


@pytest.mark.parametrize("gap", [1, 3, 15])
def test_after_a_gap_the_output_comes_back_exactly(codec: Codec, gap: int) -> None:
    """A gap is heard from its first frame until `decoder_reach` frames after its last one, and then not in any bit."""
    reach, begin = decoder_reach(codec.config), 10
    stream = packets(codec, begin + gap + 2 * reach)
    lossy = with_kinds(stream, dict.fromkeys(range(begin, begin + gap), LOST))
    heard = differing(decoded(codec, stream), decoded(codec, lossy))
    assert heard[0] == begin
    assert heard[-1] == begin + gap - 1 + reach


def test_no_pattern_of_losses_makes_the_served_decoder_drift(codec: Codec, runner: Runner) -> None:
    """Every frame gives one frame; after the last loss, outputs and then states are those of no loss at all."""
    rng = np.random.default_rng(SEED)
    reach, lossy_frames = decoder_reach(codec.config), 60
    stream = packets(codec, lossy_frames + reach + 5)
    clean = run(runner, "decode", 0, stream)
    (state,) = runner.arenas.front[DECODER].read([0])
    for slot, share in enumerate((0.05, 0.2, 0.5, 0.9, 1.0), start=1):
        kinds = {t: int(rng.choice([LOST, SILENT])) for t in range(lossy_frames) if rng.random() < share}
        found = run(runner, "decode", slot, with_kinds(stream, kinds))
        assert found.shape == clean.shape
        assert np.isfinite(found).all()
        last = max(kinds)
        assert differing(clean[: last + 1], found[: last + 1]).size
        np.testing.assert_allclose(found[last + reach + 1 :], clean[last + reach + 1 :], rtol=0, atol=1e-5)
        np.testing.assert_allclose(runner.arenas.front[DECODER].read([slot])[0], state, rtol=0, atol=1e-5)


def test_codes_of_lost_and_silent_frames_are_not_heard(codec: Codec) -> None:
    """Whatever the host leaves in them."""
    rng = np.random.default_rng(SEED)
    stream = code_stream(rng, 40, 1, codec.config)
    assert {int(chunk["kind"][0]) for chunk in stream} == {ORDINARY, LOST, SILENT}
    other = [
        chunk if chunk["kind"][0] == ORDINARY else {**chunk, "codes": np.full_like(chunk["codes"], 7)}
        for chunk in stream
    ]
    np.testing.assert_array_equal(decoded(codec, stream), decoded(codec, other))


def test_a_gap_is_bridged_by_the_last_frame_and_then_fades_to_silence(codec: Codec) -> None:
    """A guess for each lost frame, different from the last until the fade is over; then what silence sounds like."""
    reach = decoder_reach(codec.config)
    frames = 20 + 40 + reach
    stream = packets(codec, frames)
    lost = decoded(codec, with_kinds(stream, dict.fromkeys(range(20, frames), LOST)))
    silent = decoded(codec, with_kinds(stream, dict.fromkeys(range(20, frames), SILENT)))
    assert differing(lost, silent)[0] == 20
    np.testing.assert_allclose(lost[-1], silent[-1], atol=1e-5)


def test_codes_depend_on_the_past_alone_and_forget_it(codec: Codec) -> None:
    """A change is in the codes of its own frame at the earliest, and in none after the encoder's reach."""
    rng = np.random.default_rng(SEED)
    reach = encoder_reach(codec.config)
    stream = pcm_stream(rng, 20 + 3 * reach, 1, codec)
    changed = [dict(chunk) for chunk in stream]
    changed[15] = {"pcm": rng.standard_normal(stream[15]["pcm"].shape).astype(np.float32)}
    graph = encode_graph(codec)
    assert first_change(lambda chunks: torch_alone(graph, chunks), stream, changed, "codes") == 15
    heard = differing(encoded(codec, stream), encoded(codec, changed))
    assert 15 < heard[-1] <= 15 + reach
    with torch.no_grad():
        latents = [
            codec.encoder(torch.from_numpy(one_step(s)["pcm"]).reshape(1, -1))[0].numpy() for s in (stream, changed)
        ]
    assert np.flatnonzero((np.abs(latents[0] - latents[1]) > 1e-6).any(1))[-1] <= 15 + reach


def test_decoded_samples_depend_on_the_past_alone(codec: Codec) -> None:
    """Other codes in a frame change no sample before it."""
    stream = packets(codec, 30)
    changed = [dict(chunk) for chunk in stream]
    changed[12] = {**changed[12], "codes": (changed[12]["codes"] + 5) % codec.config.words}
    graph = decode_graph(codec)
    assert first_change(lambda chunks: torch_alone(graph, chunks), stream, changed, "pcm") == 12


def test_broken_audio_is_bounded_and_forgotten(codec: Codec, codec_bundle: Path) -> None:
    """NaN and infinities give codes, do not reach another stream of the batch, and are forgotten like any sound."""
    rng = np.random.default_rng(SEED)
    reach = encoder_reach(codec.config)
    stream = pcm_stream(rng, 12 + reach, 1, codec)
    broken = [dict(chunk) for chunk in stream]
    broken[5] = {"pcm": np.full_like(stream[5]["pcm"], np.nan)}
    broken[7] = {"pcm": np.where(stream[7]["pcm"] > 0, np.inf, -np.inf).astype(np.float32)}
    runner = EngineRun(codec_bundle, "encode").runner
    clean, found = [], []
    leases = [(Lease(runner.bundle.key, "stream", slot, 0),) for slot in (3, 4)]
    for t, (whole, torn) in enumerate(zip(stream, broken, strict=True)):
        start = frozenset({"encoder"} if t == 0 else ())
        results = runner.run("encode", [Row(leases[0], whole, start), Row(leases[1], torn, start)])
        clean.append(results[0].outputs["codes"][0])
        found.append(results[1].outputs["codes"][0])
    np.testing.assert_array_equal(np.stack(clean), run(runner, "encode", 0, stream))
    assert 0 <= np.min(found) <= np.max(found) < codec.config.words
    np.testing.assert_array_equal(found[8 + reach :], clean[8 + reach :])


def test_a_stream_goes_on_from_its_snapshot(codec: Codec, runner: Runner) -> None:
    """In another slot, after the first was given to somebody else, and between losses."""
    rng = np.random.default_rng(SEED)
    stream, other = code_stream(rng, 40, 1, codec.config), code_stream(rng, 10, 1, codec.config)
    whole = run(runner, "decode", 0, stream)
    first = run(runner, "decode", 1, stream[:17])
    snapshot = runner.snapshot([Lease(runner.bundle.key, "stream", 1, 0)])
    run(runner, "decode", 1, other)
    run(runner, "decode", 2, other)
    runner.restore([Lease(runner.bundle.key, "stream", 2, 0)], snapshot)
    rest = run(runner, "decode", 2, stream[17:], start=False)
    np.testing.assert_array_equal(np.concatenate([first, rest]), whole)
