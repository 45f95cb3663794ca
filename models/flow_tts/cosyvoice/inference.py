"""Sizes of a checkpoint, told by the shapes of its tensors; what is missing has its released size.

Nothing is allocated by what a file says: sizes are bounded, and a model is only made once every shape fits.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from models.common.safe_files import CheckpointError, require_readable
from models.flow_tts.cosyvoice.config import (
    DitSizes,
    EncoderSizes,
    HiftSizes,
    LmSizes,
    PlainEncoderSizes,
    UNetSizes,
)

MOST_LAYERS = 128
_LARGEST = 1 << 18
_MOST_JSON = 1 << 20
_HEAD_WIDTH = 64
# Speech tokens of version 3's language model, those included that mark parts and those in reserve.
SPEECH3 = 6761


@dataclass(frozen=True)
class Shapes:
    """Tensors of the file `where` by name."""

    where: str
    found: Mapping[str, Any]

    def size(self, name: str, axis: int, usual: int) -> int:
        """The size of one axis, `usual` where there is no such tensor; raises `CheckpointError` beyond all reason."""
        value = self.found.get(name)
        if not isinstance(value, Tensor) or value.dim() <= axis:
            return usual
        if not 1 <= value.shape[axis] <= _LARGEST:
            raise CheckpointError(f"{self.where}: {name}: expected sizes of 1 to {_LARGEST}, got {list(value.shape)}")
        return value.shape[axis]

    def count(self, prefix: str, usual: int) -> int:
        """How many numbered parts begin with `prefix`, `usual` where there are none; raises `CheckpointError`."""
        numbers = {match[1] for name in self.found if (match := re.match(rf"{re.escape(prefix)}\.(\d+)\.", name))}
        if len(numbers) > MOST_LAYERS:
            raise CheckpointError(f"{self.where}: {prefix}: expected at most {MOST_LAYERS} parts, got {len(numbers)}")
        return len(numbers) or usual

    def divided(self, what: str, width: int, part: int) -> int:
        """How often `part` is in `width`; raises `CheckpointError` where it is not a whole number of times."""
        if width % part:
            raise CheckpointError(f"{self.where}: {what}: expected a multiple of {part}, got {width}")
        return width // part


def version_of(where: str, found: Mapping[str, Any]) -> int:
    """2 or 3, by the encoder that a flow has; raises `CheckpointError`."""
    if any(name.startswith("encoder.up_encoders.") for name in found):
        return 2
    if any(name.startswith("pre_lookahead_layer.") for name in found):
        return 3
    names = ", ".join(sorted(str(name) for name in found)[:8]) or "nothing"
    raise CheckpointError(
        f"{where}: expected tensors called encoder.up_encoders. (CosyVoice 2) or pre_lookahead_layer. (CosyVoice 3),"
        f" got {names:.200}"
    )


def encoder_sizes(shapes: Shapes) -> EncoderSizes:
    """Of version 2."""
    usual = EncoderSizes()
    width = shapes.size("input_embedding.weight", 1, usual.width)
    heads = shapes.size("encoder.encoders.0.self_attn.pos_bias_u", 0, usual.heads)
    shapes.divided("input_embedding.weight", width, heads)
    return EncoderSizes(
        tokens=shapes.size("input_embedding.weight", 0, usual.tokens),
        width=width,
        heads=heads,
        hidden=shapes.size("encoder.encoders.0.feed_forward.w_1.weight", 0, usual.hidden),
        layers=shapes.count("encoder.encoders", usual.layers),
        up_layers=shapes.count("encoder.up_encoders", usual.up_layers),
        ahead=shapes.size("encoder.pre_lookahead_layer.conv1.weight", 2, usual.ahead + 1) - 1,
        up_kernel=shapes.size("encoder.up_layer.conv.weight", 2, usual.up_kernel),
    )


def plain_encoder_sizes(shapes: Shapes) -> PlainEncoderSizes:
    """Of version 3."""
    usual = PlainEncoderSizes()
    return PlainEncoderSizes(
        tokens=shapes.size("input_embedding.weight", 0, usual.tokens),
        width=usual.width,
        hidden=shapes.size("pre_lookahead_layer.conv1.weight", 0, usual.hidden),
        ahead=shapes.size("pre_lookahead_layer.conv1.weight", 2, usual.ahead + 1) - 1,
    )


def unet_sizes(shapes: Shapes, head_width: int) -> UNetSizes:
    """Of version 2."""
    usual, prefix = UNetSizes(), "decoder.estimator"
    block = f"{prefix}.mid_blocks.0.1"
    inner = shapes.size(f"{block}.0.attn1.to_q.weight", 0, usual.heads * usual.head_width)
    return UNetSizes(
        channels=shapes.size(f"{block}.0.attn1.to_q.weight", 1, usual.channels),
        heads=shapes.divided(f"{block}.0.attn1.to_q.weight", inner, head_width),
        head_width=head_width,
        hidden=shapes.size(f"{block}.0.ff.net.0.proj.weight", 0, usual.hidden),
        blocks=shapes.count(f"{prefix}.mid_blocks", usual.blocks),
        transformers=shapes.count(block, usual.transformers),
        time=shapes.size(f"{prefix}.time_mlp.linear_1.weight", 0, usual.time),
    )


def dit_sizes(shapes: Shapes, head_width: int) -> DitSizes:
    """Of version 3; channels that turn are those of a head, unless the file has their frequencies."""
    usual, prefix = DitSizes(), "decoder.estimator"
    conv = f"{prefix}.input_embed.conv_pos_embed.conv1.0.weight"
    width = shapes.size(f"{prefix}.proj_out.weight", 1, usual.width)
    rotated = 2 * shapes.size(f"{prefix}.rotary_embed.inv_freq", 0, head_width // 2)
    within = shapes.size(conv, 1, usual.width // usual.groups)
    return DitSizes(
        width=width,
        layers=shapes.count(f"{prefix}.transformer_blocks", usual.layers),
        heads=shapes.divided(f"{prefix}.proj_out.weight", width, rotated),
        hidden=shapes.size(f"{prefix}.transformer_blocks.0.ff.ff.0.0.weight", 0, usual.hidden),
        time=shapes.size(f"{prefix}.time_embed.time_mlp.0.weight", 1, usual.time),
        kernel=shapes.size(conv, 2, usual.kernel),
        groups=shapes.divided(conv, width, within),
        rotated=rotated,
    )


def hift_sizes(shapes: Shapes, version: int) -> HiftSizes:
    """Of either version: strides and the kernels of upsampling are fixed; widths, blocks and their kernels are told."""
    usual = HiftSizes()
    scales = len(usual.ratios)
    channels = shapes.size("conv_pre.bias", 0, usual.channels)
    shapes.divided("conv_pre.bias", channels, 1 << scales)
    blocks = shapes.divided("resblocks", shapes.count("resblocks", scales * len(usual.block_kernels)), scales)
    pairs = shapes.count("resblocks.0.convs1", len(usual.dilations))
    if pairs > len(usual.dilations):
        raise CheckpointError(f"{shapes.where}: resblocks.0.convs1: expected up to {len(usual.dilations)}, got {pairs}")
    return HiftSizes(
        block_kernels=tuple(_kernel(shapes, f"resblocks.{at}", usual.block_kernels[at % 3]) for at in range(blocks)),
        source_kernels=tuple(
            _kernel(shapes, f"source_resblocks.{at}", usual.source_kernels[at]) for at in range(scales)
        ),
        dilations=usual.dilations[:pairs],
        causal=version == 3,
        channels=channels,
        f0_channels=shapes.size("f0_predictor.classifier.weight", 1, usual.f0_channels),
        harmonics=shapes.size("m_source.l_linear.weight", 1, usual.harmonics),
    )


def _kernel(shapes: Shapes, block: str, usual: int) -> int:
    """Of the convolutions of a residual block, however its filters are kept; raises `CheckpointError` if it is even."""
    names = (".parametrizations.weight.original1", ".weight_v", ".weight")
    kernels = [shapes.size(f"{block}.convs1.0{name}", 2, 0) for name in names]
    kernel = next((found for found in kernels if found), usual)
    if kernel % 2 == 0:
        raise CheckpointError(f"{shapes.where}: {block}.convs1.0: expected an odd kernel, got {kernel}")
    return kernel


def lm_sizes(shapes: Shapes, config: Mapping[str, Any], version: int) -> LmSizes:
    """Of either version; `config` is that of the text model, which says how wide a head is."""
    usual, layer = LmSizes(), "llm.model.model.layers"
    width = shapes.size("speech_embedding.weight", 1, usual.width)
    shared = shapes.size(f"{layer}.0.self_attn.k_proj.weight", 0, usual.kv_heads * usual.head_width)
    heads = _number(shapes, config, "num_attention_heads", shapes.divided("heads", width, min(_HEAD_WIDTH, width)), int)
    head_width = shapes.divided("num_attention_heads", width, heads)
    kv_heads = shapes.divided(f"{layer}.0.self_attn.k_proj.weight", shared, head_width)
    shapes.divided("num_attention_heads", heads, kv_heads)
    shapes.divided("width of a head", head_width, 2)
    return LmSizes(
        texts=shapes.size("llm.model.model.embed_tokens.weight", 0, usual.texts),
        speech=shapes.size("speech_embedding.weight", 0, usual.speech if version == 2 else SPEECH3),
        specials=shapes.size("llm_embedding.weight", 0, usual.specials) if version == 2 else 0,
        width=width,
        layers=shapes.count(layer, usual.layers),
        heads=heads,
        kv_heads=kv_heads,
        hidden=shapes.size(f"{layer}.0.mlp.gate_proj.weight", 0, usual.hidden),
        head_bias=version == 2,
        theta=_number(shapes, config, "rope_theta", usual.theta, float),
        epsilon=_number(shapes, config, "rms_norm_eps", usual.epsilon, float),
    )


def read_config(path: Path) -> dict[str, Any]:
    """A text model's `config.json`, empty where there is none; raises `CheckpointError`."""
    if not path.exists():
        return {}
    require_readable(path)
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ValueError(f"more than {_MOST_JSON} bytes")
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name}: expected JSON, got a file that is none: {error!s:.120}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path.name}: expected names and values, got {type(config).__name__}")
    return config


def _number(shapes: Shapes, config: Mapping[str, Any], key: str, usual: Any, kind: type) -> Any:
    value = config.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, (int, kind)) or not 0 < value <= 1e9:
        raise CheckpointError(f"{shapes.where}: config.json: {key}: expected a number above 0, got {value!r:.40}")
    return kind(value)
