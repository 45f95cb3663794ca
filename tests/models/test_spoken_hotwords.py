"""Rare names on synthesised speech: missed by the shipped recogniser, recognised as hotwords, one stream's own."""

import asyncio
import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.train
pytest.importorskip("torch")

from models.common.synthesis import Voice, synthesise  # noqa: E402
from streamer.config import EngineSection, Settings  # noqa: E402
from streamer.host import Host  # noqa: E402
from streamer.host.assemble import running_host  # noqa: E402
from streamer.session.messages import Audio, Config, Decoding, End, Hotword, Ready, Result  # noqa: E402

# None of these is a word of the language model.
NAMES = (
    *("bellingham", "brannigan", "carruthers", "ferringham", "hathersage", "macallister", "nakamura", "pemberton"),
    *("penhallow", "pomfret", "tillotson", "trevelyan", "zuckerman"),
)
NOBODY = ("the captain", "my old friend", "all of them")
HOTWORDS = Decoding(beam=8, hotwords=tuple(Hotword(name) for name in NAMES), hotword_boost=3.0)
BEAM = Decoding("beam", 8)
PACKET = 8000


@pytest.fixture(scope="module")
def sounds() -> dict[str, np.ndarray]:
    """A sentence with each name, and a few without."""
    if shutil.which("flite") is None:
        pytest.skip("needs flite to speak the names")
    return {
        name: synthesise(f"we saw {name} walking down to the river", Voice("flite", "rms")) for name in NAMES + NOBODY
    }


async def text_of(host: Host, sound: np.ndarray, decoding: Decoding) -> str:
    """The final text of one stream."""
    stream = host.connect()
    await stream.send(Config("pcm_f32le", 16_000, 1, mode="file", interim_results=False, decoding=decoding))
    assert isinstance(await stream.receive(), Ready)
    for start in range(0, len(sound), PACKET):
        await stream.send(Audio(sound[start : start + PACKET].astype("<f4").tobytes()))
    await stream.send(End())
    texts = []
    while (message := await stream.receive()) is not None:
        if isinstance(message, Result) and message.is_final:
            texts.append(message.text)
    return " ".join(texts)


def test_hotwords_find_names_and_disturb_nobody(sounds: dict[str, np.ndarray]) -> None:
    """With boost most names are found, without none; streams without hotwords in the same batches hear as ever."""

    async def run() -> tuple[list[str], list[str], list[str]]:
        async with running_host(Settings(models=("asr-en",), engine=EngineSection(workers=1, max_streams=40))) as host:
            plain = [await text_of(host, sound, BEAM) for sound in sounds.values()]
            calls = [(sound, decoding) for sound in sounds.values() for decoding in (BEAM, HOTWORDS)]
            mixed = await asyncio.gather(*(text_of(host, sound, decoding) for sound, decoding in calls))
            return plain, mixed[0::2], mixed[1::2]

    plain, beside, boosted = asyncio.run(run())
    texts = dict(zip(sounds, boosted, strict=True))
    assert not [name for name in NAMES for nobody in NOBODY if name in texts[nobody].split()]
    found = [name for name, text in zip(NAMES, boosted, strict=False) if name in text.split()]
    missed = [name for name, text in zip(NAMES, plain, strict=False) if name not in text.split()]
    assert beside == plain
    assert missed == list(NAMES)
    assert len(found) >= 11, boosted
