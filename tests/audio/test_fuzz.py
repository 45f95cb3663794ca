"""Mutated files and streams by the ten thousand; the other tests of this folder hold samples of them."""

from __future__ import annotations

import random
import resource
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from streamer.audio.files import UploadLimits, open_upload
from streamer.errors import InvalidRequest, MessageTooLarge, StreamerError
from streamer.session.hearing import Hearing
from streamer.session.limits import SessionSettings
from streamer.session.messages import Audio, Config
from tests.audio.compressed import container, flac, opus, opus_pages, page, silent_flac, speech
from tests.audio.mutations import mutated

SETTINGS = SessionSettings()
FLAC = Config("flac", 8000, 1, mode="file")
OPUS = Config("ogg_opus", 48000, 1, mode="file")
FILES = [
    container("webm", "libopus", speech(9000, 48000), 48000),
    container("webm", "libopus", speech(9000, 48000), 48000, live="1"),
    container("mp4", "aac", speech(9000), 16000),
]
FLACS = [flac(speech(9000, 8000), 8000), flac(speech(9000, 8000), 8000, "PCM_24"), silent_flac(30)]
OPUSES = [opus(speech(9000, 48000)), opus(speech(3000), 16000)]
# A process that does nothing but decode files of seconds: twice of what it takes for a hundred of them.
MOST_MEGABYTES = 400


def odd_packets(dice: random.Random) -> bytes:
    """Opus whose pages are right, with packets of anything."""
    packets = [dice.randbytes(dice.randrange(1, 80)) for _ in range(dice.randrange(1, 40))]
    return b"".join([*opus_pages([dice.randrange(3)]), page(packets, 3, 10**6, dice.choice((0, 4)))])


def upload(dice: random.Random) -> None:
    with open_upload(mutated(dice, dice.choice(FILES)), limits=UploadLimits(max_duration_s=10.0)) as file:
        n_samples = sum(len(block) for block in file.blocks())
        assert 0 < n_samples <= 10 * file.sample_rate


def stream(dice: random.Random, config: Config, data: bytes) -> None:
    hearing, received, place = Hearing(config, SETTINGS), 0, 0
    while place < len(data):
        size = dice.choice((1, 10, 300, 5000))
        samples = hearing.take(Audio(data[place : place + size]), received, 0.0)
        assert len(samples) <= 10 * config.sample_rate
        assert np.isfinite(samples).all()
        received, place = received + len(samples), place + size
    hearing.settle(received, 0.0)
    hearing.truncation()


KINDS: dict[str, Callable[[random.Random], None]] = {
    "uploads": upload,
    "flac": lambda dice: stream(dice, FLAC, mutated(dice, dice.choice(FLACS))),
    "ogg_opus": lambda dice: stream(dice, OPUS, mutated(dice, dice.choice(OPUSES))),
    "packets": lambda dice: stream(dice, OPUS, odd_packets(dice)),
}


def outcomes(kind: str, n_cases: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for seed in range(n_cases):
        try:
            KINDS[kind](random.Random(seed))
        except StreamerError as error:
            found[type(error).__name__] += 1
        else:
            found["heard"] += 1
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_cases", [40, pytest.param(10_000, marks=pytest.mark.soak)])
def test_bad_bytes_are_refused_or_heard(kind: str, n_cases: int) -> None:
    """No other exception, no crash, no memory that grows; both outcomes occur."""
    found = outcomes(kind, n_cases)
    assert set(found) <= {"heard", InvalidRequest.__name__, MessageTooLarge.__name__}
    assert found["InvalidRequest"]
    assert found["heard"]
    if n_cases > 1000:
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < MOST_MEGABYTES * 1024
