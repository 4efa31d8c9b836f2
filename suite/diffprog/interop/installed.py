"""The Julia of this machine, for either way to it."""

from __future__ import annotations

from diffprog.backends import find_julia
from diffprog.backends.find_julia import Julia
from diffprog.interop.errors import BridgeError


def julia() -> Julia:
    """The one that is found.

    Raises:
        BridgeError: if there is none, with the way to one.
    """
    search = find_julia.find()
    if search.julia is None:
        mend = f"; to mend this: {search.mend}" if search.mend else ""
        raise BridgeError(f"Julia is not available: {search.reason}{mend}")
    return search.julia
