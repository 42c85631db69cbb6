"""Compiled loops: where their code cannot be kept."""

from analog_ep.support.compiled import compiled


def test_a_function_whose_code_cannot_be_kept_is_compiled_all_the_same():
    made: dict = {}
    exec("def double(number):\n    return 2 * number", made)
    assert compiled(made["double"])(3.5) == 7.0
