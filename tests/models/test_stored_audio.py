"""Decoded audio in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.common.stored_audio import AudioWriter, StoredAudio


def test_clips_come_back_from_where_they_were_put(tmp_path: Path) -> None:
    """To 16 bits, clipped to full scale."""
    first, second = np.array([0.0, 0.5, 2.0], np.float32), np.array([-0.25, -3.0], np.float32)
    with AudioWriter(tmp_path / "pool") as audio:
        assert [audio.append(first), audio.append(second)] == [0, 3]
        assert audio.position == 5
    stored = StoredAudio(tmp_path / "pool")
    np.testing.assert_allclose(stored.read(1, 4), [0.5, 1, -0.25, -1], atol=1e-4)
    assert stored.read(0, 3).dtype == np.float32
