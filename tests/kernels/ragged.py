"""Lists of lists as the kernels take them."""

import numpy as np


def ragged(lists, kind=np.int64):
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in lists])]).astype(np.int64)
    return indptr, np.array([entry for part in lists for entry in part], dtype=kind)
