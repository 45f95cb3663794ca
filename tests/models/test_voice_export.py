"""The voice's bundle: torch = ONNX in the server's engine, for any mix of streams and chunks."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.parity import Chunks, EngineRun, largest_difference, torch_alone  # noqa: E402
from models.flow_tts.bundle_weights import acoustic_weights, begin_from, vocoder_weights  # noqa: E402
from models.flow_tts.config import FEATURES, FRAME, MELS  # noqa: E402
from models.flow_tts.expander import places  # noqa: E402
from models.flow_tts.export import export_bundle, graphs  # noqa: E402
from models.flow_tts.grain import Grain  # noqa: E402
from models.flow_tts.serving import flow_noise  # noqa: E402
from models.flow_tts.vocoder import Vocoder  # noqa: E402
from models.flow_tts.voice import Voice, frame_counts  # noqa: E402
from streamer.bundle.loader import load_bundle  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from streamer.work import Row  # noqa: E402
from tests.models.codec_toys import run  # noqa: E402
from tests.models.voice_toys import mels, normal, pitches, toy_vocoder, toy_voice  # noqa: E402

SEED = 5
GRAIN = Grain(torch.linspace(0, 0.5, MELS))
ABOUT = {"name": "toy-voice", "version": "0.0.1", "description": "random weights", "licence": "Apache-2.0"}


@pytest.fixture(scope="module")
def voice() -> Voice:
    return toy_voice()


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    return toy_vocoder()


@pytest.fixture(scope="module")
def bundle(voice: Voice, vocoder: Vocoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voice")
    lexicon, card = folder / "lexicon.txt.gz", folder / "card.md"
    lexicon.write_bytes(gzip.compress(b"hello\tHH AH0 L OW1\n"))
    card.write_text("A toy.\n", encoding="utf-8")
    (folder / "lexicon.LICENSE").write_text("Free.\n", encoding="utf-8")
    export_bundle(voice, vocoder, folder / "toy-voice", ABOUT, lexicon, card=card, grain=GRAIN)
    return folder / "toy-voice"


def features(frames: int, seed: int) -> np.ndarray:
    rows = torch.cat([mels(frames, 1, seed), pitches(frames, 1, seed).float()], 2)
    assert rows.shape[2] == FEATURES
    return rows[0].numpy()


def stream(graph: str, rng: np.random.Generator, steps: int, frames: int) -> Chunks:
    """Chunks of one length: batches are of equal ones."""
    width = {"flow_step": flow_noise(GRAIN), "vocoder_step": FRAME}[graph]
    name = {"flow_step": "prior", "vocoder_step": "mel"}[graph]
    return [
        {
            name: features(frames, int(rng.integers(1 << 30))),
            "noise": normal(frames, width, 1, int(rng.integers(1 << 30)))[0].numpy(),
        }
        for _ in range(steps)
    ]


@pytest.mark.parametrize(("name", "output", "near"), [("flow_step", "mel", 1e-5), ("vocoder_step", "pcm", 1e-4)])
def test_interleaved_streams_equal_each_alone(
    voice: Voice, vocoder: Vocoder, bundle: Path, name: str, output: str, near: float
) -> None:
    """Slots are shuffled, reused and dirty, batches random."""
    rng = np.random.default_rng(SEED)
    graph = graphs(voice, vocoder, GRAIN)[name]
    streams = [stream(name, rng, int(rng.integers(2, 7)), int(rng.choice([2, 5]))) for _ in range(20)]
    alone = [torch_alone(graph, chunks) for chunks in streams]
    assert largest_difference(alone, EngineRun(bundle, name).run(streams), output) < near


@pytest.mark.parametrize(("name", "output", "near"), [("flow_step", "mel", 1e-5), ("vocoder_step", "pcm", 1e-4)])
def test_any_partition_is_the_whole(bundle: Path, name: str, output: str, near: float) -> None:
    """In the engine: chunks of any lengths give what one chunk of all frames gives."""
    rng = np.random.default_rng(SEED)
    (whole,) = stream(name, rng, 1, 40)
    engine = EngineRun(bundle, name)
    (expected,) = engine.run([[whole]])
    for _ in range(4):
        edges = [0, *np.sort(rng.choice(np.arange(1, 40), 5, replace=False)), 40]
        pieces = [{key: value[a:b] for key, value in whole.items()} for a, b in pairwise(edges)]
        found = run(engine.runner, name, 0, pieces)
        assert np.abs(found - expected[output][0]).max() < near


def test_grain_is_of_noise_of_its_own(voice: Voice, bundle: Path) -> None:
    """The mel is the flow's and what the noise beside its own is made to."""
    rows, noise = features(30, SEED), normal(30, 2 * MELS)
    (answer,) = EngineRun(bundle, "flow_step").run([[{"prior": rows, "noise": noise[0].numpy()}]])
    prior = torch.from_numpy(rows)[None]
    with torch.no_grad():
        smooth = voice.flow(prior[:, :, :MELS], prior[:, :, MELS:].to(torch.int64), noise[:, :, :MELS])
        grain = GRAIN(noise[:, :, MELS:])
    assert float(grain.abs().max()) > 1
    np.testing.assert_allclose(answer["mel"][0][:, :MELS], (smooth + grain)[0], atol=1e-5)


def test_text_and_frames_equal_torch(voice: Voice, bundle: Path) -> None:
    """A piece through `text_encode` and `expand` in the engine is that of the torch model."""
    symbols = torch.randint(1, 100, (23,), generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        encoded, logs = voice.encoder(symbols[None])
        source, place = places(frame_counts(logs[0]))
        mean, pitch = voice.expander(encoded[:, source], place[None])
    runner = EngineRun(bundle, "text_encode").runner
    (text,) = runner.run("text_encode", [Row((), {"symbols": symbols.numpy()})])
    assert text.error is None
    np.testing.assert_allclose(text.outputs["encoded"], encoded[0], atol=1e-5)
    np.testing.assert_allclose(text.outputs["log_durations"], logs[0], atol=1e-5)
    inputs = {"encoded": text.outputs["encoded"], "source": source.numpy(), "place": place.numpy()}
    (frames,) = runner.run("expand", [Row((), inputs)])
    assert frames.error is None
    np.testing.assert_allclose(frames.outputs["prior"][:, :MELS], mean[0], atol=1e-5)
    np.testing.assert_array_equal(frames.outputs["prior"][:, MELS:], pitch[0])


def test_the_bundle_checks(bundle: Path) -> None:
    """Files, roles and reference runs are what the server expects, and state is updated in place."""
    report = check_bundle(bundle)
    assert report.ok, [check for check in report.checks if not check.ok]
    manifest = load_bundle(bundle).manifest
    assert manifest.task.parameters["delay_samples"] == 720
    assert {graph.name for graph in manifest.graphs if graph.max_batch == 1} == {"text_encode", "expand"}


def test_training_can_begin_from_a_bundle(voice: Voice, vocoder: Vocoder, bundle: Path) -> None:
    """All parameters come back as they were exported."""
    for model, other, weights in (
        (voice, toy_voice(seed=1), acoustic_weights(bundle)), (vocoder, toy_vocoder(seed=1), vocoder_weights(bundle))
    ):  # fmt: skip
        begin_from(other, weights)
        found = dict(other.named_parameters())
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(found[name].data, parameter.data, rtol=0, atol=0, msg=name)
        with pytest.raises(ValueError, match=r"^expected weights called .*, got none$"):
            begin_from(other, {})
