"""Pronunciations by eSpeak NG, where the optional package `espeakng-loader` is installed.

The library and its data are under the GPL, so they are never a part of this server: who installs the extra `espeak`
adds them. Called by ctypes (`speak_lib.h` of eSpeak NG 1.52): it holds one voice for the process and is not
re-entrant, so that calls take turns.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache, lru_cache

from streamer.errors import InvalidRequest, ModelFault
from streamer.tasks.text.ipa import to_arpabet

_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_UTF8 = 1
# The International Phonetic Alphabet, with a sign between phones.
_IPA, _BETWEEN = 2, ord("_") << 8
_VOICE = b"en-us"
_LOCK = threading.Lock()


@cache
def load_espeak() -> ctypes.CDLL:
    """Load the library and its American voice, once.

    Raises `InvalidRequest` where the package is missing, and `ModelFault` if the library does not work.
    """
    try:
        import espeakng_loader
    except ModuleNotFoundError as error:
        if error.name != "espeakng_loader":
            raise
        needed = "the package espeakng-loader, which is not installed, expected the extra espeak"
        raise InvalidRequest(f"phonemes espeak needs {needed}: pip install 'streamer-speech[espeak]'") from None
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    data = espeakng_loader.get_data_path().encode()
    if library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DO_NOT_EXIT) < 0 or library.espeak_SetVoiceByName(_VOICE):
        raise ModelFault("espeak: expected its voice en-us, got an error")
    return library


class Espeak:
    """Looks words up as a lexicon does; a `Pronouncer` adds what depends on neighbours."""

    def __init__(self) -> None:
        """Raise `InvalidRequest` where the optional package is missing."""
        load_espeak()

    def lookup(self, word: str) -> tuple[str, ...] | None:
        """Phones of `word`, in lower case; None if nothing is said for it."""
        return _phones(word) or None


@lru_cache(8192)
def _phones(word: str) -> tuple[str, ...]:
    text = ctypes.create_string_buffer(word.encode())
    place = ctypes.c_void_p(ctypes.addressof(text))
    parts: list[str] = []
    with _LOCK:
        library = load_espeak()
        while place.value:
            parts.append(library.espeak_TextToPhonemes(ctypes.byref(place), _UTF8, _IPA | _BETWEEN).decode())
    return to_arpabet("_".join(parts))
