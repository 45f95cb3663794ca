"""Import of WeNet's streaming CTC models, against sherpa-onnx itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sherpa_onnx

from streamer.bundle.sherpa.source import TOKENS, Source, find_files, read_model
from streamer.bundle.sherpa.wenet import import_wenet_ctc
from streamer.errors import BundleError
from streamer.tasks.tokens import read_tokens
from tests.bundle.sherpa import wenet_toys as toys
from tests.bundle.sherpa.graph_streams import GraphStreams
from tests.bundle.sherpa.peer import hear, signals
from tests.bundle.sherpa.toy_files import write_tokens

# Long enough for every cached frame to have been masked, then used, then forgotten.
SIGNALS = signals(3.0, 2.1)


def source(folder: Path) -> Source:
    models = {part: read_model(path) for part, path in find_files(folder).items()}
    return Source(models, folder / TOKENS, read_tokens(folder / TOKENS).pieces)


def peer(folder: Path, chunk: int, left: int) -> Any:
    files = {name: str(folder / file) for name, file in (("tokens", TOKENS), ("model", "model.onnx"))}
    return sherpa_onnx.OnlineRecognizer.from_wenet_ctc(num_threads=1, chunk_size=chunk, num_left_chunks=left, **files)


def test_says_what_sherpa_onnx_says(tmp_path: Path) -> None:
    """Ids and times are those of sherpa-onnx, though dirty slots of other streams lie beside."""
    folder = toys.write_model(tmp_path)
    recogniser = peer(folder, toys.CHUNK, toys.LEFT)
    for signal, said in zip(SIGNALS, GraphStreams(import_wenet_ctc(source(folder))).run(SIGNALS, False), strict=True):
        heard = hear(recogniser, signal, toys.PIECES)
        assert len(heard.ids) > 5
        assert [token.id for token in said[: len(heard.ids)]] == heard.ids
        times = [token.frame * 0.04 for token in said[: len(heard.ids)]]
        np.testing.assert_allclose(times, heard.times, atol=1e-5)


def test_an_endpoint_is_that_of_sherpa_onnx(tmp_path: Path) -> None:
    """Where the search starts anew, positions and caches do too, and the audio goes on."""
    folder = toys.write_model(tmp_path)
    graph = GraphStreams(import_wenet_ctc(source(folder)))
    for signal, said in zip(SIGNALS, graph.run(SIGNALS, False, anew=4), strict=True):
        heard = hear(peer(folder, toys.CHUNK, toys.LEFT), signal, toys.PIECES, anew=4).ids
        assert heard
        assert [token.id for token in said if token.frame >= 4 * toys.CHUNK][: len(heard)] == heard


@pytest.mark.parametrize(("positions", "chunks"), [(64, 6), (71, 6), (72, 7)])
def test_a_stream_starts_anew_at_the_end_of_the_table(tmp_path: Path, positions: int, chunks: int) -> None:
    """Where no position is left for a chunk, caches and positions start anew, and the audio goes on."""
    (tmp_path / "short").mkdir()
    (tmp_path / "long").mkdir()
    short, long = (
        GraphStreams(import_wenet_ctc(source(toys.write_model(tmp_path / name, size))))
        for name, size in (("short", positions), ("long", 1 << 10))
    )
    left = toys.LEFT * toys.CHUNK
    assert chunks == (positions - left) // toys.CHUNK
    for limited, anew in zip(
        short.steps(SIGNALS[:1], False)[0], long.steps(SIGNALS[:1], False, chunks)[0], strict=True
    ):
        # A token that goes on is not said again.
        both = limited["token_ids"][1:], anew["token_ids"][1:]
        np.testing.assert_array_equal(*both)


def test_the_chunk_is_that_of_the_metadata(tmp_path: Path) -> None:
    """Chunk and left context come from the file; caches without a batch axis allow one stream at a time."""
    built = import_wenet_ctc(source(toys.write_model(tmp_path)))
    (graph,) = built.graphs
    assert graph.max_batch == 1
    assert graph.audio is not None
    assert (graph.audio.hop_samples, graph.audio.chunk_samples) == (8 * 4 * 160, 34 * 160 + 280)
    assert {state.name: (state.dims, state.initial_state) for state in graph.builder.states} == {
        "carry": ((120,), 0),
        "offset": ((), 16),
        "attention": ((2, 2, 16, 6), 0),
        "convolution": ((2, 1, 6, 4), 0),
        "last_token": ((1,), -1),
    }
    assert built.parameters["frame_samples"] == 640


def test_without_a_chunk_in_the_metadata_that_of_sherpa_onnx_is_taken(tmp_path: Path) -> None:
    """sherpa-onnx has 16 frames of 40 ms and 4 chunks of left context unless told otherwise; this file has 8."""
    folder = toys.write_model(tmp_path, chunk_size=None, left_chunks=None)
    with pytest.raises(BundleError, match="model.onnx: cannot run on what its metadata promises"):
        import_wenet_ctc(source(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": None}, "model.onnx: metadata lacks head"),
        ({"vocab_size": 13}, r"expected an output of \[1, 8, 13\], got \[1, 8, 12\]"),
        (
            {"cnn_module_kernel": 6},
            r"input convolution: expected TYPE_FP32 \[2, 1, 6, 5\], got TYPE_FP32 \[2, 1, 6, 4\]",
        ),
        ({"num_blocks": 3}, r"input attention: expected TYPE_FP32 \[3, 2, 16, 6\], got TYPE_FP32 \[2, 2, open, 6\]"),
        ({"right_context": 2}, "metadata right_context: expected at least 3, got 2 for a subsampling_factor of 4"),
        ({"chunk_size": 0}, "metadata chunk_size: expected an integer from 1, got '0'"),
    ],
)
def test_metadata_that_does_not_fit_the_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """What is missing in the metadata, or disagrees with the file, is named."""
    with pytest.raises(BundleError, match=message):
        import_wenet_ctc(source(toys.write_model(tmp_path, **changes)))


def test_tokens_without_a_blank_are_refused(tmp_path: Path) -> None:
    """CTC needs a blank, and tokens.txt must say which it is."""
    folder = toys.write_model(tmp_path)
    write_tokens(folder, ["<nothing>", *toys.PIECES[1:]])
    with pytest.raises(BundleError, match="tokens.txt: expected one of <blk>, <eps>, <blank>, got none"):
        import_wenet_ctc(source(folder))
