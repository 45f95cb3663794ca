"""Harmonic-plus-noise vocoder: mel and pitch to samples, causal, exact for any cutting into chunks.

After HiFT (CosyVoice 2, arXiv 2412.10117) brought to the rate of frames: a pulse train and white noise are filtered in
the frequency domain, the filters come from ConvNeXt blocks over frames. The harmonic filter has minimum phase, as that
of a vocal tract. Phases are whole numbers, so they add up the same however a stream is cut.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Block, Caches, Chain, FrameConv, Whole
from models.common.table_matrix import TableMatrix, fourier
from models.flow_tts.bundle_weights import begin_from, vocoder_weights
from models.flow_tts.config import FRAME, HALVES, MELS, PITCH_STEPS, RATE, VocoderConfig

HOP = FRAME // HALVES
LENGTH = 4 * HOP
BINS = LENGTH // 2 + 1
DELAY = LENGTH - HOP
"""Samples by which the output is later than the voice: those of the overlap."""
TURN = RATE * PITCH_STEPS
"""A whole turn of the phase."""
_LOUDEST = 6.0
# About what filters are in speech, to begin training from.
_SPEECH = -5.0
_REFERENCE_HZ = 200.0


class Vocoder(nn.Module):
    """f32[B, T, MELS] and pitch i64[B, T, HALVES] to f32[B, T, FRAME], `DELAY` samples later."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.enter = FrameConv(MELS + 2 * HALVES, width, config.enter, causal=True)
        self.blocks = nn.ModuleList(
            Block(width, config.inner, config.kernel, "gelu", response_norm=False, causal=True)
            for _ in range(config.blocks)
        )
        self.halves = nn.Linear(width, HALVES * width)
        self.norm = nn.LayerNorm(width)
        self.filters = nn.Linear(width, 2 * BINS)
        nn.init.constant_(self.filters.bias, _SPEECH)
        self.register_buffer("analysis", analysis().tensor(), persistent=False)
        self.register_buffer("synthesis", synthesis().tensor(), persistent=False)
        self.register_buffer("hilbert", _hilbert(), persistent=False)
        self.caches = Caches(self._layers(), (2 * DELAY, (LENGTH // HOP - 1) * LENGTH))

    def forward(self, mel: Tensor, pitch: Tensor, noise: Tensor, phase: Tensor | None = None) -> Tensor:
        """Whole utterances; `noise` f32[B, T, FRAME] is standard normal, `phase` i64[B] where pulses begin."""
        batch = mel.shape[0]
        heard = mel.new_zeros(batch, 2, DELAY), mel.new_zeros(batch, LENGTH // HOP - 1, LENGTH)
        begin = torch.zeros(batch, dtype=torch.int64, device=mel.device) if phase is None else phase
        return self._run(Whole(), mel, pitch, noise, *heard, begin)[0]

    def step(
        self, mel: Tensor, pitch: Tensor, noise: Tensor, cache: Tensor, phase: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One chunk of any T with the row f32[B, caches.size] and the phase i64[B] of the chunk before."""
        (excitation, overlap), chain = self.caches.split(cache)
        heard = excitation.unflatten(1, (2, DELAY)), overlap.unflatten(1, (-1, LENGTH))
        samples, excitation, overlap, phase = self._run(chain, mel, pitch, noise, *heard, phase)
        return samples, chain.join([excitation.flatten(1), overlap.flatten(1)]), phase

    def _layers(self) -> list[nn.Module]:
        return [self.enter, *self.blocks]

    def _run(
        self, layers: Whole | Chain, mel: Tensor, pitch: Tensor, noise: Tensor, past: Tensor, overlap: Tensor,
        phase: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        x = torch.cat([mel, pitch_features(pitch)], 2)
        for layer in self._layers():
            x = layers.step(layer, x)
        x = functional.gelu(self.halves(x)).unflatten(2, (HALVES, -1)).flatten(1, 2)
        logs = self.filters(self.norm(x))
        with torch.autocast(mel.device.type, enabled=False):
            pulses, phase = pulse_train(pitch.flatten(1, 2), phase)
            excitation = torch.stack([pulses, noise.flatten(1)], 1)
            heard = torch.cat([past, excitation], 2)
            spectra = self._filtered(self._spectra(heard), logs.float())
            frames = torch.cat([overlap, spectra @ self.synthesis], 1)
            return _overlapped(frames), heard[:, :, heard.shape[2] - DELAY :], frames[:, 1 - LENGTH // HOP :], phase

    def _spectra(self, heard: Tensor) -> Tensor:
        """Windowed spectra f32[B, 2, T, 2 * BINS] of f32[B, 2, DELAY + T * HOP]: real parts, then imaginary ones."""
        hops = heard.unflatten(2, (-1, HOP))
        count = hops.shape[2] - LENGTH // HOP + 1
        return torch.cat([hops[:, :, i : i + count] for i in range(LENGTH // HOP)], 3) @ self.analysis

    def _filtered(self, spectra: Tensor, logs: Tensor) -> Tensor:
        harmonic, noisy = logs.clamp(max=_LOUDEST).chunk(2, 2)
        turned = harmonic @ self.hilbert
        gain = harmonic.exp()
        real, imaginary = gain * turned.cos(), gain * turned.sin()
        voice, breath = spectra[:, 0].chunk(2, 2), spectra[:, 1].chunk(2, 2)
        hiss = noisy.exp()
        return torch.cat(
            [
                voice[0] * real - voice[1] * imaginary + breath[0] * hiss,
                voice[0] * imaginary + voice[1] * real + breath[1] * hiss,
            ],
            2,
        )


def load_vocoder(path: Path) -> Vocoder:
    """Read the averaged weights of a checkpoint of `vocoder_train`, or those of the folder of a bundle."""
    if path.is_dir():
        made = Vocoder(VocoderConfig())
        begin_from(made, vocoder_weights(path))
        return made.eval()
    saved = torch.load(path, weights_only=True, map_location="cpu")
    made = Vocoder(VocoderConfig(**saved["config"]))
    made.load_state_dict(made.state_dict() | saved["average"])
    return made.eval()


def pitch_features(pitch: Tensor) -> Tensor:
    """Whether there is a voice, and octaves above 200 Hz: f32[B, T, 2 * HALVES] of i64[B, T, HALVES]."""
    hz = pitch.float() / PITCH_STEPS
    voiced = (pitch > 0).float()
    return torch.cat([voiced, voiced * torch.log2(hz.clamp_min(1.0) / _REFERENCE_HZ)], 2)


def pulse_train(pitch: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Band-limited pulses of unit power, f32[B, T * HOP], of i64[B, T] from the phase i64[B] on; and the next phase.

    The sum of all cosines below half the sample rate in closed form; the last one fades in, so that the sum is
    continuous in the pitch. Silent where there is no voice; the phase stands still there.
    """
    turned = torch.cumsum(pitch * HOP, 1)
    begin = (phase[:, None] + turned - pitch * HOP) % TURN
    within = torch.arange(HOP, dtype=torch.int64, device=pitch.device)
    at = (begin[..., None] + pitch[..., None] * within) % TURN
    # From -1/2 to 1/2 of a turn, exactly.
    cycles = torch.where(at > TURN // 2, at - TURN, at).float() / TURN
    count = (TURN / 2 / pitch.clamp_min(PITCH_STEPS * 40).float() - 1)[..., None]
    whole = torch.floor(count)
    half = math.pi * cycles
    below = 2 * torch.sin(half)
    near = below.abs() < 1e-4
    kernel = torch.sin((2 * whole + 1) * half) / torch.where(near, torch.ones_like(below), below) - 0.5
    pulses = torch.where(near, whole, kernel) + (count - whole) * torch.cos(2 * (whole + 1) * half)
    pulses = pulses * torch.sqrt(2 / count) * (pitch > 0)[..., None].float()
    return pulses.flatten(1), (phase + turned[:, -1]) % TURN


def _overlapped(frames: Tensor) -> Tensor:
    """Overlap-add f32[B, 3 + T, LENGTH] to f32[B, T / HALVES, FRAME]."""
    hops = frames.unflatten(2, (LENGTH // HOP, HOP))
    last, count = LENGTH // HOP - 1, frames.shape[1] - LENGTH // HOP + 1
    summed = sum(hops[:, last - i : last - i + count, i] for i in range(LENGTH // HOP))
    assert isinstance(summed, Tensor)
    return summed.unflatten(1, (-1, HALVES)).flatten(2)


def analysis() -> TableMatrix:
    """A Hann window and the transform, f32[LENGTH, 2 * BINS]."""
    table, columns, offsets = fourier(LENGTH)
    return TableMatrix(table, LENGTH, np.arange(LENGTH), columns, offsets, _window(), np.ones(2 * BINS, np.float32))


def synthesis() -> TableMatrix:
    """The inverse and a Hann window, f32[2 * BINS, LENGTH]; four squared windows overlap to 1.5."""
    table, columns, offsets = fourier(LENGTH)
    gain = np.tile(_counted_twice() / (1.5 * LENGTH), 2).astype(np.float32)
    return TableMatrix(table, LENGTH, np.arange(LENGTH), columns, offsets, _window(), gain, transposed=True)


def _window() -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / LENGTH)).astype(np.float32)


def _counted_twice() -> np.ndarray:
    """How often each bin stands in the whole transform, f64[BINS]: all but the outermost twice."""
    counts = np.full(BINS, 2.0)
    counts[0] = counts[-1] = 1
    return counts


def _hilbert() -> Tensor:
    """The phase of minimum phase, f32[BINS, BINS], of log magnitudes: by folding their cepstrum onto the past."""
    angles = 2 * np.pi * (np.arange(BINS)[:, None] * np.arange(BINS) % LENGTH) / LENGTH
    # Even cepstra need no more than their first half.
    cepstrum = np.cos(angles) * _counted_twice() / LENGTH
    fold = -np.sin(angles) * _counted_twice()[:, None]
    return torch.from_numpy((cepstrum.T @ fold).astype(np.float32))
