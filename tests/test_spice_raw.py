"""Raw files: what is read, and what is refused."""

import numpy as np
import pytest

from analog_ep.errors import NgspiceResultError
from analog_ep.ngspice.raw import read_plots, read_raw

HEADER = (
    "Title: t\nDate: today\nPlotname: DC transfer characteristic\nFlags: {flags}\nNo. Variables: {variables}\n"
    "No. Points: {points}       \nVariables:\n\t0\tv(v-sweep)\tvoltage\n\t1\tv(a)\tvoltage\nBinary:\n"
)


def raw(tmp_path, values, points=None, variables=2, flags="real", cut=0):
    values = np.asarray(values, dtype="<f8")
    header = HEADER.format(flags=flags, variables=variables, points=len(values) if points is None else points)
    path = tmp_path / "out.raw"
    data = values.tobytes()
    path.write_bytes(header.encode() + data[: len(data) - cut])
    return path


def test_values_by_name(tmp_path):
    result = read_raw(raw(tmp_path, [[0, 1.5], [1, 2.5], [2, -1e-300]]), 3)
    assert result.names == ("v(v-sweep)", "v(a)")
    np.testing.assert_array_equal(result.columns(["v(a)", "v(v-sweep)"]), [[1.5, 0], [2.5, 1], [-1e-300, 2]])
    with pytest.raises(NgspiceResultError, match=r"all 2 vectors asked for, found 1 missing, such as v\(b\)"):
        result.columns(["v(a)", "v(b)"])


@pytest.mark.parametrize(
    ("arguments", "n_points", "message"),
    [
        ({"cut": 8}, 2, "must hold 32 bytes for 2 variables and 2 points, found 24"),
        ({"cut": 3}, 2, "found 29"),
        ({"points": 0}, 2, "must hold 0 bytes for 2 variables and 0 points, found 32"),
        ({}, 3, "must return 3 points, found 2"),
        ({"flags": "complex"}, 2, "2 real vectors, found 2 complex ones"),
        ({"points": "many"}, 2, "must have a raw header, found a broken one"),
        ({"variables": 7}, 2, "must have a raw header|7 real vectors"),
        ({"variables": -2}, 2, "must hold -2 real vectors of some points, found 0 of 2"),
        ({"points": -2}, 2, "must hold 2 real vectors of some points, found 2 of -2"),
        ({"points": "9" * 5000}, 2, "must have a raw header, found a broken one"),
        ({"points": 10**12}, 2, "must hold 16000000000000 bytes for 2 variables and 1000000000000 points, found 32"),
        ({"flags": "\x1b[31m"}, 2, "must have a raw header, found a broken one: it is no plain text"),
        ({"flags": "real" * 99}, 2, "must hold real or complex vectors, found 'realreal"),
    ],
)
def test_a_result_that_must_not_be_believed(tmp_path, arguments, n_points, message):
    with pytest.raises(NgspiceResultError, match=message):
        read_raw(raw(tmp_path, [[0, 1], [1, 2]], **arguments), n_points)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(tmp_path, value):
    with pytest.raises(NgspiceResultError, match=r"must be finite, found (nan|inf) for v\(a\) at point 1"):
        read_raw(raw(tmp_path, [[0, 1], [1, value]]), 2)


def test_no_file_and_no_raw_file(tmp_path):
    with pytest.raises(NgspiceResultError, match="must write a result, found none"):
        read_raw(tmp_path / "absent.raw", 1)
    (tmp_path / "ascii.raw").write_text("Title: t\nValues:\n0 1.0\n")
    with pytest.raises(NgspiceResultError, match="must be a binary raw file"):
        read_raw(tmp_path / "ascii.raw", 1)


def plots(tmp_path, *parts):
    path = tmp_path / "plots.raw"
    path.write_bytes(b"".join(parts))
    return path


def plot(values, dtype, points=None):
    values = np.asarray(values, dtype=dtype)
    flags = "complex" if values.dtype.kind == "c" else "real"
    return HEADER.format(flags=flags, variables=2, points=points or len(values)).encode() + values.tobytes()


def test_several_plots_of_real_and_complex_vectors(tmp_path):
    found = read_plots(plots(tmp_path, plot([[1, 2 + 3j]], "<c16"), plot([[1, 2], [3, 4]], "<f8")))
    assert [result.names for result in found] == [("v(v-sweep)", "v(a)")] * 2
    np.testing.assert_array_equal(found[0].values, [[1, 2 + 3j]])
    np.testing.assert_array_equal(found[1].values, [[1, 2], [3, 4]])


def test_what_memory_held_in_a_frequencys_imaginary_part_is_no_result(tmp_path):
    data = plot([[complex(1e5, np.nan), 2 + 3j]], "<c16").replace(b"v(v-sweep)", b"frequency")
    (found,) = read_plots(plots(tmp_path, data))
    np.testing.assert_array_equal(found.columns(["frequency", "v(a)"]), [[1e5, 2 + 3j]])
    (found,) = read_plots(plots(tmp_path, plot([[1, complex(0, np.nan)]], "<c16").replace(b"v(v-sweep)", b"frequency")))
    with pytest.raises(NgspiceResultError, match=r"must be finite, found .* for v\(a\)"):
        found.columns(["v(a)"])


def test_plots_that_must_not_be_believed(tmp_path):
    with pytest.raises(NgspiceResultError, match="must hold 96 bytes and some, found 64"):
        read_plots(plots(tmp_path, plot([[1, 2], [3, 4]], "<c16", points=3)))
    with pytest.raises(NgspiceResultError, match="must be binary raw plots, found other data"):
        read_plots(plots(tmp_path, plot([[1, 2]], "<f8"), b"left over"))
    with pytest.raises(NgspiceResultError, match="must hold 2 real vectors of some points, found 2 of -1"):
        read_plots(plots(tmp_path, plot([[1, 2]], "<f8", points=-1)))
    (found,) = read_plots(plots(tmp_path, plot([[1, np.nan]], "<f8")))
    assert np.isfinite(found.columns(["v(v-sweep)"])).all()
    with pytest.raises(NgspiceResultError, match=r"must be finite, found nan for v\(a\)"):
        found.columns(["v(a)"])
    with pytest.raises(NgspiceResultError, match="must write a result, found none"):
        read_plots(tmp_path / "absent.raw")
