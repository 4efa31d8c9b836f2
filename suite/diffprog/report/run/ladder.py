"""The ladder of evidence, rung by rung: closed form, finite differences, identity, pairs of backends, float32."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from diffprog.report.run.tables import PAIR_ERRORS


@dataclass(frozen=True)
class Rung:
    """One kind of evidence for one case and operator: the worst of its errors, and the cell or pair that had it.

    Errors are relative and without unit. ``max_rho``, ``cosine`` and ``component`` (its name in the parameter layout)
    are those of that cell; None and empty where a rung compares numbers and not vectors.
    """

    case: str
    operator: str
    name: str
    cells: int
    worst: float
    worst_cell: str
    tolerance: float | None
    max_rho: float | None = None
    cosine: float | None = None
    component: str = ""

    @property
    def passed(self) -> bool:
        return self.tolerance is not None and self.worst <= self.tolerance


_EXACT = ("closed_form_max_rho", "closed_form_cosine", "closed_form_worst_component")
_REFERENCE = ("gradient_max_rho", "gradient_cosine", "worst_component")


def rungs(cells: pd.DataFrame, pairs: pd.DataFrame) -> list[Rung]:
    """The evidence of each case and operator, strongest first; kinds of evidence that no cell has are left out.

    Args:
        cells: the table of that name.
        pairs: the table of that name.
    """
    itself = cells["reference"] == "itself"
    error = cells["gradient_relative_l2"].fillna(cells["value_error"])
    full, half = cells["precision"] == "float64", cells["precision"] == "float32"
    exact = cells["closed_form_relative_l2"]
    kinds = (
        ("closed form, float64", exact.where(full), "tolerance", _EXACT),
        ("closed form, float32", exact.where(half), "tolerance", _EXACT),
        ("finite differences", cells["finite_differences_error"], "finite_differences_tolerance", ()),
        ("adjoint identity", cells["identity_error"].where(full), "identity_tolerance", ()),
        ("adjoint identity, float32", cells["identity_error"].where(half), "identity_tolerance", ()),
        ("backend against reference, float64", error.where(~itself & full), "tolerance", _REFERENCE),
    )
    found: list[Rung] = []
    for case, operator in cells[["case", "operator"]].drop_duplicates().itertuples(index=False):
        here = cells[(cells["case"] == case) & (cells["operator"] == operator)]
        found.extend(
            _worst(here, name, errors[here.index].dropna(), column, details)
            for name, errors, column, details in kinds
            if errors[here.index].notna().any()
        )
        these = pairs[(pairs["case"] == case) & (pairs["operator"] == operator)]
        these = these[(these["precision"] == "float64") & these["relative_l2"].notna()]
        if len(these):
            found.append(_worst_pair(case, operator, these))
        single = error.where(~itself & half)[here.index].dropna()
        if len(single):
            found.append(_worst(here, "float32 against float64", single, "tolerance", _REFERENCE))
        rounded = error.where(cells["precision"] == "tf32")[here.index].dropna()
        if len(rounded):
            found.append(_worst(here, "tf32 against float64", rounded, "tolerance", _REFERENCE))
    return found


def _worst(cells: pd.DataFrame, name: str, errors: pd.Series, column: str, details: tuple[str, ...]) -> Rung:
    """The cell nearest to (or furthest above) its own tolerance."""
    cell = cells.loc[(errors / cells.loc[errors.index, column].fillna(1.0)).idxmax()]
    rho, cosine, component = (cell[name] for name in details) if details else (None, None, "")
    worst = f"{cell['label']} · {cell['device']}"
    if name == "float32 against float64" and pd.notna(cell["own_float32"]):
        worst += f", {cell['own_float32']:.2g} × the reference's own"
    return Rung(
        cell["case"], cell["operator"], name, len(errors), float(errors[cell.name]), worst, _number(cell[column]),
        _number(rho), _number(cosine), component,
    )  # fmt: skip


def _worst_pair(case: str, operator: str, pairs: pd.DataFrame) -> Rung:
    pair = pairs.loc[(pairs["relative_l2"] / pairs["tolerance"].fillna(1.0)).idxmax()]
    error, rho, cosine, component = (pair[name] for name in PAIR_ERRORS)
    worst = f"{pair['first']} with {pair['second']} · {pair['device']}"
    return Rung(
        case, operator, "pairs of cells, float64", len(pairs), float(error), worst, _number(pair["tolerance"]),
        _number(rho), _number(cosine), component,
    )  # fmt: skip


def _number(x: float | None) -> float | None:
    return None if x is None or pd.isna(x) else float(x)
