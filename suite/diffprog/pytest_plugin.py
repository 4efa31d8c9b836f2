"""The pytest fixture `check_gradients`; pytest finds it where diffprog is installed. PYTEST_DONT_REWRITE.

Importing this imports nothing of NumPy or of a framework: that is a matter of the tests that use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from diffprog.gradients.result import GradientCheck


class CheckGradients(Protocol):
    """What the fixture gives: `diffprog.check_gradients`, with ``raises=True`` unless told otherwise."""

    def __call__(self, *arguments: Any, raises: bool = True, **options: Any) -> GradientCheck: ...


@pytest.fixture(scope="session")
def check_gradients() -> CheckGradients:
    """Compares the gradients of functions, and fails the test with the table where they are not the same.

    It takes what `diffprog.check_gradients` takes.

    Example:
        >>> def test_port(check_gradients):
        ...     check_gradients(torch=f, jax=g, params={"W": W}, data={"X": X})
    """

    def check(*arguments: Any, raises: bool = True, **options: Any) -> GradientCheck:
        __tracebackhide__ = True
        from diffprog.gradients.check import check_gradients

        result = check_gradients(*arguments, **options)
        if raises and not result.ok:
            result.raise_for_status()
        return result

    return check
