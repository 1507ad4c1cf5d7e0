"""Threads that read npz files at once: NumPy parses their headers, and CPython 3.11 cannot parse in two threads."""

import subprocess
import sys
from pathlib import Path

# A switch of threads inside the parser is rare, as it needs a garbage collection that runs Python code. Here every
# second allocation collects, and every collection waits. The parser checks the depth of the stack, so that threads
# must be at different depths.
CODE = """
import concurrent.futures, gc, pathlib, sys, time
import numpy as np
from cs_keras.factors.arrays import read_arrays, write_arrays
from cs_keras.runs import read_npz

path = pathlib.Path(sys.argv[1]) / "arrays.npz"
arrays = {f"array_{i}": np.zeros((1, 2, 3), np.float32) for i in range(2)}
write_arrays(path, arrays, {})

def at_depth(depth, read):
    return at_depth(depth - 1, read) if depth else read()

def read(i):
    return at_depth(i % 40, lambda: read_arrays(path) if i % 2 else read_npz(path, *arrays))

gc.callbacks.append(lambda phase, info: time.sleep(1e-5))
gc.set_threshold(1)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sum("array_1" in found for found in pool.map(read, range(4000))))
"""


def test_archives_are_read_thousands_of_times_by_eight_threads(tmp_path: Path) -> None:
    line = [sys.executable, "-c", CODE, str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.stdout == "4000\n", done.stderr
