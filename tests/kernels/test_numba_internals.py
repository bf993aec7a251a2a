"""What is not documented of numba and llvmlite, part by part: a failure names what changed."""

import ctypes
import importlib.util

import numba
import numpy as np
import pytest
from numba import config, types
from numba.core.bytecode import FunctionIdentity

from recsys_spark.kernels import jit
from recsys_spark.kernels.numba_internals import (
    BIT,
    INT32,
    INT64,
    SINGLE,
    add_symbol,
    cache_files,
    cache_folder,
    cache_name,
    constant,
    cpu_features,
    external_function,
    fetch_early,
    for_range,
    inlined,
    load_data,
    make_cache_folder,
    number_functions_from,
    save_data,
    set_cache_files,
    square_root,
    undefined,
    variable,
    vector,
)


@pytest.fixture
def load_kernel(tmp_path, monkeypatch):
    """A kernel in a file of its own, with numba's own cache beside the file."""
    monkeypatch.setattr(config, "CACHE_DIR", "")
    path = tmp_path / "one_kernel.py"
    path.write_text(
        "import numba\n@numba.njit(cache=True)\ndef doubled(value):\n    return 2 * value\n"
    )

    def load():
        found = importlib.util.spec_from_file_location("one_kernel", path)
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return module.doubled

    return load


class Kept(dict):
    """Files of machine code, in memory."""

    load, save = dict.get, dict.__setitem__


def test_functions_are_numbered_from_where_it_is_said():
    def function():
        pass

    number_functions_from(5_000_000_000)
    try:
        numbers = [FunctionIdentity.from_function(function).unique_id for _ in range(2)]
        assert numbers == [5_000_000_000, 5_000_000_001]
        compiled = numba.njit(function)
        compiled()
        (overload,) = compiled.overloads.values()
        assert overload.fndesc.unique_name.endswith("$5000000002"), "the number is in the symbol"
    finally:
        jit._count_from_anywhere()


def test_the_folder_of_machine_code_is_made(load_kernel, tmp_path):
    kernel = load_kernel()
    folder = tmp_path / "__pycache__"
    for path in folder.glob("*"):
        path.unlink()
    folder.rmdir()
    make_cache_folder(kernel)
    assert folder.is_dir()


def test_the_name_of_machine_code_is_of_module_name_and_line(load_kernel):
    assert cache_name(load_kernel()).startswith("one_kernel.doubled-2.")


def test_the_folder_of_files_is_where_machine_code_is_kept(load_kernel, tmp_path):
    assert cache_folder(cache_files(load_kernel())) == str(tmp_path / "__pycache__")


def test_data_is_kept_by_name_in_the_folder_of_machine_code(load_kernel, tmp_path):
    files = cache_files(load_kernel())
    with pytest.raises(OSError, match="one\\.nbc"):
        load_data(files, "one.nbc")
    save_data(files, "one.nbc", {"a": np.arange(3).tolist()})
    assert [path.name for path in tmp_path.glob("__pycache__/*.nbc")] == ["one.nbc"]
    assert load_data(files, "one.nbc") == {"a": [0, 1, 2]}


def test_machine_code_is_kept_in_other_files_and_found_there(load_kernel):
    kept = Kept()
    for hits in (0, 1):
        kernel = load_kernel()
        set_cache_files(kernel, kept)
        assert kernel(4) == 8
        assert sum(kernel.stats.cache_hits.values()) == hits
    assert len(kept) == 1


def test_a_key_of_machine_code_names_signature_processor_and_source(load_kernel):
    kept, kernel = Kept(), load_kernel()
    set_cache_files(kernel, kept)
    kernel(4), kernel(1.5)
    one, other = kept
    assert one != other
    assert cpu_features()[0] in repr(one)


def test_external_functions_are_found_by_their_symbols():
    address = ctypes.cast(ctypes.CDLL(None).memset, ctypes.c_void_p).value
    add_symbol("recsys_spark_memset", address)
    memset = external_function("recsys_spark_memset", 3)

    @numba.njit
    def fill(values):
        memset(values.ctypes.data, 7, 2)

    values = np.zeros(3, dtype=np.uint8)
    fill(values)
    assert values.tolist() == [7, 7, 0]


def test_cpu_features_are_those_of_the_host_or_chosen(monkeypatch):
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    assert all(name[0] in "+-" for name in cpu_features())
    monkeypatch.setattr(config, "CPU_FEATURES", "+avx,-avx512f")
    assert cpu_features() == ["+avx", "-avx512f"]


@inlined()
def write_sums(builder, out, count):
    """The numbers below the count, and the sum of all of them."""
    pointer = builder.inttoptr(out, INT64.as_pointer())
    total = variable(builder, constant(INT64, 0))
    with for_range(builder, count) as index:
        builder.store(builder.add(builder.load(total), index), total)
        builder.store(index, builder.gep(pointer, [index]))
    builder.store(builder.load(total), builder.gep(pointer, [count]))


@inlined(types.boolean)
def is_above(builder, one, other):
    return builder.and_(constant(BIT, True), builder.icmp_signed(">", one, other))


@inlined()
def write_roots(builder, out):
    """The roots of 9, 16, 25 and 36, the last number first."""
    line = undefined(vector(SINGLE, 4))
    for at, number in enumerate((9.0, 16.0, 25.0, 36.0)):
        root = square_root(builder, constant(SINGLE, number))
        line = builder.insert_element(line, root, constant(INT32, at))
    backwards = builder.shuffle_vector(line, line, constant(vector(INT32, 4), [3, 2, 1, 0]))
    builder.store(backwards, builder.inttoptr(out, vector(SINGLE, 4).as_pointer()), align=4)


@inlined()
def fetch(builder, address):
    fetch_early(builder, address)


def test_a_loop_with_a_variable_is_written_into_a_kernel():
    @numba.njit
    def sums(out, count):
        write_sums(out.ctypes.data, count)

    out = np.zeros(6, dtype=np.int64)
    sums(out, 5)
    assert out.tolist() == [0, 1, 2, 3, 4, 10]


def test_instructions_give_a_result():
    @numba.njit
    def above(one, other):
        return is_above(one, other)

    assert [above(3, 2), above(2, 2)] == [True, False]


def test_lines_of_numbers_are_set_turned_and_stored():
    @numba.njit
    def roots(out):
        write_roots(out.ctypes.data)

    out = np.zeros(4, dtype=np.float32)
    roots(out)
    assert out.tolist() == [6.0, 5.0, 4.0, 3.0]


def test_memory_is_fetched_early_by_the_instruction_for_it():
    @numba.njit
    def ask(values):
        fetch(values.ctypes.data)

    ask(np.zeros(1))
    (code,) = ask.inspect_asm().values()
    assert "prefetch" in code or "prfm" in code
