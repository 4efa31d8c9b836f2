"""The exact free energies that bound the variational flow: by enumeration, quadrature and published values."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from diffprog import tasks
from diffprog.tasks.flow import ising, targets
from diffprog.tasks.flow.problem import VARIATIONAL, FlowConfig
from diffprog.tasks.flow.spec import TASK


def enumerated(side: int, temperature: float) -> float:
    """Ln Z from all 2^(side²) states."""
    sites = side * side
    states = 1 - 2 * ((np.arange(2**sites)[:, None] >> np.arange(sites)) & 1).astype(np.float64)
    grid = states.reshape(-1, side, side)
    energy = -(grid * np.roll(grid, 1, 1) + grid * np.roll(grid, 1, 2)).sum(axis=(1, 2))
    weights = -energy / temperature
    return float(weights.max() + np.log(np.exp(weights - weights.max()).sum()))


@pytest.mark.parametrize("temperature", [1.3, ising.CRITICAL, 4.0])
def test_kaufman_is_the_sum_over_all_states(temperature: float) -> None:
    assert ising.log_partition(4, temperature) == pytest.approx(enumerated(4, temperature), rel=1e-13)
    assert ising.log_partition(3, temperature) == pytest.approx(enumerated(3, temperature), rel=1e-13)


def test_kaufman_tends_to_onsager() -> None:
    catalan = 0.915965594177219
    exact = math.log(2) / 2 + 2 * catalan / math.pi  # ln Z per site at the critical point
    errors = [ising.log_partition(side, ising.CRITICAL) / side**2 - exact for side in (32, 64, 128)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=1e-2)  # the finite-size term goes with 1/L²
    assert abs(errors[2]) < 1e-4


@pytest.mark.parametrize(
    ("size", "bound"), [("tiny", -2.3360457306), ("small", -2.3227346294), ("medium", -2.3159208588)]
)
def test_the_bounds_at_the_critical_temperature(size: str, bound: float) -> None:
    config = TASK.configure("ising", size)
    found = TASK.bound(config)
    assert found is not None
    assert found / config.dim == pytest.approx(bound, abs=1e-10)


@pytest.mark.parametrize("side", [3, 4])
def test_the_dual_is_the_ising_model(side: int) -> None:
    """∫ exp(−½xᵀK'⁻¹x) Π 2cosh x_i dx = √det(2πK') e^(Nδ/2) Z: the identity behind ``free_energy``, from all states."""
    temperature = 2.0
    matrix, shift = ising.coupling(side, temperature)
    assert np.linalg.eigvalsh(matrix)[0] == pytest.approx(0.1)
    sites = side * side
    _, log_determinant = np.linalg.slogdet(2 * np.pi * matrix)
    log_integral = log_determinant / 2 + sites * shift / 2 + enumerated(side, temperature) - sites * math.log(2)
    assert -ising.free_energy(side, temperature) == pytest.approx(log_integral, rel=1e-13)


@pytest.mark.parametrize(("variant", "published"), [("ring", 2.533672059), ("correlated", 1.176999146)])
def test_the_plane_targets_integrate_to_their_partition_function(variant: str, published: float) -> None:
    config = TASK.configure(variant, "tiny")
    width = 0.02
    middles = np.arange(-7, 7, width) + width / 2  # the midpoint rule converges fast: all is smooth and dies off
    points = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
    log_density, _ = targets.LOG_DENSITY[variant](points, {})
    assert math.log(np.exp(log_density).sum() * width**2) == pytest.approx(targets.log_partition(config), abs=1e-8)
    assert targets.log_partition(config) == pytest.approx(published, abs=1e-9)


@pytest.mark.parametrize("variant", VARIATIONAL)
def test_the_gradient_of_a_target(variant: str) -> None:
    config = TASK.configure(variant, "tiny")
    data = TASK.draw(config, 0)
    x, u = np.random.default_rng(1).standard_normal((2, 5, config.dim))
    _, slope = targets.LOG_DENSITY[variant](x, data)
    above, below = (targets.LOG_DENSITY[variant](x + s * 1e-5 * u, data)[0] for s in (1, -1))
    assert (slope * u).sum(axis=1) == pytest.approx((above - below) / 2e-5, rel=1e-7)


@pytest.mark.parametrize("variant", VARIATIONAL)
def test_no_flow_is_below_the_bound(variant: str) -> None:
    """The mean over many samples, whose standard error is far below the distance to the bound."""
    config: FlowConfig = replace(TASK.configure(variant, "tiny"), batch=4096)
    inputs = TASK.draw(config, 0)
    bound = TASK.bound(config)
    value = tasks.functions("flow", "numpy", config, "discrete").value(inputs["params"], inputs)
    assert bound is not None
    assert value > bound


def test_only_the_variational_variants_have_a_bound() -> None:
    assert TASK.bound(TASK.configure("density", "tiny")) is None
