"""Models of the codes of the codec: probabilities for entropy coding, and fine codes guessed from coarse ones."""
