"""What can go wrong on the way to Julia and back."""

from __future__ import annotations


class BridgeError(RuntimeError):
    """The bridge itself cannot do it: no Julia, a wrong thread, a rule that is not there, a worker that has ended."""


class Gone(BridgeError):
    """What was asked for was kept by a Julia process that has ended, or was never there."""


class JuliaError(RuntimeError):
    """An exception of the Julia code, with its message.

    Attributes:
        kind: the name of the exception's type, such as ``DomainError``.
        message: what Julia says of it.
        backtrace: Julia's own, as text.
    """

    def __init__(self, kind: str, message: str, backtrace: str = "") -> None:
        super().__init__(f"{kind}: {message}" if kind not in message else message)
        self.kind, self.message = kind, message
        self.backtrace = backtrace


class JuliaInterrupted(KeyboardInterrupt):
    """The call was interrupted by Ctrl-C; Julia is as usable as before."""
