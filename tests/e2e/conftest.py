"""Some of these tests run commands in process."""

from tests.restored_logging import restored_logging

__all__ = ["restored_logging"]
