"""The program `token_voice`: text to speech tokens to sound, for all streams of a batch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import structlog

from streamer.tasks.token_asks import Ask, Asks, Named
from streamer.tasks.token_drawing import utterance_seed
from streamer.tasks.token_model import TokenModel
from streamer.tasks.token_sound import NOTHING, Making
from streamer.tasks.token_text import closed
from streamer.tasks.token_work import Progress, TokenDone, TokenVoicing, TokenWork, pack_token_done, unpack_token_work
from streamer.tasks.voice_work import NewPiece, Utterance
from streamer.work import Array, Call, Row, Tensors

_ALL_STATES_GO_ON: frozenset[str] = frozenset()

log = structlog.get_logger()


class TokenProgram:
    """A `streamer.work.Program` for a `TokenModel`. A row's input is a `TokenWork`, its output a `TokenDone`.

    A step is up to one chunk of sound, and all tokens that it needs: as many calls of the language model as the row
    that lacks most of them has to make, with all that lack any, then one call of each graph after it. What goes wrong
    with one row is the fault of its stream alone.
    """

    def __init__(self, model: TokenModel) -> None:
        self._model = model
        calls = (model.spell, model.lm.call, *model.sound.calls)
        # Graphs in the order in which a stream asks for them.
        self._order = [call.graph.name for call in calls if call is not None]

    def __call__(self, rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
        """Do the work of every row."""
        streams = [_Stream(row, self._step(unpack_token_work(row.inputs))) for row in rows]
        while asking := [stream for stream in streams if stream.ask is not None]:
            # Those who ask for an earlier graph first, so that they are there when the later one is called.
            graph = next(name for name in self._order if any(stream.asks_for(name) for stream in asking))
            called = [stream for stream in asking if stream.asks_for(graph)]
            answers = yield Call(graph, [stream.asked_row() for stream in called])
            for stream, answer in zip(called, answers, strict=True):
                stream.go_on(answer)
        return [pack_token_done(stream.done) for stream in streams]

    def _step(self, work: TokenWork) -> Asks[TokenDone]:
        progress = work.progress
        if work.piece is not None:
            utterance = yield from self._utterance(work.piece)
            symbols = utterance.symbols[utterance.begin : utterance.end].tolist()
            scripts = self._model.composer.add(progress.scripts, symbols, utterance.ends_sentence)
            progress = replace(progress, scripts=scripts)
        if work.closes:
            progress = replace(progress, scripts=closed(progress.scripts))
        progress, pcm = yield from self._speak(progress, work.voicing)
        return TokenDone(progress, pcm)

    def _utterance(self, piece: NewPiece) -> Asks[Utterance]:
        """What is spoken of a piece, after its unknown words were spelled."""
        call, sounds = self._model.spell, []
        if call is not None:
            for letters in piece.words:
                answer = yield Ask(call, {"letters": letters})
                sounds.append(answer["sounds"])
        return piece.plan(sounds)

    def _speak(self, progress: Progress, voicing: TokenVoicing) -> Asks[tuple[Progress, Array]]:
        """The next chunk of the first utterance, if there are tokens enough."""
        if not progress.scripts:
            return progress, NOTHING
        script, prompt = progress.scripts[0], self._model.prompts[voicing.voice]
        how = Making(utterance_seed(voicing.seed, progress.number), voicing.temperature, prompt)
        wanted = self._model.sound.wanted(progress.sound, prompt)
        lm = yield from self._model.lm.say(progress.lm, script, voicing.in_blocks, how.seed, wanted, prompt)
        progress = replace(progress, lm=lm)
        if len(lm.said) < wanted and not lm.is_over:
            return progress, NOTHING
        sound, pcm = yield from self._model.sound.make(progress.sound, lm.said, lm.is_over, how)
        if sound.is_over:
            return Progress(progress.scripts[1:], progress.number + 1), pcm
        return replace(progress, sound=sound), pcm


class _Stream:
    """One row while the program runs: what it asks for now, and when it asks for no more what came of it."""

    def __init__(self, row: Row, work: Asks[TokenDone]) -> None:
        self._row, self._work = row, work
        self.ask: Ask | None = None
        self.done = TokenDone(Progress(), NOTHING)
        self._advance(None)

    def asks_for(self, graph: str) -> bool:
        """Whether it waits for an answer of `graph`."""
        return self.ask is not None and self.ask.call.graph.name == graph

    def asked_row(self) -> Row:
        """The row that it asks to be called."""
        assert self.ask is not None
        call = self.ask.call
        start = frozenset(call.graph.groups) if self.ask.start else _ALL_STATES_GO_ON
        return Row(self._row.leases, {call.names[role]: array for role, array in self.ask.inputs.items()}, start)

    def go_on(self, answer: Tensors) -> None:
        """Take the outputs of that row."""
        assert self.ask is not None
        self._advance({role: answer[name] for role, name in self.ask.call.names.items() if name in answer})

    def _advance(self, answer: Named | None) -> None:
        self.ask = None
        try:
            self.ask = next(self._work) if answer is None else self._work.send(answer)
        except StopIteration as end:
            self.done = end.value
        except Exception as error:
            log.exception("a stream of tokens failed")
            self.done = replace(self.done, fault=type(error).__name__)
