"""Some of these tests run commands in process."""

from tests.e2e.recognised import batch_texts
from tests.restored_logging import restored_logging

__all__ = ["batch_texts", "restored_logging"]
