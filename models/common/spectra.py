"""Short-time spectra for losses, with a gradient as cheap as the transform itself.

PyTorch takes the gradient of a real transform through a complex one of full length, sixteen times as slow on a CPU.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _RealFft(torch.autograd.Function):
    """Frames f32[..., n] with an even n to real and imaginary parts f32[..., n / 2 + 1, 2]."""

    @staticmethod
    def forward(context: Any, frames: Tensor) -> Tensor:
        """Transform."""
        context.length = frames.shape[-1]
        return torch.view_as_real(torch.fft.rfft(frames))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """The adjoint."""
        return _adjoint(0.5 * gradient, context.length)


class _Power(torch.autograd.Function):
    """Frames f32[..., n] with an even n to powers f32[..., n / 2 + 1]."""

    @staticmethod
    def forward(context: Any, frames: Tensor) -> Tensor:
        """Transform, and square."""
        context.length = frames.shape[-1]
        values = torch.view_as_real(torch.fft.rfft(frames))
        context.save_for_backward(values)
        real, imaginary = values.unbind(-1)
        return (real * real).addcmul_(imaginary, imaginary)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """The adjoint of what each part was multiplied by, twice itself."""
        (values,) = context.saved_tensors
        return _adjoint(values * gradient.unsqueeze(-1), context.length)


def spectra(samples: Tensor, window: Tensor, hop: int, length: int | None = None) -> Tensor:
    """STFT f32[B, n] to f32[B, T, length / 2 + 1, 2]: real and imaginary parts, frames centred as by `torch.stft`.

    `length` is that of the transform, the window's unless given.
    """
    return _RealFft.apply(_frames(samples, window, hop, length or len(window)))


def powers(samples: Tensor, window: Tensor, hop: int, length: int | None = None) -> Tensor:
    """Squared magnitudes f32[B, T, length / 2 + 1] of the STFT f32[B, n]; see `spectra`."""
    return _Power.apply(_frames(samples, window, hop, length or len(window)))


def _frames(samples: Tensor, window: Tensor, hop: int, length: int) -> Tensor:
    left = (length - len(window)) // 2
    window = functional.pad(window, (left, length - len(window) - left))
    padded = functional.pad(samples.unsqueeze(1), (length // 2, length // 2), "reflect").squeeze(1)
    return padded.unfold(1, length, hop) * window


def _adjoint(halved: Tensor, length: int) -> Tensor:
    """Gradient f32[..., n] of half the gradient of the parts: `irfft` counts all but the outermost twice."""
    halved[..., 0, :] *= 2
    halved[..., -1, :] *= 2
    return torch.fft.irfft(torch.view_as_complex(halved), length, norm="forward")
