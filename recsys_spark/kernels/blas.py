"""BLAS and LAPACK inside compiled code: the routines of SciPy's own library, by name.

Compiled kernels refer to them by symbol, which keeps the kernels' machine code cacheable; a
process must call `load_blas` before its first kernel.
"""

from functools import cache
from typing import Any

from numba.extending import get_cython_function_address

from recsys_spark.kernels.numba_internals import add_symbol, external_function

_PREFIX = "recsys_spark_"
_ROUTINES = {
    f"{precision}{routine}": (library, arguments)
    for routine, library, arguments in (
        ("gemm", "blas", 13),
        ("potrf", "lapack", 5),
        ("potrs", "lapack", 8),
    )
    for precision in "sd"
}


def _declared(name: str) -> Any:
    # Fortran passes everything by address; an address is an integer to compiled code.
    _, arguments = _ROUTINES[name]
    return external_function(_PREFIX + name, arguments)


sgemm, dgemm = _declared("sgemm"), _declared("dgemm")
spotrf, dpotrf = _declared("spotrf"), _declared("dpotrf")
spotrs, dpotrs = _declared("spotrs"), _declared("dpotrs")


@cache
def load_blas() -> None:
    """Make the routines known to the compiler, once a process."""
    for name, (library, _) in _ROUTINES.items():
        address = get_cython_function_address(f"scipy.linalg.cython_{library}", name)
        add_symbol(_PREFIX + name, address)
