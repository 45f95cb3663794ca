"""CarelessWhisper: Whisper made causal by block masks and low-rank adapters, and its offline parent."""
