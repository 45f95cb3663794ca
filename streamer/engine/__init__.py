"""Runs bundles: slots, arenas, scheduling and batches. It knows manifests, not models."""
