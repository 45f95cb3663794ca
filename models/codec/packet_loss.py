"""How codecs sound when packets are lost: PLCMOS and PESQ at rising loss, ours with and without redundancy, and Opus.

Losses come in bursts of two packets on average (Gilbert 1960), 20 ms a packet; the same packets are lost for all.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from models.codec.judging import Judge, Measured
from models.codec.peers import opus
from models.codec.peers.coded import Coded, System
from models.codec.served import FAMILY, ServedCodec, payload_bits, without
from models.common.evaluation_cache import digest
from models.common.markdown import table as markdown
from streamer.session.messages import CodecOptions

SHARES = (0.0, 0.05, 0.1, 0.2)
"""Of packets lost."""
METRICS = ("plcmos", "pesq")
_BURST = 2.0
_PACKET = 320
_OURS = (
    ("ours 3", CodecOptions(bitrate=3000, frames_per_packet=1)),
    ("ours 3, redundant", CodecOptions(bitrate=3000, frames_per_packet=1, fec=True)),
    ("ours 6", CodecOptions(bitrate=6000, frames_per_packet=1)),
    ("ours 6, redundant", CodecOptions(bitrate=6000, frames_per_packet=1, fec=True)),
)
# Name, bits per second, whether with its own forward error correction. At less than 16 kbit/s it adds none.
_OPUS = (("Opus 12", 12_000, False), ("Opus 16", 16_000, False), ("Opus 16, FEC", 16_000, True))


def lossy_systems(served: ServedCodec | None, share: float) -> list[System]:
    """All codecs, losing that share of their packets."""
    found = []
    for name, options in _OURS if served is not None else ():
        key = f"{served.key} {options} lost {share}"
        found.append(System(name, FAMILY, key, partial(_ours, served, options, share)))
    for name, rate, fec in _OPUS:
        expected = max(round(100 * share), 1) if fec else 0
        key = f"{opus.version()} cbr {rate} voip expects {expected} lost {share}"
        found.append(System(name, "Opus", key, partial(_opus, rate, expected, share)))
    return found


def losses(samples: np.ndarray, share: float) -> np.ndarray:
    """Which packets of f32[n] are lost, bool: a two-state chain, drawn by the recording and the share alone."""
    rng = np.random.default_rng(int(digest("losses", share, samples), 16))
    leave = 1 / _BURST
    enter = share * leave / (1 - share)
    lost, state = np.zeros(len(samples) // _PACKET + 4, bool), rng.random() < share
    for index, drawn in enumerate(rng.random(len(lost))):
        lost[index] = state
        state = drawn >= leave if state else drawn < enter
    return lost


def measure(judge: Judge, served: ServedCodec | None) -> list[dict]:
    """Every codec at each of `SHARES`: its name, the share, and what `Measured` says."""
    found = []
    for share in SHARES:
        for system in lossy_systems(served, share):
            measured = judge.measure(system, METRICS)
            found.append({"lost": share} | measured.as_json())
            print(f"{system.name}, {share:.0%} lost: PLCMOS {measured.mean('plcmos'):.2f}", flush=True)
    return found


def table(found: Sequence[dict]) -> str:
    """A row for each codec: bits and both figures at each share of loss."""
    shares = [f"{share:.0%}" for share in SHARES]
    columns = (
        "codec, 20 ms a packet",
        "payload, kbit/s",
        *(f"PLCMOS, {s}" for s in shares),
        *(f"PESQ, {s}" for s in shares),
    )
    rows = []
    for name in dict.fromkeys(each["name"] for each in found):
        mine = [Measured(**{k: v for k, v in each.items() if k != "lost"}) for each in found if each["name"] == name]
        cells = [f"{each.mean(metric):.2f}" for metric in METRICS for each in mine]
        rows.append((name, f"{mine[0].payload_kbps:.2f}", *cells))
    return markdown(columns, rows)


def _ours(served: ServedCodec, options: CodecOptions, share: float, samples: np.ndarray) -> Coded:
    stream = served.packets(samples, options)
    decoded = served.decode(without(stream, losses(samples, share)))
    return Coded(decoded, payload_bits(stream), len(stream))


def _opus(rate: int, expected: int, share: float, samples: np.ndarray) -> Coded:
    return opus.code(samples, rate, losses(samples, share), expected)
