"""What the gate saves and costs: processor time and word errors of a recogniser with and without it.

Utterances of unseen speakers in noise, with pauses as long as they are, through the server's own host.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jiwer
import numpy as np

from models.common import packs, text
from models.common.features import HOP
from models.vad.labels import label_speech
from models.vad.mixtures import add_noise, at_level, looped
from models.vad.pool import Pool
from streamer.config import EngineSection, Settings
from streamer.host import Host
from streamer.host.assemble import running_host
from streamer.session.messages import Audio, Config, End, Endpointing, Result, Vad

_SEED = 13
_PACKET = 8000
_CONFIG = Config(
    "pcm_f32le", packs.SAMPLE_RATE, 1, mode="file", interim_results=False, endpointing=Endpointing(max_segment_s=60)
)
_GATES = {"none": Vad(), "gate": Vad(gate=True)}


@dataclass(frozen=True)
class Spoken:
    """A recording f32[n] and its words."""

    samples: np.ndarray
    words: str


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--pool", type=Path, required=True, help="folder of the decoded clips")
    parser.add_argument("--every", type=int, default=4, help="take every so many-th utterance")
    arguments = parser.parse_args()
    print("| SNR | gate | word errors | CPU ms per second of audio |\n|---|---|---|---|")
    for snr in (None, 20, 10, 5):
        spoken = recordings(arguments.data, Pool(arguments.pool, "test"), arguments.every, snr)
        asyncio.run(_compare(spoken, "clean" if snr is None else f"{snr} dB"))


def recordings(data: Path, pool: Pool, every: int, snr: int | None) -> list[Spoken]:
    """Utterances between pauses of half their length each, in noise of unseen clips."""
    rng, spoken = np.random.default_rng(_SEED), []
    for utterance, samples, rate in list(packs.read_pack(data / "librispeech_1.tar", "dev"))[::every]:
        samples = packs.resample(samples, rate)
        samples = samples[: len(samples) // HOP * HOP]
        pause = len(samples) // HOP // 2
        rows = np.pad(label_speech(samples), pause)
        samples = np.pad(samples, pause * HOP)
        noise, _ = pool.load(pool.noise[rng.integers(len(pool.noise))])
        noise = looped(noise, len(samples), int(rng.integers(len(noise))))
        mix = samples if snr is None else add_noise(samples, rows, noise, snr)
        spoken.append(Spoken(at_level(mix, -26).clip(-1, 1).astype("<f4"), text.normalise(utterance.text)))
    return spoken


async def _compare(spoken: list[Spoken], name: str) -> None:
    settings = Settings(models=("asr-en", "vad"), engine=EngineSection(workers=1))
    async with running_host(settings) as host:
        for gate, vad in _GATES.items():
            began = time.process_time()
            heard = [await _transcribe(host, item, replace(_CONFIG, vad=vad)) for item in spoken]
            used = time.process_time() - began
            seconds = sum(len(item.samples) for item in spoken) / packs.SAMPLE_RATE
            errors = jiwer.wer([item.words for item in spoken], heard)
            print(f"| {name} | {gate} | {100 * errors:.1f} % | {1000 * used / seconds:.1f} |", flush=True)


async def _transcribe(host: Host, spoken: Spoken, config: Config) -> str:
    stream = host.connect()
    sending = asyncio.create_task(_send(stream, spoken, config))
    finals = []
    while (message := await stream.receive()) is not None:
        if isinstance(message, Result) and message.is_final:
            finals.append(message.text)
    await sending
    return " ".join(finals)


async def _send(stream, spoken: Spoken, config: Config) -> None:
    await stream.send(config)
    for start in range(0, len(spoken.samples), _PACKET):
        await stream.send(Audio(spoken.samples[start : start + _PACKET].tobytes()))
    await stream.send(End())


if __name__ == "__main__":
    main()
