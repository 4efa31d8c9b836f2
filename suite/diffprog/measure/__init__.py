"""Clocks, memory, rates, finite differences: how one process measures. Nothing of a framework or a task."""
