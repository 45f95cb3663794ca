"""Streaming layers over f32[B, T, C]: `forward` sees the whole signal, `step` one chunk and the frames before it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {"gelu": functional.gelu, "silu": functional.silu}


class Windowed(nn.Module):
    """A layer whose output at a frame depends on `past` frames before it and, unless causal, on `future` after it.

    `cached` is the width of the frames it keeps from one step to the next.
    """

    def __init__(self, kernel: int, cached: int, causal: bool) -> None:
        super().__init__()
        self.past = kernel - 1 if causal else kernel // 2
        self.future = kernel - 1 - self.past
        self.cached = cached

    def forward(self, x: Tensor) -> Tensor:
        """Whole signal f32[B, T, C]; beyond its ends there is silence."""
        return self.mix(functional.pad(x, (0, 0, self.past, self.future)))

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk of any T with the last frames f32[B, past, C] of the chunk before; causal layers alone."""
        heard = torch.cat([past, x], 1)
        return self.mix(heard), heard[:, heard.shape[1] - self.past :]

    def mix(self, padded: Tensor) -> Tensor:
        """Map f32[B, past + T + future, C] to f32[B, T, O]."""
        raise NotImplementedError


class FrameConv(Windowed):
    """A full convolution over frames as one matrix product, the fastest form of it at these sizes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, causal: bool) -> None:
        super().__init__(kernel, inputs, causal)
        self.kernel = kernel
        self.linear = nn.Linear(kernel * inputs, outputs)

    def mix(self, padded: Tensor) -> Tensor:
        """Map f32[B, T + kernel - 1, inputs] to f32[B, T, outputs]."""
        frames = padded.shape[1] - self.kernel + 1
        return self.linear(torch.cat([padded[:, i : i + frames] for i in range(self.kernel)], 2))


class Depthwise(nn.Conv2d):
    """One filter per channel over frames, without padding."""

    def __init__(self, width: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(width, width, (kernel, 1), dilation=(dilation, 1), groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """Map f32[B, T + dilation * (kernel - 1), width] to f32[B, T, width]."""
        with torch.autocast(x.device.type, enabled=False):
            # Channels last is how the frames lie already: six times as fast as a Conv1d on a CPU.
            return super().forward(x.float().transpose(1, 2).unsqueeze(3)).squeeze(3).transpose(1, 2)


class ResponseNorm(nn.Module):
    """Global response normalisation within each frame: over time, as in ConvNeXt V2, it would look ahead."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map f32[..., width] to the same."""
        strength = x.abs()
        return x + x * (strength / (strength.mean(-1, keepdim=True) + 1e-6)) * self.gain + self.bias


class Block(Windowed):
    """ConvNeXt block (arXiv 2201.03545) over frames: depthwise filter, LayerNorm, two linear layers, residual."""

    def __init__(self, width: int, inner: int, kernel: int, activation: str, response_norm: bool, causal: bool) -> None:
        super().__init__(kernel, width, causal)
        self.depthwise = Depthwise(width, kernel)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, inner)
        self.response = ResponseNorm(inner) if response_norm else nn.Identity()
        self.narrow = nn.Linear(inner, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))
        self.activation = ACTIVATIONS[activation]

    def mix(self, padded: Tensor) -> Tensor:
        """Map f32[B, past + T + future, width] to f32[B, T, width]."""
        x = padded[:, self.past : padded.shape[1] - self.future]
        inner = self.activation(self.widen(self.norm(self.depthwise(padded))))
        return x + self.scale * self.narrow(self.response(inner))


class Caches:
    """How the frames that layers keep lie side by side in one row per stream, after `extra` parts of the owner's."""

    def __init__(self, layers: Sequence[Windowed], extra: Sequence[int] = ()) -> None:
        self._shapes = [(layer.past, layer.cached) for layer in layers if layer.past]
        self._sizes = [*extra, *(past * width for past, width in self._shapes)]
        self._extra = len(extra)

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return sum(self._sizes)

    def split(self, row: Tensor) -> tuple[list[Tensor], "Chain"]:
        """Cut f32[B, size] into the extra parts f32[B, n] and a chain that hands out the layers' frames."""
        parts = row.split(self._sizes, 1)
        frames = [part.unflatten(1, shape) for part, shape in zip(parts[self._extra :], self._shapes, strict=True)]
        return list(parts[: self._extra]), Chain(frames)


class Chain:
    """Runs layers one after the other, each with the frames it kept, and collects those it keeps next."""

    def __init__(self, before: Sequence[Tensor]) -> None:
        self._before = iter(before)
        self._after: list[Tensor] = []

    def step(self, layer: Windowed, x: Tensor) -> Tensor:
        """Run the next layer, in the order that the caches were made for."""
        if not layer.past:
            return layer.mix(x)
        y, after = layer.step(x, next(self._before))
        self._after.append(after)
        return y

    def join(self, extra: Sequence[Tensor]) -> Tensor:
        """The row f32[B, size] of the next step."""
        return torch.cat([*extra, *(part.flatten(1) for part in self._after)], 1)


class Whole:
    """Runs layers over the whole signal, as `Chain` does over a chunk."""

    def step(self, layer: Windowed, x: Tensor) -> Tensor:
        """Run one layer."""
        return layer(x)
