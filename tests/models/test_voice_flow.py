"""Flow, text encoder and expander: any chunks are the whole, padding changes nothing, training learns."""

from __future__ import annotations

from itertools import pairwise

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts.config import HALVES, MELS  # noqa: E402
from models.flow_tts.expander import places, quantised  # noqa: E402
from models.flow_tts.flow import Flow, times  # noqa: E402
from models.flow_tts.voice import LEAST_FRAMES, Voice, frame_counts  # noqa: E402
from tests.models.voice_toys import FLOW, mels, normal, pitches, toy_voice  # noqa: E402

FRAMES = 60


@pytest.fixture(scope="module")
def voice() -> Voice:
    return toy_voice()


@pytest.mark.parametrize("lengths", [[1] * FRAMES, [10, 25, 25], [1, 7, 30, 2, 20], [FRAMES]])
def test_any_chunks_are_the_whole(voice: Voice, lengths: list[int]) -> None:
    flow = voice.flow
    mean, pitch, noise = mels(FRAMES, 2), pitches(FRAMES, 2), normal(FRAMES, MELS, 2)
    cache = torch.zeros(2, FLOW.steps, flow.estimator.caches.size)
    parts, at = [], 0
    with torch.no_grad():
        whole = flow(mean, pitch, noise)
        for length in lengths:
            where = slice(at, at + length)
            part, cache = flow.step(mean[:, where], pitch[:, where], noise[:, where], cache)
            parts.append(part)
            at += length
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-5
    assert (whole - noise).abs().max() > 0.1


def test_nothing_comes_before_its_frame(voice: Voice) -> None:
    mean, pitch, noise = mels(FRAMES), pitches(FRAMES), normal(FRAMES, MELS)
    changed = mean.clone()
    changed[:, 30:] += 1
    with torch.no_grad():
        one, other = voice.flow(mean, pitch, noise), voice.flow(changed, pitch, noise)
    assert torch.equal(one[:, :30], other[:, :30])
    assert not torch.equal(one[:, 30], other[:, 30])


def test_the_flow_learns_a_known_velocity() -> None:
    """With a flat mel equal to the mean, a short training brings the error well below that of knowing nothing."""
    torch.manual_seed(0)
    flow = Flow(FLOW)
    optimiser = torch.optim.Adam(flow.parameters(), 5e-3)
    losses = []
    for update in range(100):
        mean, mask = mels(20, 4, update)[:, :, :1].repeat(1, 1, MELS), torch.ones(4, 20, dtype=torch.bool)
        given = torch.cat([mean, torch.zeros(4, 20, 2 * HALVES)], 2)
        loss = flow.loss(mean, given, normal(20, MELS, 4, update + 1000), torch.rand(4), mask)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[0] > 1.5
    assert losses[-1] < 1.2


def test_padding_changes_no_piece(voice: Voice) -> None:
    """A short piece in a batch with a long one sounds as it does alone."""
    rng = torch.Generator().manual_seed(0)
    long, short = (torch.randint(1, 100, (n,), generator=rng) for n in (30, 17))
    symbols = torch.zeros(2, 30, dtype=torch.int64)
    symbols[0], symbols[1, :17] = long, short
    mask = torch.arange(30) < torch.tensor([[30], [17]])
    with torch.no_grad():
        encoded, logs = voice.encoder(symbols, mask)
        alone, alone_logs = voice.encoder(short[None])
        assert (encoded[1, :17] - alone[0]).abs().max() < 1e-5
        assert (logs[1, :17] - alone_logs[0]).abs().max() < 1e-5
        frames = torch.full((17,), 3)
        source, place = places(frames)
        padded = torch.zeros(1, 60, encoded.shape[2])
        padded[0, :51], padded[0, 51:] = alone[0, source], 9.0
        marks = torch.zeros(1, 60, 2)
        marks[0, :51] = place
        pitch = pitches(60)
        here = torch.arange(60)[None] < 51
        entered, melody = voice.expander.melody_of(padded, marks, here)
        clean, melody_alone = voice.expander.melody_of(alone[:, source], place[None])
        assert (melody[0, :51] - melody_alone[0]).abs().max() < 1e-5
        mean, mean_alone = voice.expander.mean(entered, pitch, here), voice.expander.mean(clean, pitch[:, :51])
    assert (mean[0, :51] - mean_alone[0]).abs().max() < 1e-5


def test_frames_and_places() -> None:
    assert frame_counts(torch.tensor([1.0, -1.2, 0.0, LEAST_FRAMES]).exp().log()).tolist() == [3, 0, 1, 2]
    assert frame_counts(torch.tensor([2.0]), speed=2.0).tolist() == [4]
    source, place = places(torch.tensor([2, 0, 1]))
    assert source.tolist() == [0, 0, 2]
    assert place[:, 0].tolist() == [0.25, 0.75, 0.5]
    assert place[:, 1].exp().tolist() == pytest.approx([2, 2, 1])


def test_pitch_is_whole_steps_and_none_where_no_voice_is() -> None:
    melody = torch.tensor([[[3.0, -3.0, 0.0, 0.5], [3.0, 3.0, -9.0, 9.0]]])
    assert quantised(melody).tolist() == [[[3200, 0], [800, 6400]]]


def test_the_grid_of_times() -> None:
    grid = times(6)
    assert grid[0] == 0
    assert grid[-1] == pytest.approx(1)
    assert all(now < after for now, after in pairwise(grid))
    assert grid[1] - grid[0] < grid[-1] - grid[-2]
