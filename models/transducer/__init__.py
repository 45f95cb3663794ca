"""Chunked causal conformer transducer for streaming speech recognition."""
