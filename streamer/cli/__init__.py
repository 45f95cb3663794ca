"""The `streamer` command: an adapter on the same host and client that everybody uses."""
