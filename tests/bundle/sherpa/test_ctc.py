"""Greedy CTC search in the graph against a loop over frames."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.ctc import add_greedy_ctc

VOCABULARY = 4


def session(frames: int, blank: int) -> ort.InferenceSession:
    builder = GraphBuilder()
    scores = builder.input("scores", "TYPE_FP32", [frames, VOCABULARY])
    ids, logps = add_greedy_ctc(builder, scores, blank)
    builder.output("ids", ids, "TYPE_INT64", [frames])
    builder.output("logps", logps, "TYPE_FP32", [frames])
    return ort.InferenceSession(builder.model().SerializeToString(), providers=["CPUExecutionProvider"])


def search(scores: np.ndarray, chunk: int, blank: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and log-probabilities of `scores` [B, T, V], in chunks."""
    graph, memory = session(chunk, blank), np.full((len(scores) + 1, 1), 2)
    slots, found = np.arange(len(scores))[::-1].copy(), []
    for begin in range(0, scores.shape[1], chunk):
        starts = np.full(len(scores), begin == 0)
        feeds = {"scores": scores[:, begin : begin + chunk], "slots_stream": slots, "start_search": starts}
        ids, logps, memory = graph.run(["ids", "logps", "last_token_out"], {**feeds, "last_token": memory})
        found.append((ids, logps))
    ids, logps = (np.concatenate(parts, 1) for parts in zip(*found, strict=True))
    return ids, logps


def reference(scores: np.ndarray, blank: int) -> list[int]:
    """What CTC says of the frames of one stream: the best token where it differs from that of the frame before."""
    best = scores.argmax(1).tolist()
    return [
        token if token not in (blank, before) else blank for before, token in zip([None, *best], best, strict=False)
    ]


@pytest.mark.parametrize("blank", [0, VOCABULARY - 1])
@pytest.mark.parametrize("chunk", [1, 3, 12])
def test_chunks_say_what_the_whole_says(chunk: int, blank: int) -> None:
    """A token that goes on over the end of a chunk is said once, and again after a blank, for every row of a batch."""
    scores = np.random.default_rng(0).standard_normal((3, 12, VOCABULARY)).astype(np.float32)
    scores[0, :, 1] += 2
    scores[1, :, blank] += 1
    ids, logps = search(scores, chunk, blank)
    assert ids.tolist() == [reference(row, blank) for row in scores]
    log_probs = scores - np.log(np.exp(scores).sum(2, keepdims=True))
    expected = np.where(ids == blank, 0, log_probs.max(2))
    np.testing.assert_allclose(logps, expected, atol=1e-6)


def test_a_search_that_starts_says_its_first_token_again() -> None:
    """What the slot's last owner said last does not count."""
    scores = np.zeros((1, 1, VOCABULARY), np.float32)
    scores[..., 2] = 1
    ids, _ = search(scores, 1, 0)
    assert ids.tolist() == [[2]]
