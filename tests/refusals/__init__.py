"""The table of refusals in docs/refusals.md, out of the source: `python -m tests.refusals.table` writes it."""
