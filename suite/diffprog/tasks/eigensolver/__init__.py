"""Hamiltonian engineering through a differentiable eigensolver (task 2)."""
