"""Folders of toys of CosyVoice as the released ones are laid out, which tests may spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.flow_tts.cosyvoice.names import unfolded
from tests.models.cosyvoice_toys import LM2, toy_flow, toy_hift, toy_lm

Weights = dict[str, Any]
YAML = """
__set_seed1: !apply:random.seed [1986]
sample_rate: 24000
token_frame_rate: 25
token_mel_ratio: 2
chunk_size: 5
flow: !new:cosyvoice.flow.flow.CausalMaskedDiffWithXvec
  token_mel_ratio: !ref <token_mel_ratio>
  decoder: !new:cosyvoice.flow.flow_matching.CausalConditionalCFM
    cfm_params: !new:omegaconf.DictConfig
      content:
        sigma_min: 1e-06
        inference_cfg_rate: 0.7
    estimator: !new:cosyvoice.flow.decoder.CausalConditionalDecoder
      attention_head_dim: 8
      static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
llm: !new:cosyvoice.llm.llm.Qwen2LM
  sampling: !name:cosyvoice.utils.common.ras_sampling
    top_p: 0.7
    top_k: 20
    win_size: 8
    tau_r: 0.25
"""


class Folder:
    """Files of a toy, which a test may spoil before they are written."""

    def __init__(self, path: Path, version: int) -> None:
        self.path, self.version = path, version
        self.flow: Weights = toy_flow(version).state_dict()
        self.hift: Weights = unfolded(toy_hift(version))
        head = torch.zeros(LM2.texts, LM2.width)
        self.lm: Weights = {**toy_lm(version).state_dict(), "llm.model.lm_head.weight": head}
        self.yaml: str | None = YAML
        self.config: Any = {"num_attention_heads": 4, "rope_theta": 1000000.0, "rms_norm_eps": 1e-06}

    def write(self) -> Path:
        self.path.mkdir(exist_ok=True)
        for name in ("flow", "hift"):
            torch.save(getattr(self, name), self.path / f"{name}.pt")
        torch.save(self.lm, self.path / "llm.pt")
        if self.yaml is not None:
            (self.path / f"cosyvoice{self.version}.yaml").write_text(self.yaml, encoding="utf-8")
        text_model = self.path / "CosyVoice-BlankEN"
        text_model.mkdir(exist_ok=True)
        (text_model / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        (text_model / "vocab.json").write_text("{}", encoding="utf-8")
        return self.path


def prompt(**others: np.ndarray) -> dict[str, np.ndarray]:
    """A voice of seven tokens, with `others` of its arrays."""
    tokens = {"text": np.arange(3), "tokens": np.arange(7)}
    return {**tokens, "mel": np.zeros((14, 80), np.float32), "speaker": np.zeros(192, np.float32), **others}


def write_prompt(path: Path, **others: np.ndarray) -> Path:
    """Write the file of that voice, ada."""
    np.savez(path, **{f"ada.{key}": array for key, array in prompt(**others).items()})
    return path
