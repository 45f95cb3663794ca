"""The program `beam_search`: one call of the encoder for all streams of a batch, then one of the joiner per frame."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamer.tasks.beam import Advance, Beam, Scorer, Search, Weighted
from streamer.tasks.hotwords import HotwordScorer, HotwordTrie
from streamer.tasks.joint import Joint
from streamer.work import Array, Call, Row, Tensors

# In the outputs, a place that no hypothesis fills.
NOBODY = -1


@dataclass
class _Stream:
    """One row while the program runs."""

    row: Row
    search: Search
    scorers: list[Weighted]
    beam: Beam
    encoded: Array
    n_valid: int
    first_frame: int | None
    news: list[Advance] = field(default_factory=list)


class BeamProgram:
    """A `streamer.work.Program` for bundles with a `Joint`.

    A row's inputs are the audio, the beam (`Beam.tensors`) but at the start of a text, `width` i64[], `lm_scale` f64[],
    and the hotwords (`HotwordTrie.tensors`) if there are any. Its outputs are the new beam, `frames`
    i64[] and, where the graph says, `first_frame` i64[]; for every frame `parents`, `tokens` i64 and `logps` f32
    `[frames, width]`; and `order` and `totals` `[K]`: which hypotheses would be best if the text ended here, and their
    scores then.
    """

    def __init__(
        self, joint: Joint, audio: str, blank: int, forbidden: Sequence[int], model: Scorer | None, starts_word: Array
    ) -> None:
        self._joint = joint
        self._audio = audio
        self._blank = blank
        self._forbidden = tuple(forbidden)
        self._model = model
        self._starts_word = starts_word

    def __call__(self, rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
        """Search one chunk of every row."""
        calls = [Row(row.leases, {self._audio: row.inputs[self._audio]}, row.start) for row in rows]
        outputs = yield Call(self._joint.step.name, calls)
        streams = [self._open(row, found) for row, found in zip(rows, outputs, strict=True)]
        for frame in range(max(stream.n_valid for stream in streams)):
            active = [stream for stream in streams if frame < stream.n_valid]
            answers = yield Call(self._joint.graph.name, [self._row(stream, frame) for stream in active])
            for stream, answer in zip(active, answers, strict=True):
                _advance(stream, answer[self._joint.log_probs])
        return [_outputs(stream) for stream in streams]

    def _open(self, row: Row, outputs: Tensors) -> _Stream:
        step, encoded = self._joint.step, np.asarray(outputs[self._joint.encoded])
        n_valid = len(encoded) if step.n_valid is None else int(outputs[step.n_valid].item())
        first = None if step.first_frame is None else int(outputs[step.first_frame].item())
        bonus = self._joint.bonus_at(float(row.inputs["lm_scale"]))
        search = Search(int(row.inputs["width"]), self._blank, self._forbidden, bonus)
        n_valid, scorers = min(max(n_valid, 0), len(encoded)), self._scorers(row)
        beam = Beam.of(row.inputs)
        if beam is None:
            beam = Beam.start(self._joint.start_context(self._blank), [each.scorer.start for each in scorers])
        return _Stream(row, search, scorers, beam, encoded, n_valid, first)

    def _scorers(self, row: Row) -> list[Weighted]:
        """The language model, if it has a say, and the hotwords: the same for every step of a stream."""
        scale = float(row.inputs["lm_scale"])
        scorers = [Weighted(self._model, scale)] if self._model is not None and scale else []
        trie = HotwordTrie.of(row.inputs)
        return scorers if trie is None else [*scorers, Weighted(HotwordScorer(trie, self._starts_word), 1.0)]

    def _row(self, stream: _Stream, frame: int) -> Row:
        """One row of the joiner, filled up to the stream's width so that equal widths share a call."""
        missing = stream.search.width - len(stream.beam)
        contexts = np.pad(stream.beam.contexts, ((0, max(missing, 0)), (0, 0)))
        inputs = {self._joint.entry: stream.encoded[frame], self._joint.contexts: contexts}
        # The leases are not the joiner's, but tell whose row is at fault if one is.
        return Row(stream.row.leases, inputs)


def _advance(stream: _Stream, log_probs: Array) -> None:
    # A faulted row is answered with nothing; its result is dropped in the end.
    if len(log_probs):
        news = stream.search.advance(stream.beam, log_probs[: len(stream.beam)], stream.scorers)
        stream.news.append(news)
        stream.beam = news.beam


def _outputs(stream: _Stream) -> Tensors:
    totals = stream.beam.totals(stream.scorers)
    shape = (len(stream.news), stream.search.width)
    parents, tokens = np.full(shape, NOBODY, np.int64), np.full(shape, NOBODY, np.int64)
    logps = np.zeros(shape, np.float32)
    for frame, news in enumerate(stream.news):
        for table, row in ((parents, news.parents), (tokens, news.tokens), (logps, news.logps)):
            table[frame, : len(row)] = row
    outputs: dict[str, Array] = {
        **stream.beam.tensors(),
        "parents": parents,
        "tokens": tokens,
        "logps": logps,
        "totals": totals,
        "order": np.argsort(-totals, kind="stable"),
        "frames": np.array(len(stream.news)),
    }
    return outputs if stream.first_frame is None else {**outputs, "first_frame": np.array(stream.first_frame)}
