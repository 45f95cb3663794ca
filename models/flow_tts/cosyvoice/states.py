"""States of a step as tensors."""

from torch import Tensor

from models.common.slots import Cells, State


def tensor_of(state: State, name: str) -> Tensor:
    """Rows of a state that was gathered whole."""
    value = state[name]
    assert isinstance(value, Tensor)
    return value


def one_cells(state: State, name: str) -> Cells:
    """The cells of an indexed state."""
    value = state[name]
    assert isinstance(value, Cells)
    return value
