"""Grain: fluctuations of bands that are as large as asked for, the same in any chunks, and measured as they are."""

from __future__ import annotations

from itertools import pairwise

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts.config import MELS, TEMPERATURE  # noqa: E402
from models.flow_tts.grain import Grain  # noqa: E402
from models.flow_tts.roughness import FIRST_BAND, roughness  # noqa: E402
from tests.models.voice_toys import normal  # noqa: E402


def test_deviation_and_memory() -> None:
    """Noise of the default temperature gives the deviation of each band; a frame is like those before it."""
    deviation = torch.linspace(0, 0.5, MELS)
    grown = Grain(deviation)(TEMPERATURE * normal(20_000, MELS))[0, 100:]
    torch.testing.assert_close(grown.std(0), deviation, rtol=0.05, atol=1e-6)
    unit = grown[:, 1:] / grown[:, 1:].std(0)
    for apart, expected in ((1, 0.77), (2, 0.59), (8, 0.0)):
        assert float((unit[apart:] * unit[:-apart]).mean()) == pytest.approx(expected, abs=0.03)
    across = unit[:, 1:] * unit[:, :-1]
    assert float(across.mean()) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("edges", [range(41), (0, 1, 8, 9, 30, 40), (0, 40)])
def test_any_chunks_are_the_whole(edges: tuple[int, ...]) -> None:
    grain, noise = Grain(torch.rand(MELS)), normal(40, MELS, 2)
    past, parts = torch.zeros(2, grain.past, MELS), []
    for first, last in pairwise(edges):
        part, past = grain.step(noise[:, first:last], past)
        parts.append(part)
    assert (torch.cat(parts, 1) - grain(noise)).abs().max() < 1e-6


def test_roughness_is_what_neighbours_do_not_have() -> None:
    """A slope has none; of independent bands it is their variance, but for what the mean of nine takes of it."""
    slope = torch.linspace(-2, 2, MELS).expand(50, -1)
    inside = slice(FIRST_BAND, MELS - 4)
    assert float(roughness([slope])[inside].abs().max()) < 1e-6
    rough = roughness([0.3 * normal(5000, MELS)[0]])
    torch.testing.assert_close(rough[inside], torch.full((MELS - 4 - FIRST_BAND,), 0.09 * 8 / 9), rtol=0.1, atol=0)
