"""Quality of the codec beside Opus, Speex, Codec 2 and Lyra v2 on 50 speakers that nothing was trained or chosen on.

Every codec codes the same clips; figures are those of `models.codec.quality`, bits are counted from the packets. Word
errors are those of the shipped recogniser on LibriSpeech's unseen speakers, decoded from each codec. Everything is
kept under `--out` by its content, so that a second run measures only what is new.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from models.codec import packet_loss, quality, quality_report, wire_bits
from models.codec.coded_cache import CodedCache
from models.codec.judging import Judge, Listener, Measured, judging_clips, original
from models.codec.peers import codec2, lyra, opus, speex
from models.codec.peers.coded import MissingPeer, System
from models.codec.served import OURS, serving
from models.common.dev_speech import real_speech
from streamer.cli.logs import configure_logging

_BUNDLES = Path(__file__).parents[2] / "streamer" / "bundles"
BUNDLE, RECOGNISER = _BUNDLES / "codec-16k", _BUNDLES / "asr-en"
METRICS = ("pesq", "stoi", "visqol", "dnsmos")
# Of the clips whose words are counted, and of those that lose packets, so many-th are taken.
_WORDS_EVERY, _LOSSY_EVERY = 2, 5
PEERS = ("codec2", "speex", "opus", "lyra")


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    systems = [original(), *peer_systems(arguments.with_peers, arguments.peers)]
    cache = CodedCache(arguments.out / "cache")
    judge = Judge(judging_clips(arguments.data)[:: arguments.every], cache, arguments.processes)
    listener = None
    if not arguments.no_words:
        spoken = [*real_speech(arguments.data / "librispeech_1.tar")][:: _WORDS_EVERY * arguments.every]
        listener = Listener(spoken, RECOGNISER, cache)
    configure_logging("warning")
    with nullcontext() if arguments.peers_only else serving(arguments.bundle) as served:
        systems += served.systems() if served else []
        measured = [evaluate(system, judge, listener, arguments.metrics) for system in systems]
        write(measured, arguments.out)
        if served:
            report(wire_bits.table(wire_bits.measure(judge.clips, served, cache)), arguments.out / "bits.md")
        if arguments.loss:
            lossy = packet_loss.measure(Judge(judge.clips[::_LOSSY_EVERY], cache, arguments.processes), served)
            (arguments.out / "loss.json").write_text(json.dumps(lossy), encoding="utf-8")
            report(packet_loss.table(lossy), arguments.out / "loss.md")


def evaluate(system: System, judge: Judge, listener: Listener | None, metrics: Sequence[str]) -> Measured:
    """All figures of one codec at one rate."""
    measured = judge.measure(system, metrics)
    if listener is not None:
        measured.errors, measured.words = listener.hear(system, measured.lag_samples)
    figures = {name: round(measured.mean(name), 3) for name in [*measured.scores, "wer"]}
    print(f"{measured.name}: {measured.payload_kbps:.2f} kbit/s, {figures}", flush=True)
    return measured


def peer_systems(names: Sequence[str], folder: Path) -> list[System]:
    """The named `PEERS` at all their rates; ends the program with what to install if one is not there."""
    makers: Mapping[str, Callable[[], list[System]]] = {
        "codec2": codec2.systems,
        "speex": speex.systems,
        "opus": opus.systems,
        "lyra": lambda: lyra.systems(folder / "lyra_v2"),
    }
    found, missing = [], []
    for name in names:
        try:
            found += makers[name]()
        except MissingPeer as error:
            missing.append(str(error))
    if packages := quality.missing_packages():
        missing.append(f"expected the packages {', '.join(packages)}: pip install --group codec-evaluation")
    if missing:
        sys.exit("\n".join(missing))
    return found


def write(measured: Sequence[Measured], out: Path) -> None:
    """Write results.json, quality.md, differences.md and quality.png."""
    ours = [each for each in measured if each.family in OURS]
    peers = [each for each in measured if each.family not in (*OURS, "original")]
    (out / "results.json").write_text(json.dumps([each.as_json() for each in measured]), encoding="utf-8")
    report(quality_report.table(measured), out / "quality.md")
    if ours:
        report(quality_report.differences(ours, peers), out / "differences.md")
    quality_report.draw(measured, out / "quality.png", [*OURS])


def report(table: str, path: Path) -> None:
    """Write a table, and print it."""
    path.write_text(f"{table}\n", encoding="utf-8")
    print(f"\n{table}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="folder of the codec's bundle")
    parser.add_argument("--peers-only", action="store_true", help="leave the codec out")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--peers", type=Path, default=Path("../shared/peers"), help="folder of models of peers")
    parser.add_argument("--with-peers", nargs="*", choices=PEERS, default=PEERS, help="which peers to measure")
    parser.add_argument("--metrics", nargs="+", choices=tuple(quality.METRICS), default=METRICS, help="what to measure")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th clip, for a first look")
    parser.add_argument("--loss", action="store_true", help="measure lost packets too, on every fifth clip")
    parser.add_argument("--no-words", action="store_true", help="leave out the word errors")
    parser.add_argument("--processes", type=int, default=2, help="that compute figures at once")
    parser.add_argument("--out", type=Path, required=True, help="folder of results, and of what is kept between runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
