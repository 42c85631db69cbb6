"""The loop of the layered solvers: that its ends are true, and what its acceleration does to known iterations."""

from unittest.mock import patch

import torch
from hypothesis import given
from hypothesis import strategies as st
from layered_networks import Case, cases, examples

from analog_ep.equilibrium.layered.anderson import Anderson, Secant, differences
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.layered.resistive_layers import Ladder


@examples(120)
@given(case=cases(n_samples=3), exponent=st.integers(-10, -2), wide=st.booleans())
def test_what_a_loose_solution_leaves_wrong_is_within_its_tolerance(case: Case, exponent: int, wide: bool):
    """Whether sweeps end by a bound, as in wide networks, or by the currents, which are formed anew here."""
    tolerance = 10.0**exponent
    solver, ladder = Relaxation(tolerance, tolerance), Ladder.of(case.network, case.inputs)
    error = torch.ones(len(case.inputs), case.network.n_outputs, dtype=torch.float64)
    with patch.object(Ladder, "wide", wide):
        state, free = solver.free_state(ladder, case.inputs)
        response, status = solver.linear_response(state, error)
    for k in range(ladder.last):
        forward = ladder.stages[0].forward(case.inputs) if k == 0 else ladder.forward(k, state.layers)
        wrong = (forward + ladder.backward(k, state.layers) - state.drives[k]).abs().amax(-1)
        assert (wrong <= tolerance * state.drives[k].abs().amax(-1) + 1e-18)[free.converged].all()
    for k in range(1, ladder.last + 1):
        back = torch.cat([error, -error], -1) if k == ladder.last else ladder.backward(k, response)
        drive = back + ladder.forward_change(k, response)
        # The last visit's own current is the drive but for what is wrong.
        resistance = state.response_resistances()[k]
        open_nodes = resistance.expand_as(drive) > 0
        wrong = torch.where(open_nodes, drive - response[k] / torch.where(open_nodes, resistance, 1.0), 0.0).abs()
        allowed = 2 * tolerance * drive.abs().amax(-1) + 1e-15
        assert (wrong.amax(-1) <= allowed)[status.converged & free.converged].all()


def test_a_secant_ends_an_iteration_with_one_mode():
    """X ← b + 0.3 x in every component: two images tell the fixed point, each sample's own."""
    target = torch.tensor([[1.0, -2.0, 4.0], [0.5, 0.0, 3.0]], dtype=torch.float64)
    rate = torch.tensor([[0.3], [-0.6]], dtype=torch.float64)
    secant = Secant()
    point = [torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)]
    for _ in range(2):
        image = [t + rate * (p - t) for p, t in zip(point, target.split([2, 1], -1), strict=True)]
        point = secant.next(image, differences(image, point))
    torch.testing.assert_close(torch.cat(point, -1), target, rtol=1e-14, atol=1e-14)


def test_a_secant_takes_the_image_where_a_step_did_not_come_closer():
    secant = Secant()
    zero = torch.zeros(1, 2, dtype=torch.float64)
    assert torch.equal(secant.next([zero + 1], [zero + 1])[0], zero + 1)
    assert torch.equal(secant.next([zero + 5], [zero + 4])[0], zero + 5)
    assert torch.equal(secant.next([zero], [zero])[0], zero)


def test_anderson_ends_a_linear_iteration_of_few_modes():
    matrix = torch.diag(torch.tensor([0.9, -0.8, 0.5], dtype=torch.float64))
    anderson, point = Anderson(), torch.zeros(1, 3, dtype=torch.float64)
    for _ in range(6):
        point = anderson.next(point, torch.ones(1, 3, dtype=torch.float64) + point @ matrix)
    torch.testing.assert_close(point, 1 / (1 - matrix.diagonal())[None], rtol=1e-6, atol=0)
