"""The predictor of fine codes: guesses the books of a frame that were not sent, at the decoder alone.

A GRU over past frames, as they were received or filled, gives a context; a step over books samples one code after the
other, each given all below it (LMCodec, arXiv 2303.12984, at embedded scale: one GRU in place of 12 layers). Its
numbers are ordinary floats: what it guesses is heard and never used for entropy coding.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.common.slots import Rows, SlottedGraph, StateSpec, Update
from models.lmcodec.config import PredictorConfig
from models.lmcodec.network import CodeEmbedding, standardised


class Predictor(nn.Module):
    """Distributions of the codes of books `given` and up."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        width, fine = config.width, config.books - config.given
        self.past = CodeEmbedding(config.books, config.size, width)
        self.memory = nn.GRU(width, width, batch_first=True)
        self.known = CodeEmbedding(config.books, config.size, width)
        self.book = nn.Parameter(torch.randn(fine, width) * 0.1)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.heads = nn.Parameter(torch.randn(fine, width, config.size) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(fine, config.size))

    @torch.no_grad()
    def begin(self, words: Tensor) -> None:
        """Start embeddings and heads from the words f32[books, size, D] of the codec, so that like codes are alike."""
        words = standardised(words)
        self.past.begin(words)
        self.known.begin(words)
        fine = words[self.config.given :]
        projection = torch.randn(fine.shape[2], self.config.width, generator=torch.Generator().manual_seed(1))
        self.heads.mul_(0.3).add_((fine @ projection).transpose(1, 2) / fine.shape[2] / 4)

    def forward(self, codes: Tensor, heard: Tensor | None = None) -> Tensor:
        """Whole frames i64[B, T, books] to log-odds f32[B, T, books - given, size] of their fine codes.

        `heard`, by default the codes themselves, is what stands in the past of later frames.
        """
        previous = nn.functional.pad(codes if heard is None else heard, (0, 0, 1, 0), value=-1)[:, :-1]
        context, _ = self.memory(self.past(previous).sum(-2))
        vectors = self.known(codes)
        known = (vectors.cumsum(-2) - vectors)[..., self.config.given :, :]
        hidden = self.hidden(context.unsqueeze(-2) + known + self.book)
        return torch.einsum("btkd,kdc->btkc", hidden, self.heads) + self.bias

    def hidden(self, x: Tensor) -> Tensor:
        """What the heads read: f32[..., width] of the sum of a context and embeddings."""
        x = self.norm(x)
        return x + nn.functional.gelu(self.mix(x))

    def step(self, previous: Tensor, memory: Tensor) -> Tensor:
        """One frame of the GRU: codes i64[B, books] of the frame before and f32[B, width] to the new memory."""
        _, after = self.memory(self.past(previous).sum(-2).unsqueeze(1), memory.unsqueeze(0))
        return after[0]

    def fill(self, codes: Tensor, uniform: Tensor, context: Tensor) -> Tensor:
        """Fill what is -1 from book `given` up in codes i64[B, books].

        `uniform` f32[B, books] draws each code, see `sample`; `context` f32[B, width] is the memory of past frames.
        """
        config = self.config
        first = torch.arange(config.books, device=codes.device) * (config.size + 1)
        known = self.known(codes)[:, : config.given].sum(1)
        filled = list(codes[:, : config.given].unbind(1))
        for fine in range(config.books - config.given):
            book = config.given + fine
            hidden = self.hidden(context + known + self.book[fine])
            guess = sample(hidden @ self.heads[fine] + self.bias[fine], uniform[:, book], config.temperature)
            filled.append(torch.where(codes[:, book] < 0, guess, codes[:, book]))
            known = known + self.known.table(filled[-1] + first[book])
        return torch.stack(filled, 1)


def sample(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Draw one of f32[B, size] by f32[B] in [0, 1), i64[B]; the likeliest where `uniform` is negative."""
    cumulative = torch.softmax(logits / temperature, -1).cumsum(-1)
    drawn = (cumulative <= uniform.unsqueeze(-1) * cumulative[:, -1:]).sum(-1)
    return torch.where(uniform < 0, logits.argmax(-1), drawn.clamp(max=logits.shape[-1] - 1))


class PredictStep(nn.Module):
    """One frame of many streams as a `RowStep`: inputs `codes` and `uniform`, output `filled`.

    A frame of fewer than `given` received books, as a lost or silent one, is not filled.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take `codes` i64[B, books], -1 where not received, `uniform` f32[B, books], and the rows of `states`."""
        predictor, codes = self.predictor, inputs["codes"]
        context = predictor.step(state["predict_previous"], state["predict_memory"])
        enough = codes[:, predictor.config.given - 1 : predictor.config.given] >= 0
        filled = torch.where(enough, predictor.fill(codes, inputs["uniform"], context), codes)
        return {"filled": filled}, {"predict_previous": filled, "predict_memory": context}


def predict_graph(predictor: Predictor) -> SlottedGraph:
    """The graph `predict` of the bundle."""
    config = predictor.config
    states = [
        StateSpec("predict_previous", (config.books,), torch.int64, initial=-1, group="predictor"),
        StateSpec("predict_memory", (config.width,), group="predictor"),
    ]
    return SlottedGraph(PredictStep(predictor), ["codes", "uniform"], ["filled"], states)
