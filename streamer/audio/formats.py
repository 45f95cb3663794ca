"""What encodings are called and how fast PCM may come; without numpy, so that messages can be made without it."""

from __future__ import annotations

PCM = ("pcm_s16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw")
# Packets of a neural codec, which only a model makes audio of.
SNC1 = "snc1"
# What is to be spoken, in messages of their own.
TEXT = "text"
MIN_RATE = 8000
MAX_RATE = 48000
