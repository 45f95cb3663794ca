"""Measure what a trained voice lacks of the liveliness of recordings: melody, and fluctuations of bands."""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from models.flow_tts import voice
from models.flow_tts.grain import Grain
from models.flow_tts.melody import Melody, flatness
from models.flow_tts.roughness import FIRST_BAND, deviations
from models.flow_tts.vocoder import load_vocoder


@dataclass(frozen=True)
class Calibration:
    """How the melody is widened, and the deviation of the grain of each band."""

    melody: Melody
    deviation: list[float]

    def grain(self) -> Grain:
        """The layer that makes it."""
        return Grain(torch.tensor(self.deviation))


def read_calibration(path: Path) -> Calibration:
    """Read what this recipe wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Calibration(Melody(**found["melody"]), found["deviation"])


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder of the recordings and their alignments")
    parser.add_argument("--acoustic", type=Path, required=True, help="checkpoint of acoustic_train")
    parser.add_argument("--vocoder", type=Path, required=True, help="checkpoint of vocoder_train")
    parser.add_argument("--out", type=Path, required=True, help="file of the calibration, calibration.json")
    arguments = parser.parse_args()
    spoken, vocoder = voice.load(arguments.acoustic), load_vocoder(arguments.vocoder)
    melody = flatness(spoken, arguments.pool)
    print(f"melody {melody.wider:.2f} times as wide around {200 * 2**melody.middle:.0f} Hz", flush=True)
    for deviation in deviations(spoken, vocoder, arguments.pool):
        print(f"mean deviation {float(deviation[FIRST_BAND:].mean()):.3f}", flush=True)
    written = asdict(Calibration(melody, [round(float(value), 4) for value in deviation]))
    arguments.out.write_text(json.dumps(written), encoding="utf-8")


if __name__ == "__main__":
    main()
