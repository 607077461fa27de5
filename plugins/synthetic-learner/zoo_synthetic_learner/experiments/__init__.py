"""What `zoo reproduce synthetic-learner` runs; each experiment is imported when it is run."""

from __future__ import annotations

from typing import Final

from zoo_core.experiment import Experiment, Figure

_HERE = "zoo_synthetic_learner.experiments"
_ERRORS = ("RMSE all", "RMSE treated")
_PANELS = ("panels",)

EXPERIMENTS: Final = (
    Experiment(
        name="california",
        claim="DiD, synthetic control and SDID find what closed forms and exact solvers find for "
        "California's tobacco law, and what was published.",
        run=f"{_HERE}.california:run",
        check=f"{_HERE}.california:check",
        measures=("estimate", "off by"),
        minutes=0.1,
        seeds=0,
        data=_PANELS,
    ),
    Experiment(
        name="cps",
        claim="With known effects on wages of 50 states, H1SL and H2SL (simplex, auto) have a "
        "lower error than DiD-T, T- and S-learner, and half that of one effect for all.",
        paper="abstract: superior performance over existing methods; the design is ours",
        run=f"{_HERE}.semi_synthetic:run_cps",
        check=f"{_HERE}.semi_synthetic:check_cps",
        measures=_ERRORS,
        minutes=1,
        seeds=40,
        data=_PANELS,
        figure=Figure(x="method", y=("RMSE all",), kind="bar"),
    ),
    Experiment(
        name="smoking",
        claim="With known effects on cigarette sales of 38 states, H1SL and H2SL (simplex, auto) "
        "have a lower error than DiD-T, T- and S-learner, and H2SL has none above H1SL's.",
        paper="abstract: superior performance over existing methods; the design is ours",
        run=f"{_HERE}.semi_synthetic:run_smoking",
        check=f"{_HERE}.semi_synthetic:check_smoking",
        measures=_ERRORS,
        minutes=1,
        seeds=40,
        data=_PANELS,
        figure=Figure(x="method", y=("RMSE all",), kind="bar"),
    ),
    Experiment(
        name="simulation",
        claim="Where treated units lie at the edge of the controls, unrestricted weights beat "
        "convex ones and learners that ignore the panel; two sides beat one unless controls are "
        "few.",
        paper="sections on H1SL and H2SL; the design is ours",
        run=f"{_HERE}.simulation:run",
        check=f"{_HERE}.simulation:check",
        measures=_ERRORS,
        minutes=2,
        seeds=50,
        figure=Figure(x="method", y=("RMSE all",), series=("setting",), kind="bar"),
    ),
    Experiment(
        name="rates",
        claim="Errors fall with the periods before treatment and with units, not with the periods "
        "after it alone; the T-learner's grows with time.",
        paper="abstract: convergence rates; what to expect of them is ours",
        run=f"{_HERE}.rates:run",
        check=f"{_HERE}.rates:check",
        measures=_ERRORS,
        minutes=4,
        seeds=50,
        figure=Figure(x="value", y=("RMSE all",), series=("varied", "method"), log="xy"),
    ),
    Experiment(
        name="minimum-wage",
        claim="With the last year before treatment as base, group-time effects of minimum wages "
        "are those of the R package did, and 'auto' learns nothing from 4 years and says so.",
        run=f"{_HERE}.minimum_wage:run",
        check=f"{_HERE}.minimum_wage:check",
        measures=("estimate", "off by"),
        minutes=0.3,
        seeds=0,
        data=_PANELS,
    ),
    Experiment(
        name="coverage",
        claim="Bootstrap intervals of 90 % hold tau(s) and the ATT in 90 % of panels, and the "
        "placebo test at 10 % rejects no effect in 10 %.",
        run=f"{_HERE}.coverage:run",
        check=f"{_HERE}.coverage:check",
        measures=("covers tau", "covers ATT", "placebo rejects"),
        minutes=5,
        seeds=40,
    ),
)
