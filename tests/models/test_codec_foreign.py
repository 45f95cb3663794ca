"""EnCodec and Mimi, imported: codes and samples are those of their own packages, however streams are cut and mixed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")
pytest.importorskip("encodec", reason="encodec is not installed")
pytest.importorskip("moshi", reason="moshi is not installed")

from safetensors.torch import save_file  # noqa: E402

from models.codec import import_checkpoint  # noqa: E402
from models.codec.config import LOST, ORDINARY, SILENT  # noqa: E402
from models.codec.encodec import Encodec, EncodecSizes  # noqa: E402
from models.codec.foreign_export import decode_graph, encode_graph  # noqa: E402
from models.codec.holding import Holding  # noqa: E402
from models.codec.mimi import Mimi, MimiSizes  # noqa: E402
from models.codec.window_transformer import TransformerSizes, WindowTransformer  # noqa: E402
from models.common.layers import rotate  # noqa: E402
from models.common.parity import EngineRun, largest_difference, torch_alone  # noqa: E402
from streamer.bundle.loader import load_bundle  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from streamer.engine.runner import Runner  # noqa: E402
from tests.models.codec_peers import (  # noqa: E402
    Peer,
    code_chunks,
    encodec_peer,
    mimi_peer,
    pcm_chunks,
    sounds,
)
from tests.models.codec_toys import code_stream, recut, run  # noqa: E402

torch.set_num_threads(1)
KINDS = ("encodec", "mimi")
SAMPLES_EQUAL = {"encodec": 1e-4, "mimi": 1e-3}
SEED = 4


@dataclass
class Imported:
    """A peer, the model that was made of its checkpoint, and the bundle."""

    peer: Peer
    model: Encodec | Mimi
    bundle: Path

    def encoded(self, pcm: torch.Tensor, lengths: list[int], slot: int = 0) -> np.ndarray:
        """Codes i64[T, Q] of the bundle in the server's runner, in steps of so many frames."""
        return self._run("encode", pcm_chunks(pcm, self.peer.frame_samples), lengths, slot)

    def decoded(self, codes: torch.Tensor, lengths: list[int], slot: int = 0) -> np.ndarray:
        """Samples f32[N]."""
        return self._run("decode", code_chunks(codes), lengths, slot).reshape(-1)

    def _run(self, graph: str, frames: list[dict[str, np.ndarray]], lengths: list[int], slot: int) -> np.ndarray:
        steps = lengths * (len(frames) // sum(lengths) + 1)
        ends = [end for end in np.cumsum(steps).tolist() if end < len(frames)]
        cut = np.diff([0, *ends, len(frames)]).tolist()
        return run(self.runner, graph, slot, recut(frames, cut))

    @cached_property
    def runner(self) -> Runner:
        """The server's."""
        return EngineRun(self.bundle, "encode").runner


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Imported]:
    """Toys of both kinds, by the command line."""
    made = {}
    for kind, peer in (("encodec", encodec_peer()), ("mimi", mimi_peer())):
        folder = tmp_path_factory.mktemp(kind)
        path = folder / ("toy.th" if kind == "encodec" else "toy.safetensors")
        if kind == "encodec":
            torch.save(peer.weights(), path)
        else:
            save_file(peer.weights(), path)
        assert import_checkpoint.main([str(path), "-o", str(folder / "bundle"), "--name", f"toy-{kind}"]) == 0
        made[kind] = Imported(peer, import_checkpoint.read_checkpoint(path).model, folder / "bundle")
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_samples_are_those_of_the_package(imported: dict[str, Imported], kind: str) -> None:
    """Noise and speech-like sound of 3 s, start included, in steps of many lengths through the server's runner."""
    toy = imported[kind]
    for pcm in sounds(3.04 if kind == "mimi" else 3):
        codes = toy.peer.encode(pcm)
        samples = toy.peer.decode(codes)[0].numpy()
        assert min(len(book.unique()) for book in codes[0].T) > 5
        others = toy.peer.decode(codes.flip(1))[0].numpy()
        assert np.abs(samples - others).max() > 100 * SAMPLES_EQUAL[kind]
        for lengths in ([1000], [7, 1, 2, 3, 8], [8], [9, 1, 1, 16]):
            found = toy.encoded(pcm, lengths)
            assert (found == codes[0].numpy()).mean() >= (1 if kind == "mimi" else 0.999)
            assert np.abs(toy.decoded(codes, lengths) - samples).max() < SAMPLES_EQUAL[kind]


def test_mimi_may_begin_with_any_number_of_frames(imported: dict[str, Imported]) -> None:
    """Nothing of its start depends on how much is heard at first."""
    toy = imported["mimi"]
    (_, pcm) = sounds(1.6)
    codes = toy.peer.encode(pcm)
    samples = toy.peer.decode(codes)[0].numpy()
    for lengths in ([1], [2], [3], [1, 7]):
        np.testing.assert_array_equal(toy.encoded(pcm, lengths), codes[0])
        assert np.abs(toy.decoded(codes, lengths) - samples).max() < 1e-3


@pytest.mark.parametrize("frames", [1, 2, 3, 6])
def test_encodec_begins_as_the_package_begins_a_file_of_that_length(imported: dict[str, Imported], frames: int) -> None:
    """A start is reflected as far as it was heard; from seven frames on that is all of it."""
    toy = imported["encodec"]
    for pcm in sounds(0.4):
        short = pcm[:, : frames * 320]
        codes = toy.peer.encode(short)
        np.testing.assert_array_equal(toy.encoded(pcm, [frames])[:frames], codes[0])
        samples = toy.decoded(toy.peer.encode(pcm), [frames])[: frames * 320]
        np.testing.assert_allclose(samples, toy.peer.decode(toy.peer.encode(pcm)[:, :frames])[0], atol=1e-4)


def test_encodec_forgets_how_it_began(imported: dict[str, Imported]) -> None:
    """A stream that begins with one frame makes the package's codes of the whole signal soon after."""
    toy = imported["encodec"]
    for pcm in sounds(2):
        differs = (toy.encoded(pcm, [1]) != toy.peer.encode(pcm)[0].numpy()).any(1)
        assert differs[:7].any()
        assert not differs[40:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_long_streams_equal_the_package(imported: dict[str, Imported], kind: str) -> None:
    """30 s: the ring of Mimi's keys goes round three times."""
    toy = imported[kind]
    (noise, _) = sounds(30.4)
    codes = toy.peer.encode(noise)
    samples = toy.peer.decode(codes)[0].numpy()
    for lengths in ([7, 5], [300]):
        assert (toy.encoded(noise, lengths) == codes[0].numpy()).mean() >= 0.999
        assert np.abs(toy.decoded(codes, lengths) - samples).max() < SAMPLES_EQUAL[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_streams_equal_each_stream_alone(imported: dict[str, Imported], kind: str) -> None:
    """Slots are shuffled and reused, arenas dirty, batches random, of mixed bitrates, losses and lengths of packets.

    Codes are those of the stream alone in the same engine, all of them; torch rounds otherwise, so that a latent half
    way between two words may fall to the other.
    """
    toy, rng = imported[kind], np.random.default_rng(SEED)
    lengths, frame = rng.choice([1, 2, 7], 12).tolist(), toy.peer.frame_samples
    audio = [
        [{"pcm": (rng.standard_normal((n, frame)) * 0.2).astype(np.float32)} for _ in range(rng.integers(2, 7))]
        for n in lengths
    ]
    packets = [code_stream(rng, int(rng.integers(2, 7)), n, toy.model.sizes) for n in lengths]
    mixed = EngineRun(toy.bundle, "encode").run(audio)
    for stream, outputs in zip(audio, mixed, strict=True):
        alone = run(toy.runner, "encode", 0, stream)
        np.testing.assert_array_equal(outputs["codes"].reshape(alone.shape), alone)
        in_torch = torch_alone(encode_graph(toy.model), stream)["codes"]
        assert (outputs["codes"] != in_torch).any(2).sum() <= 1
    alone = [torch_alone(decode_graph(toy.model), stream) for stream in packets]
    assert largest_difference(alone, EngineRun(toy.bundle, "decode").run(packets), "pcm") < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_samples_to_come_change_nothing(imported: dict[str, Imported], kind: str) -> None:
    """What is heard after a frame does not reach its codes: there is no look-ahead once a stream has begun."""
    toy = imported[kind]
    pcm = sounds(0.8)[0]
    frames = pcm.shape[1] // toy.peer.frame_samples
    changed = pcm.clone()
    changed[:, (frames - 2) * toy.peer.frame_samples :] *= -1
    one, other = toy.encoded(pcm, [frames]), toy.encoded(changed, [frames])
    np.testing.assert_array_equal(one[:-2], other[:-2])
    assert (one[-2:] != other[-2:]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_sent_is_held_and_fades_to_silence(imported: dict[str, Imported], kind: str) -> None:
    """Losses are heard as a fading last frame, silence as what the encoder makes of it, absent books as nothing."""
    toy, frame = imported[kind], imported[kind].peer.frame_samples
    runner = toy.runner
    codes = toy.peer.encode(sounds(1.6)[0])[0].numpy()
    length = len(codes)
    kinds = np.zeros(length, np.int64)

    def decoded(given: np.ndarray, kind_of_frames: np.ndarray) -> np.ndarray:
        return run(runner, "decode", 3, [{"codes": given, "kind": kind_of_frames}])

    silent = decoded(np.full_like(codes, -1), np.full(length, SILENT))
    lost = decoded(codes, np.where(np.arange(length) >= 2, LOST, ORDINARY))
    # Mimi's attention goes on hearing the frames before the gap.
    fades = {"encodec": 10, "mimi": 2}[kind]
    assert np.abs(lost[2] - silent[2]).max() > fades * np.abs(lost[-1] - silent[-1]).max()
    still = np.broadcast_to(toy.model.encode(torch.zeros(1, 4 * 24_000))[0, -1].numpy(), codes.shape)
    np.testing.assert_allclose(silent, decoded(np.ascontiguousarray(still), kinds), atol=1e-5)
    few = codes.copy()
    few[:, 2:] = -1
    if kind == "encodec":
        expected = toy.peer.decode(torch.from_numpy(codes[None, :, :2]))
        np.testing.assert_allclose(decoded(few, kinds).reshape(-1), expected[0], atol=1e-4)
    beyond = decoded(np.full_like(codes, 1 << 40), kinds)
    assert np.isfinite(beyond).all()
    assert beyond.shape == (length, frame)


def test_holding_is_the_rule_frame_by_frame() -> None:
    """A latent is held with 0.8 to the number of frames lost in a row, across steps; other frames end it."""
    torch.manual_seed(0)
    holding = Holding(3, 0.02)
    holding.silence.copy_(torch.tensor([1.0, -2.0, 0.5]))
    latent, kind = torch.randn(1, 40, 3), torch.randint(3, (1, 40))
    expected, last, run_length = [], torch.zeros(3), 0
    for t in range(40):
        if kind[0, t] == LOST:
            run_length += 1
        else:
            run_length, last = 0, torch.zeros(3) if kind[0, t] == SILENT else latent[0, t] - holding.silence
        expected.append(holding.silence + last * 0.8**run_length)
    for cut in (1, 3, 40):
        held, age, found = torch.zeros(1, 3), torch.zeros(1, 1), []
        for part, its in zip(latent.split(cut, 1), kind.split(cut, 1), strict=True):
            out, held, age = holding.step(part, its, held, age)
            found.append(out)
        torch.testing.assert_close(torch.cat(found, 1)[0], torch.stack(expected))


def test_positions_are_exact_however_old_a_stream_is() -> None:
    """What a query has in common with a key depends on their distance alone, after four hundred days too."""
    transformer = WindowTransformer(TransformerSizes(16, 1, 2, 8, 250))
    query, key = torch.randn(2, 1, 1, 1, 8)
    found = []
    for position in (7, 10**9):
        turned = [
            rotate(x, transformer._rotation(torch.tensor([[at]])))
            for x, at in ((query, position + 100), (key, position))
        ]
        found.append((turned[0] * turned[1]).sum())
    torch.testing.assert_close(*found, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_bundle_checks_and_says_what_it_offers(imported: dict[str, Imported], kind: str) -> None:
    """Files, roles, references, resets and in-place state; rates are books times bits times frames a second."""
    report = check_bundle(imported[kind].bundle)
    assert report.ok, report
    manifest = load_bundle(imported[kind].bundle).manifest
    parameters = manifest.task.parameters
    assert (manifest.name, manifest.sample_rate, manifest.task.kind) == (f"toy-{kind}", 24_000, "codec")
    assert parameters["frame_samples"] == imported[kind].peer.frame_samples
    assert (parameters["books"], parameters["bits_per_book"], parameters["delay_samples"]) == (6, 6, 0)
    expected = {"encodec": ("900:2,1800:4", 1800), "mimi": ("300:4", 300)}
    assert (parameters["rates"], parameters["default_rate"]) == expected[kind]


def test_streams_keep_what_the_specification_counts() -> None:
    """State of the released sizes: 57 kB of EnCodec, 16.5 MB of Mimi in single and 8.3 MB in half precision."""
    with torch.device("meta"):
        encodec, mimi = Encodec(EncodecSizes()), Mimi(MimiSizes())
    sizes = []
    for model, half in ((encodec, False), (mimi, False), (mimi, True)):
        states = [*model.encoder_states(half), *model.decoder_states(half)]
        sizes.append(sum(int(np.prod(state.dims)) * state.dtype.itemsize for state in states))
    assert sizes == [56_612, 16_462_380, 8_270_380]
    assert sum(parameter.numel() for parameter in mimi.parameters()) == pytest.approx(79.3e6, rel=0.01)


def test_half_precision_keys_halve_the_state_and_change_little(imported: dict[str, Imported]) -> None:
    """With `--half-state` nearly all codes stay, with fewer books the first of them."""
    toy, pcm = imported["mimi"], sounds(1.6)[1]
    codes, chunks = toy.peer.encode(pcm)[0].numpy(), pcm_chunks(pcm, 1920)
    graph = encode_graph(toy.model.with_books(3).requires_grad_(False), half=True)
    assert {state.name for state in graph.states if state.dtype == torch.float16} == {"encoder_keys", "encoder_values"}
    found = torch_alone(graph, chunks)["codes"][:, 0]
    assert found.shape == (20, 3)
    assert (found == codes[:, :3]).mean() > 0.9
    single = torch_alone(encode_graph(toy.model), chunks)["codes"][:, 0]
    np.testing.assert_array_equal(single, codes)
