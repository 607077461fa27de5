"""Fits in parallel: the same results wherever they run, quiet, seeded, on one thread."""

from __future__ import annotations

import os
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from zoo_core.errors import InputError, ZooWarning
from zoo_synthetic_learner.inference import parallel


def _multiplied(shared, one):
    return shared * one


def _process(_, one):
    return os.getpid()


def _slow_first(_, one):
    time.sleep(0.2 if one == 0 else 0.0)
    return one


def _blas_threads(_, one):
    return max(
        [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"], default=1
    )


def _warned(_, one):
    warnings.warn("of a fit", ZooWarning, stacklevel=2)
    return one


def _failed(_, one):
    raise InputError(f"no fit {one}.")


def _is_read_only(shared, one):
    return not shared.flags.writeable


def _run(function, shared=None, each=(0, 1, 2, 3), n_jobs=1, progress=None):
    return parallel.run(function, shared, each, n_jobs=n_jobs, what="testing", progress=progress)


@pytest.mark.parametrize("n_jobs", [None, 1, 2])
def test_results_are_in_the_order_of_what_they_are_for(n_jobs):
    assert _run(_multiplied, 3.0, [4, 1, 2], n_jobs) == [12.0, 3.0, 6.0]
    assert _run(_slow_first, None, [0, 1, 2, 3], n_jobs) == [0, 1, 2, 3]


def test_fits_run_in_other_processes_when_asked_to():
    assert os.getpid() not in _run(_process, n_jobs=2)
    assert set(_run(_process, n_jobs=1)) == {os.getpid()}


def test_the_backend_of_joblib_is_the_users():
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert set(_run(_process, n_jobs=None)) == {os.getpid()}
    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert os.getpid() not in _run(_process, n_jobs=None)


def test_backends_that_cannot_return_one_by_one_return_all():
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
        assert _run(_multiplied, 2, n_jobs=None) == [0, 2, 4, 6]


def test_dask_gives_the_same(tmp_path):
    distributed = pytest.importorskip("distributed")
    cluster = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with (
        distributed.Client(processes=False, local_directory=str(tmp_path), **cluster),
        joblib.parallel_config(backend="dask"),
    ):
        assert _run(_multiplied, 2, n_jobs=None) == [0, 2, 4, 6]
        assert _run(_warned, n_jobs=None) == [0, 1, 2, 3]


def test_large_arrays_are_mapped_not_copied():
    assert all(_run(_is_read_only, np.zeros(300_000), n_jobs=2))


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_fits_compute_on_one_thread(n_jobs, backend):
    with threadpool_limits(limits=2), joblib.parallel_config(backend=backend, n_jobs=n_jobs):
        assert _run(_blas_threads, n_jobs=None) == [1, 1, 1, 1]
        assert _blas_threads(None, 0) == 2


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_fits_do_not_warn(n_jobs):
    assert _run(_warned, n_jobs=n_jobs) == [0, 1, 2, 3]
    with pytest.warns(ZooWarning, match="of a fit"):
        _warned(None, 0)


def test_a_thread_that_ends_early_leaves_the_others_quiet():
    entered, leave = threading.Event(), threading.Event()
    done = []

    def long(_, one):
        entered.set()
        leave.wait(10)
        warnings.warn("late", ZooWarning, stacklevel=2)
        done.append(one)

    before = warnings.filters.copy()
    thread = threading.Thread(target=parallel._quietly, args=(long, None, 0))
    thread.start()
    assert entered.wait(10)
    parallel._quietly(_warned, None, 0)
    leave.set()
    thread.join(10)
    assert done == [0]
    assert warnings.filters == before


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_of_a_fit_is_the_users(n_jobs):
    with pytest.raises(InputError, match=r"no fit \d"):
        _run(_failed, n_jobs=n_jobs)


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_progress_shows_when_asked_for_or_in_a_terminal(progress, shown, capsys):
    _run(_multiplied, 1, progress=progress)
    assert ("testing" in capsys.readouterr().err) == shown


def test_progress_shows_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    _run(_multiplied, 1)
    assert "testing" in capsys.readouterr().err


def test_seeds_are_those_of_a_seed_sequence():
    expected = np.random.SeedSequence(7).generate_state(5, np.uint64)
    np.testing.assert_array_equal(parallel.seeds(7, 5), expected)
    np.testing.assert_array_equal(parallel.seeds(np.int64(7), 5), expected)
    np.testing.assert_array_equal(parallel.seeds(7, 3), expected[:3])
    assert len(set(parallel.seeds(7, 1000).tolist())) == 1000


def test_no_random_state_is_another_one_each_time():
    assert parallel.seeds(None, 1) != parallel.seeds(None, 1)


def test_a_random_state_gives_a_seed_and_moves_on():
    state = np.random.RandomState(3)
    first, second = parallel.seeds(state, 2), parallel.seeds(state, 2)
    assert (first != second).all()
    np.testing.assert_array_equal(parallel.seeds(np.random.RandomState(3), 2), first)


@pytest.mark.parametrize("random_state", [-1, 1.5, True, "0", np.random.default_rng(0)])
def test_other_random_states_are_refused(random_state):
    with pytest.raises(
        InputError, match=r"random_state is .*expected a whole number of at least 0"
    ):
        parallel.seeds(random_state, 2)
