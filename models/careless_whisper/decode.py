"""The graph `decode`: nodes of a tree of hypotheses through the decoder, and what a search needs to know of them.

Cached cells and new nodes may belong to several hypotheses; masks say which of them a node sees. Logits never leave the
graph: they would be 200 kB a node.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.careless_whisper.caches import (
    BANKS,
    PAGE,
    Sizes,
    attend_cached,
    hidden_unless,
    merge,
    new_rows,
    page_index,
    pages,
    scores,
    take_pages,
)
from models.careless_whisper.model import Block, Whisper
from models.common.layers import HIDDEN
from models.common.slots import Rows, State, Update

MOST_TOP = 17
"""How many best tokens of a node are told."""
OUTPUTS = (
    "best",
    "best_logit",
    "check_logit",
    "check_rank",
    "log_sum",
    "top_ids",
    "top_logps",
    "attended",
    "cells",
)


class Decode(nn.Module):
    """M nodes `tokens`, `places` i64[B, M] that see cells `past` bool[B, M, S] and new nodes `fresh` bool[B, M, M].

    First the cache is cut to `keep` i64[B] cells; `count` i64[B] of the nodes stay in it. `audio` i64[B, X], of which
    only the length counts, is how many frames of window `bank` i64[B] are looked at. For the nodes `ask` i64[B, Q] come
    back the best token and its logit, the logit and rank of the token `check` i64[B, Q], the log of the sum over all
    tokens, the best 17 with log-probabilities, and the frame that the upper layers attend to most. `suppressed`
    tokens are out of the question, and so, where `blank` bool[B], are those in `blanks`; only `check_logit` may be
    that of one of them.
    """

    suppressed: Tensor
    blanks: Tensor

    def __init__(self, model: Whisper, sizes: Sizes, suppressed: Sequence[int], blanks: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.sizes = sizes
        for name, ids in (("suppressed", suppressed), ("blanks", blanks)):
            flags = torch.zeros(sizes.dims.n_vocab, dtype=torch.bool)
            flags[list(ids)] = True
            self.register_buffer(name, flags, persistent=False)

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """Take the inputs above and the rows of `Sizes.search()`, `cross_keys`, `cross_values` and `counts`."""
        nodes = inputs["tokens"].shape[1]
        used = state["cell_count"].minimum(inputs["keep"]).clamp(max=self.sizes.cells - nodes).clamp(min=0)
        x = self.embed(inputs["tokens"], inputs["places"])
        past, fresh, heard = self.masks(inputs, used), self.among(inputs["fresh"]), self.hearing(inputs, state)
        kept: dict[str, list[Tensor]] = {"self_keys": [], "self_values": []}
        attended = []
        for index, block in enumerate(self.model.decoder.blocks):
            x = self.look_back(index, block, x, (state, past, fresh), kept)
            y, weights = self.listen(index, block, x, state, heard)
            x = x + y
            x = x + block.mlp(block.mlp_ln(x))
            attended.append(weights.mean(1))
        row = (used[:, None] + torch.arange(nodes)).clamp(max=self.sizes.cells - 1)
        cells = used + inputs["count"].clamp(0, nodes)
        updates: dict[str, Update] = {name: new_rows(layers, row) for name, layers in kept.items()}
        ask = inputs["ask"].clamp(0, nodes - 1)
        looks = torch.stack(attended[len(attended) // 2 :]).sum(0)
        answers = self.answer(pick(x, ask), inputs["check"], inputs["blank"])
        answers["attended"] = torch.where(heard[2][:, None], pick(looks, ask), -1.0).argmax(-1)
        return {**answers, "cells": cells}, {**updates, "cell_count": cells}

    def embed(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Nodes i64[B, M] to f32[B, M, d]; ids and places out of range are the nearest in range."""
        decoder, dims = self.model.decoder, self.sizes.dims
        place = functional.embedding(places.clamp(0, dims.n_text_ctx - 1), decoder.positional_embedding)
        return decoder.token_embedding(tokens.clamp(0, dims.n_vocab - 1)) + place

    def masks(self, inputs: Rows, used: Tensor) -> tuple[Tensor, Tensor]:
        """Pages i64[B, p] of the cached cells, and the mask f32[B, 1, M, p * PAGE] of which a node sees."""
        past = inputs["past"]
        count = pages(past.shape[2])
        past = functional.pad(past, (0, count * PAGE - past.shape[2]))
        past = past & (torch.arange(count * PAGE) < used[:, None])[:, None]
        page = page_index(torch.zeros_like(used), count, self.sizes.cells // PAGE)
        return page, hidden_unless(past)[:, None]

    def among(self, fresh: Tensor) -> Tensor:
        """The mask f32[B, 1, M, M] of new nodes; a node always sees itself, so that it never sees nothing."""
        itself = torch.arange(fresh.shape[2]) == torch.arange(fresh.shape[1])[:, None]
        return hidden_unless(fresh | itself)[:, None]

    def hearing(self, inputs: Rows, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """Pages i64[B, p] of the window, their mask f32[B, 1, 1, p * PAGE], and the frames heard bool[B, p * PAGE]."""
        bank, count = inputs["bank"].clamp(0, BANKS - 1), pages(inputs["audio"].shape[1])
        page = page_index(bank * self.sizes.bank_pages, count, self.sizes.bank_pages)
        heard = torch.arange(count * PAGE) < state["counts"].gather(1, bank[:, None])
        return page, hidden_unless(heard)[:, None, None], heard

    def look_back(
        self,
        index: int,
        block: Block,
        x: Tensor,
        seen: tuple[State, tuple[Tensor, Tensor], Tensor],
        kept: dict[str, list[Tensor]],
    ) -> Tensor:
        """Self-attention of one layer; keys and values of the nodes go to `kept`."""
        attention, (state, (page, past), fresh) = block.attn, seen
        y = block.attn_ln(x)
        keys, values = attention.split(attention.key(y)), attention.split(attention.value(y))
        old = [take_pages(state[name], index, attention.heads, page) for name in ("self_keys", "self_values")]
        kept["self_keys"].append(keys)
        kept["self_values"].append(values)
        return x + attend_cached(attention, attention.query(y), (old[0], old[1], past), (keys, values, fresh))

    def listen(
        self, index: int, block: Block, x: Tensor, state: State, heard: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Cross-attention of one layer, f32[B, M, d], and its weights f32[B, heads, M, p * PAGE]."""
        attention, (page, mask, frames) = block.cross_attn, heard
        keys, values = (
            take_pages(state[name], index, attention.heads, page) for name in ("cross_keys", "cross_values")
        )
        weights = functional.softmax(scores(attention, attention.query(block.cross_attn_ln(x)), keys, mask), -1)
        # A window without frames would be an average of what the slot's last stream left.
        mixed = (weights @ values) * frames[:, None, None, :1]
        return merge(attention, mixed), weights

    def answer(self, x: Tensor, check: Tensor, blank: Tensor) -> dict[str, Tensor]:
        """What `OUTPUTS` says of states f32[B, Q, d], but for the attention."""
        never = self.suppressed | (blank[:, None] & self.blanks)
        logits = self.model.decoder.logits(x)
        checked = logits.gather(2, check.clamp(0, logits.shape[2] - 1)[:, :, None])
        logits = torch.where(never[:, None], HIDDEN, logits)
        top, ids = logits.topk(min(MOST_TOP, logits.shape[2]))
        log_sum = logits.logsumexp(2)
        return {
            "best": ids[:, :, 0],
            "best_logit": top[:, :, 0],
            "check_logit": checked[:, :, 0],
            "check_rank": (logits > checked).sum(2),
            "log_sum": log_sum,
            "top_ids": ids,
            "top_logps": top - log_sum[:, :, None],
        }


def pick(x: Tensor, index: Tensor) -> Tensor:
    """Rows `index` i64[B, Q] of f32[B, M, n]."""
    return x[torch.arange(x.shape[0])[:, None], index]
