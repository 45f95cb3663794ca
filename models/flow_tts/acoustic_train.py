"""Train text encoder, expander and flow together for a given wall-clock time; a restart continues."""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from models.common.allocator import keep_freed_memory
from models.common.parallel import Together
from models.common.training import Progress, Schedule, Settings, Trainer
from models.flow_tts.acoustic_data import Batch, collate, cut, draw_batches, recordings
from models.flow_tts.bundle_weights import acoustic_weights, begin_from
from models.flow_tts.config import FRAME, HALVES, RATE, FlowConfig, TextConfig
from models.flow_tts.flow import conditions
from models.flow_tts.symbols import SYMBOLS
from models.flow_tts.tuning import averaged, line
from models.flow_tts.vocoder import pitch_features
from models.flow_tts.voice import Voice

_SEEDS_APART = 1_000_003
# What the logarithm of a duration of no frames counts as.
_NOTHING = -1.2
_DURATION, _OCTAVES, _VOICING = 0.3, 3.0, 0.2
# Share of examples for the flow that are two pieces in a row.
_JOINED = 0.4


class Objective:
    """The loss of a batch: durations, pitch, the mean of the mel, and the velocity of the flow."""

    def __init__(self, voice: Voice, progress: Progress) -> None:
        self._voice, self._progress = voice, progress

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
        """Return the loss, its parts and the seconds of audio."""
        rng = torch.Generator().manual_seed(self._progress.updates)
        parts = losses(self._voice, batch, rng)
        loss = (
            parts["mean"] + parts["flow"] + _DURATION * parts["durations"] + _OCTAVES * parts["octaves"]
            + _VOICING * parts["voicing"]
        )  # fmt: skip
        seconds = int(batch.frame_mask.sum()) * FRAME / RATE
        return loss, {name: float(value.detach()) for name, value in parts.items()}, seconds


def losses(voice: Voice, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
    """The parts: `durations` (of logs), `octaves`, `voicing`, `mean` and `flow`."""
    encoded, logs = voice.encoder(batch.symbols, batch.symbol_mask)
    wanted = torch.where(batch.frames > 0, batch.frames.float().clamp_min(1).log(), _NOTHING)
    parts = {"durations": _masked((logs.float() - wanted).square(), batch.spoken)}
    repeated = encoded.gather(1, batch.source.unsqueeze(2).expand(-1, -1, encoded.shape[2]))
    entered, melody = voice.expander.melody_of(repeated, batch.place, batch.frame_mask)
    voiced, octaves = melody.float().chunk(2, 2)
    true_voiced, true_octaves = pitch_features(batch.pitch).chunk(2, 2)
    parts["octaves"] = _masked((octaves - true_octaves).abs(), batch.pitch > 0)
    parts["voicing"] = _masked(
        functional.binary_cross_entropy_with_logits(voiced, true_voiced, reduction="none"),
        batch.frame_mask.unsqueeze(2).expand(-1, -1, HALVES),
    )
    mean = voice.expander.mean(entered, batch.pitch, batch.frame_mask).float()
    parts["mean"] = _masked((mean - batch.mel).square().mean(2), batch.frame_mask)
    mel, given, mask = _joined(batch, conditions(mean.detach(), batch.pitch), rng)
    time = torch.rand(len(mel), generator=rng)
    noise = torch.randn(mel.shape, generator=rng)
    parts["flow"] = voice.flow.loss(mel, given, noise, time, mask)
    return parts


def _joined(batch: Batch, given: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Mel, conditions and mask of the flow's examples: some pieces follow others, as the caches will have it."""
    lengths = batch.frame_mask.sum(1).tolist()
    rows = [list(range(len(lengths)))[i : i + 1] for i in range(len(lengths))]
    if torch.rand((), generator=rng) < _JOINED and len(rows) > 1:
        rows = [rows[i] + rows[i + 1] for i in range(0, len(rows) - 1, 2)]
    mels = [torch.cat([batch.mel[i, : lengths[i]] for i in row]) for row in rows]
    givens = [torch.cat([given[i, : lengths[i]] for i in row]) for row in rows]
    mask = pad_sequence([torch.ones(len(mel), dtype=torch.bool) for mel in mels], batch_first=True)
    return pad_sequence(mels, batch_first=True), pad_sequence(givens, batch_first=True), mask


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp_min(1)


def evaluation(voice: Voice, folder: Path) -> Callable[[dict[str, Tensor]], str]:
    """Tell the losses on the tuning split, with averaged weights."""
    tuning = recordings(folder, "tune")
    batch = collate([cut(one, 0, len(one.symbols) - 1, 0) for one in tuning])

    def report() -> str:
        return line(losses(voice, batch, torch.Generator().manual_seed(0)))

    return averaged(voice, report)


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    keep_freed_memory()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    together = Together()
    voice = Voice(TextConfig(len(SYMBOLS)), FlowConfig())
    if arguments.init:
        begin_from(voice, acoustic_weights(arguments.init))
    schedule = Schedule(60 * arguments.budget_minutes, arguments.rate, arguments.warmup, arguments.hold)
    settings = Settings(
        schedule, arguments.out, clip=1.0, ema_decay=0.995, checkpoint_every_s=120,
        evaluate_every_s=60 * arguments.evaluate_minutes,
    )  # fmt: skip
    trainer = Trainer(voice, settings, voice.plain_config(), together=together)
    seed = arguments.seed + trainer.progress.updates + _SEEDS_APART * together.rank
    batches = draw_batches(recordings(arguments.pool, "train"), arguments.batch, seed)
    trainer.run(batches, Objective(voice, trainer.progress), evaluation(voice, arguments.pool))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder of the recordings and their alignments")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--init", type=Path, help="checkpoint or folder of a bundle to begin from")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="training time over all restarts")
    parser.add_argument("--evaluate-minutes", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=12, help="pieces in a batch")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--hold", type=float, default=0.3, help="share of the time before the rate falls")
    parser.add_argument("--warmup", type=int, default=500, help="updates until the peak rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
