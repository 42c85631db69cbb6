"""Vectors within compiled loops: the same numbers as row by row in NumPy."""

import numpy as np

from analog_ep.support.compiled import compiled, compiled_into
from analog_ep.support.lanes import LANES, load, ones, store, vectors, zeros


@compiled_into
def _less_product(total, a, b):
    return total - a * b


def _sums(values, found):
    total, inverse = zeros(), ones()
    for i in range(len(values)):
        total = total + load(values, i)
        inverse = ones() / (_less_product(inverse, load(values, i), total))
        store(found, i, inverse)
    store(found, len(values), total)


def test_compiled_vectors_calculate_as_rows_do():
    values = np.random.default_rng(0).uniform(1.0, 2.0, (7, LANES))
    expected, found = np.empty((8, LANES)), vectors(8)
    _sums(values, expected)
    compiled(_sums)(values, found)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    # Whatever the place at which an array begins.
    shifted = np.concatenate([[0.0], values.ravel()])[1:].reshape(values.shape)
    again = np.empty((8, LANES))
    compiled(_sums)(shifted, again)
    np.testing.assert_array_equal(again, found)


def test_vectors_begin_at_a_line_of_the_cache():
    assert vectors(0).shape == (0, LANES)
    for n in (1, 2, 1000):
        found = vectors(n)
        assert found.shape == (n, LANES)
        assert found.flags.c_contiguous
        assert found.ctypes.data % 64 == 0
