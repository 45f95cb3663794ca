"""Spectra for the codec's losses against PyTorch's own."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.spectra import powers, spectra  # noqa: E402


@pytest.mark.parametrize(("length", "width", "hop"), [(256, 256, 64), (512, 410, 205), (64, 33, 16)])
def test_values_and_gradients_are_those_of_stft(length: int, width: int, hop: int) -> None:
    """Real and imaginary parts and powers, forward and backward, in double precision."""
    torch.manual_seed(0)
    samples = torch.randn(3, 2000, dtype=torch.double, requires_grad=True)
    window = torch.hann_window(width, dtype=torch.double)
    values = torch.stft(samples, length, hop, width, window, return_complex=True).transpose(1, 2)
    wanted = torch.view_as_real(values)
    pairs = [
        (spectra(samples, window, hop, length), wanted),
        (powers(samples, window, hop, length), wanted.square().sum(3)),
    ]
    for found, expected in pairs:
        torch.testing.assert_close(found, expected)
        towards = torch.randn_like(expected)
        gradients = [torch.autograd.grad(some, samples, towards, retain_graph=True)[0] for some in (found, expected)]
        torch.testing.assert_close(*gradients)
