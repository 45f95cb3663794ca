"""Fit the confidence of words to unseen speakers: on one of them, checked on the other.

The bundle must have no calibration yet (`models.transducer.export` without `--calibration`); the result is a file for
that option.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from models.common import packs, reliability, text
from models.common.served_words import Spoken, listen

# Parameter prefix and the options of `streamer transcribe` that it belongs to.
_SEARCHES = {"confidence": (), "beam_confidence": ("--beam", "8")}
_FIT, _CHECK = "1970", "3664"


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a bundle without calibration")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    parameters = {}
    print(reliability.HEADER)
    for prefix, options in _SEARCHES.items():
        slope, bias = _fitted(arguments, prefix, options)
        parameters |= {f"{prefix}_slope": slope, f"{prefix}_bias": bias}
    arguments.out.write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")


def _fitted(arguments: argparse.Namespace, prefix: str, options: Sequence[str]) -> tuple[float, float]:
    bundle = arguments.bundle.resolve()
    plain = {}
    for speaker in (_FIT, _CHECK):
        spoken = speech_of(arguments.data, speaker)
        plain[speaker] = reliability.judged(spoken, listen(spoken, bundle, options)[0])
    slope, bias = (round(value, 4) for value in reliability.fit(*plain[_FIT]))
    for speaker, (confidences, right) in plain.items():
        better = reliability.calibrated(confidences, slope, bias)
        print(reliability.measure(confidences, right).row(f"{speaker}, {prefix}, plain"), flush=True)
        print(reliability.measure(better, right).row(f"{speaker}, {prefix}, calibrated"), flush=True)
    return slope, bias


def speech_of(data: Path, speaker: str) -> list[Spoken]:
    """The dev recordings of one LibriSpeech speaker."""
    found = []
    for stem in ("librispeech_1", "librispeech_2"):
        for utterance, samples, rate in packs.read_pack(data / f"{stem}.tar", "dev"):
            words = text.normalise(utterance.text)
            if words and speaker in utterance.speaker:
                found.append(Spoken(words, packs.resample(samples, rate)))
    return found


if __name__ == "__main__":
    main()
