"""All that the kernels use of numba and llvmlite beyond numba's documented interface.

Any version of numba may change any of it, so every function here has its own test
(`tests/kernels/test_numba_internals.py`), and `tests/test_architecture.py` fails where another
module uses such parts; `pyproject.toml` names the versions that were tested.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import count
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.bytecode import FunctionIdentity
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

# Types of LLVM.
SINGLE, BIT, INT32, INT64 = ir.FloatType(), ir.IntType(1), ir.IntType(32), ir.IntType(64)


def number_functions_from(start: int) -> None:
    """Number functions that are compiled from now on from here; the number is in their symbols."""
    FunctionIdentity._unique_ids = count(start)


def make_cache_folder(kernel: Any) -> None:
    """Make the folder of a kernel's machine code. Raises OSError if it cannot be written to."""
    kernel._cache._impl.locator.ensure_cache_path()


def cache_name(kernel: Any) -> str:
    """How the names of a kernel's files of machine code begin: of its module, name and line."""
    return str(kernel._cache._impl.filename_base)


def cache_files(kernel: Any) -> Any:
    """The files in which a kernel's machine code is kept."""
    return kernel._cache._cache_file


def cache_folder(files: Any) -> str:
    """The folder of `cache_files`, as numba gives them."""
    return str(files._cache_path)


def set_cache_files(kernel: Any, files: Any) -> None:
    """Keep a kernel's machine code by `files.save(key, data)` and `files.load(key)`, None: none."""
    kernel._cache._cache_file = files


def load_data(files: Any, name: str) -> Any:
    """What a file of the folder of `cache_files` holds. Raises OSError if there is none."""
    return files._load_data(name)


def save_data(files: Any, name: str, data: Any) -> None:
    """Write a file of the folder of `cache_files` in one step."""
    files._save_data(name, data)


def external_function(symbol: str, arguments: int) -> Any:
    """A function for compiled code, by symbol: of so many addresses or integers, without result."""
    return types.ExternalFunction(symbol, types.void(*[types.intp] * arguments))


def add_symbol(symbol: str, address: int) -> None:
    """Let compiled code of this process find a function by a symbol."""
    llvmlite.binding.add_symbol(symbol, address)


def cpu_features() -> list[str]:
    """Names of what the processor can do that is compiled for, each behind + or -: "+avx2"."""
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return str(features).split(",")


def inlined(result: Any = types.void) -> Callable[[Callable[..., Any]], Any]:
    """Make a function of compiled code, of addresses and integers, of one that writes instructions.

    That one takes llvmlite's IRBuilder and the arguments, of INT64, and gives the result.
    """

    def decorate(write: Callable[..., Any]) -> Any:
        @wraps(write)  # so that numba sees the names of the arguments
        def typed(context: Any, *kinds: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                value = write(builder, *arguments)
                return context.get_dummy_value() if result == types.void else value

            return result(*[types.intp] * len(kinds)), code

        return intrinsic(typed)

    return decorate


def vector(kind: Any, length: int) -> Any:
    """The type of so many numbers of a type in one register."""
    return ir.VectorType(kind, length)


def constant(kind: Any, value: Any) -> Any:
    """A constant of a type; of a vector from a list."""
    return ir.Constant(kind, value)


def undefined(kind: Any) -> Any:
    """A value of a type that is yet to be set."""
    return ir.Constant(kind, ir.Undefined)


def variable(builder: Any, value: Any) -> Any:
    """A pointer to a variable with this value at first; the compiler keeps it in a register."""
    return cgutils.alloca_once_value(builder, value)


@contextmanager
def for_range(builder: Any, count: Any) -> Iterator[Any]:
    """Write a loop, whose body is written inside; gives its index, from 0 to count - 1."""
    with cgutils.for_range(builder, count) as loop:
        yield loop.index


def square_root(builder: Any, number: Any) -> Any:
    """The square root of a number of type SINGLE."""
    return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [SINGLE]), [number])


def fetch_early(builder: Any, address: Any) -> None:
    """Ask for the line of memory at an address, to read it, into every cache."""
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, INT32, INT32, INT32])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], fnty=kind)
    hints = [constant(INT32, hint) for hint in (0, 3, 1)]  # to read, into every cache, data
    builder.call(function, [builder.inttoptr(address, pointer), *hints])
