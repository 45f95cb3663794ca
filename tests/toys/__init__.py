"""Toy bundles, built with onnx.helper: complete, tiny and exactly predictable."""

from tests.toys.counter import counter_expected, write_counter_asr

__all__ = ["counter_expected", "write_counter_asr"]
