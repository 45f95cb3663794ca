"""The encoder of a voice of tokens: from speech tokens to the prior of their frames, a chunk of its mask at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.errors import BundleError
from streamer.tasks.roles import Roles
from streamer.tasks.token_asks import Ask, Asks, answered, padded_length
from streamer.tasks.token_text import Ids
from streamer.tasks.voice_graphs import FLOAT, INT, Call, check_length
from streamer.work import Array

# Beyond the last token, and before the first page.
_NONE = -1


@dataclass(frozen=True, slots=True)
class Encoder:
    """Tokens to the prior of their frames, in chunks of `chunk` of which up to `pages` are looked back at.

    Beyond that the oldest chunk is forgotten. One that looks back at none has no `pages`.
    """

    call: Call
    bands: int
    token_frames: int
    chunk: int
    ahead: int
    pages: int | None

    @classmethod
    def of(cls, roles: Roles, bands: int) -> Encoder:
        """Read roles and parameters; raises `BundleError`."""
        graph, tokens = roles.input("tokens", INT)
        after, prior = roles.input_of(graph, "tokens_ahead", INT), roles.output_of(graph, "mu", FLOAT, 2)
        check_length(roles, "mu", prior, bands)
        ahead = roles.integer("ahead_tokens")
        if after.dims != (ahead,):
            where = f"bundle {roles.manifest.name}: role tokens_ahead"
            raise BundleError(f"{where}: expected {[ahead]}, got {list(after.dims)}")
        names = {
            "tokens": tokens.name,
            "tokens_ahead": after.name,
            "mu": prior.name,
        }
        looks_back = "encode_pages" in roles.manifest.task.roles
        if looks_back:
            names["pages"] = roles.input_of(graph, "encode_pages", INT).name
            names["page"] = roles.input_of(graph, "encode_page", INT, 0).name
        return cls(
            call=Call(graph, names),
            bands=bands,
            token_frames=roles.integer("token_frames", 1),
            chunk=roles.integer("chunk_tokens", 1),
            ahead=ahead,
            pages=roles.integer("pages", 2) if looks_back else None,
        )

    def wanted(self, chunks: int) -> int:
        """Tokens that must be there before the next chunk can be made, unless they are all."""
        return (chunks + 1) * self.chunk + self.ahead

    def encode(self, tokens: Ids, chunks: int) -> Asks[Array]:
        """The prior float32 `[frames, bands]` of the chunk after `chunks` others."""
        first = chunks * self.chunk
        own, after = tokens[first : first + self.chunk], tokens[first + self.chunk :][: self.ahead]
        inputs = {
            "tokens": np.array(own, np.int64),
            "tokens_ahead": np.array((*after, *[_NONE] * (self.ahead - len(after))), np.int64),
        }
        if self.pages is not None:
            inputs |= paged(chunks, self.pages)
        answer = yield Ask(self.call, inputs, start=not chunks)
        return answered(answer, "mu", self.token_frames * len(own), self.bands)


def paged(chunk: int, pages: int, kept: int = 0) -> dict[str, Array]:
    """Return the inputs that say what chunk number `chunk` looks at: "pages", and "page" which it becomes."""
    table, page = pages_of(chunk, pages, kept)
    length = max(padded_length(len(table), pages), 1)
    # None of them is only before the others.
    filled = [*[_NONE] * (length - len(table)), *table]
    return {"pages": np.array(filled, np.int64), "page": np.array(page, np.int64)}


def pages_of(chunk: int, pages: int, kept: int = 0) -> tuple[list[int], int]:
    """Return the pages that chunk number `chunk` looks at, in the order of time, and the one that it becomes.

    When all are taken the first `kept` stay, those of a prompt, and the oldest of the others is given up.
    """
    if chunk < pages:
        return list(range(chunk)), chunk
    ring, number = pages - kept, chunk - kept
    others = [kept + (number + 1 + at) % ring for at in range(ring - 1)]
    return [*range(kept), *others], kept + number % ring
