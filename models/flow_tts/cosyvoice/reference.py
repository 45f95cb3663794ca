"""The loop that the program `token_voice` is to run: speech tokens to samples, hop by hop, over a bundle's graphs.

Everything here is plain: numbers of frames, lists of pages, windows. Calls go to torch or to a bundle; rows have no
batch axis. What comes out does not depend on how tokens arrive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from models.common.slots import SlottedGraph
from models.flow_tts.cosyvoice.graphs import ENCODE, FLOW, Part
from models.flow_tts.cosyvoice.noise import Noise
from models.flow_tts.cosyvoice.vocoding import vocoder_of

Row = Mapping[str, Any]
_ALONE = np.array([-1])


class Calls(Protocol):
    """Runs graphs for one stream."""

    def __call__(self, graph: str, row: Row, start: bool) -> Row:
        """Outputs of one call; `start`: the graph's states begin anew."""


class TorchCalls:
    """The torch steps themselves, in slots that were dirty."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._graphs: dict[str, SlottedGraph] = {part.name: part.graph() for part in parts}
        self._arenas = {name: graph.initial_arenas(2, dirt=3.0) for name, graph in self._graphs.items()}

    def __call__(self, graph: str, row: Row, start: bool) -> Row:
        """See `Calls`."""
        run, arenas = self._graphs[graph], self._arenas[graph]
        inputs = [torch.from_numpy(np.asarray(row[name]))[None] for name in run.inputs]
        slots, starts = [torch.tensor([1]) for _ in run.pools], [torch.tensor([start]) for _ in run.groups]
        with torch.no_grad():
            results = run(inputs, slots, starts, arenas)
        self._arenas[graph] = run.updated(arenas, results)
        return {name: value[0].numpy() for name, value in zip(run.outputs, results, strict=False)}


@dataclass(frozen=True)
class Prompt:
    """A voice: speech tokens i64[P], their mel f32[2 P, 80], and the embedding f32[192] of the speaker."""

    tokens: np.ndarray
    mel: np.ndarray
    speaker: np.ndarray


def pages_of(chunk: int, pages: int, kept: int = 0) -> tuple[list[int], int]:
    """The pages that chunk number `chunk` looks at, in the order of time, and the one that it becomes.

    While there are pages, none is given up, and the flow is exact. Beyond, the first `kept` stay (those of the prompt)
    and the oldest of the others goes.
    """
    if chunk < pages:
        return list(range(chunk)), chunk
    ring = pages - kept
    page = kept + (chunk - kept) % ring
    return [*range(kept), *(kept + (chunk - kept + 1 + at) % ring for at in range(ring - 1))], page


class TokenFlow:
    """Speech tokens to mel frames, a chunk of the streaming masks at a time, and the rest at the end.

    Raises `ValueError` for more chunks than there are pages, unless the window is to `slide`.
    """

    def __init__(self, calls: Calls, parameters: Mapping[str, Any], prompt: Prompt, noise: Noise, slide: bool) -> None:
        self._calls, self._parameters, self._prompt, self._noise = calls, parameters, prompt, noise
        self._slide = slide
        self._tokens = [int(token) for token in prompt.tokens]
        self._chunk = 0
        self._mu = np.zeros((0, parameters["bands"]), np.float32)

    def push(self, tokens: Sequence[int]) -> np.ndarray:
        """Mel f32[n, 80] of the chunks that `tokens` complete, with those ahead of them; the prompt's are left out."""
        self._tokens += [int(token) for token in tokens]
        size, ahead = self._parameters["chunk_tokens"], self._parameters["ahead_tokens"]
        return self._run((len(self._tokens) - ahead) // size * size)

    def finish(self) -> np.ndarray:
        """Mel of all that is left."""
        return self._run(len(self._tokens))

    def _run(self, end: int) -> np.ndarray:
        size, made = self._parameters["chunk_tokens"], [self._mu[:0]]
        while (first := self._chunk * size) < end:
            last = min(first + size, len(self._tokens))
            mel = self._mel(self._prior(first, last), self._parameters["token_frames"] * first)
            made.append(mel[max(len(self._prompt.mel) - self._parameters["token_frames"] * first, 0) :])
            self._chunk += 1
        return np.concatenate(made)

    def _prior(self, first: int, last: int) -> np.ndarray:
        """The prior f32[n, 80] of one chunk."""
        ahead = self._parameters["ahead_tokens"]
        after = [*self._tokens[last : last + ahead], *[-1] * ahead][:ahead]
        row = {"tokens": np.array(self._tokens[first:last]), "tokens_ahead": np.array(after), **self._pages(0)}
        mu: np.ndarray = self._calls(ENCODE, row, self._chunk == 0)["mu"]
        return mu

    def _mel(self, mu: np.ndarray, frame: int) -> np.ndarray:
        """The mel f32[n, 80] of one chunk, whose first frame is `frame`."""
        if self._parameters["flow"] == "cached":
            return self._solved(mu, frame)
        self._mu = np.concatenate([self._mu, mu])
        return self._solved(self._mu, 0)[frame:]

    def _solved(self, mu: np.ndarray, frame: int) -> np.ndarray:
        x = self._noise.flow(frame, len(mu))
        row = {
            "mu_chunk": mu,
            "prompt_mel": _cut(self._prompt.mel, frame, len(mu)),
            "speaker": self._prompt.speaker,
            "frame": np.array(frame),
            **self._pages(len(self._prompt.tokens) // self._parameters["chunk_tokens"]),
        }
        for step in range(self._parameters["steps"]):
            start = self._chunk == 0 and step == 0
            x = self._calls(FLOW, {**row, "noisy": x, "step": np.array(step)}, start)["denoised"]
        return x

    def _pages(self, kept: int) -> dict[str, np.ndarray]:
        pages = self._parameters["pages"]
        if self._chunk >= pages and not self._slide:
            raise ValueError(f"expected at most {pages} chunks of prompt and speech, got more")
        table, page = pages_of(self._chunk, pages, kept)
        return {"pages": np.array(table) if table else _ALONE, "page": np.array(page)}


class Synthesis:
    """Speech tokens to samples: the flow, then the vocoder, each as soon as it has what it needs."""

    def __init__(
        self, calls: Calls, parameters: Mapping[str, Any], prompt: Prompt, noise: Noise, slide: bool = False
    ) -> None:
        self._flow = TokenFlow(calls, parameters, prompt, noise, slide)
        self._vocoder = vocoder_of(calls, parameters, noise)

    def push(self, tokens: Sequence[int]) -> np.ndarray:
        """Samples f32[n] that `tokens` allow."""
        return self._vocoder.push(self._flow.push(tokens))

    def finish(self) -> np.ndarray:
        """All other samples."""
        mel = self._flow.finish()
        return np.concatenate([self._vocoder.push(mel), self._vocoder.finish()])


def _cut(mel: np.ndarray, first: int, count: int) -> np.ndarray:
    """Rows f32[count, 80] from `first` on, zero beyond the end."""
    rows = np.zeros((count, mel.shape[1]), np.float32)
    part = mel[first : first + count]
    rows[: len(part)] = part
    return rows
