"""The reference: NumPy, with every derivative written by hand.

Reverse rules, for H̄ = Σ_ij of cotangents with respect to the eigenpairs (E_k, v_k) that the loss is made of:

    H̄ = Σ_k w_k v_kᵀ,   w_k = Ē_k v_k − λ_k,   (H − E_k) λ_k = (1 − v_k v_kᵀ) v̄_k,   λ_k ⊥ v_k.

``dense`` solves for λ in the eigenbasis: λ_k = Σ_{j≠k} v_j (v_jᵀ v̄_k)/(E_j − E_k). That is the textbook's
H̄ = V [diag Ē + ½ F ∘ (VᵀV̄ − V̄ᵀV)] Vᵀ, F_ij = 1/(E_j − E_i) (Giles, *Collected matrix derivative results*, 2008, 3.1),
with the differences among levels that the loss does not see left out: those may vanish. ``dominant`` solves for λ by
conjugate gradients (Xie, Liu, Wang, arXiv:2001.04121, section II). H̄ is never formed: dL/dθ = Σ_k d<w_k|H|v_k>/dθ.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from diffprog.spec import Array, Arrays, Functions
from diffprog.tasks.eigensolver import hamiltonian, krylov, second
from diffprog.tasks.eigensolver.hamiltonian import Operator
from diffprog.tasks.eigensolver.krylov import Levels
from diffprog.tasks.eigensolver.problem import EigensolverConfig, check_method


class Dense:
    """All eigenpairs of H by LAPACK's dsyevd."""

    def __init__(self, theta: Array, data: Arrays) -> None:
        J, h = np.split(theta, 2)
        self.H = hamiltonian.matrix(J, h)
        self.vjp = hamiltonian.matrix_vjp

    def apply(self, v: Array) -> Array:
        return np.asarray(self.H @ v)

    def levels(self, count: int) -> Levels:
        energies, vectors = np.linalg.eigh(self.H)
        self.pairs = energies, vectors
        return Levels(energies[:count], vectors[:, :count].T, 0)

    def resolvent(self, energy: Array, v0: Array, b: Array) -> Array:
        """(H − E₀)⁻¹ on what is orthogonal to v₀."""
        energies, vectors = self.pairs
        weights = vectors[:, 1:].T @ b / (energies[1:] - energies[0])
        return np.asarray(vectors[:, 1:] @ weights)


class Dominant:
    """The lowest eigenpairs, and nothing else, of H as an operator."""

    def __init__(self, theta: Array, data: Arrays) -> None:
        self.apply = Operator(theta)
        self.vjp = self.apply.vjp
        self.start, self.scale = data["start"], hamiltonian.bound(theta)

    def levels(self, count: int) -> Levels:
        return krylov.levels(self.apply, self.start, self.scale, count)

    def resolvent(self, energy: Array, v0: Array, b: Array) -> Array:
        """The same; −E₀ v₀v₀ᵀ, positive, makes the system definite and leaves b's complement of v₀ to itself."""

        def project(x: Array) -> Array:
            return np.asarray(x - (v0 @ x) * v0)

        return krylov.solve(lambda x: project(self.apply(project(x))) - energy * x, project(b), self.scale)


METHODS: dict[str, type[Dense | Dominant]] = {"dense": Dense, "dominant": Dominant}


def smallest_gap(energies: Array) -> Array:
    return np.asarray(np.diff(energies).min())


def unless_degenerate(energies: Array, theta: Array) -> float:
    """1, or NaN where two levels coincide to rounding: what is made of one of them has no derivative there."""
    resolution = krylov.RESOLUTION * np.finfo(theta.dtype).eps * hamiltonian.bound(theta)
    return 1.0 if smallest_gap(energies) > resolution else np.nan


def build(config: EigensolverConfig, method: str) -> Functions:
    """The task's functions on NumPy arrays; data are the arrays of ``problem.draw`` without ``params``."""
    check_method(config, method)
    make, m = METHODS[method], config.levels
    # The level above tells whether the highest one of the loss is degenerate. Krylov methods would have to pay for it,
    # and conjugate gradients find out by themselves that a ground state is.
    wanted = 1 if (config.variant, method) == ("ground_state", "dominant") else m + 1

    def solved(theta: Array, data: Arrays) -> tuple[Any, Levels, float]:
        chain = make(theta, data)
        found = chain.levels(wanted)
        return chain, found, unless_degenerate(found.energies, theta) if wanted > m else 1.0

    def loss(found: Levels, data: Arrays) -> Array:
        if config.variant == "ground_state":
            return np.asarray(1 - abs(found.vectors[0] @ data["target"]))
        return np.asarray(((found.energies[:m] - data["target"]) ** 2).sum())

    def value(theta: Array, data: Arrays) -> Any:
        _, found, definite = solved(theta, data)
        return loss(found, data) * theta.dtype.type(definite)

    def gradient(theta: Array, data: Arrays) -> tuple[Any, Array]:
        chain, found, definite = solved(theta, data)
        if config.variant == "ground_state":
            v0 = found.vectors[0]
            v0_bar = -np.sign(v0 @ data["target"]) * data["target"]
            theta_bar = -chain.vjp(chain.resolvent(found.energies[0], v0, v0_bar), v0)
        else:
            energies_bar = 2 * (found.energies[:m] - data["target"])
            theta_bar = sum(E_bar * chain.vjp(v, v) for E_bar, v in zip(energies_bar, found.vectors[:m], strict=True))
        definite = theta.dtype.type(definite)
        return loss(found, data) * definite, np.asarray(theta_bar * definite)

    def jvp(theta: Array, data: Arrays, v: Array) -> tuple[Any, Array]:
        chain, found, definite = solved(theta, data)
        moving = make(v, data)  # H is linear in θ
        if config.variant == "ground_state":
            at = second.ground(chain, moving, found, data)
            loss_dot = at.vector_bar @ at.vector_dot
        else:
            energies_dot = np.array([vector @ moving.apply(vector) for vector in found.vectors[:m]])
            loss_dot = 2 * (found.energies[:m] - data["target"]) @ energies_dot
        definite = theta.dtype.type(definite)
        return loss(found, data) * definite, np.asarray(loss_dot * definite)

    def hvp(theta: Array, data: Arrays, v: Array) -> tuple[Any, Array]:
        chain, found, definite = solved(theta, data)
        moving = make(v, data)
        if config.variant == "ground_state":
            product = second.ground_hvp(chain, moving, second.ground(chain, moving, found, data))
        else:
            product = second.spectrum_hvp(chain, moving, found.energies[:m] - data["target"])
        definite = theta.dtype.type(definite)
        return loss(found, data) * definite, product * definite

    def outputs(theta: Array, data: Arrays) -> Arrays:
        """``energies`` (m+1,), lowest first, and the smallest ``gap`` () among them; ``ground_state`` has besides
        ``state`` (2ᴸ,), of the target's sign, and ``overlap`` (); ``dominant`` how often H was applied.
        """
        found = make(theta, data).levels(m + 1)
        named = {"energies": found.energies, "gap": smallest_gap(found.energies)}
        if config.variant == "ground_state":
            overlap = found.vectors[0] @ data["target"]
            named |= {"state": found.vectors[0] * np.sign(overlap), "overlap": np.abs(overlap)}
        return named | ({"applications": np.asarray(found.applications)} if method == "dominant" else {})

    def work(theta: Array, data: Arrays) -> dict[str, int]:
        """Counted from H's column of all spins up with unit couplings: −1 a bond on its diagonal, −1 a field below."""
        up = np.zeros_like(data["start"])
        up[0] = 1
        bond, field = np.repeat(np.eye(2, dtype=theta.dtype), theta.size // 2, axis=1)
        column = [make(unit, data).apply(up) for unit in (bond, field)]
        counts = {"bonds": int(-column[0].sum()), "fields": int(-column[1].sum())}
        return {"parameters": theta.size, "matrix_size": len(column[0]), **counts}

    # The levels' own tangents take all eigenpairs where there is more than the lowest.
    known = (jvp, hvp) if config.variant == "ground_state" or method == "dense" else (None, None)
    return Functions(value, gradient, outputs, work, made_with="hand", jvp=known[0], hvp=known[1])
