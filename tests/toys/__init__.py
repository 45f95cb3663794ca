"""Toy bundles, built with onnx.helper: complete, tiny and exactly predictable.

Every `write_*(folder)` writes a bundle to a folder of its own below `folder` and returns its path, so `folder` can be a
search path of the registry too.
"""

from tests.toys.beams import pair_search, pair_search_expected, write_beams
from tests.toys.bundle import edit_manifest
from tests.toys.counter import counter_expected, write_counter_asr
from tests.toys.echo import write_echo
from tests.toys.listener import write_listener
from tests.toys.mistakes import write_faulty, write_forgetful, write_wrong_order
from tests.toys.ragged import write_ragged
from tests.toys.speaker import speaker_expected, write_speaker
from tests.toys.variants import write_variants
from tests.toys.vowels import vowels_pcm, write_vowels

__all__ = [
    "counter_expected",
    "edit_manifest",
    "pair_search",
    "pair_search_expected",
    "speaker_expected",
    "vowels_pcm",
    "write_beams",
    "write_counter_asr",
    "write_echo",
    "write_faulty",
    "write_forgetful",
    "write_listener",
    "write_ragged",
    "write_speaker",
    "write_variants",
    "write_vowels",
    "write_wrong_order",
]
