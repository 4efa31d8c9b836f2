"""What a gradient may cost, as a multiple of the time of the value alone."""

from __future__ import annotations

from diffprog import tasks

CHEAP = 5.0
"""A reverse-mode gradient should cost no more than about this many values (the cheap-gradient principle)."""


def goal(task: str, method: str) -> float:
    """The largest gradient / value that needs no reason: the task's own goal, where it has one."""
    return tasks.get(task).goals.get(method, CHEAP) if task in tasks.known() else CHEAP


def explained(task: str, method: str, ratio: float, parameters: int) -> str:
    """What the task says of such a ratio; empty if it says nothing.

    A goal below the general bound comes from counting the work; such a count explains a ratio up to that bound, and
    none above.
    """
    own = tasks.get(task) if task in tasks.known() else None
    if own is None or method not in own.explained or (method in own.goals and ratio > CHEAP):
        return ""
    return own.explained[method].format(twice=2 * parameters)
