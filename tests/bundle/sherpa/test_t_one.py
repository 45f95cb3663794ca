"""Import of T-one's streaming CTC models, against sherpa-onnx itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sherpa_onnx

from streamer.bundle.sherpa.source import TOKENS, Source, find_files, read_model
from streamer.bundle.sherpa.t_one import import_t_one_ctc
from streamer.errors import BundleError
from streamer.tasks.tokens import read_tokens
from tests.bundle.sherpa import t_one_toys as toys
from tests.bundle.sherpa.graph_streams import GraphStreams
from tests.bundle.sherpa.peer import hear, signals

SIGNALS = [2.5 * signal for signal in signals(3.0, 2.1, 0.9, rate=toys.RATE)]


def source(folder: Path) -> Source:
    models = {part: read_model(path) for part, path in find_files(folder).items()}
    return Source(models, folder / TOKENS, read_tokens(folder / TOKENS).pieces)


def peer(folder: Path) -> Any:
    files = {name: str(folder / file) for name, file in (("tokens", TOKENS), ("model", "model.onnx"))}
    return sherpa_onnx.OnlineRecognizer.from_t_one_ctc(num_threads=1, **files)


def test_samples_are_the_integers_of_sherpa_onnx(tmp_path: Path) -> None:
    """Positive and negative samples are scaled and cut to the same integers."""
    folder = toys.write_echo(tmp_path)
    (said,) = GraphStreams(import_t_one_ctc(source(folder))).run(SIGNALS[:1], False)
    heard = hear(peer(folder), SIGNALS[0], toys.PIECES, rate=toys.RATE).ids
    assert len(heard) > 50
    assert [token.id for token in said][: len(heard)] == heard


def test_says_what_sherpa_onnx_says(tmp_path: Path) -> None:
    """Ids and times are those of sherpa-onnx in a ragged batch and alone."""
    folder = toys.write_model(tmp_path)
    recogniser = peer(folder)
    graph = GraphStreams(import_t_one_ctc(source(folder)))
    together, alone = (graph.run(SIGNALS, batched) for batched in (True, False))
    assert together == alone
    for signal, said in zip(SIGNALS, together, strict=True):
        heard = hear(recogniser, signal, toys.PIECES, rate=toys.RATE)
        assert len(heard.ids) > 3
        assert [token.id for token in said[: len(heard.ids)]] == heard.ids
        np.testing.assert_allclose([token.frame * 0.03 for token in said[: len(heard.ids)]], heard.times, atol=1e-5)


def test_blocks_are_raw_audio_at_the_rate_of_the_model(tmp_path: Path) -> None:
    """Blocks of 300 ms at 8 kHz follow each other without overlap."""
    built = import_t_one_ctc(source(toys.write_model(tmp_path)))
    (graph,) = built.graphs
    assert graph.audio is not None
    assert (built.sample_rate, graph.audio.chunk_samples, graph.audio.hop_samples) == (8000, 2400, 2400)
    assert (built.parameters["frame_samples"], graph.max_batch) == (240, None)


def test_clipped_audio_stays_in_range(tmp_path: Path) -> None:
    """Samples beyond full scale are taken as full scale."""
    graph = GraphStreams(import_t_one_ctc(source(toys.write_model(tmp_path))))
    loud = np.sign(SIGNALS[0]).astype(np.float32)
    (expected,), (found,) = graph.run([loud], False), graph.run([4 * loud], False)
    assert found == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_dim": None}, "model.onnx: metadata lacks state_dim"),
        ({"state_dim": 7}, r"input state: expected TYPE_FP16 \[batch, 7\], got TYPE_FP16 \[open, 6\]"),
        (
            {"frame_length_ms": 200},
            r"input x: expected TYPE_INT32 \[batch, 1600, 1\], got TYPE_INT32 \[open, 2400, 1\]",
        ),
        ({"sample_rate": 8001}, "expected blocks of whole samples, got 300 ms at 8001 Hz"),
    ],
)
def test_metadata_that_does_not_fit_the_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """What is missing in the metadata, or disagrees with the file, is named."""
    with pytest.raises(BundleError, match=message):
        import_t_one_ctc(source(toys.write_model(tmp_path, **changes)))
