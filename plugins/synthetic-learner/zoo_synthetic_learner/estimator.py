"""What all learners of panels share: reading data, the estimator's attributes, queries."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from zoo_core.errors import ConfigError, InputError, ZooWarning, suggestion
from zoo_synthetic_learner import base_learners
from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.labels import named
from zoo_synthetic_learner.learned import Learned
from zoo_synthetic_learner.missing import check_how
from zoo_synthetic_learner.numbers_given import as_floats
from zoo_synthetic_learner.panel import HUGE, Floats, Ints, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from zoo_synthetic_learner.inference.bootstrap import Bootstrap
    from zoo_synthetic_learner.inference.conformal import Conformal
    from zoo_synthetic_learner.inference.placebo_space import PlaceboSpace
    from zoo_synthetic_learner.inference.placebo_time import PlaceboTime
    from zoo_synthetic_learner.summary import Summary


class PanelEstimator(BaseEstimator):
    """A learner of treatment effects in panels, in scikit-learn's terms.

    Subclasses store their arguments, check them in `_check_settings`, and learn in `_learn`.

    Attributes:
        panel_: the `Panel` it was fitted to.
        learned_: what it learnt, as arrays and functions (`Learned`).
        n_features_in_: T, the number of periods.
        att_: the mean effect over the treated units' observed cells.
        att_by_time_: the same for each event time, 0 being the first treated period.
        ite_: the effect of each imputed unit in each treated period: a frame of units by periods.
        counterfactual_: [N, T] what was imputed, NaN elsewhere.
        weights_: of donors (rows) for treated units (columns), where they are linear; the weights
            of treated units for control units are `control_weights_`.
        intercept_: of treated units, where weights are.
        pre_rmse_: of treated units, over the periods that were learnt from.
        synthesizer_choice_: of treated units, what imputes them.
        notes_: sentences on what a user should know.
    """

    missing: str
    n_jobs: int | None
    random_state: int | None
    panel_: Panel
    learned_: Learned

    def fit(self, Y: Any, D: Any, S: Any = None) -> Self:  # noqa: N803
        """Fits to matrices.

        Args:
            Y: [N, T] outcomes, an array or a DataFrame whose index names units and whose columns
                name periods; NaN where an outcome was not observed.
            D: [N] the index of each unit's first treated period, counted from 0, which is the
                number of periods before its treatment; 0, None, NaN or infinity for units that
                never are treated. Or [N, T] zeros and ones.
            S: [N, d] covariates, or [N, T, d] if they vary over time; None for none.

        Returns:
            The estimator.

        Raises:
            InputError: data that cannot be worked with; says what is wrong, and where.
            ConfigError: arguments of the constructor do not fit.

        Warns:
            ZooWarning: what a user should know of the fit, such as donors left out; `notes_`.
        """
        from zoo_synthetic_learner.matrices import read_matrices

        self._check()
        return self._fit(read_matrices(Y, D, S, missing=self.missing))

    def fit_frame(
        self,
        df: pd.DataFrame,
        *,
        unit: str,
        time: str,
        outcome: str,
        treatment: str | None = None,
        first_treated: str | None = None,
        covariates: Sequence[str] = (),
    ) -> Self:
        """Fits to a long frame, one row for each unit and period, in any order.

        Args:
            df: the frame.
            unit: the column of units.
            time: the column of periods.
            outcome: the column of outcomes.
            treatment: the column that is 1 where a unit is treated, else 0.
            first_treated: instead of it, the column of the first treated period; 0 or missing for
                units that never are treated.
            covariates: columns; those that differ within a unit vary over time.

        Returns:
            The estimator.

        Raises:
            InputError, ConfigError: as `fit`.
        """
        from zoo_synthetic_learner.frames import read_frame

        self._check()
        panel = read_frame(
            df, unit=unit, time=time, outcome=outcome, treatment=treatment,
            first_treated=first_treated, covariates=covariates, missing=self.missing,
        )  # fmt: skip
        return self._fit(panel)

    def effect(self, S: Any = None) -> Any:  # noqa: N803
        """Returns tau(s), the effect on units with covariates s.

        Args:
            S: [k, d] covariates in the order of `fit`, or a DataFrame with columns of their names;
                None for the units that were fitted to, each predicted without itself where the
                estimator was cross-fitted.

        Returns:
            [k] float64, or [k, L] by event time with pool="time"; with the labels of `S` where it
            has some.

        Raises:
            InputError: covariates of another shape, or missing ones.
        """
        check_is_fitted(self)
        if S is None and "cross_fitted" in self.learned_.parts:
            return np.array(self.learned_.parts["cross_fitted"])
        found = self.learned_.effect.predict(self._covariates(S))
        if isinstance(S, pd.DataFrame | pd.Series):
            if found.ndim == 1:
                return pd.Series(found, index=S.index, name="effect")
            return pd.DataFrame(found, index=S.index, columns=_event_times(found.shape[1]))
        return found

    def score(self, S: Any, tau_true: npt.ArrayLike) -> float:  # noqa: N803
        """Returns minus the root mean squared error of `effect(S)`, for simulations."""
        found = np.asarray(self.effect(S))
        true = as_floats(tau_true, "tau_true")
        if true.shape not in (found.shape, found.shape[:1]):
            raise InputError(
                f"tau_true has shape {list(true.shape)}; expected {list(found.shape)}."
            )
        if not np.isfinite(true).all():
            raise InputError("tau_true has values that are not finite; expected true effects.")
        true = true if true.ndim == found.ndim else true[:, None]
        return -float(np.sqrt(np.mean((found - true) ** 2)))

    @property
    def att_(self) -> float:
        """The mean effect over the treated units' observed cells."""
        return self._learned().att

    @property
    def att_by_time_(self) -> pd.Series:
        """The mean effect on the treated by event time."""
        values = self._learned().att_by_time
        return pd.Series(values, index=_event_times(len(values)), name="att")

    @property
    def ite_(self) -> pd.DataFrame:
        """Effects of imputed units by treated period."""
        sides = self._sides("ite_")
        panel = self.panel_
        first = int(min(side.start.min() for side in sides))
        rows, values = self._merged([side.effect for side in sides])
        columns = panel.times[first:]
        return pd.DataFrame(values[:, first:], index=panel.units[rows], columns=columns)

    @property
    def counterfactual_(self) -> pd.DataFrame:
        """[N, T] imputed outcomes: without treatment of treated units, with it of control units."""
        sides = self._sides("counterfactual_")
        rows, values = self._merged([side.predicted for side in sides])
        found = np.full(self.panel_.outcome.shape, np.nan)
        found[rows] = values
        return pd.DataFrame(found, index=self.panel_.units, columns=self.panel_.times)

    @property
    def weights_(self) -> pd.DataFrame:
        """Weights of donors (rows) for treated units (columns)."""
        return self._weights(self._sides("weights_")[0], "weights_")

    @property
    def control_weights_(self) -> pd.DataFrame:
        """Weights of treated units (rows) for control units (columns)."""
        side = self._learned().control
        if side is None:
            raise AttributeError(f"{type(self).__name__} imputes no control units.")
        return self._weights(side, "control_weights_")

    @property
    def intercept_(self) -> pd.Series:
        """Intercepts of treated units."""
        side = self._sides("intercept_")[0]
        if side.intercept is None:
            raise AttributeError("this synthesizer is not linear in donors: no intercept_.")
        return self._by_unit(side.intercept, "intercept")

    @property
    def pre_rmse_(self) -> pd.Series:
        """The root mean squared gap of treated units over the periods that were learnt from."""
        return self._by_unit(np.sqrt(self._sides("pre_rmse_")[0].fit_mse), "pre_rmse")

    @property
    def synthesizer_choice_(self) -> pd.Series:
        """What imputes each treated unit."""
        return self._by_unit(list(self._sides("synthesizer_choice_")[0].choices), "synthesizer")

    @property
    def notes_(self) -> tuple[str, ...]:
        """Sentences on what a user should know."""
        return self._learned().notes

    def bootstrap(self, S: Any = None, n_boot: int = 200, **options: Any) -> Bootstrap:  # noqa: N803
        """Refits to resampled units; see `inference.bootstrap.bootstrap`."""
        from zoo_synthetic_learner.inference.bootstrap import bootstrap

        return bootstrap(self, S, n_boot, **options)

    def effect_interval(
        self,
        S: Any = None,  # noqa: N803
        alpha: float = 0.05,
        method: str = "bootstrap",
        n_boot: int = 200,
        **options: Any,
    ) -> tuple[Floats, Floats]:
        """Returns the lower and upper ends of intervals of `effect(S)`, by the unit bootstrap.

        Args:
            S: as `effect`'s.
            alpha: one less the level.
            method: "bootstrap".
            n_boot: the number of resamples.
            **options: of `inference.bootstrap.bootstrap`.

        Raises:
            InputError: fewer than 5 treated units; use `placebo_space`.
        """
        from zoo_synthetic_learner.inference.intervals import check_level

        if method != "bootstrap":
            raise InputError(f"method is {method!r}; expected 'bootstrap'.")
        check_level(alpha)
        return self.bootstrap(S, n_boot, **options).effect_interval(alpha)

    def att_interval(
        self, alpha: float = 0.05, n_boot: int = 200, **options: Any
    ) -> tuple[float, float]:
        """Returns the ends of the interval of `att_`, by the unit bootstrap."""
        from zoo_synthetic_learner.inference.intervals import check_level

        check_level(alpha)
        return self.bootstrap(None, n_boot, **options).att_interval(alpha)

    def placebo_space(self, n: int = 100, **options: Any) -> PlaceboSpace:
        """Pretends that control units were treated; see `inference.placebo_space`."""
        from zoo_synthetic_learner.inference.placebo_space import placebo_space

        return placebo_space(self, n, **options)

    def placebo_time(self, h: int | None = None, **options: Any) -> PlaceboTime:
        """Pretends that treatment began h periods earlier; see `inference.placebo_time`."""
        from zoo_synthetic_learner.inference.placebo_time import placebo_time

        return placebo_time(self, h, **options)

    def conformal(self, unit: Any = None, **options: Any) -> Conformal:
        """Tests effects by permuting residuals; see `inference.conformal`."""
        from zoo_synthetic_learner.inference.conformal import conformal

        return conformal(self, unit, **options)

    def in_support(self, S: Any = None) -> npt.NDArray[np.bool_]:  # noqa: N803
        """Returns [k] whether covariates are like those whose effects were learnt."""
        from zoo_synthetic_learner.support import support_of

        check_is_fitted(self)
        return support_of(self).contains(self._covariates(S))

    def summary(self) -> Summary:
        """Returns what was learnt, as tables and text."""
        from zoo_synthetic_learner.summary import summarize

        check_is_fitted(self)
        return summarize(self)

    def plot_gaps(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draws observed less imputed outcomes; see `pictures.gaps`."""
        from zoo_synthetic_learner.pictures.gaps import plot_gaps

        check_is_fitted(self)
        return plot_gaps(self, ax=ax, **options)

    def plot_path(self, unit: Any, ax: Axes | None = None) -> Axes:
        """Draws a unit's observed and imputed outcomes; see `pictures.paths`."""
        from zoo_synthetic_learner.pictures.paths import plot_path

        check_is_fitted(self)
        return plot_path(self, unit, ax=ax)

    def plot_event_study(self, by: Any = None, ax: Axes | None = None, **options: Any) -> Axes:
        """Draws mean gaps by event time; see `pictures.event_study`."""
        from zoo_synthetic_learner.pictures.event_study import plot_event_study

        check_is_fitted(self)
        return plot_event_study(self, by=by, ax=ax, **options)

    def plot_weights(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draws the named weights of donors; see `pictures.weights`."""
        from zoo_synthetic_learner.pictures.weights import plot_weights

        check_is_fitted(self)
        return plot_weights(self, ax=ax, **options)

    def plot_effect(self, covariate: str, ax: Axes | None = None, **options: Any) -> Axes:
        """Draws tau against one covariate; see `pictures.effect_curve`."""
        from zoo_synthetic_learner.pictures.effect_curve import plot_effect

        check_is_fitted(self)
        return plot_effect(self, covariate, ax=ax, **options)

    def get_state(self, *, skops: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns what was learnt, as arrays and JSON values; empty ones before `fit`.

        Args:
            skops: whether learners that are not plain arrays are written by skops.
        """
        from zoo_synthetic_learner.state import state_of

        return state_of(self, skops=skops) if hasattr(self, "learned_") else ({}, {})

    def set_state(self, arrays: Any, values: Any, *, trusted: Sequence[str] = ()) -> None:
        """Takes what `get_state` returned; `trusted` are types that skops may make."""
        from zoo_synthetic_learner.state import restore

        if arrays or values:
            restore(self, arrays, values, trusted=trusted)
            self.n_features_in_ = self.panel_.num_periods

    def save_pretrained(self, path: str | os.PathLike[str], *, skops: bool = False) -> None:
        """Writes the estimator to a folder that `from_pretrained` and `zoo.load` read.

        Args:
            path: the folder.
            skops: whether learners that are not plain arrays are written by skops.

        Raises:
            SaveError: it holds something that cannot be written; says what to do.
        """
        from zoo_core.saving import save
        from zoo_synthetic_learner.plugin import card_of

        name = None if hasattr(self, "zoo") else f"synthetic-learner/{card_of(type(self))}"
        save(self, path, name=name, skops=skops)

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], *, trusted: Sequence[str] = ()) -> Self:
        """Returns the estimator in a folder, or in a repository `hf-hub:owner/name`.

        Args:
            path: the folder.
            trusted: types that skops may make besides those it knows.

        Raises:
            ConfigError: it holds another learner.
        """
        from pathlib import Path

        from zoo_core.loading import load

        remote = isinstance(path, str) and path.startswith("hf-hub:")
        found = load(path if remote else Path(path), trusted=trusted)
        if not isinstance(found, cls):
            raise ConfigError(f"{path} holds a {type(found).__name__}, no {cls.__name__}.")
        return found

    def _learn(self, panel: Panel, counts: Ints | None = None) -> Learned:
        """Returns what the learner makes of a panel; changes nothing.

        Args:
            panel: N units.
            counts: [N] how often each unit counts in regressions of effects; None is once.
        """
        raise NotImplementedError

    def _check_settings(self) -> None:
        """Raises ConfigError where the constructor's arguments do not fit."""
        raise NotImplementedError

    def _check(self) -> None:
        check_how(self.missing)
        check_random_state(self.random_state)
        check_n_jobs(self.n_jobs)
        self._check_settings()

    def _fit(self, panel: Panel) -> Self:
        learned = self._learn(panel)
        for note in learned.notes:
            warnings.warn(note, ZooWarning, stacklevel=3)
        self.panel_ = panel
        self.learned_ = learned
        self.n_features_in_ = panel.num_periods
        return self

    def _learned(self) -> Learned:
        check_is_fitted(self)
        return self.learned_

    def _sides(self, attribute: str) -> list[Imputation]:
        learned = self._learned()
        if learned.treated is None:
            raise AttributeError(f"{type(self).__name__} imputes no unit: no {attribute}.")
        return [each for each in (learned.treated, learned.control) if each is not None]

    def _merged(self, values: list[Floats]) -> tuple[Ints, Floats]:
        """Rows of the panel, ascending, and the values of each, cohorts of donors averaged."""
        from zoo_synthetic_learner.effect_regression import averaged

        sides = self._sides("")
        units = np.concatenate([side.units for side in sides])
        rows, place = np.unique(units, return_inverse=True)
        size = np.concatenate([side.size for side in sides])
        return rows, averaged(np.concatenate(values), place, len(rows), size)

    def _weights(self, side: Imputation, attribute: str) -> pd.DataFrame:
        if side.weights is None:
            raise AttributeError(f"this synthesizer is not linear in donors: no {attribute}.")
        panel = self.panel_
        targets = panel.units[side.units]
        if len(np.unique(side.units)) < len(side.units):
            begins = panel.times[side.start]
            names = ("first_treated", panel.units.name or "unit")
            targets = pd.MultiIndex.from_arrays([begins, targets], names=names)
        used = (side.weights != 0).any(axis=1)
        donors = panel.never_treated if side is self.learned_.treated else panel.treated
        rows = np.union1d(donors, np.flatnonzero(used))
        return pd.DataFrame(side.weights[rows], index=panel.units[rows], columns=targets)

    def _by_unit(self, values: Any, name: str) -> pd.Series:
        side = self._sides(name)[0]
        return pd.Series(values, index=self.panel_.units[side.units], name=name)

    def _covariates(self, given: Any) -> Floats:
        """[k, d] checked covariates of a query; the panel's own for None."""
        panel = self.panel_
        names = panel.covariate_names
        if given is None:
            self._check_known(panel, np.arange(panel.num_units))
            return panel.static_covariates()
        if isinstance(given, pd.DataFrame):
            columns = [str(each) for each in given.columns]
            for name in names:
                if name not in columns:
                    raise InputError(
                        f"S has no column {name!r}; expected {', '.join(names)}."
                        f"{suggestion(name, columns)}"
                    )
            values = as_floats(given.iloc[:, [columns.index(name) for name in names]], "S")
        else:
            values = as_floats(given, "S")
            if values.ndim == 1 and len(panel.given_covariates or names) == 1:
                values = values[:, None]
            width = len(panel.given_covariates or names)
            if values.ndim != 2 or values.shape[1] != width:
                raise InputError(
                    f"S has shape {list(values.shape)}; expected [k, {width}], a row for each "
                    f"query{': ' + ', '.join(panel.given_covariates or names) if width else ''}."
                )
            if panel.given_covariates:
                values = values[:, [panel.given_covariates.index(name) for name in names]]
        if not len(values):
            raise InputError("S has no rows; expected a row for each query.")
        if (np.abs(values) > HUGE).any():
            row = int(np.argwhere(np.abs(values) > HUGE)[0, 0])
            raise InputError(f"S is infinite, or as large, in row {row}; expected finite values.")
        if np.isnan(values).any() and not self._takes_missing():
            row = int(np.argwhere(np.isnan(values))[0, 0])
            raise InputError(f"S is missing in row {row}; the learner of effects takes none.")
        return values

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        return tags

    def _takes_missing(self) -> bool:
        return base_learners.takes_missing(getattr(self, "base", "ridge"))

    def _check_known(self, panel: Panel, rows: Ints) -> None:
        """Refuses missing covariates where the learner takes none."""
        if self._takes_missing():
            return
        missing = np.isnan(panel.covariates[rows])
        if not missing.any():
            return
        units = rows[missing.reshape(len(rows), -1).any(axis=1)]
        place = int(np.argwhere(missing)[0, -1])
        name = panel.covariate_names[place] if panel.covariate_names else place
        raise InputError(
            f"covariate {name} is missing for {named(panel.units, units)}; expected values, or a "
            "base learner that takes NaN, such as scikit-learn's HistGradientBoostingRegressor."
        )


def check_flag(value: object, name: str) -> None:
    """Raises ConfigError where `value` is no bool."""
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} is {value!r}; expected True or False.")


def check_choice(value: object, name: str, choices: Sequence[Any]) -> None:
    """Raises ConfigError where `value` is none of `choices`."""
    fits = value in choices if isinstance(value, str) else any(value is each for each in choices)
    if not fits:
        hint = suggestion(str(value), [each for each in choices if isinstance(each, str)])
        shown = ", ".join(map(repr, choices))
        raise ConfigError(f"{name} is {value!r}; expected one of {shown}.{hint}")


def check_random_state(value: object) -> None:
    """Raises ConfigError where `value` is no seed."""
    if value is None or (_whole(value) and 0 <= int(value) < 2**32):  # type: ignore[call-overload]
        return
    raise ConfigError(f"random_state is {value!r}; expected a whole number from 0 on, or None.")


def check_n_jobs(value: object) -> None:
    """Raises ConfigError where `value` is no number of jobs."""
    if value is not None and (not _whole(value) or value == 0):
        raise ConfigError(f"n_jobs is {value!r}; expected a whole number other than 0, or None.")


def check_count(value: object, name: str, least: int) -> None:
    """Raises ConfigError where `value` is no whole number of at least so much."""
    if not _whole(value) or value < least:  # type: ignore[operator]
        raise ConfigError(f"{name} is {value!r}; expected a whole number, {least} or more.")


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _event_times(length: int) -> pd.RangeIndex:
    return pd.RangeIndex(length, name="event_time")
