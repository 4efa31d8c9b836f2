"""The suite beside what its users would pick instead: `nox -s peers`.

A peer is a worker of the suite's protocol (docs/protocol.md) around a public package, used as its documentation shows.
It is given the same inputs as the suite's own workers, its value and gradient are compared with the reference before
anything is timed, and its samples are taken in turn with theirs.
"""
