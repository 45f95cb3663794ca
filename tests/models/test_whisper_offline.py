"""A checkpoint with adapters, imported to be heard offline, says through the server what openai-whisper says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")
peer = pytest.importorskip("whisper", reason="openai-whisper is not installed")

from models.careless_whisper import import_checkpoint  # noqa: E402
from models.careless_whisper.config import Dims  # noqa: E402
from models.careless_whisper.model import Whisper  # noqa: E402
from models.careless_whisper.tokenizer import read_ranks  # noqa: E402
from models.common.served_words import Spoken, listen  # noqa: E402
from streamer.bundle.loader import load_bundle  # noqa: E402
from tests.models.whisper_checkpoints import whisper_rt_file  # noqa: E402

torch.set_num_threads(1)
# Windows of 2 s, the whole multilingual vocabulary.
DIMS = Dims(80, 100, 64, 2, 1, 51865, 96, 64, 2, 1)
MOST_TOKENS = DIMS.n_text_ctx // 2
SAMPLE = Path(__file__).parents[1] / "samples" / "ferry.flac"


def talkative() -> torch.nn.Module:
    """A model of openai-whisper with random weights that does not say the same token again and again."""
    model = peer.model.Whisper(peer.ModelDimensions(**asdict(DIMS))).eval()
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        spread = 0.1 if parameter.dim() == 1 else 3 * parameter[0].numel() ** -0.5
        spread = {"decoder.token_embedding.weight": 0.3, "decoder.positional_embedding": 0.5}.get(name, spread)
        mean = 1 if name.endswith(("ln.weight", "ln_post.weight")) else 0
        # Bundles keep matrices in half precision.
        parameter.data = (torch.randn(parameter.shape, generator=generator) * spread + mean).half().float()
    return model


def adapted(model: torch.nn.Module) -> Whisper:
    """The same with adapters, which the offline model must not feel."""
    ours = Whisper(DIMS)
    ours.load_state_dict(model.state_dict())
    ours.adapt(8)
    for name, parameter in ours.named_parameters():
        if name.endswith("lora_b"):
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(5))
    return ours.requires_grad_(False)


def clip() -> np.ndarray:
    """Two seconds that end in silence: a stream has no mirrored end."""
    samples, _ = soundfile.read(SAMPLE, dtype="float32")
    samples = samples[8_000:40_000].copy()
    samples[-8_000:] = 0
    return samples


# openai-whisper leaves its token file open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_offline_bundle_says_what_openai_whisper_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Features, encoder, prompt, suppressed ids, greedy search and text are the same, token for token."""
    model, samples = talkative(), clip()
    options = peer.DecodingOptions(language="en", without_timestamps=True, suppress_blank=False, fp16=False)
    said = peer.decode(model, peer.log_mel_spectrogram(samples), options)
    assert len(said.tokens) == MOST_TOKENS
    assert len(set(said.tokens)) > 25
    out = tmp_path / "off"
    arguments = ["--offline", "--compat", "--languages", "en", "--options", f"max_tokens_per_chunk={MOST_TOKENS}"]
    file = whisper_rt_file(tmp_path, adapted(model), cfg={"gran": 5, "rank": 8, "extra_gran_blocks": 2})
    assert import_checkpoint.main([str(file), "-o", str(out), *arguments]) == 0, capsys.readouterr().err
    check_manifest(out)
    heard, _ = listen([Spoken("", samples)], out.rename(tmp_path / "toy-rt"))
    # Then comes the silence that flushes the stream, in a window of its own.
    assert heard[0].text.startswith(said.text)


def check_manifest(folder: Path) -> None:
    """The tokens are those of the installed package, all languages have their ids, one is offered."""
    manifest = load_bundle(folder).manifest
    task = manifest.task
    assert (task.parameters["gran"], task.parameters["extra"]) == (DIMS.n_audio_ctx, 0)
    assert manifest.languages == ("en",)
    assets = Path(peer.__file__).parent / "assets"
    assert read_ranks(folder / task.assets["tokens"]) == read_ranks(assets / "multilingual.tiktoken")
    assert (folder / task.assets["languages"]).read_text().splitlines() == list(peer.tokenizer.LANGUAGES)[:99]
