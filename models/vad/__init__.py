"""Voice activity: a small causal convolutional detector, trained on synthetic mixes."""
