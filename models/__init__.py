"""The workshop: torch definitions, training and export of the models that `streamer` serves."""
