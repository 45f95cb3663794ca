"""The program `whisper`: of every stream of a batch one chunk is heard, encoded, and its text searched.

Each round of the search is one call of the decoder for all streams that still ask something.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.tasks import whisper_beam, whisper_greedy
from streamer.tasks.whisper import WhisperModel
from streamer.tasks.whisper_progress import Progress
from streamer.tasks.whisper_state import State
from streamer.tasks.whisper_tree import Answer, Ask
from streamer.tasks.whisper_window import Window
from streamer.work import Array, Call, Row, Tensors

# Lengths of caches that calls look at: rows of equal shapes share a call.
_AUDIO_LENGTHS = (64, 128, 256, 512, 768, 1024, 1280, 1500)
_LEAST_NODES, _LEAST_CELLS = 8, 64
# A whole text costs by its nodes, so from here on they are padded to the next multiple alone.
_NODES_STEP = 16
_ENCODER, _SEARCH = frozenset({"encoder"}), frozenset({"search"})

Calls = Generator[Call, Sequence[Tensors], None]
Asks = Generator[Ask, Answer, State]


@dataclass
class _Stream:
    """One row while the program runs.

    `kept` says how many tokens of the window before were final when it ended, and `seed` how many of them the new one
    began with; -1: the window is the same.
    """

    row: Row
    progress: Progress
    width: int
    kept: int = -1
    seed: int = -1
    # A graph failed for this row, or does not count as it should: nothing of it can be trusted.
    is_lost: bool = False

    def outputs(self) -> Tensors:
        """What the search of the stream is told; nothing of a stream that is lost."""
        if self.is_lost:
            return {}
        return {
            "progress": self.progress.array(),
            "restarted": np.array(bool(self.row.start)),
            "kept": np.array(self.kept),
            "seed": np.array(self.seed),
        }


class WhisperProgram:
    """A `streamer.work.Program` for a `WhisperModel`.

    A row's inputs are the audio, `progress` u8[n] (`Progress.array`) and `width` i64[]: hypotheses of a beam, 0 for
    greedy search. A row that starts states forgets all progress but the language. Its outputs are the new `progress`,
    `restarted` bool[], and if a new window began `kept` i64[], how many tokens of the old one are final, and `seed`
    i64[], with how many of these the new one begins; -1 if none began.
    """

    def __init__(self, model: WhisperModel) -> None:
        self._model = model

    def __call__(self, rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
        """Hear one chunk of every row."""
        streams = [self._open(row) for row in rows]
        yield from self._listen(streams)
        while encoding := [(stream, *due) for stream in streams if (due := self._due(stream)) is not None]:
            yield from self._encode(encoding)
        yield from self._decode([stream for stream in streams if self._is_to_decode(stream)])
        return [stream.outputs() for stream in streams]

    def _open(self, row: Row) -> _Stream:
        """Take up a row; a window that is to end ends now, so that the next one is decoded by the same step."""
        progress, width = Progress.of_array(row.inputs["progress"]), int(row.inputs["width"])
        prompt = self._model.prompt.before(progress.language)
        if row.start:
            return _Stream(row, Progress.start(prompt, progress.language), width)
        turned = progress.turned(self._model.windows, prompt, self._model.rules.look_back)
        if turned is None:
            return _Stream(row, progress, width)
        later, kept = turned
        return _Stream(row, later, width, kept, len(later.state.tokens))

    def _listen(self, streams: Sequence[_Stream]) -> Calls:
        pcm, heard = (self._model.names[role] for role in ("pcm", "heard"))
        groups = self._model.graph.groups
        rows = [Row(s.row.leases, {pcm: s.row.inputs[pcm]}, s.row.start.intersection(groups)) for s in streams]
        for stream, found in zip(streams, (yield Call(self._model.graph.name, rows)), strict=True):
            windows = stream.progress.windows
            frames = windows.heard + self._model.windows.gran
            # A frame is two rows of mel, and the one after them.
            stream.is_lost = int(found[heard]) != 2 * frames + 1
            stream.progress = replace(stream.progress, windows=windows.at(frames, self._model.windows))

    def _due(self, stream: _Stream) -> tuple[str, int] | None:
        """The window of a stream that is to be encoded next, and by how many frames."""
        windows, rules = stream.progress.windows, self._model.windows
        for name, window in (("live", windows.live), ("shadow", windows.shadow)):
            if not stream.is_lost and window is not None and (size := window.due(rules, windows.heard)):
                return name, size
        return None

    def _encode(self, encoding: Sequence[tuple[_Stream, str, int]]) -> Calls:
        """Encode a block of one window of each stream."""
        windows = [getattr(stream.progress.windows, name) for stream, name, _ in encoding]
        rows = [
            self._encode_row(stream, window, size) for (stream, _, size), window in zip(encoding, windows, strict=True)
        ]
        answers = yield Call(self._model.encode.name, rows)
        for (stream, name, size), window, found in zip(encoding, windows, answers, strict=True):
            grown = window.grown(size)
            stream.is_lost = int(found[self._model.names["encoded_frames"]]) != grown.count
            later = replace(stream.progress.windows, **{name: grown})
            stream.progress = replace(stream.progress, windows=later, has_begun=True)

    def _encode_row(self, stream: _Stream, window: Window, size: int) -> Row:
        inputs = {
            "offsets": np.arange(size),
            "window": np.arange(self._audio_length(window.count)),
            "origin": np.array(2 * window.origin),
            "bank": np.array(window.bank),
            "fresh": np.array(window.count == 0),
        }
        start = frozenset() if stream.progress.has_begun else _ENCODER
        return Row(stream.row.leases, self._named(inputs), start)

    def _is_to_decode(self, stream: _Stream) -> bool:
        """Whether the live window has news, and it is the chunk's turn."""
        progress, rules = stream.progress, self._model.windows
        live = progress.windows.live
        if stream.is_lost or live.count <= progress.decoded:
            return False
        chunk = progress.windows.heard // rules.gran
        return chunk % self._model.decode_every == 0 or progress.decoded == 0 or live.is_full(rules)

    def _decode(self, streams: Sequence[_Stream]) -> Calls:
        """Ask in rounds until every stream has its text."""
        searches = [(stream, self._search(stream)) for stream in streams]
        asking = [
            (stream, search, ask) for stream, search in searches if (ask := self._advance(stream, search)) is not None
        ]
        while asking:
            rows = [self._decode_row(stream, ask) for stream, _, ask in asking]
            answers = yield Call(self._model.decode.name, rows)
            asking = [
                (stream, search, ask)
                for (stream, search, asked), found in zip(asking, answers, strict=True)
                if (ask := self._next_ask(stream, search, asked, found)) is not None
            ]

    def _search(self, stream: _Stream) -> Asks:
        """The search of one chunk of one stream."""
        progress = stream.progress
        if not progress.knows_language:
            language = yield from self._hear_language()
            progress = replace(progress, state=State.start(self._model.prompt.before(language)))
        rules = replace(self._model.rules, width=max(stream.width, 1))
        advance = whisper_beam.advance if stream.width else whisper_greedy.advance
        return (yield from advance(progress.state, rules, progress.windows.live.count))

    def _hear_language(self) -> Generator[Ask, Answer, int]:
        """The id of the language that the model would begin a text with."""
        prompt = self._model.prompt
        languages = np.arange(prompt.first, prompt.first + len(prompt.languages))
        nodes, sees = np.array([prompt.sot]), np.ones((1, 1), bool)
        nowhere, none = np.zeros(1, np.int64), np.zeros((1, 0), bool)
        answer = yield Ask(nodes, nowhere, none, sees, 0, True, np.zeros_like(languages), languages, False)
        return int(languages[np.argmax(answer.check_logit)])

    def _next_ask(self, stream: _Stream, search: Asks, asked: Ask, found: Tensors) -> Ask | None:
        """What a stream asks next; None when its text is there, or the stream is lost."""
        count = len(asked.ask)
        columns = [np.asarray(found[self._model.names[name]])[:count] for name in Answer.__slots__]
        if any(len(column) < count for column in columns):
            search.close()
            stream.is_lost = True
            return None
        return self._advance(stream, search, Answer(*columns))

    def _advance(self, stream: _Stream, search: Asks, answer: Answer | None = None) -> Ask | None:
        try:
            return next(search) if answer is None else search.send(answer)
        except StopIteration as end:
            self._decoded(stream, end.value)
            return None

    def _decoded(self, stream: _Stream, state: State) -> None:
        progress = stream.progress.told(state)
        if progress.language < 0 and state.tokens:
            # Only a language in which something was said is sure enough for the windows that follow.
            progress = replace(progress, language=self._model.prompt.language_of(state.prompt))
        stream.progress = progress

    def _decode_row(self, stream: _Stream, ask: Ask) -> Row:
        live = stream.progress.windows.live
        nodes, asked = len(ask.tokens), len(ask.ask)
        n_nodes = self._nodes_length(nodes)
        n_cells = _at_least(ask.keep, _LEAST_CELLS, self._model.rules.cells)
        n_asked = _at_least(asked, 1, 1 << 20)
        fresh = np.eye(n_nodes, dtype=bool)
        fresh[:nodes, :nodes] = ask.fresh
        inputs = {
            "tokens": _padded(ask.tokens, (n_nodes,)),
            "places": _padded(ask.places, (n_nodes,)),
            "past": _padded(ask.past, (n_nodes, n_cells)),
            "fresh_nodes": fresh,
            "keep": np.array(ask.keep),
            "count": np.array(nodes),
            "audio": np.arange(self._audio_length(live.count)),
            "decode_bank": np.array(live.bank),
            "ask": np.pad(ask.ask, (0, n_asked - asked), mode="edge"),
            "check": np.pad(ask.check, (0, n_asked - asked), mode="edge"),
            "blank": np.array(ask.blank),
        }
        return Row(stream.row.leases, self._named(inputs), _SEARCH if ask.is_new else frozenset())

    def _nodes_length(self, nodes: int) -> int:
        most = self._model.rules.cells
        if nodes <= _NODES_STEP:
            return _at_least(nodes, _LEAST_NODES, most)
        return max(nodes, min(most, -(-nodes // _NODES_STEP) * _NODES_STEP))

    def _named(self, inputs: dict[str, Array]) -> Tensors:
        return {self._model.names[role]: array for role, array in inputs.items()}

    def _audio_length(self, frames: int) -> int:
        longest = self._model.windows.longest
        return next((length for length in _AUDIO_LENGTHS if frames <= length < longest), longest)


def _at_least(count: int, least: int, most: int) -> int:
    """The next power of two from `least` on, `most` where that is less."""
    return max(count, min(most, max(least, 1 << (count - 1).bit_length() if count else 0)))


def _padded(array: Array, shape: tuple[int, ...]) -> Array:
    return np.pad(array, [(0, most - size) for size, most in zip(array.shape, shape, strict=True)])
