"""What must hold whatever comes: records, messages, layouts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from diffprog.errors import UsageError
from diffprog.records import protocol
from diffprog.records.cells import FILE, Agreement, Errors, Journal, Memory, Provenance, Record, Seconds
from diffprog.records.protocol import Result
from diffprog.spec import Block, Layout

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)  # every character that JSON can carry
MAYBE = st.none() | FINITE
NAMED = st.dictionaries(TEXT, TEXT, max_size=2)


# Records.


def struct(kind: Any, **known: Any) -> Any:
    """Any instance of a struct: each field from ``known``, from its type where hypothesis can tell, or as it is."""
    given_ = {name: strategy for name, strategy in known.items() if name in kind.__struct_fields__}
    return st.builds(kind, **given_)


ERRORS = struct(
    Errors, relative_l2=MAYBE, max_rho=MAYBE, cosine=MAYBE, worst=st.integers(0, 2**40), worst_name=TEXT,
    component=MAYBE, component_name=TEXT,
)  # fmt: skip
AGREEMENTS = struct(
    Agreement, reference=TEXT, value=MAYBE, gradient=st.none() | ERRORS, own_float32=MAYBE, tolerance=FINITE,
    closed_form=st.none() | ERRORS, finite_differences=MAYBE, identity=MAYBE,
)  # fmt: skip
ORIGINS = struct(
    Provenance, suite=TEXT, commit=TEXT, source=TEXT, host=TEXT, cpu=TEXT, cores=st.integers(1, 512),
    threads=st.integers(1, 512), versions=NAMED, switches=NAMED, session=TEXT,
)  # fmt: skip
SECONDS = struct(
    Seconds, import_=MAYBE, setup=MAYBE, first_value=MAYBE, value=st.lists(FINITE, max_size=4),
    gradient=st.lists(FINITE, max_size=4), loops_value=st.integers(0, 10**6),
)  # fmt: skip
MEMORY = struct(Memory, host_peak=st.none() | st.integers(0, 2**60), device_peak=st.none() | st.integers(0, 2**60))
RECORDS = struct(
    Record, task=TEXT, variant=TEXT, size=TEXT, seed=st.integers(0, 2**60), backend=TEXT, engine=TEXT, method=TEXT,
    operator=TEXT, precision=TEXT, device=TEXT, outcome=TEXT, reason=TEXT, mend=TEXT, value=MAYBE,
    parameters=st.integers(0, 2**60), invariants=st.dictionaries(TEXT, st.integers(-(2**60), 2**60), max_size=2),
    seconds=SECONDS, memory=MEMORY, agreement=st.none() | AGREEMENTS, provenance=st.none() | ORIGINS, arrays=TEXT,
).filter(lambda record: record.engine)  # fmt: skip


@given(st.lists(RECORDS, min_size=1, max_size=3, unique_by=lambda record: record.cell.name))
def test_any_record_comes_back_as_it_was(records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for record in records:
            journal.append(record)
        assert journal.read() == records


@given(st.data(), st.lists(RECORDS, min_size=2, max_size=3, unique_by=lambda record: record.cell.name))
def test_a_line_torn_at_any_byte_costs_itself_alone(data: st.DataObject, records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for record in records[:-1]:
            journal.append(record)
        kept = journal.path.stat().st_size
        journal.append(records[-1])
        text = journal.path.read_bytes()
        cut = data.draw(st.integers(kept, len(text) - 1), "cut")
        journal.path.write_bytes(text[:cut])
        if cut > kept:
            with pytest.raises(UsageError, match="truncated line"):
                journal.read()
        assert journal.read(mend=True) == records[:-1]
        assert journal.path.read_bytes() == text[:kept]
        torn = journal.path.with_name(FILE + ".torn")
        assert (torn.read_bytes() if torn.exists() else b"") == text[kept:cut]
        journal.append(records[-1])
        assert journal.read() == records


# Messages.

KINDS: tuple[Any, ...] = (*protocol.Request.__args__, *protocol.Reply.__args__)
FIELDS: dict[str, Any] = {
    **dict.fromkeys(
        [
            "backend",
            "precision",
            "device",
            "task",
            "variant",
            "size",
            "method",
            "inputs",
            "operator",
            "engine",
            "arrays",
            "phase",
            "optimiser",
            "name",
            "made_with",
            "message",
            "outcome",
            "reason",
            "mend",
        ],
        TEXT,
    ),
    **dict.fromkeys(["threads", "samples", "directions", "steps", "step", "evaluations"], st.integers(0, 99)),
    **dict.fromkeys(
        ["value", "finite_differences", "finite_differences_tolerance", "identity", "identity_tolerance"], MAYBE
    ),
    **dict.fromkeys(("versions", "switches"), NAMED),
    **dict.fromkeys(("seconds", "rate", "loss"), FINITE),
    "overrides": st.dictionaries(TEXT, st.integers(-9, 9) | st.just(0.5), max_size=2),
    "invariants": st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
    "memory": MEMORY,
}
MESSAGES: Any = st.one_of(
    *(struct(kind, **FIELDS | ({"seconds": SECONDS} if kind is Result else {})) for kind in KINDS)
)


@given(MESSAGES)
def test_any_message_comes_back_as_it_was_on_one_line(message: Any) -> None:
    line = protocol.encode(message)
    assert b"\n" not in line
    request = isinstance(message, protocol.Request)
    decode, other = protocol.decode_request, protocol.decode_reply
    if not request:
        decode, other = other, decode
    assert decode(line) == message
    with pytest.raises(msgspec.ValidationError, match="Invalid value"):
        other(line)  # a request is no reply


KNOWN = {kind.__struct_config__.tag for kind in KINDS}


@given(TEXT.filter(lambda tag: tag not in KNOWN), NAMED)
def test_unknown_messages_are_refused(tag: str, fields: dict[str, str]) -> None:
    for line in (msgspec.json.encode(fields | {"type": tag}), msgspec.json.encode(tag)):
        for decode in (protocol.decode_request, protocol.decode_reply):
            with pytest.raises(msgspec.DecodeError):
                decode(line)


# Layouts.

SHAPES = st.lists(arrays_of.array_shapes(min_dims=1, max_dims=3, max_side=4), min_size=1, max_size=4)
LAYOUTS = SHAPES.map(lambda shapes: Layout(tuple(Block(f"b{i}", shape) for i, shape in enumerate(shapes))))


@given(LAYOUTS)
def test_a_layout_cuts_and_names_every_component_once(layout: Layout) -> None:
    theta = np.arange(float(layout.size))
    parts = layout.split(theta)
    assert sum(part.size for part in parts.values()) == layout.size
    for name, part in parts.items():
        assert np.shares_memory(part, theta)
        for where, value in np.ndenumerate(part):  # the name leads back to the component, and each has its own
            assert layout.name_of(int(value)) == f"{name}[{','.join(map(str, where))}]"
    assert len({layout.name_of(index) for index in range(layout.size)}) == layout.size


@given(LAYOUTS, st.integers(-3, 3))
def test_a_layout_refuses_what_it_does_not_cover(layout: Layout, off: int) -> None:
    index = layout.size + off if off >= 0 else off
    with pytest.raises(IndexError):
        layout.name_of(index)
    if off:
        with pytest.raises(ValueError, match="expected parameters of shape"):
            layout.split(np.zeros(max(layout.size + off, 0)))
    with pytest.raises(ValueError, match="expected parameters of shape"):
        layout.split(np.zeros((layout.size, 1)))
