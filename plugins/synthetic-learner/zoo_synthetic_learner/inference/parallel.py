"""Many fits of one learner: seeds, processes, progress, and quiet on the way.

Fits run wherever joblib is told to run them (`joblib.parallel_config`): in this process, in others
on this machine, on a Dask or Ray cluster. What comes out never depends on where, as every fit is a
function of its own arguments and computes on one thread.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import joblib
import numpy as np
import numpy.typing as npt
from joblib.parallel import get_active_backend
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import ThreadpoolController
from tqdm import tqdm

from zoo_core.errors import InputError, ZooWarning
from zoo_synthetic_learner.panel import Panel

Result = TypeVar("Result")

Seeds = npt.NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Refit:
    """What every fit starts from; it is sent to a process once, not with every fit.

    Attributes:
        learner: unfitted, and parallel in nothing of its own.
        panel: what the user fitted it on.
    """

    learner: Any
    panel: Panel

    @classmethod
    def of(cls, estimator: Any) -> Refit:
        """Returns it for an estimator.

        Raises:
            sklearn.exceptions.NotFittedError: the estimator has not been fitted.
        """
        check_is_fitted(estimator, "learned_")
        learner = clone(estimator).set_params(n_jobs=1)
        if "cross_fit" in learner.get_params(deep=False):
            # It changes what is said of the fitted units, which no replicate is asked for.
            learner.set_params(cross_fit=0)
        return cls(learner, estimator.panel_)

    def __sizeof__(self) -> int:
        # Dask shares an argument among its workers only where this says that it is large.
        return object.__sizeof__(self) + self.panel.outcome.nbytes + self.panel.covariates.nbytes


def run(
    function: Callable[..., Result],
    shared: object,
    each: Sequence[Any],
    *,
    n_jobs: int | None,
    what: str,
    progress: bool | None,
) -> list[Result]:
    """Returns `function(shared, one)` for each one, in their order.

    Args:
        function: at the top of a module, so that it can be sent to another process.
        shared: the argument that is the same for all; arrays of more than a megabyte in it are
            mapped into memory by joblib's own processes, not copied.
        each: the other arguments, small.
        n_jobs: for joblib; None is what `joblib.parallel_config` says, or 1.
        what: is done, for the progress bar.
        progress: whether to show the bar; None where standard error is a terminal.
    """
    backend, _ = get_active_backend()
    parallel = joblib.Parallel(
        n_jobs=n_jobs,
        # Ray's backend and joblib's own "multiprocessing" return all results at once.
        return_as="generator" if backend.supports_return_generator else "list",
    )
    hidden = None if progress is None else not progress
    # Here too, as only the thread that first limits BLAS can do so, for all threads of a process.
    with _SETTINGS.held():
        results = parallel(joblib.delayed(_quietly)(function, shared, one) for one in each)
        bar = tqdm(results, desc=what, total=len(each), unit="fit", disable=hidden, leave=False)
        return list(bar)


def seeds(random_state: object, number: int) -> Seeds:
    """Returns one seed for each fit; the first of them are the same for any number.

    Args:
        random_state: a whole number of at least 0; a RandomState, from which one is drawn; or None
            for other seeds each time.
        number: of seeds.

    Raises:
        InputError: another random state.
    """
    return sequence(random_state).generate_state(number, np.uint64)


def sequence(random_state: object) -> np.random.SeedSequence:
    """Returns what seeds are made from; raises InputError as `seeds`."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence(int(random_state.randint(2**31)))
    if random_state is None:
        return np.random.SeedSequence()
    whole = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool)
    if not whole or random_state < 0:
        raise InputError(
            f"random_state is {random_state!r}; expected a whole number of at least 0, or None."
        )
    return np.random.SeedSequence(int(random_state))


def _quietly(function: Callable[..., Result], shared: object, one: object) -> Result:
    with _SETTINGS.held():
        return function(shared, one)


class _ProcessSettings:
    """Settings of a whole process, which the first thread to want them makes and the last undoes.

    Without this, threads that come and go in another order would leave each other's behind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._made = contextlib.ExitStack()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Until the block ends, silences what a fit warns of and limits BLAS to one thread."""
        with self._lock:
            if not self._holders:
                self._make()
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._made.close()

    def _make(self) -> None:
        self._made.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", ZooWarning)
        self._made.enter_context(_libraries().limit(limits=1))


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


_SETTINGS = _ProcessSettings()
