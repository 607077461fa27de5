"""What a fitted learner has to tell: tables, and sentences on what to beware of."""

from __future__ import annotations

import html
import re
import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from zoo_core.errors import enumeration
from zoo_synthetic_learner.combining import CombinedEffect
from zoo_synthetic_learner.event_time import event_study
from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.learned import Effect
from zoo_synthetic_learner.panel import Floats, Ints, Panel
from zoo_synthetic_learner.support import support_of

_FEW: Final = 5
_WIDTH: Final = 96
_LONG: Final = 28
_LINEAR: Final = 1e-8


@dataclass(frozen=True, eq=False, kw_only=True)
class Summary:
    """A summary, to be printed, shown in a notebook, or read by its tables.

    Attributes:
        title: the learner's name.
        tables: by heading.
        notes: whole sentences.
    """

    title: str
    tables: dict[str, pd.DataFrame]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{self.title}\n{'=' * len(self.title)}"]
        for heading, table in self.tables.items():
            parts.append(f"{heading}\n{'-' * len(heading)}\n{_text(table)}")
        if self.notes:
            notes = (
                textwrap.fill(note, _WIDTH, initial_indent="- ", subsequent_indent="  ")
                for note in self.notes
            )
            parts.append("\n".join(["Notes", "-----", *notes]))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [f"<h3>{html.escape(self.title)}</h3>"]
        for heading, table in self.tables.items():
            shown = table.to_html(float_format=_number, na_rep="", border=0)
            parts.append(f"<h4>{html.escape(heading)}</h4>{shown}")
        if self.notes:
            notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
            parts.append(f"<h4>Notes</h4><ul>{notes}</ul>")
        return "".join(parts)


def summarize(estimator: Any) -> Summary:
    """Returns the summary of a fitted learner: what it learnt from, how well, and what.

    Its tables are "learner", "synthesizers", "fit before treatment" (the units reproduced worst,
    beside the standard deviation of their own outcomes in the periods learnt from), "effects",
    "effect function", "weights" (the largest donors of a unit and how many equal ones they amount
    to, (sum of sizes)^2 / sum of squares) and "support". Those a learner does not have are missing.
    """
    panel, learned = estimator.panel_, estimator.learned_
    imputed = learned.treated
    tables = {"learner": _learner(estimator, panel)}
    notes = list(learned.notes)
    if imputed is not None:
        tables["synthesizers"] = _synthesizers(imputed, learned.control)
        tables["fit before treatment"] = _fit(panel, imputed)
        notes += _growth(estimator)
    for side in (imputed, learned.control):
        notes += [] if side is None else side.notes
    tables["effects"] = _effects(estimator, imputed)
    tables["effect function"] = _function(estimator, panel)
    if imputed is not None and imputed.weights is not None:
        tables["weights"] = _weights(panel, imputed, imputed.weights)
    if panel.covariate_names:
        tables["support"], outside = _support(estimator, panel)
        notes += outside
    return Summary(title=type(estimator).__name__, tables=tables, notes=tuple(dict.fromkeys(notes)))


def effective_donors(weights: Floats) -> Floats:
    """Returns how many donors of equal weight each column of [N, q] amounts to, [q]."""
    sizes = np.abs(weights).sum(axis=0)
    squares = (weights**2).sum(axis=0)
    return np.divide(sizes**2, squares, out=np.zeros_like(sizes), where=squares > 0)


def _text(table: pd.DataFrame) -> str:
    """A table with words at the left and numbers at the right."""
    words = table.select_dtypes(exclude="number").columns
    width = {name: max(len(str(name)), *table[name].map(len)) for name in words}
    text = table.to_string(
        float_format=_number,
        na_rep="",
        header=[f"{name:<{width.get(name, 0)}}" for name in table.columns],
        formatters={name: f"{{:<{size}}}".format for name, size in width.items()},
    )
    return "\n".join(line.rstrip() for line in text.splitlines())


def _learner(estimator: Any, panel: Panel) -> pd.DataFrame:
    shown = ("synthesizer", "base", "pool", "combine", "donors", "time_weights", "cross_fit")
    given = estimator.get_params(deep=False)
    settings = {name: str(given[name]) for name in shown if name in given}
    starts = [str(panel.times[start]) for start in panel.cohorts]
    before = panel.first_treated[panel.treated]
    rows = {
        "outcome": panel.outcome_name,
        **settings,
        "units": f"{len(panel.treated)} treated, {len(panel.never_treated)} never treated",
        "periods": f"{panel.num_periods}, {panel.times[0]} to {panel.times[-1]}",
        "treatment from": enumeration(starts, _FEW),
        "periods before treatment": _range(before.min(), before.max()),
        "covariates": enumeration(panel.covariate_names) or "none",
    }
    return pd.DataFrame({"value": rows})


def _synthesizers(imputed: Imputation, control: Imputation | None) -> pd.DataFrame:
    """How often each was chosen, without its penalty."""
    sides = {"treated": imputed} | ({} if control is None else {"control": control})
    counts = {
        side: Counter(re.sub(r"\(.*", "", choice) for choice in rows.choices)
        for side, rows in sides.items()
    }
    table = pd.DataFrame(counts).fillna(0).astype(int)
    return table.sort_values("treated", ascending=False, kind="stable")


def _fit(panel: Panel, imputed: Imputation) -> pd.DataFrame:
    before = imputed.fit & np.isfinite(imputed.gap)
    rmse = _rms(np.where(before, imputed.gap, np.nan))
    outcome = np.where(before, panel.outcome[imputed.units], np.nan)
    deviation = _rms(outcome - (np.nansum(outcome, axis=1) / before.sum(axis=1))[:, None])
    relative = np.divide(rmse, deviation, out=np.full_like(rmse, np.nan), where=deviation > 0)
    table = pd.DataFrame(
        {"rmse": rmse, "outcome sd": deviation, "relative": relative},
        index=_names(panel, imputed.units),
    )
    worst = table.sort_values("relative", ascending=False, kind="stable")
    if len(table) <= 2 * _FEW:
        return worst
    median = table.median().to_frame(f"median of {len(table)} units").T
    return pd.concat([worst.head(_FEW), median])


def _effects(estimator: Any, imputed: Imputation | None) -> pd.DataFrame:
    """The ATT and the first event times."""
    learned = estimator.learned_
    by_time = np.asarray(learned.att_by_time)
    shown = sorted({*range(len(by_time))[:_FEW], *range(len(by_time))[-1:]})
    names = ["ATT", *(f"event time {time}" for time in shown)]
    table = pd.DataFrame({"effect": [learned.att, *by_time[shown]]}, index=names)
    if imputed is not None:
        study = event_study(estimator).set_index("event_time")["units"]
        units = [len(imputed.units), *study.reindex(shown, fill_value=0)]
        table["units"] = units
    return table


def _function(estimator: Any, panel: Panel) -> pd.DataFrame:
    """tau(s), and its two parts where it combines two sides: averages and coefficients."""
    effect = estimator.learned_.effect
    parts = {"tau": effect}
    if isinstance(effect, CombinedEffect):
        parts |= {"of treated units": effect.treated, "of control units": effect.control}
    return pd.DataFrame({name: _described(part, panel) for name, part in parts.items()})


def _described(effect: Effect, panel: Panel) -> dict[str, float]:
    values = _values(effect, panel.static_covariates())
    if not panel.covariate_names:
        return {"for all units": values[0]}
    return {
        "mean over treated units": values[panel.treated].mean(),
        "mean over all units": values.mean(),
        "smallest": values.min(),
        "largest": values.max(),
        **_coefficients(effect, panel),
    }


def _values(effect: Effect, covariates: Floats) -> Floats:
    """The effects [k], averaged over event times where there are several."""
    return np.asarray(effect.predict(covariates)).reshape(len(covariates), -1).mean(axis=1)


def _coefficients(effect: Effect, panel: Panel) -> dict[str, float]:
    """The coefficients on the covariates' own scale, or {} where tau is not linear in them.

    They are read off the effects of the panel's units, so that any linear learner has them; more
    units than coefficients tell whether it is one.
    """
    names, static = panel.covariate_names, panel.static_covariates()
    static = static[~np.isnan(static).any(axis=1)]
    if len(static) <= len(names) + 1:
        return {}
    center, size = static.mean(axis=0), static.std(axis=0)
    design = np.column_stack([np.ones(len(static)), (static - center) / np.where(size, size, 1.0)])
    values = _values(effect, static)
    found, _, rank, _ = np.linalg.lstsq(design, values)
    largest = np.abs(values).max()
    if rank < design.shape[1] or np.abs(values - design @ found).max() > _LINEAR * largest:
        return {}
    slope = found[1:] / size
    return {
        "intercept": found[0] - center @ slope,
        **{f"per {name}": each for name, each in zip(names, slope, strict=True)},
    }


def _weights(panel: Panel, imputed: Imputation, weights: Floats) -> pd.DataFrame:
    number = effective_donors(weights)
    rows = {}
    for place, unit in enumerate(imputed.units[: 2 * _FEW]):
        column = weights[:, place]
        order = np.argsort(-np.abs(column), kind="stable")[:3]
        largest = [
            f"{_name(panel.units[donor])} {column[donor]:.3f}" for donor in order if column[donor]
        ]
        rows[_name(panel.units[unit])] = [", ".join(largest), number[place]]
    hidden = len(imputed.units) - len(rows)
    if hidden:
        rows[f"median of {len(number)} units"] = ["", float(np.median(number))]
    columns = ["largest donors", "effective number"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _support(estimator: Any, panel: Panel) -> tuple[pd.DataFrame, list[str]]:
    inside = support_of(estimator).contains(panel.static_covariates())
    rows = {"treated units": panel.treated, "never treated units": panel.never_treated}
    rows = {name: places for name, places in rows.items() if len(places)}
    counts = {
        name: [len(places), int((~inside[places]).sum()), float((~inside[places]).mean())]
        for name, places in rows.items()
    }
    columns = ["units", "outside", "share outside"]
    table = pd.DataFrame.from_dict(counts, orient="index", columns=columns)
    outside = int((~inside).sum())
    if not outside:
        return table, []
    share, lie = 100 * outside / panel.num_units, "lies" if outside == 1 else "lie"
    return table, [
        f"{outside} of {panel.num_units} units ({share:.2g} %) {lie} outside the covariate support "
        "of those whose effects were regressed; there tau(s) is an extrapolation. in_support(S) "
        "tells for which queries."
    ]


def _growth(estimator: Any) -> list[str]:
    """Whether effects change so much with event time that a pooled tau hides it.

    That is by more than half of their mean, and by twice as much as the mean gap did before
    treatment. Event times with less than half of the units are left out.
    """
    if estimator.get_params(deep=False).get("pool") == "time":
        return []
    study = event_study(estimator)
    study = study[study["units"] >= study["units"].max() / 2]
    after = study[study["event_time"] >= 0].set_index("event_time")["effect"]
    before = study.loc[study["event_time"] < 0, "effect"]
    if len(after) < 2:
        return []
    spread = float(np.ptp(after))
    noise = float(np.ptp(before)) if len(before) else 0.0
    if spread <= max(abs(float(estimator.learned_.att)) / 2, 2 * noise):
        return []
    first, last = sorted((after.idxmin(), after.idxmax()))
    return [
        f"The mean effect goes from {_number(after[first])} at event time {first} to "
        f"{_number(after[last])} at event time {last}. A pooled tau(s) hides that: see pool='time' "
        "and plot_event_study(by=...)."
    ]


def _rms(values: Floats) -> Floats:
    """[q]: the root of the mean square of each row, without its NaN."""
    known = np.isfinite(values)
    return np.sqrt(np.nansum(values**2, axis=1) / np.maximum(known.sum(axis=1), 1))


def _names(panel: Panel, rows: Ints) -> list[str]:
    return [_name(panel.units[row]) for row in rows]


def _name(label: object) -> str:
    text = " ".join(str(label).split())
    return text if len(text) <= _LONG else f"{text[: _LONG - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    return f"{value:.4g}"
