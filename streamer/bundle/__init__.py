"""Bundles: the only interface between the workshop that trains models and the server that runs them."""
