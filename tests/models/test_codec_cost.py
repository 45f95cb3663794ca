"""The speed bench compares like with like, and counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.codec.cost import SIDES, Bare, Cost, Step, macs, measure, random_rows, report, weights  # noqa: E402
from models.codec.model import Codec  # noqa: E402
from models.common.frame_layers import Depthwise  # noqa: E402
from models.common.parity import EngineRun  # noqa: E402
from streamer.bundle.loader import load_bundle, open_session  # noqa: E402


def step(graph: str, rows: int, served_ms: float) -> Step:
    return Step(graph, rows, 5, served_ms, served_ms / 1.25, 1.25)


def test_bare_calls_do_the_work_of_served_ones(codec_bundle: Path) -> None:
    """From the same state, the same rows give the same outputs, step after step."""
    bundle = load_bundle(codec_bundle)
    for name in SIDES:
        graph, runner = bundle.manifest.graph(name), EngineRun(codec_bundle, name).runner
        rows = random_rows(bundle, graph, 5, 3)
        bare = Bare(bundle.manifest, open_session(codec_bundle, bundle.manifest, graph), graph, rows)
        for _ in range(3):
            results = runner.run(name, rows)
            np.testing.assert_array_equal(
                np.stack([result.outputs[graph.outputs[0].name] for result in results]), bare()[0]
            )


def test_multiplications_are_counted(codec: Codec, codec_bundle: Path) -> None:
    """What ONNX Runtime ran for one frame is what torch's layers multiply, by hooks on each of them."""
    counted = {"encode": 0, "decode": 0}
    config = codec.config

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        width = module.kernel_size[0] if isinstance(module, Depthwise) else module.in_features
        counted[side] += output.numel() * width

    layers = [layer for layer in codec.modules() if isinstance(layer, torch.nn.Linear | Depthwise)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        side = "encode"
        codes = codec.encode(torch.zeros(1, config.frame_samples))
        # The forward transform, and the products that search a vector book.
        counted["encode"] += config.ratio * 2 * config.hop * config.hop
        vector_books = config.books - bool(config.levels)
        counted["encode"] += vector_books * config.words * (config.code_width or config.latent)
        side = "decode"
        codec.decoder(torch.zeros(1, 1, config.latent), torch.zeros_like(codes[:, :, 0]))
        counted["decode"] += config.ratio * 2 * config.hop * config.hop
    for hook in hooks:
        hook.remove()
    # In training a word is projected back at every frame; in the graph all words of a book are, beforehand.
    counted["encode"] -= vector_books * config.code_width * config.latent
    bundle = load_bundle(codec_bundle)
    assert {name: macs(bundle, name) for name in SIDES} == counted
    assert weights(bundle, "decode") > sum(p.numel() for p in codec.decoder.parameters())


def test_streams_per_core_are_of_both_sides() -> None:
    """16 streams of 5 frames: 8 ms to encode and 12 to decode are a quarter of a millisecond a frame, 80 streams."""
    steps = (step("encode", 16, 8.0), step("decode", 16, 12.0), step("encode", 1, 2.0), step("decode", 1, 3.0))
    cost = Cost("toy", 0.02, 30.0, (1, 2), (3.0, 4.0), 100, steps)
    assert cost.frame_ms(16, 5) == pytest.approx(0.25)
    assert cost.streams_per_core(16, 5) == pytest.approx(80)
    assert cost.streams_per_core(1, 5) == pytest.approx(20)


def test_a_bundle_is_measured_and_told(codec_bundle: Path) -> None:
    """One row a bundle, one a call."""
    shapes = ((1, 1), (2, 3))
    cost = measure(codec_bundle, shapes, rounds=1)
    assert [(s.graph, s.rows, s.frames) for s in cost.steps] == [(name, *shape) for name in SIDES for shape in shapes]
    assert all(s.served_ms > 0 and s.bare_ms > 0 and s.ratio > 0 for s in cost.steps)
    assert report([cost], shapes).count("| toy-codec@0.0.1 |") == 1 + len(cost.steps)
