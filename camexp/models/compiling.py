"""torch.compile of a network's trunk, where there is what it needs."""

from __future__ import annotations

import torch
from torch import nn

from camexp.errors import UserError


def compile_trunk(trunk: nn.Module, device: str | torch.device) -> None:
    """Have the trunk translated by torch.compile at the first pass of each input size.

    Args:
        trunk: translated in place; its parameters keep their names.
        device: where it will run.

    Raises:
        UserError: on a CPU, without the C++ compiler that torch looks for (``CXX``, else ``g++``). Asked here, because
            torch itself finds out only in the first pass.
    """
    if torch.device(device).type == "cpu":
        from torch._inductor import config  # seconds, which only compile=true waits for
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except InvalidCxxCompiler as error:
            names = config.cpp.cxx if isinstance(config.cpp.cxx, (list, tuple)) else [config.cpp.cxx]
            tried = ", ".join(name for name in names if name)
            raise UserError(
                f"compile=true needs a C++ compiler, and {tried} is none: install g++, name another one in the "
                "environment variable CXX, or take compile=false"
            ) from error
    trunk.compile()
