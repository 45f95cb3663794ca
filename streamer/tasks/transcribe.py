"""The host loop of recognisers: tokens of each chunk to interim and final transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from streamer.bundle.manifest import Audio, Graph
from streamer.tasks.base import TaskStep, Transcript
from streamer.tasks.decoding import Alternative
from streamer.tasks.endpoint import Endpoint, Endpointing, find_endpoint
from streamer.tasks.search import Search
from streamer.tasks.tokens import Writing
from streamer.tasks.words import Spelling, Timing, Token, confidence, group_words, join, place, spell
from streamer.work import Array, Tensors

SEARCH_GROUP = "search"


class Listener(Protocol):
    """What the host loop knows of a recogniser: the `graph` that hears audio, and what frames and tokens stand for."""

    @property
    def graph(self) -> Graph:
        """The graph that takes PCM."""

    @property
    def audio(self) -> Audio:
        """How it takes it."""

    @property
    def timing(self) -> Timing:
        """Where frames lie in the audio."""

    @property
    def flush_samples(self) -> int:
        """Silence needed after the last sample until every word has left the model."""

    @property
    def vocabulary(self) -> Writing:
        """How tokens are written."""


class Transcribe:
    """Implements `streamer.tasks.base.Task` for a `Recogniser` or a `WhisperModel`. `search` finds the tokens.

    At the first step every state group starts. When a segment ends by silence or `finish_segment`, only the group
    `search` starts anew, if the bundle has one; what the encoder has heard stays. A segment that reaches its maximal
    length is cut between words without touching the search: the word in progress moves to the next segment with its
    tokens, so it is neither cut nor lost. Only a single word longer than twice that length is cut.

    Rules are looked at once per chunk, so the transcripts do not depend on how the audio was cut into packets. Finals
    carry the `n_best` best texts if more than one is asked for.
    """

    def __init__(self, recogniser: Listener, endpointing: Endpointing, search: Search, n_best: int = 1) -> None:
        self._recogniser = recogniser
        self._search = search
        self._n_best = n_best
        self._rules = endpointing
        audio = self._recogniser.audio
        self.sample_rate = self._recogniser.timing.sample_rate
        self.chunk_samples = audio.chunk_samples
        self.hop_samples = audio.hop_samples
        self.delay_samples = audio.delay_samples
        self.flush_samples = self._recogniser.flush_samples
        self._start = frozenset(self._recogniser.graph.groups)
        self._chunks = 0
        self._frames = 0
        # The frame with which the model's states last started.
        self._started_at = 0
        # The open segment: its number, the frame at which waiting for its first word began. The search has its tokens.
        self._segment = 0
        self._since = 0
        # What its last interim said, and how many it had.
        self._text = ""
        self._revision = 0
        # Where the last final ended; no later word starts before.
        self._closed = 0

    def step(self, chunk: Array) -> TaskStep:
        """Turn the next chunk (float32 `[chunk_samples]`) into a step."""
        inputs = {self._recogniser.audio.input: chunk, **self._search.inputs()}
        return TaskStep(self._search.target, inputs, self._start)

    def complete(self, outputs: Tensors, is_padded: bool = False, interims: bool = True) -> Sequence[Transcript]:
        """Take the outputs of a step: an interim if the text changed, finals where the segment ends."""
        before = self._tokens
        self._frames = self._search.take(outputs, self._frames, self._started_at)
        self._start = frozenset()
        return self._after_chunk(before, is_padded, interims)

    def skip(self, is_padded: bool = False, interims: bool = True) -> Sequence[Transcript]:
        """Take the next chunk for silence: frames without tokens, to which the endpoint rules apply as ever.

        The next step starts all state groups anew: what it says must not depend on how long the silence was.
        """
        self._frames += self.hop_samples // self._recogniser.timing.frame_samples
        self._start, self._started_at = frozenset(self._recogniser.graph.groups), self._frames
        return self._after_chunk(self._tokens, is_padded, interims)

    def _after_chunk(self, before: Sequence[Token], is_padded: bool, interims: bool) -> Sequence[Transcript]:
        self._chunks += 1
        endpoint = None if is_padded else self._endpoint()
        if endpoint is Endpoint.MAX_SEGMENT:
            return [*self._cut(), *(self._interim() if interims else [])]
        if endpoint is not None:
            return self._close(end_of_turn=True)
        # Spelling a segment costs as much as it is long, so it is not done for nobody.
        return self._interim() if interims and self._tokens != before else []

    def end_at(self, sample: int) -> None:
        """Words that go on are ended by `finish_segment`."""

    def finish_segment(self) -> Sequence[Transcript]:
        """Close the open segment and let the next step search anew; returns its final, if it has any words."""
        return self._close(end_of_turn=False)

    def update(self, endpointing: Endpointing) -> None:
        """Take new endpoint rules from the next step on."""
        self._rules = endpointing

    def state(self) -> dict[str, Any]:
        """Return everything the task remembers, as JSON-compatible data."""
        return {
            "rules": asdict(self._rules),
            "start": sorted(self._start),
            "chunks": self._chunks,
            "frames": self._frames,
            "started_at": self._started_at,
            "segment": self._segment,
            "search": self._search.state(),
            "since": self._since,
            "text": self._text,
            "revision": self._revision,
            "closed": self._closed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._rules = Endpointing(**state["rules"])
        self._start = frozenset(state["start"])
        self._chunks, self._frames, self._started_at = state["chunks"], state["frames"], state["started_at"]
        self._segment, self._since = state["segment"], state["since"]
        self._search.restore(state["search"])
        self._text, self._revision = state["text"], state["revision"]
        self._closed = state["closed"]

    @property
    def _heard(self) -> int:
        """Position after the last sample that the model has seen."""
        return (self._chunks - 1) * self.hop_samples + self.chunk_samples if self._chunks else 0

    @property
    def _tokens(self) -> tuple[Token, ...]:
        return tuple(self._search.tokens)

    def _endpoint(self) -> Endpoint | None:
        seconds, tokens = self._recogniser.timing.frame_samples / self.sample_rate, self._tokens
        if not tokens:
            return find_endpoint(self._rules, False, (self._frames - self._since) * seconds, 0.0)
        silence = self._frames - 1 - tokens[-1].frame
        return find_endpoint(self._rules, True, silence * seconds, (self._frames - tokens[0].frame) * seconds)

    def _cut(self) -> Sequence[Transcript]:
        """End the segment for its length; the word in progress opens the next one."""
        tokens = self._tokens
        words = group_words(tokens, self._recogniser.vocabulary)
        carried = list(words[-1])
        if len(words) == 1:
            length_s = (self._frames - carried[0].frame) * self._recogniser.timing.frame_samples / self.sample_rate
            if length_s < 2 * self._rules.longest_s:
                return []
            carried = []
        end = self._recogniser.timing.sample(carried[0].frame) if carried else self._heard
        # What is final may not be taken back, so the other hypotheses go.
        self._search.settle()
        finals = self._final([tokens[: len(tokens) - len(carried)]], False, min(end, self._heard))
        if finals:
            self._open(carried, is_new=False)
        else:
            # All but the word in progress were tokens without text: the segment goes on as it was.
            self._search.restart(carried, is_new=False)
        return finals

    def _close(self, end_of_turn: bool) -> Sequence[Transcript]:
        finals = self._final(self._search.settle(), end_of_turn, self._heard)
        self._open([], is_new=True)
        groups = self._recogniser.graph.groups
        # Before the first step everything is to start anyway.
        self._start |= {SEARCH_GROUP} & set(groups)
        return finals

    def _open(self, tokens: Sequence[Token], is_new: bool) -> None:
        self._search.restart(tokens, is_new)
        self._since = self._frames
        self._text, self._revision = "", 0

    def _interim(self) -> Sequence[Transcript]:
        transcript = self._transcript(self._tokens, is_final=False, end_of_turn=False, end=self._heard)
        if transcript.text == self._text:
            return []
        self._text = transcript.text
        self._revision += 1
        return [transcript]

    def _final(self, texts: Sequence[Sequence[Token]], end_of_turn: bool, end: int) -> Sequence[Transcript]:
        transcript = self._transcript(texts[0], is_final=True, end_of_turn=end_of_turn, end=end)
        if not transcript.text:
            return []
        if self._n_best > 1:
            transcript = replace(transcript, alternatives=self._alternatives(texts))
        self._segment += 1
        self._closed = transcript.end_sample
        return [transcript]

    def _alternatives(self, texts: Sequence[Sequence[Token]]) -> tuple[Alternative, ...]:
        """The first `n_best` different texts; two hypotheses may spell the same words with other pieces."""
        found: dict[str, Alternative] = {}
        for tokens in texts:
            text = join(spell(tokens, self._recogniser.vocabulary, is_final=True))
            if text:
                found.setdefault(text, Alternative(text, confidence(tokens, self._search.calibration)))
        return tuple(found.values())[: self._n_best]

    def _transcript(self, tokens: Sequence[Token], is_final: bool, end_of_turn: bool, end: int) -> Transcript:
        words = spell(tokens, self._recogniser.vocabulary, is_final)
        text = join(words)
        limits = self._closed, max(end, self._closed)
        spans = place(words, self._recogniser.timing, *limits, self._search.calibration)
        return Transcript(
            segment_id=self._segment,
            revision=self._revision,
            text=text,
            stable_chars=len(text) if is_final else self._stable_chars(words),
            is_final=is_final,
            end_of_turn=end_of_turn,
            start_sample=spans[0].start_sample if spans else self._closed,
            end_sample=spans[-1].end_sample if spans else self._closed,
            confidence=confidence(tokens, self._search.calibration),
            words=spans,
        )

    def _stable_chars(self, words: Sequence[Spelling]) -> int:
        # The last word may still move to the next segment, and a beam may take back what its hypotheses do not share.
        agreed, stable = self._search.agreed, []
        for word in words[:-1]:
            agreed -= len(word.tokens)
            # The next token is shared too, or a hypothesis might still go on with the word.
            if agreed < 1:
                break
            stable.append(word)
        return len(join(stable))
