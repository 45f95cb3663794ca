"""Other recognisers on the same recordings, as programs of their own, so that they are timed as the server is."""

from collections.abc import Sequence
from dataclasses import replace

from models.common import text
from models.common.served_words import Heard, Spoken, run_module


def listen_with_pocketsphinx(spoken: Sequence[Spoken]) -> tuple[list[Heard], float]:
    """What PocketSphinx 5 hears in every recording, spelled as the references are, and its CPU seconds."""
    heard, cpu_s = run_module(["models.common.pocketsphinx_words"], spoken)
    return [replace(item, text=respell(item.text)) for item in heard], cpu_s


def respell(words: str) -> str:
    """Write the words of another dictionary as the references are; one with digits in it is no word of theirs."""
    return " ".join(filter(None, map(text.normalise, words.split())))
