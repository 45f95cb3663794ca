"""Import of streaming Paraformer, against sherpa-onnx and against its definition chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
import pytest
import sherpa_onnx

from streamer.bundle.sherpa.paraformer import import_paraformer
from streamer.bundle.sherpa.source import TOKENS, Source, find_files, read_model
from streamer.errors import BundleError
from streamer.tasks.tokens import read_tokens
from tests.bundle.sherpa import paraformer_toys as toys
from tests.bundle.sherpa.graph_streams import GraphStreams
from tests.bundle.sherpa.peer import hear, signals
from tests.bundle.sherpa.reference_features import features

SIGNALS = [
    signal + 0.02 * np.random.default_rng(5).standard_normal(len(signal)).astype(np.float32)
    for signal in signals(4.0, 2.7)
]
RATES = [0.0, 2.0, -2.0, -4.0]


def source(folder: Path) -> Source:
    models = {part: read_model(path) for part, path in find_files(folder).items()}
    return Source(models, folder / TOKENS, read_tokens(folder / TOKENS).pieces)


def peer(folder: Path) -> Any:
    files = {part: str(folder / f"{part}.onnx") for part in ("encoder", "decoder")}
    return sherpa_onnx.OnlineRecognizer.from_paraformer(num_threads=1, tokens=str(folder / TOKENS), **files)


class Step(NamedTuple):
    """What a chunk should say: ids and log-probabilities by row, and of the tail or None."""

    rows: dict[int, tuple[int, float]]
    tail: tuple[int, float] | None


def definition(folder: Path, signal: np.ndarray) -> Iterator[Step]:
    """FunASR's loop over the chunks of a signal, with nothing but the two files."""
    encoder, decoder = (
        ort.InferenceSession(str(folder / f"{part}.onnx"), providers=["CPUExecutionProvider"])
        for part in ("encoder", "decoder")
    )
    overlap, total, gathered = np.zeros((8, toys.ROW)), 0.0, np.zeros(toys.WIDTH)
    caches = [np.zeros((1, toys.WIDTH, toys.KERNEL - 1), np.float32)] * toys.BLOCKS
    for chunk in range((len(signal) - 10000) // 9600 + 1):
        frames = features("paraformer", signal, 60 * chunk, 61)
        stacked = np.stack([frames[6 * row : 6 * row + 7].ravel() for row in range(10)])
        normal = (stacked + toys.MEAN) * toys.DEVIATION * np.sqrt(toys.WIDTH)
        place = (10 * chunk + np.arange(1, 11))[:, None] * 1e4 ** (-np.arange(280) / 279)
        rows = np.concatenate([overlap, normal + np.concatenate([np.sin(place), np.cos(place)], 1)])
        overlap = rows[-8:]
        feeds = {"x": rows[None].astype(np.float32), "length": np.array([18], np.int32)}
        encoded, count, weights = encoder.run(None, feeds)
        fired, embeddings = [], []
        for row in range(5, 15):
            weight = weights[0, row]
            if total + weight < 1:
                total, gathered = total + weight, gathered + weight * encoded[0, row]
                continue
            fired.append(row - 5)
            embeddings.append(gathered + (1 - total) * encoded[0, row])
            total += weight - 1
            gathered = total * encoded[0, row]
        found, caches = decode(decoder, encoded, count, embeddings, caches)
        tail, _ = decode(decoder, encoded, count, [gathered] if total + 0.45 >= 1 else [], caches)
        yield Step(
            {row: token for row, token in zip(fired, found, strict=True) if token[0] > 2},
            next((token for token in tail if token[0] > 2), None),
        )


def decode(
    decoder: ort.InferenceSession, encoded: np.ndarray, count: np.ndarray, embeddings: list[np.ndarray],
    caches: list[np.ndarray],
) -> tuple[list[tuple[int, float]], list[np.ndarray]]:  # fmt: skip
    if not embeddings:
        return [], caches
    feeds = {"frames": encoded, "frame_count": count, "embeds": np.stack(embeddings)[None].astype(np.float32)}
    feeds["embed_count"] = np.array([len(embeddings)], np.int32)
    feeds |= {f"cache{block}": cache for block, cache in enumerate(caches)}
    logits, ids, *after = decoder.run(None, feeds)
    log_probs = logits[0] - np.log(np.exp(logits[0]).sum(1, keepdims=True))
    return [(int(token), float(row[token])) for token, row in zip(ids[0], log_probs, strict=True)], after


@pytest.mark.parametrize("rate", RATES)
def test_says_what_sherpa_onnx_says(tmp_path: Path, rate: float) -> None:
    """Ids are those of sherpa-onnx, which says start and end of sentence too, from many tokens a chunk to none."""
    folder = toys.write_model(tmp_path, rate)
    recogniser = peer(folder)
    for signal, said in zip(SIGNALS, GraphStreams(import_paraformer(source(folder))).run(SIGNALS, False), strict=True):
        heard = hear(recogniser, signal, toys.PIECES)
        assert [token.id for token in said] == [token for token in heard.ids if token > 2]
        assert heard.ids


@pytest.mark.parametrize("rate", [0.0, -4.0])
def test_rows_and_tail_are_those_of_the_definition(tmp_path: Path, rate: float) -> None:
    """Each token stands at the row that fired, with its log-probability; what is left over 0.55 is a token too."""
    folder = toys.write_model(tmp_path, rate)
    graph = GraphStreams(import_paraformer(source(folder)))
    tails = 0
    for outputs, expected in zip(graph.steps(SIGNALS[:1], False)[0], definition(folder, SIGNALS[0]), strict=True):
        ids, logps = outputs["token_ids"], outputs["token_logp"]
        assert {int(row): int(ids[row]) for row in np.flatnonzero(ids)} == {
            row: token for row, (token, _) in expected.rows.items()
        }
        np.testing.assert_allclose(
            [logps[row] for row in expected.rows], [logp for _, logp in expected.rows.values()], atol=1e-4
        )
        if expected.tail is None:
            assert outputs["tail_token_ids"].tolist() == [0]
        else:
            tails += 1
            assert outputs["tail_token_ids"].tolist() == [expected.tail[0]]
            np.testing.assert_allclose(outputs["tail_token_logp"], [expected.tail[1]], atol=1e-4)
    assert tails


def test_an_endpoint_is_that_of_sherpa_onnx(tmp_path: Path) -> None:
    """Where the search starts anew, positions, decoder and what has gathered do, and the overlap of chunks stays."""
    folder = toys.write_model(tmp_path)
    graph = GraphStreams(import_paraformer(source(folder)))
    (said,) = graph.run(SIGNALS[:1], False, anew=3)
    heard = [token for token in hear(peer(folder), SIGNALS[0], toys.PIECES, anew=3).ids if token > 2]
    assert heard
    assert [token.id for token in said if token.frame >= 30] == heard
    (gone_on,) = graph.run(SIGNALS[:1], False)
    assert [token.id for token in gone_on if token.frame >= 30] != heard


def test_a_decoder_may_return_more_than_it_takes(tmp_path: Path) -> None:
    """FunASR's decoder appends to its caches, of which only the last columns are read again."""
    (tmp_path / "long").mkdir()
    (tmp_path / "short").mkdir()
    folder = toys.write_model(tmp_path / "long", long_caches=True)
    (said,) = GraphStreams(import_paraformer(source(folder))).run(SIGNALS[:1], False)
    assert [token.id for token in said] == [
        token for token in hear(peer(folder), SIGNALS[0], toys.PIECES).ids if token > 2
    ]
    short = import_paraformer(source(toys.write_model(tmp_path / "short")))
    assert GraphStreams(short).run(SIGNALS[:1], False) == [said]


def test_a_segment_starts_with_nothing_gathered(tmp_path: Path) -> None:
    """With the group `search` started, only the rows that the encoder has yet to see again are left of the past."""
    graph = GraphStreams(import_paraformer(source(toys.write_model(tmp_path))))
    groups = {state.name: state.group for state in graph.builder.states}
    assert groups.pop("rows") == "encoder"
    assert set(groups) == {"position", "weight", "gathered", "decoder_0", "decoder_1"}
    assert set(groups.values()) == {"search"}


def test_times_are_those_of_the_rows_that_fired(tmp_path: Path) -> None:
    """Frames are rows of 60 ms; a chunk speaks of the three rows before it, and not yet of its own last three."""
    built = import_paraformer(source(toys.write_model(tmp_path)))
    (graph,) = built.graphs
    assert graph.audio is not None
    assert graph.max_batch == 1
    assert (graph.audio.chunk_samples, graph.audio.hop_samples) == (10000, 9600)
    assert built.parameters == {
        "blank_id": 0,
        "frame_samples": 960,
        "token_delay_samples": 2880,
        "flush_samples": 400 + 2880,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neg_mean": None}, "encoder.onnx: metadata lacks neg_mean"),
        ({"neg_mean": "1,2,three"}, "metadata neg_mean: expected numbers, got '1,2,three'"),
        ({"neg_mean": "1,nan"}, "metadata neg_mean: expected finite numbers, got '1,nan'"),
        ({"inv_stddev": "1,2"}, "metadata neg_mean and inv_stddev: expected as many, got 560 and 2"),
        ({"lfr_window_shift": 5}, r"expected rows of 7 frames every 6, got \(7, 5\)"),
        ({"decoder_num_blocks": 3}, "decoder.onnx: expected 7 inputs, got 6: frames, frame_count, embeds, embed_count"),
        (
            {"decoder_kernel_size": 5},
            r"input cache0: expected TYPE_FP32 \[batch, 16, 4\], got TYPE_FP32 \[open, 16, 3\]",
        ),
        (
            {"encoder_output_size": 8},
            r"input frames: expected TYPE_FP32 \[batch, any, 8\], got TYPE_FP32 \[open, open, 16\]",
        ),
        ({"vocab_size": 41}, "tokens.txt: expected the 41 ids of the model, lacks 40"),
    ],
)
def test_metadata_that_does_not_fit_the_files_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """What is missing in the metadata, or disagrees with the files, is named."""
    with pytest.raises(BundleError, match=message):
        import_paraformer(source(toys.write_model(tmp_path, **changes)))
