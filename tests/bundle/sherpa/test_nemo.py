"""Import of NeMo's streaming models, against sherpa-onnx itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sherpa_onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from streamer.bundle.sherpa.nemo import import_nemo_ctc, import_nemo_transducer
from streamer.bundle.sherpa.source import TOKENS, Source, find_files, read_model
from streamer.errors import BundleError
from streamer.tasks.tokens import read_tokens
from tests.bundle.sherpa import nemo_toys as toys
from tests.bundle.sherpa.graph_streams import GraphStreams, Said
from tests.bundle.sherpa.peer import Heard, hear, signals
from tests.bundle.sherpa.toy_files import write_tokens

SIGNALS = signals(2.0, 2.7, 1.2)


def source(folder: Path) -> Source:
    models = {part: read_model(path) for part, path in find_files(folder).items()}
    return Source(models, folder / TOKENS, read_tokens(folder / TOKENS).pieces)


def ctc_peer(folder: Path) -> Any:
    files = {name: str(folder / file) for name, file in (("tokens", TOKENS), ("model", "model.onnx"))}
    return sherpa_onnx.OnlineRecognizer.from_nemo_ctc(num_threads=1, **files)


def transducer_peer(folder: Path) -> Any:
    files = {part: str(folder / f"{part}.onnx") for part in ("encoder", "decoder", "joiner")}
    return sherpa_onnx.OnlineRecognizer.from_transducer(num_threads=1, tokens=str(folder / TOKENS), **files)


def assert_same(said: Sequence[Said], heard: Heard) -> None:
    """sherpa-onnx waits for one more frame of features before a chunk, so it may be a chunk behind."""
    assert len(heard.ids) > 5
    common = said[: len(heard.ids)]
    assert [token.id for token in common] == heard.ids
    np.testing.assert_allclose([token.frame * 0.04 for token in common], heard.times, atol=1e-5)
    chunk = heard.times[-1] / 0.32
    assert all(token.frame * 0.04 / 0.32 >= int(chunk) for token in said[len(heard.ids) :])


def test_ctc_says_what_sherpa_onnx_says(tmp_path: Path) -> None:
    """Ids and times of a CTC model are those of sherpa-onnx, in a ragged batch and alone."""
    folder = toys.write_ctc(tmp_path)
    graph, recogniser = GraphStreams(import_nemo_ctc(source(folder))), ctc_peer(folder)
    together, alone = (graph.run(SIGNALS, batched) for batched in (True, False))
    for signal, said, single in zip(SIGNALS, together, alone, strict=True):
        assert_same(said, hear(recogniser, signal, toys.PIECES))
        assert [token[:2] for token in said] == [token[:2] for token in single]


@pytest.mark.parametrize("blank_bias", [2.0, 4.5, -9.0])
def test_a_transducer_says_what_sherpa_onnx_says(tmp_path: Path, blank_bias: float) -> None:
    """Ids, times and log-probabilities are those of sherpa-onnx, with few, many or always ten symbols in a frame."""
    folder = toys.write_transducer(tmp_path, blank_bias=blank_bias)
    graph, recogniser = GraphStreams(import_nemo_transducer(source(folder))), transducer_peer(folder)
    together, alone = (graph.run(SIGNALS, batched) for batched in (True, False))
    for signal, said, single in zip(SIGNALS, together, alone, strict=True):
        heard = hear(recogniser, signal, toys.PIECES)
        assert_same(said, heard)
        # Its features differ from their definition by up to 2e-4 itself.
        np.testing.assert_allclose([token.logp for token in said[: len(heard.ids)]], heard.logps, atol=5e-5)
        assert [token[:2] for token in said] == [token[:2] for token in single]


def test_a_frame_has_at_most_ten_symbols(tmp_path: Path) -> None:
    """Where blank never wins, every frame says ten symbols and the next frame goes on with the predictor as it is."""
    built = import_nemo_transducer(source(toys.write_transducer(tmp_path, blank_bias=-9.0)))
    (said,) = GraphStreams(built).run(SIGNALS[:1], batched=False)
    frames = [token.frame for token in said]
    assert frames == [frame for frame in range(frames[-1] + 1) for _ in range(10)]
    assert built.parameters["symbols_per_frame"] == 10


def test_a_search_that_starts_anew_forgets_its_tokens_alone(tmp_path: Path) -> None:
    """With the group `search` started, the predictor begins with a blank, and the encoder goes on."""
    graph = GraphStreams(import_nemo_transducer(source(toys.write_transducer(tmp_path))))
    states = {state.name: state.group for state in graph.builder.states}
    assert {name for name, group in states.items() if group == "search"} == {
        "predictor_hidden", "predictor_cell", "predicted"
    }  # fmt: skip
    rng = np.random.default_rng(0)
    arenas = {state.name: rng.integers(1, 3, (4, *state.dims)).astype(state.dtype) for state in graph.builder.states}
    for name, group in states.items():
        if group == "encoder":
            arenas[name][1] = arenas[name][0]
    feeds = {
        "pcm": np.stack([SIGNALS[0][: graph.audio.chunk_samples]] * 2), "slots_stream": np.array([0, 1]),
        "start_encoder": np.zeros(2, bool), "start_search": np.ones(2, bool),
    }  # fmt: skip
    first, second = graph.session.run(["token_ids"], {**feeds, **arenas})[0]
    np.testing.assert_array_equal(first, second)
    gone_on = graph.session.run(["token_ids"], {**feeds, "start_search": np.zeros(2, bool), **arenas})[0]
    assert not np.array_equal(gone_on[0], first)


@pytest.mark.parametrize(("batch", "decoder_batch", "expected"), [("N", "N", None), (1, "N", 1), ("N", 1, 1)])
def test_files_that_take_one_stream_make_a_graph_of_one(
    tmp_path: Path, batch: str | int, decoder_batch: str | int, expected: int | None
) -> None:
    """A fixed batch of one in any of the files limits the graph to one stream at a time."""
    built = import_nemo_transducer(source(toys.write_transducer(tmp_path, batch, decoder_batch)))
    assert built.graphs[0].max_batch == expected


def test_quantised_files_make_a_graph_of_one_that_says_the_same_as_sherpa_onnx(tmp_path: Path) -> None:
    """One scale for a whole batch would mix its streams, so files that quantise as they run take one at a time."""
    folder = toys.write_transducer(tmp_path)
    for path in sorted(folder.glob("*.onnx")):
        quantize_dynamic(path, tmp_path / "small", op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
        (tmp_path / "small").replace(path)
    built = import_nemo_transducer(source(folder))
    assert built.graphs[0].max_batch == 1
    (said,) = GraphStreams(built).run(SIGNALS[:1], batched=False)
    assert_same(said, hear(transducer_peer(folder), SIGNALS[0], toys.PIECES))


@pytest.mark.parametrize("about", [{"prompt_dictionary": '{"en": 3, "auto": 2}'}, {"auto_prompt_id": 4}])
def test_models_of_many_languages_are_told_to_find_the_language_out(tmp_path: Path, about: dict[str, Any]) -> None:
    """The prompt is that of sherpa-onnx for a stream of no language: `auto` of the dictionary, or else a number."""
    folder = toys.write_transducer(tmp_path, has_prompt=True, **about)
    graph, recogniser = GraphStreams(import_nemo_transducer(source(folder))), transducer_peer(folder)
    for signal, said in zip(SIGNALS, graph.run(SIGNALS, batched=True), strict=True):
        assert_same(said, hear(recogniser, signal, toys.PIECES))


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, "encoder.onnx: metadata lacks auto_prompt_id"),
        ({"prompt_dictionary": "auto"}, "metadata prompt_dictionary: expected an object with a number, got 'auto'"),
        ({"prompt_dictionary": "7"}, "metadata prompt_dictionary: expected an object with a number, got '7'"),
        ({"prompt_dictionary": '{"auto": "x"}'}, "metadata prompt_dictionary: expected an object with a number"),
    ],
)
def test_a_prompt_that_nobody_knows_is_refused(tmp_path: Path, about: dict[str, Any], message: str) -> None:
    """A model that takes a prompt must say which one stands for no language."""
    with pytest.raises(BundleError, match=message):
        import_nemo_transducer(source(toys.write_transducer(tmp_path, has_prompt=True, **about)))


def test_times_follow_the_subsampling_of_the_model(tmp_path: Path) -> None:
    """A frame lasts as long as the rows it was made of, and chunks follow each other by the model's shift."""
    built = import_nemo_ctc(source(toys.write_ctc(tmp_path)))
    audio = built.graphs[0].audio
    assert audio is not None
    assert built.parameters["frame_samples"] == toys.FACTOR * 160
    assert (audio.hop_samples, audio.chunk_samples) == (toys.SHIFT * 160, (toys.WINDOW - 1) * 160 + 280)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_size": None}, "encoder.onnx: metadata lacks window_size"),
        ({"chunk_shift": "many"}, "metadata chunk_shift: expected an integer from 1, got 'many'"),
        ({"chunk_shift": 36}, "expected chunk_shift <= window_size, got 36 and 35"),
        ({"subsampling_factor": 8}, "expected frames that cover the shift of a chunk, got 8 frames of 8 rows"),
        ({"window_size": 45}, r"input x: expected TYPE_FP32 \[batch, 80, 45\], got TYPE_FP32 \[open, 80, 35\]"),
        ({"cache_last_time_dim3": 9}, r"input time: expected TYPE_FP32 \[batch, 2, 6, 9\]"),
        ({"pred_rnn_layers": 1}, r"decoder.onnx: input h: expected TYPE_FP32 \[1, batch, 4\]"),
        ({"normalize_type": "per_feature"}, "metadata normalize_type: expected none, got 'per_feature'"),
        ({"vocab_size": 12}, "tokens.txt: expected the 13 ids of the model, lacks 12"),
    ],
)
def test_metadata_that_does_not_fit_the_files_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """What is missing in the metadata, or disagrees with the files, is named."""
    with pytest.raises(BundleError, match=message):
        import_nemo_transducer(source(toys.write_transducer(tmp_path, **changes)))


def test_blank_must_come_last(tmp_path: Path) -> None:
    """NeMo's blank follows its vocabulary; a tokens.txt that says otherwise belongs to another model."""
    folder = toys.write_ctc(tmp_path)
    write_tokens(folder, ["<blk>", *toys.PIECES[:-1]])
    with pytest.raises(BundleError, match="tokens.txt: expected <blk> as the last id 11, got 0"):
        import_nemo_ctc(source(folder))


def test_models_that_are_searched_in_another_way_are_refused(tmp_path: Path) -> None:
    """sherpa-onnx has another search for a decoder that names one, which is not this one."""
    models = source(toys.write_transducer(tmp_path))
    models.models["decoder"].metadata.values["streaming_model_type"] = "unified"
    with pytest.raises(BundleError, match="decoder.onnx: metadata streaming_model_type: expected none, got 'unified'"):
        import_nemo_transducer(models)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    """A file with another number of inputs is not what it is called; the message lists them."""
    right = source(toys.write_transducer(tmp_path))
    wrong = Source({**right.models, "decoder": right.models["encoder"]}, right.tokens, right.pieces)
    with pytest.raises(BundleError, match="encoder.onnx: expected 4 inputs, got 5: x, length, channel, time, count"):
        import_nemo_transducer(wrong)
