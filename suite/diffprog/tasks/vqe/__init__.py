"""Energies of parameterised circuits: VQE and QAOA (task 5)."""
