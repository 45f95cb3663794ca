"""The file of voices that an import is given: prompts by name, each of four arrays; IMPORT.md tells which."""

from pathlib import Path

import numpy as np

from models.common.safe_files import CheckpointError, require_readable
from models.flow_tts.cosyvoice.checkpoint import Checkpoint
from models.flow_tts.cosyvoice.config import MELS, SPEAKER, TOKEN_FRAMES, Options
from streamer.tasks.token_prompts import PromptSizes, read_arrays, read_prompts

_KEYS = ("text", "tokens", "mel", "speaker")
_LIST = ","


def read_voices(path: Path, checkpoint: Checkpoint, options: Options) -> dict[str, dict[str, np.ndarray]]:
    """Prompts by name in the order of the file; raises `CheckpointError` or `BundleError`."""
    require_readable(path)
    names = _names(path)
    sizes = PromptSizes(checkpoint.ids.speech, checkpoint.ids.tokens, TOKEN_FRAMES, MELS, SPEAKER)
    prompts = dict(zip(names, read_prompts(path, names, sizes), strict=True))
    for name, prompt in prompts.items():
        chunks = len(prompt.tokens) // options.chunk
        if options.cached and chunks + 2 > options.pages:
            raise CheckpointError(f"{path.name}: {name}: expected at most {options.pages - 2} chunks, got {chunks}")
    return {
        name: {
            "text": np.array(prompt.text, np.int64),
            "tokens": np.array(prompt.tokens, np.int64),
            "mel": prompt.mel,
            "speaker": prompt.speaker,
        }
        for name, prompt in prompts.items()
    }


def _names(path: Path) -> tuple[str, ...]:
    """Of all voices; raises `CheckpointError` for arrays of other names."""
    names: dict[str, None] = {}
    for array in read_arrays(path):
        name, _, key = array.rpartition(".")
        if not name or name != name.strip() or _LIST in name or key not in _KEYS:
            raise CheckpointError(f"{path.name}: expected arrays NAME.{{{_LIST.join(_KEYS)}}}, got {array!r:.60}")
        names[name] = None
    if not names:
        raise CheckpointError(f"{path.name}: expected a voice at least, got none")
    return tuple(names)
