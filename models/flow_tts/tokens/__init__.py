"""The token path of CosyVoice 2 at a size that an hour of speech can train."""
