"""CosyVoice 2 and 3: checkpoints to bundles. Token LM, flow matching, HiFT vocoder (arXiv 2412.10117, 2505.17589)."""
