"""A panel learner in the shape of econml's estimators of conditional average treatment effects.

econml's tools for scoring, testing and interpreting effects call `effect(X)` and
`const_marginal_effect(X)`; here they reach tau(s) of a learner for panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner.inference.intervals import percentile_interval, standard_error
from zoo_synthetic_learner.panel import Floats

TREATMENT = "T0_1"
"""econml's name for a change of a treatment from 0 to 1."""


@dataclass(frozen=True, eq=False, kw_only=True)
class EffectInference:
    """Effects and what they were in resamples of the units, read as econml's results are.

    Attributes:
        point_estimate: [k] or, by event time, [k, L].
        draws: [B, k] or [B, k, L], the same in each resample.
        output_names: L names.
    """

    point_estimate: Floats
    draws: Floats
    output_names: tuple[str, ...]

    @property
    def stderr(self) -> Floats:
        """The standard deviation over resamples, like `point_estimate`."""
        return standard_error(self.draws)

    def conf_int(self, alpha: float = 0.05) -> tuple[Floats, Floats]:
        """Returns the ends of the percentile intervals, each like `point_estimate`."""
        return percentile_interval(self.draws, alpha)

    def zstat(self) -> Floats:
        """Returns estimates in standard errors."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.point_estimate / self.stderr

    def pvalue(self, value: float = 0.0) -> Floats:
        """Returns two-sided p-values of the effects being `value`, like `point_estimate`.

        They invert the percentile intervals: twice the smaller share of resamples on one side,
        where the observed sample counts as one on either.
        """
        known = np.isfinite(self.draws).sum(axis=0)
        below = 1 + (self.draws <= value).sum(axis=0)
        above = 1 + (self.draws >= value).sum(axis=0)
        return np.minimum(1.0, 2 * np.minimum(below, above) / (1 + known))

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Returns a row for each effect, indexed by the row X of the input and the output Y."""
        low, high = self.conf_int(alpha)
        columns = {
            "point_estimate": self.point_estimate,
            "stderr": self.stderr,
            "zstat": self.zstat(),
            "pvalue": self.pvalue(),
            "ci_lower": low,
            "ci_upper": high,
        }
        rows = range(len(self.point_estimate))
        index: pd.Index = pd.RangeIndex(len(rows), name="X")
        if self.point_estimate.ndim > 1:
            index = pd.MultiIndex.from_product([rows, self.output_names], names=["X", "Y"])
        return pd.DataFrame({key: value.ravel() for key, value in columns.items()}, index=index)


class PanelCATE:
    """Fits a panel learner and answers as econml's estimators do.

    The effect by event time (`pool="time"`) is one of several outputs, as with several outcomes.
    """

    def __init__(self, learner: Any = None, **params: Any) -> None:
        """Keeps the learner.

        Args:
            learner: a panel learner, which stays unfitted; None is a new `H2SL`.
            **params: its parameters, over those that it has.

        Raises:
            ConfigError: it is not a panel learner, or has no such parameter.
        """
        if learner is None:
            from zoo_synthetic_learner.h2sl import H2SL

            learner = H2SL()
        if isinstance(learner, type) or not hasattr(learner, "_learn"):
            raise ConfigError(
                f"learner is {learner!r}; expected a panel learner such as H1SL() or H2SL()."
            )
        unknown = sorted(params.keys() - learner.get_params(deep=True).keys())
        if unknown:
            known = ", ".join(learner.get_params(deep=False))
            raise ConfigError(
                f"{type(learner).__name__} has no parameter {unknown[0]!r}; it has {known}."
            )
        self.learner = clone(learner).set_params(**params)
        self._num_resamples = 200

    def fit(self, Y: Any, T: Any, X: Any = None, *, inference: Any = None) -> PanelCATE:  # noqa: N803
        """Fits the learner.

        Args:
            Y: [N, T] outcomes, one row a unit, as an array or a DataFrame.
            T: [N] the first treated period of each unit (0, None or infinity: never treated), or
                [N, T] whether it is treated.
            X: [N, d] or [N, T, d] covariates, as an array or a DataFrame; None for a constant
                effect.
            inference: how many resamples of the units to draw for intervals, as a number or as an
                `econml.inference.BootstrapInference`; None or "bootstrap" for 200. Nothing is
                drawn before an interval is asked for.

        Raises:
            ConfigError: another kind of inference.
            InputError: as the learner's `fit`.
        """
        number = getattr(inference, "n_bootstrap_samples", inference)
        if number is None or number in ("bootstrap", "auto"):
            number = 200
        if not isinstance(number, int) or number < 2:
            raise ConfigError(
                f"inference is {inference!r}; expected None, 'bootstrap' or a number of resamples."
            )
        fitted = clone(self.learner).fit(Y, T, X)
        self.learner_, self._num_resamples = fitted, number
        return self

    def effect(self, X: Any = None, *, T0: Any = 0, T1: Any = 1) -> Floats:  # noqa: N803
        """Returns the effects of going from one treatment to another.

        Args:
            X: [k, d] covariates; None for the fitted units.
            T0: 0 or 1, or k of them: the treatment before.
            T1: the one after.

        Returns:
            [k], or [k, L] by event time.

        Raises:
            InputError: treatments that are neither 0 nor 1; and as the learner's `effect`.
        """
        effects = self._effects(X)
        return _times(effects, _change(T0, T1, len(effects)))

    def const_marginal_effect(self, X: Any = None) -> Floats:  # noqa: N803
        """Returns tau(s) as [k, 1], or [k, L, 1] by event time; the last axis is the treatment."""
        return self._effects(X)[..., None]

    def marginal_effect(self, T: Any, X: Any = None) -> Floats:  # noqa: N803
        """Returns the same for any base treatment [k], as the treatment is 0 or 1."""
        effects = self.const_marginal_effect(X)
        _change(0, T, len(effects))
        return effects

    def ate(self, X: Any = None, *, T0: Any = 0, T1: Any = 1) -> Any:  # noqa: N803
        """Returns the mean of the effects over the rows of X, a number or [L]."""
        mean = self.effect(X, T0=T0, T1=T1).mean(axis=0)
        return mean if mean.ndim else float(mean)

    def effect_inference(self, X: Any = None, *, T0: Any = 0, T1: Any = 1) -> EffectInference:  # noqa: N803
        """Returns the effects with standard errors and intervals, by the unit bootstrap.

        Raises:
            InputError: as `effect`; or too few units to resample.
        """
        point = self._effects(X)
        change = _change(T0, T1, len(point))
        found = self._fitted().bootstrap(X, n_boot=self._num_resamples)
        return EffectInference(
            point_estimate=_times(point, change),
            draws=_times(found.effects, change, axis=1),
            output_names=tuple(self.cate_output_names()),
        )

    def ate_inference(self, X: Any = None, *, T0: Any = 0, T1: Any = 1) -> EffectInference:  # noqa: N803
        """Returns the same for the mean of the effects, as k = 1 row."""
        found = self.effect_inference(X, T0=T0, T1=T1)
        return EffectInference(
            point_estimate=found.point_estimate.mean(axis=0, keepdims=True),
            draws=found.draws.mean(axis=1, keepdims=True),
            output_names=found.output_names,
        )

    def effect_interval(
        self,
        X: Any = None,  # noqa: N803
        *,
        T0: Any = 0,  # noqa: N803
        T1: Any = 1,  # noqa: N803
        alpha: float = 0.05,
    ) -> tuple[Floats, Floats]:
        """Returns the ends of the intervals of the effects, each as `effect` gives them."""
        return self.effect_inference(X, T0=T0, T1=T1).conf_int(alpha)

    def ate_interval(
        self,
        X: Any = None,  # noqa: N803
        *,
        T0: Any = 0,  # noqa: N803
        T1: Any = 1,  # noqa: N803
        alpha: float = 0.05,
    ) -> tuple[Any, Any]:
        """Returns the ends of the interval of the mean effect, each as `ate` gives it."""
        low, high = (end[0] for end in self.ate_inference(X, T0=T0, T1=T1).conf_int(alpha))
        return (low, high) if np.ndim(low) else (float(low), float(high))

    def score(self, X: Any, tau: npt.ArrayLike) -> float:  # noqa: N803
        """Returns minus the root mean squared error against true effects, for simulations."""
        return float(self._fitted().score(X, tau))

    def cate_feature_names(self, feature_names: Sequence[str] | None = None) -> list[str]:
        """Returns the names of the covariates."""
        return list(feature_names or self._fitted().panel_.covariate_names)

    def cate_output_names(self, output_names: Sequence[str] | None = None) -> list[str]:
        """Returns the name of the outcome, or one for each event time."""
        if output_names is not None:
            return list(output_names)
        name = self._fitted().panel_.outcome_name
        shape = self._fitted().effect(None).shape
        return [name] if len(shape) == 1 else [f"{name} at {time}" for time in range(shape[1])]

    def cate_treatment_names(self, treatment_names: Sequence[str] | None = None) -> list[str]:
        """Returns the name of the treatment."""
        return list(treatment_names or [TREATMENT])

    def shap_values(
        self,
        X: Any,  # noqa: N803
        *,
        feature_names: Sequence[str] | None = None,
        treatment_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        background_samples: int | None = 100,
    ) -> dict[str, dict[str, Any]]:
        """Returns Shapley values of the effect on rows of X, as `shap.Explanation`s.

        Args:
            X: [k, d] covariates.
            feature_names: of the covariates, instead of the panel's.
            treatment_names: of the treatment.
            output_names: of the outcome, or of the event times.
            background_samples: how many of the fitted units to compare with; None for all.

        Returns:
            output name -> treatment name -> explanation, as econml's estimators do.

        Raises:
            ConfigError: shap is not installed.
        """
        try:
            import shap
        except ImportError as error:
            raise ConfigError(
                "Shapley values need shap, which is not installed: pip install shap."
            ) from error
        units = self._fitted().panel_.static_covariates()
        rows = np.asarray(X, dtype=np.float64)
        background = shap.maskers.Independent(units, max_samples=background_samples or len(units))
        names = self.cate_feature_names(feature_names)
        (treatment,) = self.cate_treatment_names(treatment_names)
        explained = {}
        for place, name in enumerate(self.cate_output_names(output_names)):

            def effect(values: Floats, place: int = place) -> Floats:
                found = self._effects(values)
                return found if found.ndim == 1 else found[:, place]

            explainer = shap.Explainer(effect, background, feature_names=names)
            explained[name] = {treatment: explainer(rows)}
        return explained

    def _effects(self, X: Any) -> Floats:  # noqa: N803
        return np.asarray(self._fitted().effect(X), dtype=np.float64)

    def _fitted(self) -> Any:
        if not hasattr(self, "learner_"):
            raise NotFittedError("this PanelCATE is not fitted; call fit(Y, T, X=...) first.")
        return self.learner_


def _change(before: Any, after: Any, rows: int) -> Floats:
    """[1] or [k] of -1, 0 and 1: the change of the treatment."""
    ends = []
    for name, given in (("T0", before), ("T1", after)):
        values = np.asarray(given).reshape(-1)
        if values.size not in (1, rows) or not np.isin(values, (0, 1)).all():
            raise InputError(f"{name} is {given!r}; expected 0 or 1, or one of them for each row.")
        ends.append(values.astype(np.float64))
    return ends[1] - ends[0]


def _times(effects: Floats, change: Floats, axis: int = 0) -> Floats:
    shape = [1] * effects.ndim
    shape[axis] = len(change)
    return effects * change.reshape(shape)
