"""Streaming speech and audio inference server."""

__version__ = "0.1.0"
