"""A voice: chunk-aware causal flow matching from text to mel, and a harmonic-plus-noise vocoder (after CosyVoice)."""
