"""The records as pandas tables; the unit of each column is in its name (``_s``: seconds; errors are relative).

``cells`` has one row a cell, ``samples`` one row a raw sample, ``pairs`` one row a pair of gradients of the same case.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diffprog import tasks
from diffprog.agree import errors
from diffprog.agree.timings import NOISE
from diffprog.errors import UsageError
from diffprog.records.cells import Errors, Record
from diffprog.report import arrays
from diffprog.report.run import gpu_columns
from diffprog.run import variables
from diffprog.spec import Array, Case, Layout

IDENTITY = ("case", "task", "variant", "size", "seed", "backend", "engine", "method", "operator", "precision", "device")
_COUNTS = (
    "parameters", "value_loops", "gradient_loops", "host_before_bytes", "host_peak_bytes", "device_peak_bytes",
    *gpu_columns.COUNTS,
)  # fmt: skip
_TEXTS = (
    *IDENTITY, "data", "outcome", "reason", "mend", "reference", "worst_component",
    "closed_form_worst_component", "value_bound", "gradient_bound", "cpu", "gpu", "started", *gpu_columns.TEXTS,
)  # fmt: skip
PAIR_ERRORS = ("relative_l2", "max_rho", "cosine", "worst_component")
_PAIRS = ("case", "operator", "precision", "device", "first", "second", *PAIR_ERRORS, "tolerance")


def label(record: Record) -> str:
    """A short name that is unique among the cells of one case, precision and device: ``torch · reverse``."""
    name = f"{record.backend} · {record.method}"
    if record.engine != tasks.engine(record.backend, record.task, record.operator):
        name += f" · {record.engine}"
    return name if record.operator == "gradient" else f"{name} · {record.operator}"


def _identity(record: Record) -> dict[str, Any]:
    return {"case": record.cell.case.key} | {name: getattr(record, name) for name in IDENTITY[1:]}


def _relative_l2(errors: Errors | None) -> float | None:
    if errors is None:
        return None
    return math.inf if errors.relative_l2 is None else errors.relative_l2


def _spread(name: str, samples: Sequence[float], by_hand: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles, IQR and minimum in seconds, the noise flag, and the harness tax (without unit)."""
    if not samples:
        return {f"{name}_samples": 0, f"{name}_noisy": False}
    first, median, third = (float(q) for q in np.percentile(samples, [25, 50, 75]))
    return {
        f"{name}_samples": len(samples),
        f"{name}_median_s": median,
        f"{name}_q1_s": first,
        f"{name}_q3_s": third,
        f"{name}_iqr_s": third - first,
        f"{name}_min_s": min(samples),
        f"{name}_noisy": third - first > NOISE * median,
        f"{name}_harness_tax": _tax(samples, by_hand),
    }


def _tax(samples: Sequence[float], by_hand: Sequence[float]) -> float | None:
    """Median ratio of neighbouring samples: they were taken in turn, so a machine that slows down slows both."""
    ratios = [sample / bare for sample, bare in zip(samples, by_hand, strict=False) if bare > 0]
    return float(np.median(ratios)) if ratios else None


def _roofline(record: Record, medians: Mapping[str, float | None]) -> dict[str, Any]:
    """The floors in seconds, what decides each, the medians over them (no unit), and the rates behind them."""
    floor, found = record.floor, dict[str, Any]()
    for name, median in medians.items():
        least = getattr(floor, name) if floor else None
        found[f"{name}_floor_s"] = least
        found[f"{name}_bound"] = getattr(floor, f"{name}_bound") if floor else ""
        found[f"{name}_over_floor"] = median / least if median and least else None
    found["bandwidth_bytes_per_s"] = floor.rates.bandwidth if floor else None
    found["flops_per_s"] = floor.rates.flops if floor else None
    return found


def _row(record: Record) -> dict[str, Any]:
    agreement, time, memory, origin = record.agreement, record.seconds, record.memory, record.provenance
    gradient = agreement.gradient if agreement else None
    exact = agreement.closed_form if agreement else None
    value_spread = _spread("value", time.value, time.by_hand_value)
    gradient_spread = _spread("gradient", time.gradient, time.by_hand_gradient)
    value_median = value_spread.get("value_median_s")
    warm = origin is not None and bool(variables.warm(list(origin.environment)))  # then a first call is none
    return {
        **_identity(record),
        "label": label(record),
        "parameters": record.parameters,
        "data": record.data,
        "outcome": record.outcome,
        "reason": record.reason,
        "mend": record.mend,
        "value": record.value,
        "reference": agreement.reference if agreement else "",
        "value_error": agreement.value if agreement else None,
        "gradient_relative_l2": _relative_l2(gradient),
        "gradient_max_rho": gradient.max_rho if gradient else None,
        "gradient_cosine": gradient.cosine if gradient else None,
        "gradient_component": gradient.component if gradient else None,
        "worst_component": gradient.worst_name if gradient else "",
        "tolerance": agreement.tolerance if agreement else None,
        "own_float32": agreement.own_float32 if agreement else None,
        "closed_form_relative_l2": _relative_l2(exact),
        "closed_form_max_rho": exact.max_rho if exact else None,
        "closed_form_cosine": exact.cosine if exact else None,
        "closed_form_worst_component": exact.worst_name if exact else "",
        "finite_differences_error": agreement.finite_differences if agreement else None,
        "finite_differences_tolerance": agreement.finite_differences_tolerance if agreement else None,
        "identity_error": agreement.identity if agreement else None,
        "identity_tolerance": agreement.identity_tolerance if agreement else None,
        **value_spread,
        "value_loops": time.loops_value,
        **gradient_spread,
        "gradient_loops": time.loops_gradient,
        "gradient_over_value": gradient_spread.get("gradient_median_s", math.nan) / value_median
        if value_median
        else None,
        **_roofline(record, {"value": value_median, "gradient": gradient_spread.get("gradient_median_s")}),
        "noisy": value_spread["value_noisy"] or gradient_spread["gradient_noisy"],
        "import_s": time.import_,
        "setup_s": time.setup,
        "first_value_s": None if warm else time.first_value,
        "first_gradient_s": None if warm else time.first_gradient,
        "host_before_bytes": memory.host_before,
        "host_peak_bytes": memory.host_peak,
        "device_peak_bytes": memory.device_peak,
        **gpu_columns.columns(record),
        "threads": origin.threads if origin else None,
        "cpu": origin.cpu if origin else "",
        "gpu": origin.gpu if origin else "",
        "started": record.started,
    }


def cells(records: Sequence[Record]) -> pd.DataFrame:
    """One row a cell, in the order of the records. A number that was not measured is missing, never zero.

    ``gradient_relative_l2`` is infinite where the gradient was compared and no finite error came out.
    """
    # One complete row first, so that the columns are the same whatever was measured.
    complete = _spread("value", [1.0], [1.0]) | _spread("gradient", [1.0], [1.0])
    frame = pd.DataFrame([_row(record) for record in records])
    frame = frame.reindex(columns=[*frame.columns, *(name for name in complete if name not in frame.columns)])
    for name in frame.columns:
        if name in (*_COUNTS, "threads", "seed", "value_samples", "gradient_samples"):
            frame[name] = frame[name].astype("Int64")
        elif name.endswith("noisy"):
            frame[name] = frame[name].astype(bool)
        elif name.endswith("_settled"):
            frame[name] = frame[name].astype("boolean")
        elif name not in (*_TEXTS, "label"):
            frame[name] = frame[name].astype("float64")
    return frame


def samples(records: Sequence[Record]) -> pd.DataFrame:
    """Every raw sample in long form: ``quantity`` value or gradient, ``source`` harness, by_hand or events."""
    rows: list[dict[str, Any]] = []
    for record in records:
        time = record.seconds
        for quantity, source, taken, loops in (
            ("value", "harness", time.value, time.loops_value),
            ("value", "by_hand", time.by_hand_value, time.loops_value),
            ("gradient", "harness", time.gradient, time.loops_gradient),
            ("gradient", "by_hand", time.by_hand_gradient, time.loops_gradient),
            ("value", "events", time.events_value, time.loops_value),
            ("gradient", "events", time.events_gradient, time.loops_gradient),
        ):
            common = _identity(record) | {"quantity": quantity, "source": source, "loops": loops}
            rows.extend(common | {"index": index, "sample_s": sample} for index, sample in enumerate(taken))
    return pd.DataFrame(rows, columns=[*IDENTITY, "quantity", "source", "loops", "index", "sample_s"])


def difference(first: Array, second: Array, layout: Layout | None = None) -> tuple[float, float, float, str]:
    """Relative L2 against ``first``, largest ρ, cosine and worst component; infinite where they cannot be compared."""
    if first.shape != second.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return math.inf, math.inf, math.nan, ""
    found = errors.compare(second, first, layout)
    # The reader's case of a vanishing gradient: any difference from it is infinitely large.
    relative = found.relative_l2 if first.any() or not second.any() else math.inf
    return relative or 0.0, found.max_rho or 0.0, math.nan if found.cosine is None else found.cosine, found.worst_name


def pairs(records: Sequence[Record], folder: Path) -> pd.DataFrame:
    """The differences of each pair of gradients (or hvps) of one case, precision and device; see `agree.errors`.

    The reference comes first where it is in the pair, so such a row equals the cell's own error against it.
    ``tolerance`` is the looser one of the two cells.
    """
    rows: list[tuple[Any, ...]] = []
    for case, members in arrays.by_case(records).items():
        groups: dict[tuple[str, str, str], list[tuple[Record, Array]]] = {}
        for record in sorted(members, key=arrays.rank):
            found = arrays.results(folder, record) if record.operator in ("gradient", "hvp") else None
            if found and record.operator in found:
                key = (record.operator, record.precision, record.device)
                groups.setdefault(key, []).append((record, found[record.operator]))
        layout = layout_of(case, max(record.parameters for record in members))
        for key, group in groups.items():
            for (a, first), (b, second) in itertools.combinations(group, 2):
                known = [r.agreement.tolerance for r in (a, b) if r.agreement]
                tolerance = max(known) if known else None
                rows.append((case.key, *key, label(a), label(b), *difference(first, second, layout), tolerance))
    return pd.DataFrame(rows, columns=list(_PAIRS)).astype(
        dict.fromkeys(("relative_l2", "max_rho", "cosine", "tolerance"), "float64")
    )


def layout_of(case: Case, parameters: int) -> Layout | None:
    """The names of a case's parameters; None for a case that the suite does not have any more, or not with so many."""
    try:
        task = tasks.get(case.task)
        found = task.layout(task.configure(case.variant, case.size))
    except UsageError:
        return None
    return found if found.size == parameters or not parameters else None


def write(frames: dict[str, pd.DataFrame], folder: Path) -> None:
    """Writes each table as ``<name>.csv`` and ``<name>.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        frame.to_parquet(folder / f"{name}.parquet", index=False)
