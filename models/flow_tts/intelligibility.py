"""What an independent recogniser makes of speech: PocketSphinx 5 with the models of its package, text kept."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import numpy as np

from models.common.evaluation_cache import Cache, digest
from models.common.peers import listen_with_pocketsphinx
from models.common.served_words import Spoken


def transcripts(speech: Sequence[np.ndarray], cache: Cache, processes: int) -> list[str]:
    """The words heard in each f32[n] at 16 kHz, normalised; what was heard before is read from `cache`."""
    keys = [digest("pocketsphinx", version("pocketsphinx"), samples) for samples in speech]
    new = [index for index, key in enumerate(keys) if cache.find(key) is None]
    shares = [share for first in range(processes) if (share := new[first::processes])]
    with ThreadPoolExecutor(processes) as pool:
        heard = pool.map(_listen, [[speech[index] for index in share] for share in shares])
        for share, texts in zip(shares, heard, strict=True):
            for index, text in zip(share, texts, strict=True):
                cache.put(keys[index], text)
    return [cache.find(key) for key in keys]


def _listen(speech: Sequence[np.ndarray]) -> list[str]:
    """In one process; the recogniser knows nothing from one recording to the next."""
    heard, _ = listen_with_pocketsphinx([Spoken("", samples) for samples in speech])
    return [each.text for each in heard]
