"""Circuits on state vectors: gates, sweeps over layers, un-applying; what the tasks of circuits are made of."""
