"""Directional derivatives by hand: L̇ = dL/dθ·v and the tangent of the gradient, d²L/dθ²·v.

H is linear in θ, so Ḣ = H(v) and nothing else of H enters. First-order perturbation theory (Kato, *Perturbation Theory
for Linear Operators*, II; Giles, *Collected matrix derivative results*, 2008, 3.1), with P = 1 − v_k v_kᵀ:

    Ė_k = v_kᵀ Ḣ v_k,   (H − E_k) v̇_k = −P Ḣ v_k,   v̇_k ⊥ v_k.

``spectrum`` has the gradient Σ_k 2(E_k − E_k*) <v_k|∂H|v_k>, whose tangent is second-order perturbation theory,

    Σ_k 2Ė_k <v_k|∂H|v_k> + 4(E_k − E_k*) <v̇_k|∂H|v_k>.

``ground_state`` has −<λ|∂H|v₀>, where (H − E₀)λ = P v̄, λ ⊥ v₀ and v̄ = ∓ψ, a constant. Its tangent is
−<λ̇|∂H|v₀> − <λ|∂H|v̇₀>, and λ̇ is what the tangent of that system says it is (the implicit function theorem again: Xie,
Liu, Wang, arXiv:2001.04121, section II, differentiated once more):

    P λ̇ = (H − E₀)⁻¹ P [−(Ḣ − Ė₀)λ − (v₀ᵀv̄) v̇₀],   v₀ᵀλ̇ = −v̇₀ᵀλ.

Each resolvent acts on the complement of v₀: in ``dense`` in the eigenbasis, in ``dominant`` by conjugate gradients. No
difference enters but those from levels of the loss, so levels that it does not see may coincide.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffprog.spec import Array, Arrays

Chain = Any
"""``reference.Dense`` or ``reference.Dominant``."""


class Ground(NamedTuple):
    """The ground state along the path, and the cotangent of its vector: ∓ψ of the loss 1 − |<v₀|ψ>|."""

    energy: Array
    energy_dot: Array
    vector: Array
    vector_dot: Array
    vector_bar: Array


def ground(chain: Chain, moving: Chain, found: Any, data: Arrays) -> Ground:
    """``chain`` is H, ``moving`` Ḣ, ``found`` the levels of H."""
    energy, v0 = found.energies[0], found.vectors[0]
    pushed = moving.apply(v0)
    v0_bar = -np.sign(v0 @ data["target"]) * data["target"]
    return Ground(energy, v0 @ pushed, v0, -chain.resolvent(energy, v0, pushed), v0_bar)


def ground_hvp(chain: Chain, moving: Chain, at: Ground) -> Array:
    """d²L/dθ²·v (2L,) of ``ground_state``."""
    lagrange = chain.resolvent(at.energy, at.vector, at.vector_bar)
    right = at.energy_dot * lagrange - moving.apply(lagrange) - (at.vector @ at.vector_bar) * at.vector_dot
    lagrange_dot = chain.resolvent(at.energy, at.vector, right) - (at.vector_dot @ lagrange) * at.vector
    return np.asarray(-chain.vjp(lagrange_dot, at.vector) - chain.vjp(lagrange, at.vector_dot))


def spectrum_hvp(chain: Chain, moving: Chain, errors: Array) -> Array:
    """d²L/dθ²·v (2L,) of ``spectrum``, from E_k − E_k* (m,) and all eigenpairs, which ``Dense`` has."""
    energies, vectors = chain.pairs
    product = np.zeros(2 * (len(energies).bit_length() - 1), energies.dtype)
    for k, error in enumerate(errors):
        v = vectors[:, k]
        pushed = vectors.T @ moving.apply(v)  # column k of VᵀḢV
        difference = energies[k] - energies
        difference[k] = 1
        weights = pushed / difference
        weights[k] = 0
        product += 2 * pushed[k] * chain.vjp(v, v) + 4 * error * chain.vjp(vectors @ weights, v)
    return product
