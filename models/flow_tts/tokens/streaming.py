"""Speech tokens to samples while they come: a chunk of the encoder's mask at a time.

A chunk is made as soon as the tokens ahead of it are there. The flow and the vocoder take any number of frames. All
noise depends on the seed and the number of its frame, so what comes out does not depend on how tokens arrive.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from models.common.slots import SlottedGraph
from models.flow_tts.config import FEATURES, FRAME, MELS, TEMPERATURE
from models.flow_tts.cosyvoice.config import TOKEN_FRAMES, Options
from models.flow_tts.cosyvoice.flow import Flow2
from models.flow_tts.cosyvoice.graphs import Part
from models.flow_tts.cosyvoice.reference import Calls, TorchCalls, pages_of
from models.flow_tts.cosyvoice.steps import EncodeStep
from models.flow_tts.serving import FlowStep, VocoderStep, flow_states, vocoder_states
from models.flow_tts.tokens.config import TOKENS_A_SECOND
from models.flow_tts.tokens.data import NOTHING
from models.flow_tts.tokens.flow import TokenFlow
from models.flow_tts.vocoder import DELAY, Vocoder
from streamer.tasks.voice_noise import Noise, normals

ENCODE, FLOW, VOCODER = "flow_encode_step", "flow_step", "vocoder_step"
SECONDS = 40
"""How long an utterance may be before the encoder forgets what is oldest."""
_NOTHING = np.zeros(0, np.float32)
_ALONE = np.array([-1])
# Frames after the last one until its last sample has come out.
_TAIL = -(-DELAY // FRAME)


def encode_step(flow: TokenFlow, chunk: int, pages: int) -> EncodeStep:
    """The encoder's step in chunks of `chunk` tokens, of which so many are looked back at."""
    # It asks for no more than the parts that `TokenFlow` has under the same names.
    return EncodeStep(cast(Flow2, flow), Options(chunk=chunk, pages=pages))


def graphs(flow: TokenFlow, vocoder: Vocoder, chunk: int, pages: int) -> dict[str, SlottedGraph]:
    """The graphs of tokens to samples by name."""
    encode = encode_step(flow, chunk, pages)
    return {
        ENCODE: SlottedGraph(encode, encode.inputs, encode.outputs, encode.states),
        FLOW: SlottedGraph(FlowStep(flow.flow), ["prior", "noise"], ["mel"], flow_states(flow.flow)),
        VOCODER: SlottedGraph(VocoderStep(vocoder), ["mel", "noise"], ["pcm"], vocoder_states(vocoder)),
    }


@dataclass(frozen=True)
class _Named:
    """A graph as `TorchCalls` takes it."""

    name: str
    made: SlottedGraph

    def graph(self) -> SlottedGraph:
        return self.made


def _torch_calls(made: Mapping[str, SlottedGraph]) -> Calls:
    return TorchCalls(cast(Sequence[Part], [_Named(*each) for each in made.items()]))


class Sound:
    """One stream of tokens to samples.

    `chunk` is how many tokens are made at once, by default as in training; the encoder looks back at `pages` chunks, by
    default those of 40 s. Up to there a stream is the whole under the mask of its chunks. `calls` run the graphs of a
    bundle in place of these modules.
    """

    def __init__(
        self,
        flow: TokenFlow,
        vocoder: Vocoder,
        seed: int = 0,
        chunk: int | None = None,
        temperature: float = TEMPERATURE,
        pages: int | None = None,
        calls: Calls | None = None,
    ) -> None:
        self._chunk = chunk or flow.config.chunk
        self._pages = pages or -(-SECONDS * TOKENS_A_SECOND // self._chunk)
        self._calls = calls or _torch_calls(graphs(flow, vocoder, self._chunk, self._pages))
        self._ahead, self._seed, self._temperature = flow.ahead, seed, temperature
        self._tokens: list[int] = []
        # Chunks and frames that were made, samples that were said.
        self._chunks = self._frames = self._said = 0
        self._last = np.zeros((1, FEATURES), np.float32)

    def push(self, tokens: Iterable[int]) -> np.ndarray:
        """Samples f32[n] of the chunks that `tokens` complete, with those ahead of them."""
        self._tokens += [int(token) for token in tokens]
        return self._run((len(self._tokens) - self._ahead) // self._chunk * self._chunk)

    def finish(self) -> np.ndarray:
        """All other samples: there are `TOKEN_FRAMES * FRAME` for each token in the end."""
        made = self._run(len(self._tokens))
        if not self._tokens:
            return made
        # The last frame goes on until its own samples have come out.
        tail = self._sound(np.repeat(self._last, _TAIL, 0))
        return np.concatenate([made, tail[: len(self._tokens) * TOKEN_FRAMES * FRAME - self._said]])

    def _run(self, end: int) -> np.ndarray:
        made = [_NOTHING]
        while (first := self._chunks * self._chunk) < end:
            prior = self._prior(first, min(first + self._chunk, len(self._tokens)))
            self._chunks, self._last = self._chunks + 1, prior[-1:]
            made.append(self._sound(prior))
            self._said += len(made[-1])
        return np.concatenate(made)

    def _prior(self, first: int, last: int) -> np.ndarray:
        """The prior f32[2 n, FEATURES] of one chunk of tokens."""
        after = [*self._tokens[last : last + self._ahead], *[NOTHING] * self._ahead][: self._ahead]
        table, page = pages_of(self._chunks, self._pages)
        row = {
            "tokens": np.array(self._tokens[first:last]),
            "tokens_ahead": np.array(after),
            "pages": np.array(table) if table else _ALONE,
            "page": np.array(page),
        }
        mu: np.ndarray = self._calls(ENCODE, row, self._chunks == 0)["mu"]
        return mu

    def _sound(self, prior: np.ndarray) -> np.ndarray:
        """Samples f32[n] of the next frames."""
        first, count = self._frames, len(prior)
        noise = normals(self._seed, Noise.FLOW, first, count, MELS) * np.float32(self._temperature)
        mel = self._calls(FLOW, {"prior": prior, "noise": noise}, first == 0)["mel"]
        hiss = normals(self._seed, Noise.WAVE, first, count, FRAME)
        pcm: np.ndarray = self._calls(VOCODER, {"mel": mel, "noise": hiss}, first == 0)["pcm"]
        self._frames += count
        return pcm.reshape(-1)[DELAY if first == 0 else 0 :]
