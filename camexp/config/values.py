"""The kinds of values that options of several classes have, each with its range: sizes, GPUs, precision, paths …"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt

from camexp.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]


def _require_size(size: Any) -> Any:
    """``224`` or ``[H, W]``, unchanged.

    Raises:
        ValueError: not that, or less than 32 pixels.
    """
    pair = [size, size] if isinstance(size, int) else list(size) if isinstance(size, Sequence) else []
    if isinstance(size, (str, bool)) or len(pair) != 2 or not all(isinstance(s, int) and 32 <= s <= 8192 for s in pair):
        raise ValueError("is not a size: expected pixels, 32 to 8192, as 224 or [224,320]")
    return size


def require_shard(shard: int | None, shards: int) -> None:
    """Raises:
    UserError: there is no such shard.
    """
    if shard is not None and shard >= shards:
        raise UserError(f"shard={shard} with shards={shards} is none of them: expected 0 to {shards - 1}")


def height_and_width(size: int | list[int]) -> tuple[int, int]:
    """``224`` or ``[H, W]`` as ``(H, W)``.

    >>> height_and_width(224), height_and_width([64, 96])
    ((224, 224), (64, 96))
    """
    height, width = [size, size] if isinstance(size, int) else size
    return height, width


def _require_gpus(gpus: Any) -> Any:
    indices = gpus if isinstance(gpus, list) else []
    sound = all(isinstance(index, int) and not isinstance(index, bool) and index >= 0 for index in indices)
    count = isinstance(gpus, int) and not isinstance(gpus, bool) and gpus >= 0
    if gpus is not None and not count and not (indices and sound and len(set(indices)) == len(indices)):
        raise ValueError("is not a number of GPUs: expected null, 0, 1, 2 … or a list as [0,1]")
    return gpus


def _require_path(path: Any) -> Any:
    if path == "":
        raise ValueError("is empty: give a path")
    return path


InputSize = Annotated[int | list[int], BeforeValidator(_require_size)]
Gpus = Annotated[int | list[int] | None, BeforeValidator(_require_gpus)]
NonEmptyPath = Annotated[str, AfterValidator(_require_path)]
# Lightning's names, and after them its synonyms, which may be numbers
Precision = Annotated[
    Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "32", "bf16", "16", "64"],
    BeforeValidator(lambda value: str(value)),
]

# options that several scripts have
NumWorkers = Annotated[
    Annotated[int, Field(ge=0, le=256)] | None, Field(description="data-loader workers; null: by the number of cores")
]
OneGpu = Annotated[Gpus, Field(description="null: a GPU if there is one, 0: the CPU, 1: a GPU")]
AnyGpus = Annotated[
    Gpus, Field(description="null: a GPU if there is one, 0: the CPU, 1: a GPU, 8 or [0,1]: a shard each")
]
Compile = Annotated[
    bool, Field(description="torch.compile of the trunk: waits first; 5 % faster on a CPU (benchmarks/RESULTS.md)")
]
Colormap = Annotated[str, Field(description="any matplotlib colour map")]
Debug = Annotated[bool, Field(description="show tracebacks")]
InferencePrecision = Annotated[
    Precision, Field(description="bf16-mixed where the device computes in it itself, else 32-true")
]
ResumeOutput = Annotated[
    Literal["auto"] | None, Field(description="auto: go on after the last image whose results in output=DIR are whole")
]
Shards = Annotated[
    PositiveInt,
    Field(description="parts: processes of this machine at once, with -m jobs of their own, with shard=0 one of them"),
]
ShardNumber = Annotated[NonNegativeInt | None, Field(description="which of the shards alone, from 0")]
Tile = Annotated[int, Field(ge=32, le=2000)]
Interval = NonNegativeInt
