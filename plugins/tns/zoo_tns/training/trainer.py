"""Training of a temporal graph network for link prediction: resumed to the bit.

A training is decided by its seed, its settings, the initial weights and the events alone: every
random number comes from a generator seeded for the place where it is used. So one that was killed
anywhere and resumed from its last checkpoint ends in the same weights as one that was not (on the
same machine, with the same threads and processes).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch_geometric.data import TemporalData

from zoo_core.cache import user_path
from zoo_core.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    ZooError,
    ZooWarning,
)
from zoo_core.interruption import Interruption
from zoo_core.retries import first_line
from zoo_tns.evaluation import evaluate_part
from zoo_tns.events import edge_features
from zoo_tns.graph import TemporalGraph
from zoo_tns.negatives import RandomNegatives
from zoo_tns.seeds import derived
from zoo_tns.splits import EventSplit, chronological_split
from zoo_tns.training.checkpointing import (
    Progress,
    Snapshot,
    finite_weights,
    load_checkpoint,
    save_checkpoint,
)
from zoo_tns.training.config import TrainingConfig
from zoo_tns.training.entering import entered, held
from zoo_tns.training.log import Log, Record, plain, write_log
from zoo_tns.training.processes import Processes
from zoo_tns.training.rates import rate_means, rate_sums
from zoo_tns.training.run_folder import identity, require_usable
from zoo_tns.training.saving import save_trained

if TYPE_CHECKING:
    from accelerate import Accelerator

    from zoo_tns.model import TemporalGNN


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    Attributes:
        history: a record of each epoch; see `train_link_prediction`.
        best_epoch: the one with the best validation AP, counted from 1; 0 if none was finished.
        best_val_ap: its validation AP.
        test: the measures of the best epoch's weights on the test events; empty if the training
            was interrupted.
        new_node_test: those on the test events with new nodes; empty where there are none.
        signal: the number of the signal that interrupted it, or 0.
    """

    history: tuple[Record, ...]
    best_epoch: int
    best_val_ap: float
    test: dict[str, float]
    new_node_test: dict[str, float]
    signal: int

    @property
    def finished(self) -> bool:
        """Whether it was trained to the end and tested."""
        return bool(self.test)


def train_link_prediction(
    model: TemporalGNN,
    data: TemporalData | EventSplit,
    *,
    config: TrainingConfig | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    name: str | None = None,
    node_features: Tensor | None = None,
    accelerator: Accelerator | None = None,
    progress: bool = True,
    callbacks: Sequence[Callable[[Record], object]] = (),
) -> Outcome:
    """Trains a model in place to tell events from random ones, and tests the best epoch.

    Each epoch starts with an empty memory, goes through the training events with one random
    destination for each, and is followed by validation, to which the memory goes on. Training ends
    after `patience` epochs without a better validation AP. The model is left in evaluation mode
    with the weights of the best epoch, bound to all events, and with the memory that this epoch
    had after validation, so that a test can be repeated.

    SIGINT and SIGTERM end it after a step; with `out`, it can be resumed from there. In several
    processes, launched by `accelerate launch` or torchrun, each takes a share of every batch.

    A record of the history has epoch (counted from 1), loss (the mean of a batch's two BCE),
    seconds (in training), mean_rate, closed_share and active_share of the expansion modules (None
    where there are none), and every measure of `evaluate` as val_... and new_node_val_....

    Args:
        model: what is trained; it stays on its device unless an accelerator has another.
        data: a stream, which is split by `chronological_split`, or one that is split.
        config: None is the paper's.
        out: folder of log.jsonl, the checkpoints and, in the end, the model and its memory, for
            `zoo.load` and `load_memory`; None writes nothing.
        resume: whether to go on with what `out` holds; else it must not hold a training.
        name: the card that the model is of, such as "tns-tgn". Where it is neither given nor known
            because `zoo.load` made the model, no model is written to `out`.
        node_features: floating [V, d_n], or None.
        accelerator: of Accelerate; None is one process on the model's device, or what was launched.
        progress: whether to show a bar on stderr.
        callbacks: called with each record, in the main process.

    Raises:
        ConfigError: settings that do not suit the model, fewer epochs than `out` has, an
            accelerator with low precision, or a launcher's variables that are not complete.
        InputError: data that cannot be used, or does not fit the model.
        SaveError: `out` holds a training and `resume` is False, or a saved model that no
            checkpoint belongs to; another process trains there; or it cannot be written.
        CheckpointError: `out` holds another training, or a damaged checkpoint.
        ZooError: the loss or the weights are no longer finite; or Accelerate is missing.
    """
    config = TrainingConfig() if config is None else config
    if not isinstance(config, TrainingConfig):
        raise ConfigError(f"config is a {type(config).__name__}; expected a TrainingConfig.")
    folder = None if out is None else user_path(out, "out")
    if folder is not None:
        require_usable(folder, resume)
    split = data if isinstance(data, EventSplit) else _split(model, data)
    processes = Processes.of(accelerator)
    if processes.device is not None:
        model.to(processes.device)
    training = _Training(model, split, config, processes, node_features)
    with held(folder, processes):
        if folder is not None:
            mine = identity(model, split, config, node_features)
            found = entered(folder, resume, mine, processes)
            if found is not None:
                training.resume(found)
        processes.align(model)
        log = Log(
            folder if processes.main else None,
            training.steps,
            config.epochs,
            training.at.epoch * training.steps + training.at.batch,
            callbacks if processes.main else (),
            progress and processes.main,
        )
        with Interruption() as stop, log:
            training.run(stop, log, folder)
        if not training.ended:
            at = training.at
            return Outcome(tuple(at.history), at.best_epoch, at.best_val_ap, {}, {}, stop.signal)
        outcome = training.outcome(stop.signal)
        if folder is not None and processes.main:
            write_log(folder, outcome.history)
            if name is not None or getattr(model, "zoo", None) is not None:
                _save(model, folder, name, outcome, config)
        processes.wait()
        return outcome


class _Training:
    """A training under way: what is trained, and how far it is."""

    def __init__(
        self,
        model: TemporalGNN,
        split: EventSplit,
        config: TrainingConfig,
        processes: Processes,
        node_features: Tensor | None,
    ) -> None:
        self.model, self.split, self.config, self.processes = model, split, config, processes
        self.events = split.train
        self.steps = math.ceil(len(self.events.src) / config.batch_size)
        device = next(model.parameters()).device
        self.train_graph, self.full_graph = (
            TemporalGraph.from_data(each, split.num_nodes, node_features).to(device)
            for each in (self.events, split.data)
        )
        model.bind(self.train_graph)
        if config.order == "shuffled" and model.memory_state():
            raise ConfigError(
                "order is 'shuffled' and the model has a memory, which needs events in order of "
                "time; expected 'chronological', or a model with memory=False."
            )
        self.parameters = [each for each in model.parameters() if each.requires_grad]
        self.optimizer = torch.optim.Adam(model.param_groups(config.lr, config.alpha))
        self.negatives = RandomNegatives(self.events.dst, derived(config.seed, "negatives"))
        self.at = Progress()
        self.best: Snapshot | None = None

    def resume(self, checkpoint: Path) -> None:
        """Takes in a checkpoint."""
        self.at, self.best = load_checkpoint(checkpoint, self.model, self.optimizer)
        if self.at.batch > self.steps or self.at.step != self.at.epoch * self.steps + self.at.batch:
            raise CheckpointError(f"{checkpoint} is of a training with other steps.")
        if self.at.epoch > self.config.epochs:
            raise ConfigError(
                f"epochs is {self.config.epochs}, and {checkpoint.parent.parent} has "
                f"{self.at.epoch} already; expected at least as many, or another folder."
            )

    @property
    def ended(self) -> bool:
        """Whether no epoch is left to do."""
        at, patience = self.at, self.config.patience
        waited = at.epoch - at.best_epoch
        return at.epoch >= self.config.epochs or (patience is not None and waited >= patience)

    def run(self, stop: Interruption, log: Log, folder: Path | None) -> None:
        """Does the epochs that are left, or the steps until it is stopped."""
        while not self.ended:
            if not self._train(stop, log, folder):
                return
            self._validate(log)
            self._save(folder)

    def outcome(self, signal: int) -> Outcome:
        """Tests the best epoch, and leaves the model as it was after its validation."""
        assert self.best is not None
        self.best.restore(self.model)
        found = self._evaluated("test")
        self.best.restore(self.model)
        self.model.eval()
        at = self.at
        return Outcome(
            tuple(at.history),
            at.best_epoch,
            at.best_val_ap,
            found["test"],
            found.get("new_node_test", {}),
            signal,
        )

    def _train(self, stop: Interruption, log: Log, folder: Path | None) -> bool:
        """Does the steps that an epoch has left; False if it was stopped."""
        at, every = self.at, self.config.checkpoint_every
        self.model.bind(self.train_graph).train()
        if not at.batch:
            self.model.reset_memory()
            at.sums = {}
        order = self._order()
        while at.batch < self.steps:
            start = time.perf_counter()
            first = at.batch * self.config.batch_size
            self._step(order[first : first + self.config.batch_size])
            at.step += 1
            at.batch += 1
            self._add({"seconds": time.perf_counter() - start})
            log.advance()
            stopped = stop.signal = self.processes.largest(stop.signal)
            due = stopped or (every and at.step % every == 0)
            # The last step's weights are not to be validated unless they can be used.
            if (due or at.batch == self.steps) and not finite_weights(self.model):
                raise self._diverged("a weight is not finite", at.batch)
            if due:
                self._save(folder)
            if stopped:
                return False
        return True

    def _order(self) -> Tensor:
        """The training events in the order of this epoch, int64 [E]."""
        number = len(self.events.src)
        if self.config.order == "chronological":
            return torch.arange(number)
        seed = derived(self.config.seed, "order", self.at.epoch)
        return torch.randperm(number, generator=torch.Generator().manual_seed(seed))

    def _step(self, rows: Tensor) -> None:
        """One batch: scores, loss, the memory takes in the batch, gradients, step."""
        model, at, seed = self.model, self.at, self.config.seed
        events = self.events
        src, dst, t = events.src[rows], events.dst[rows], events.t[rows]
        self.negatives.reset(at.epoch, at.batch)
        negative = self.negatives.draw(src, dst)
        # Masks of dropout are each process's own; all else is the same in every one.
        model.seed_dropout(derived(seed, "dropout", at.epoch, at.batch, self.processes.rank))
        own = self.processes.share(torch.arange(len(rows)))
        self.optimizer.zero_grad(set_to_none=True)
        model.reset_rate_stats()
        loss = None
        if len(own):
            good, bad = model(src[own], dst[own], t[own], negative[own])
            loss = (_bce(good, 1.0) + _bce(bad, 0.0)) / len(rows)
        model.update(src, dst, t, edge_features(events)[rows])
        if loss is not None:
            loss.backward()
        rates = rate_sums(model.rate_stats(), len(own))
        values = [0.0 if loss is None else loss.item(), *rates.values()]
        total, *summed = self.processes.add_up(self.parameters, values)
        if not math.isfinite(total):
            raise self._diverged(f"the loss is {total}", at.batch + 1)
        self.optimizer.step()
        self._add(
            {"loss": total * len(rows), "events": len(rows)} | dict(zip(rates, summed, strict=True))
        )

    def _add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.at.sums[name] = self.at.sums.get(name, 0.0) + value

    def _validate(self, log: Log) -> None:
        """Evaluates the epoch, remembers the best one, and tells of it."""
        at, sums = self.at, self.at.sums
        found = self._evaluated("val")
        at.epoch, at.batch, at.sums = at.epoch + 1, 0, {}
        record: Record = {
            "epoch": at.epoch,
            "loss": sums["loss"] / sums["events"],
            "seconds": sums["seconds"],
            **rate_means(sums),
        }
        for part, measures in found.items():
            record |= {f"{part}_{name}": value for name, value in measures.items()}
        record = plain(record)
        if record["closed_share"] == 1 and not any(
            each["closed_share"] == 1 for each in at.history
        ):
            warnings.warn(
                f"in epoch {at.epoch} every expansion rate that could exceed 1 was held to it: the "
                "gate is closed, and the model samples the most recent events. With gate='strict' "
                "it stays so; gate='inward', or init_rate above 1, can open it.",
                ZooWarning,
                stacklevel=5,
            )
        at.history.append(record)
        if self.best is None or record["val_ap"] > at.best_val_ap:
            at.best_epoch, at.best_val_ap = at.epoch, record["val_ap"]
            self.best = Snapshot.of(self.model)
        if self.processes.main:
            log.tell(at.history)

    def _evaluated(self, part: Any) -> dict[str, dict[str, float]]:
        # Uniform sampling draws in evaluation, too: always the same in the same epoch.
        self.model.seed_dropout(derived(self.config.seed, part, self.at.epoch))
        try:
            found = evaluate_part(
                self.model, self.split, part, self.full_graph, self.config.evaluation_batch_size
            )
        except InputError as error:  # weights are finite, and what they lead to is not
            what = f"the {part} events cannot be scored ({first_line(error)})"
            raise self._diverged(what, self.steps) from error
        return self.processes.agreed(found)

    def _save(self, folder: Path | None) -> None:
        if folder is not None and self.processes.main:
            save_checkpoint(folder, self.at, self.model, self.optimizer, self.best)
        self.processes.wait()

    def _diverged(self, what: str, batch: int) -> ZooError:
        return ZooError(
            f"{what} in epoch {self.at.epoch + 1}, batch {batch} of {self.steps}; "
            "checkpoints are from before. Try a lower learning rate."
        )


def _split(model: TemporalGNN, data: TemporalData) -> EventSplit:
    return chronological_split(data, num_nodes=model.settings.num_nodes)


def _bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(
        logits, torch.full_like(logits, target), reduction="sum"
    )


def _save(
    model: TemporalGNN, folder: Path, name: str | None, outcome: Outcome, config: TrainingConfig
) -> None:
    metrics = {"test AP (%)": outcome.test["ap"], "test accuracy (%)": outcome.test["acc"]}
    if outcome.new_node_test:
        metrics["new-node test AP (%)"] = outcome.new_node_test["ap"]
    save_trained(
        model,
        folder,
        name=name,
        metrics={key: round(100 * value, 2) for key, value in metrics.items()},
        description=f"Trained for link prediction, {len(outcome.history)} epochs of batches of "
        f"{config.batch_size}; the best epoch is {outcome.best_epoch}.",
    )
