"""Train the vocoder on recordings for a given wall-clock time; a restart continues."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.common.adversarial import Adversary
from models.common.allocator import keep_freed_memory
from models.common.parallel import Together
from models.common.training import Progress, Schedule, Settings, Trainer
from models.flow_tts import voice
from models.flow_tts.bundle_weights import begin_from, vocoder_weights
from models.flow_tts.config import FRAME, RATE, TEMPERATURE, VocoderConfig
from models.flow_tts.generated import generated_mels
from models.flow_tts.mel import LogMel
from models.flow_tts.pool import Clip, Pool, statistics
from models.flow_tts.tuning import averaged, line
from models.flow_tts.vocoder import DELAY, TURN, Vocoder
from models.flow_tts.vocoder_loss import ENVELOPES, LENGTHS, MelLoss, SpectralLoss

_SEEDS_APART = 1_000_003
# Frames at the start of a crop whose past the vocoder was not told: they are not judged.
_BLIND = 8
_MEL, _ROOT = 0.5, 5.0
_ADVERSARIAL, _FEATURES = 0.3, 1.0
# Transforms that the discriminators judge: from half a frame of the mel to where each harmonic stands alone.
_JUDGED = (512, 1024, 2048)
_JUDGED_CLIPS = 12
_GENERATED = 0.5


class Batch(NamedTuple):
    """Crops: normalised mel f32[B, T, MELS], pitch i64[B, T, HALVES] and samples f32[B, T * FRAME]."""

    mel: Tensor
    pitch: Tensor
    samples: Tensor


class Crops:
    """Draws crops of training clips, with mels made once; half of them are `generated` ones, if there are any."""

    def __init__(
        self, pool: Pool, scale: tuple[Tensor, Tensor], frames: int, generated: Mapping[Clip, Tensor] | None = None
    ) -> None:
        self._pool, self._frames, self._generated = pool, frames, generated or {}
        mean, deviation = scale
        self._mels = {clip: (mel - mean) / deviation for clip, mel in pool.mels() if clip.frames >= frames}
        self._clips = list(self._mels)
        shares = np.cumsum([clip.frames - frames + 1.0 for clip in self._clips])
        self._shares = shares / shares[-1]

    def batches(self, size: int, seed: int) -> Iterator[Batch]:
        """Yield batches for ever."""
        rng = np.random.default_rng(seed)
        while True:
            mels, pitches, samples = zip(*(self._crop(rng) for _ in range(size)), strict=True)
            yield Batch(torch.stack(mels), torch.from_numpy(np.stack(pitches)), torch.from_numpy(np.stack(samples)))

    def _crop(self, rng: np.random.Generator) -> tuple[Tensor, np.ndarray, np.ndarray]:
        clip = self._clips[int(np.searchsorted(self._shares, rng.random()))]
        first = int(rng.integers(clip.frames - self._frames + 1))
        where = slice(first, first + self._frames)
        mels = self._generated if clip in self._generated and rng.random() < _GENERATED else self._mels
        return mels[clip][where], self._pool.pitch(clip)[where], self._pool.samples(clip, first, self._frames)


class Objective:
    """The loss of a batch: spectra and mel, and what discriminators say, if there is an adversary."""

    def __init__(self, model: Vocoder, progress: Progress, adversary: Adversary | None) -> None:
        self._model, self._progress, self._adversary = model, progress, adversary
        self._spectral = SpectralLoss(ENVELOPES if adversary else LENGTHS)
        self._mel = MelLoss()

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
        """Return the loss, its parts and the seconds of audio."""
        size, frames = batch.mel.shape[:2]
        rng = torch.Generator().manual_seed(self._progress.updates)
        noise = torch.randn(size, frames, FRAME, generator=rng)
        phase = torch.randint(TURN, (size,), generator=rng)
        samples = self._model(batch.mel, batch.pitch, noise, phase).flatten(1)[:, DELAY + _BLIND * FRAME :]
        original = batch.samples[:, _BLIND * FRAME : -DELAY]
        with torch.autocast("cpu", enabled=False):
            parts = self._spectral(samples, original)
            parts["mel"] = self._mel(samples, original)
            loss = parts["log"] + _ROOT * parts["root"] + _MEL * parts["mel"]
        if self._adversary is not None:
            judged = self._adversary(samples, original)
            loss = loss + _ADVERSARIAL * judged["adversarial"] + _FEATURES * judged["features"]
            parts |= judged
        return loss, {name: float(value.detach()) for name, value in parts.items()}, size * frames * FRAME / RATE


def evaluation(model: Vocoder, pool: Pool, scale: tuple[Tensor, Tensor]) -> Callable[[dict[str, Tensor]], str]:
    """Tell losses on whole clips of the tuning split, with averaged weights."""
    spectral, distance, front = SpectralLoss(), MelLoss(), LogMel()

    clips = pool.clips[:_JUDGED_CLIPS]

    def report() -> str:
        sums: dict[str, float] = {}
        for clip in clips:
            original = torch.from_numpy(pool.samples(clip))[None]
            samples = resynthesise(model, front, original, torch.from_numpy(pool.pitch(clip))[None], scale)
            parts = spectral(samples[:, :-DELAY], original[:, :-DELAY])
            parts["mel"] = distance(samples[:, :-DELAY], original[:, :-DELAY])
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(clips)
        return line(sums)

    return averaged(model, report)


def resynthesise(
    model: Vocoder, front: LogMel, original: Tensor, pitch: Tensor, scale: tuple[Tensor, Tensor], seed: int = 0
) -> Tensor:
    """Samples f32[1, n] as the vocoder makes them of the mel of f32[1, n], in its place; the last `DELAY` are 0."""
    mel = (front(original) - scale[0]) / scale[1]
    noise = torch.randn(1, mel.shape[1], FRAME, generator=torch.Generator().manual_seed(seed))
    samples = model(mel, pitch, noise).flatten(1)
    return nn.functional.pad(samples[:, DELAY:], (0, DELAY))


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    keep_freed_memory()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder, together = arguments.pool, Together()
    config = VocoderConfig()
    model = Vocoder(config)
    if arguments.init:
        begin_from(model, vocoder_weights(arguments.init))
    adversary = Adversary(lengths=_JUDGED) if arguments.adversarial else None
    schedule = Schedule(60 * arguments.budget_minutes, arguments.rate, arguments.warmup, arguments.hold)
    settings = Settings(
        schedule, arguments.out, betas=(0.8, 0.99), clip=20.0, checkpoint_every_s=120,
        evaluate_every_s=60 * arguments.evaluate_minutes,
    )  # fmt: skip
    trainer = Trainer(
        model, settings, asdict(config), companions={"adversary": adversary} if adversary else {}, together=together
    )
    scale = statistics(folder)
    seed = arguments.seed + trainer.progress.updates + _SEEDS_APART * together.rank
    generated = None
    if arguments.acoustic:
        generated = dict(generated_mels(voice.load(arguments.acoustic), folder, "train", arguments.temperature))
    batches = Crops(Pool(folder, "train"), scale, arguments.frames, generated).batches(arguments.batch, seed)
    objective = Objective(model, trainer.progress, adversary)
    trainer.run(batches, objective, evaluation(model, Pool(folder, "tune"), scale))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder of the decoded recordings")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--init", type=Path, help="checkpoint or folder of a bundle to begin from")
    parser.add_argument("--acoustic", type=Path, help="checkpoint of acoustic_train, to learn from its mels too")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE, help="of the noise those are made of")
    parser.add_argument("--adversarial", action="store_true", help="add discriminators")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="training time over all restarts")
    parser.add_argument("--evaluate-minutes", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=16, help="crops in a batch")
    parser.add_argument("--frames", type=int, default=33, help="frames of a crop")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--hold", type=float, default=0.3, help="share of the time before the rate falls")
    parser.add_argument("--warmup", type=int, default=300, help="updates until the peak rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
