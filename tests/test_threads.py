"""Torch on one thread, for a while."""

from __future__ import annotations

import pytest
import torch

from zoo_core.threads import one_thread


def test_the_number_of_threads_is_as_before_also_after_an_error() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
