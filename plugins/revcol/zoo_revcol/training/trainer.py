"""The training loop, on Hugging Face Accelerate: one device or many, resumed to the bit.

A run is decided by its seed, its recipe and its batches alone; see `randomness`. So one that was
killed anywhere and resumed from its last checkpoint ends in the same weights as one that was
not (on the same machine, with the same threads and processes).
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo_core.errors import CheckpointError, ConfigError, InputError, ZooError, ZooWarning
from zoo_revcol.loss import revcol_loss
from zoo_revcol.timm_data import timm_data
from zoo_revcol.training.acceleration import accelerate_package, process_state
from zoo_revcol.training.alphas import project_alphas
from zoo_revcol.training.batches import Batch, Batches
from zoo_revcol.training.checkpointing import load_checkpoint, save_checkpoint
from zoo_revcol.training.ema import MovingAverage
from zoo_revcol.training.evaluation import evaluate
from zoo_revcol.training.interruption import Interruption
from zoo_revcol.training.log import Log, Record
from zoo_revcol.training.optimizer import adamw, set_learning_rate
from zoo_revcol.training.randomness import seed_all
from zoo_revcol.training.recipe import Recipe
from zoo_revcol.training.run_folder import CHECKPOINTS, check_run, starting_point, write_run
from zoo_revcol.training.schedule import warmup_cosine
from zoo_revcol.validation import integer

if TYPE_CHECKING:
    from accelerate import Accelerator

_PLAIN = ("NO", "MULTI_CPU", "MULTI_GPU")
_STALE = 0.5


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        model: the moving average where the recipe has one, else the network; in evaluation mode.
        step: steps done.
        steps: steps of the whole run.
        metrics: of the last evaluation: "accuracy" (%) and "loss", and with a moving average
            "ema_accuracy" and "ema_loss".
        signal: the number of the signal that ended it early, or 0.
    """

    model: nn.Module
    step: int
    steps: int
    metrics: dict[str, float]
    signal: int

    @property
    def finished(self) -> bool:
        """Whether all steps were done."""
        return self.step == self.steps

    @property
    def accuracy(self) -> float | None:
        """Of `model`, in percent; None where nothing was evaluated."""
        return self.metrics.get("ema_accuracy", self.metrics.get("accuracy"))


def fit(
    model: nn.Module,
    recipe: Recipe,
    train: Batches,
    *,
    validation: Batches | None = None,
    out: Path | None = None,
    resume: bool = False,
    seed: int = 0,
    accumulation: int = 1,
    checkpoint_every: int | None = None,
    keep: int = 3,
    log_every: int = 50,
    identity: Mapping[str, Any] | None = None,
    accelerator: Accelerator | None = None,
    trackers: Sequence[str] = (),
    on_record: Callable[[Record], None] | None = None,
    progress: bool = False,
) -> Outcome:
    """Trains a network in place, evaluates it after every epoch, and writes checkpoints.

    SIGINT and SIGTERM end it at a step's end, with a checkpoint. Python's, NumPy's and PyTorch's
    global generators are seeded as it goes. Augmentation is the batches' own; mixup is done here.

    Args:
        model: images to logits, or to a `SupervisedOutput` in training; moved to the device.
        recipe: how. Its learning rates are scaled to what a step really has: `train.batch_size`
            times accumulation times processes.
        train: what every process gets; see `tensor_batches`, `image_batches` and `Batches.of`.
        validation: what is evaluated after each epoch; None for nothing.
        out: folder of the run, for log.jsonl and checkpoints; None writes nothing.
        resume: whether to go on from the newest checkpoint in `out`.
        seed: of everything that is random here.
        accumulation: batches whose gradients make one step.
        checkpoint_every: steps between checkpoints; None writes one after each epoch only.
        keep: how many checkpoints stay.
        log_every: steps between records. The loss is read, and looked at, only then.
        identity: what else decides the run; a run is resumed only if that is the same.
        accelerator: None makes one of the recipe's precision.
        trackers: names that Accelerate knows, such as "tensorboard"; they write to `out`.
        on_record: called in the main process with every record of the log.
        progress: whether to show a bar on stderr.

    Raises:
        ConfigError: an argument out of its range, or that does not suit another.
        InputError: too few batches.
        SaveError: `out` holds another run, or cannot be written.
        CheckpointError: there is nothing to resume from.
        ZooError: the loss or the weights are no longer finite; or Accelerate is missing.
    """
    integer("seed", seed, minimum=0, maximum=(1 << 63) - 1)
    integer("accumulation", accumulation, minimum=1)
    integer("keep", keep, minimum=1)
    integer("log_every", log_every, minimum=1, maximum=1 << 40)
    if checkpoint_every is not None:
        integer("checkpoint_every", checkpoint_every, minimum=1, maximum=1 << 40)
    if out is None and (resume or checkpoint_every or trackers):
        raise ConfigError("resume, checkpoint_every and trackers need a folder; out is None.")
    own = accelerator is None
    accelerator = accelerator or _accelerator(recipe, out, trackers)
    folder = out / CHECKPOINTS if out else None
    wrapped = []
    try:
        _check(accelerator, recipe)
        run = _Run(model, recipe, train, validation, seed, accumulation, accelerator)
        identity = {
            "recipe": recipe.to_json(),
            "seed": seed,
            "images a step": run.images,
            "steps an epoch": run.epoch_steps,
            "parameters": sum(each.numel() for each in model.parameters()),
            **(identity or {}),
        }
        found = starting_point(out, resume) if out else None
        if out and found:
            check_run(out, identity)
        accelerator.wait_for_everyone()  # before one process writes what another checks
        if out and accelerator.is_main_process:
            write_run(out, identity)
        if trackers:
            accelerator.init_trackers("zoo", config=_plain(recipe))
        run.prepare(found)
        wrapped.append(run.wrapped)
        with (
            Interruption(accelerator) as stop,
            Log(accelerator, out, run.step, run.steps, on_record, progress) as log,
        ):
            run.loop(stop, log, folder, checkpoint_every, keep, log_every)
            stop.finish()
        return Outcome(run.final(), run.step, run.steps, run.metrics, stop.signal)
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
        for each in wrapped:  # gives the network its own forward back
            accelerator.unwrap_model(each, keep_fp32_wrapper=False)
        if own:
            # Accelerate allows one precision in a process's life; the next run may have another.
            from accelerate.state import AcceleratorState

            AcceleratorState._reset_state()


class _Run:
    """A run under way: what is trained, and how far it is."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        train: Batches,
        validation: Batches | None,
        seed: int,
        accumulation: int,
        accelerator: Accelerator,
    ) -> None:
        self.model, self.recipe, self.train, self.validation = model, recipe, train, validation
        self.seed, self.accumulation, self.accelerator = seed, accumulation, accelerator
        self.wrapped = model
        self.images = train.batch_size * accumulation * accelerator.num_processes
        self.epoch_steps = train.number // accumulation
        if not self.epoch_steps:
            raise InputError(
                f"an epoch has {train.number} batches; expected at least {accumulation}, for one "
                "step."
            )
        self.steps = recipe.epochs * self.epoch_steps
        self.step = self.evaluated = 0
        self.metrics: dict[str, float] = {}
        lr, warmup_lr, min_lr = recipe.scaled(self.images)
        self.schedule = {
            "total": self.steps,
            "lr": lr,
            "warmup": round(recipe.warmup_epochs * self.epoch_steps),
            "warmup_lr": warmup_lr,
            "min_lr": min_lr,
        }
        if recipe.ema is not None and recipe.ema**self.steps > _STALE:
            warnings.warn(
                f"after {self.steps} steps a moving average of decay {recipe.ema} is still "
                f"{recipe.ema**self.steps:.0%} made of the initial weights; give a smaller ema.",
                ZooWarning,
                stacklevel=3,
            )
        self.mixup = _mixup(recipe, model, train)
        self.optimizer = adamw(model, recipe)
        self.average: MovingAverage | None = None
        self._sums: dict[str, Tensor] = {}
        self._count, self._since = 0, 0.0

    def prepare(self, checkpoint: Path | None) -> None:
        """Moves and wraps the network, and takes in a checkpoint."""
        self.model.to(self.accelerator.device)
        for module in self.model.modules():
            if isinstance(module, nn.Conv2d):  # as the gradients will be; DDP wants both alike
                module.to(memory_format=torch.channels_last)
        project_alphas(self.model)
        if self.accelerator.num_processes > 1:
            for value in self.model.state_dict().values():
                torch.distributed.broadcast(value, src=0)
        if self.recipe.ema is not None:
            self.average = MovingAverage(self.model, self.recipe.ema)
        if checkpoint is not None:
            state = load_checkpoint(
                checkpoint,
                model=self.model,
                optimizer=self.optimizer,
                average=self.average and self.average.model,
            )
            self.step, self.evaluated = state["step"], state["evaluated"]
            if self.step > self.steps:
                raise CheckpointError(f"{checkpoint} is beyond the run's {self.steps} steps.")
            if not all(each.isfinite().all() for each in self.model.parameters()):
                raise CheckpointError(f"{checkpoint} has weights that are not finite.")
            self.metrics = state["metrics"]
            if self.accelerator.scaler is not None and state["scaler"]:
                self.accelerator.scaler.load_state_dict(state["scaler"])
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)

    def loop(
        self,
        stop: Interruption,
        log: Log,
        folder: Path | None,
        checkpoint_every: int | None,
        keep: int,
        log_every: int,
    ) -> None:
        """Does the steps that are left, or those until it is stopped."""
        stopped = False
        while not stopped:
            epoch, done = divmod(self.step, self.epoch_steps)
            if self.validation is not None and not done and self.evaluated < self.step:
                self._evaluate(log, epoch - 1)
                if folder:
                    self._save(folder, keep)
            if self.step >= self.steps:
                return
            self.wrapped.train()
            self._since = time.perf_counter()
            with contextlib.closing(self._batches(epoch, done * self.accumulation)) as batches:
                while done < self.epoch_steps and not stopped:
                    self._advance([next(batches) for _ in range(self.accumulation)])
                    done += 1
                    log.advance(self.step)
                    if self.step % log_every == 0 or done == self.epoch_steps:
                        self._flush(log, epoch, folder)
                    stopped = stop.agreed()
                    due = checkpoint_every and self.step % checkpoint_every == 0
                    if folder and done < self.epoch_steps and (due or stopped):
                        self._flush(log, epoch, folder)
                        self._save(folder, keep)
            if folder and done == self.epoch_steps and (stopped or self.validation is None):
                self._save(folder, keep)

    def final(self) -> nn.Module:
        """The network that the run is for."""
        return self.average.model if self.average is not None else self.model.eval()

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches, each made from a random state of its own."""
        rank, device = self.accelerator.process_index, self.accelerator.device
        seed_all(self.seed, "epoch", epoch, rank, device=device)
        first = start if self.train.seekable else 0
        batches = iter(self.train.make(epoch, first))
        for number in range(first, self.train.number):
            seed_all(self.seed, "batch", epoch, number, rank, device=device)
            batch = next(batches, None)
            if batch is None:
                raise InputError(
                    f"epoch {epoch} had {number} batches; expected {self.train.number}."
                )
            if number >= start:
                yield batch

    def _advance(self, batches: list[Batch]) -> None:
        """One step: forward and backward of its batches, optimiser, alphas, average."""
        accelerator, recipe = self.accelerator, self.recipe
        seed_all(self.seed, "step", self.step, accelerator.process_index, device=accelerator.device)
        set_learning_rate(self.optimizer, warmup_cosine(self.step, **self.schedule))
        for number, (images, target) in enumerate(batches, start=1):
            images = images.to(accelerator.device, non_blocking=True)
            target = target.to(accelerator.device, non_blocking=True)
            if self.mixup is not None:
                images, target = self.mixup(images, target)
            last = number == len(batches)
            waits = contextlib.nullcontext() if last else accelerator.no_sync(self.wrapped)
            with waits:
                loss, parts = revcol_loss(
                    self.wrapped(images),
                    images,
                    target,
                    bce=recipe.bce,
                    ce=recipe.ce,
                    mean=recipe.mean,
                    std=recipe.std,
                    label_smoothing=recipe.label_smoothing,
                )
                accelerator.backward(loss / len(batches))
            for name, value in {"loss": loss.detach(), **parts}.items():
                self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._count += 1
        if recipe.clip is not None:
            accelerator.clip_grad_norm_(self.wrapped.parameters(), recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        project_alphas(self.model)
        if self.average is not None:
            self.average.update(self.model)
        self.step += 1

    def _flush(self, log: Log, epoch: int, folder: Path | None) -> None:
        """Tells the means since the last time; stops the run if the loss is no longer finite."""
        if not self._count:
            return
        means = torch.stack([value.float() for value in self._sums.values()]) / self._count
        means = self.accelerator.reduce(means, "mean").tolist()
        values = dict(zip(self._sums, means, strict=True))
        seconds = time.perf_counter() - self._since
        images = self._count * self.train.batch_size * self.accelerator.num_processes
        self._sums, self._count, self._since = {}, 0, time.perf_counter()
        if not torch.isfinite(torch.tensor(means)).all():
            raise self._diverged(f"the loss is {values['loss']}", folder)
        log.tell(
            {
                "kind": "train",
                "step": self.step,
                "epoch": epoch,
                "lr": warmup_cosine(self.step - 1, **self.schedule),
                **values,
                "images/s": images / seconds,
            }
        )

    def _evaluate(self, log: Log, epoch: int) -> None:
        assert self.validation is not None
        result = evaluate(self.model, self.validation, self.accelerator)
        self.metrics = {"accuracy": result["accuracy"], "loss": result["loss"]}
        self.evaluated = self.step
        if self.average is not None:
            averaged = evaluate(self.average.model, self.validation, self.accelerator)
            self.metrics["ema_accuracy"] = averaged["accuracy"]
            self.metrics["ema_loss"] = averaged["loss"]
        log.tell(
            {
                "kind": "evaluation",
                "step": self.step,
                "epoch": epoch,
                "images": result["images"],
                **self.metrics,
            }
        )

    def _save(self, folder: Path, keep: int) -> None:
        finite = torch.stack([each.isfinite().all() for each in self.model.parameters()])
        if not finite.all():
            raise self._diverged("a weight is not finite", folder)
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            save_checkpoint(
                folder,
                self.step,
                model=self.model,
                optimizer=self.optimizer.optimizer,
                average=self.average and self.average.model,
                state={
                    "evaluated": self.evaluated,
                    "metrics": self.metrics,
                    "scaler": scaler.state_dict() if scaler is not None else None,
                },
                keep=keep,
            )
        self.accelerator.wait_for_everyone()

    def _diverged(self, what: str, folder: Path | None) -> ZooError:
        kept = f"; the checkpoints in {folder} are from before" if folder else ""
        return ZooError(
            f"{what} at step {self.step} of {self.steps}{kept}. Try a lower learning rate, a "
            "smaller clip or another precision."
        )


def check_trackers(names: Sequence[str]) -> None:
    """Checks that Accelerate knows these trackers and that their packages are installed.

    Raises:
        ConfigError: one is unknown or not installed.
    """
    accelerate_package()
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ConfigError(
                f"there is no tracker {name!r}; Accelerate knows {', '.join(LOGGER_TYPE_TO_CLASS)}."
            )
        if name not in [each.value for each in get_available_trackers()]:
            raise ConfigError(f"the tracker {name} is not installed: pip install {name}.")


def _accelerator(recipe: Recipe, out: Path | None, trackers: Sequence[str]) -> Accelerator:
    process_state()
    check_trackers(trackers)
    from accelerate import Accelerator

    try:
        return Accelerator(
            mixed_precision=recipe.precision,
            log_with=list(trackers) or None,
            project_dir=str(out) if out else None,
        )
    except ValueError as error:
        raise ConfigError(f"precision {recipe.precision!r} cannot be used here: {error}") from error


def _check(accelerator: Accelerator, recipe: Recipe) -> None:
    """Refuses set-ups of Accelerate that this loop, or this device, is not made for."""
    if accelerator.distributed_type.value not in _PLAIN:
        raise ConfigError(
            f"Accelerate is set to {accelerator.distributed_type.value}; expected one process, or "
            "several with whole copies of the network."
        )
    if accelerator.mixed_precision != recipe.precision:
        raise ConfigError(
            f"the recipe's precision is {recipe.precision!r}, that of the accelerator "
            f"{accelerator.mixed_precision!r}; expected the same."
        )
    if recipe.precision == "fp16" and not accelerator.native_amp:  # Accelerate would not say so
        raise ConfigError(
            f"precision 'fp16' cannot be used here: it needs a GPU, not {accelerator.device.type}; "
            "expected 'bf16' or 'no'."
        )


def _mixup(recipe: Recipe, model: nn.Module, train: Batches) -> Callable[..., Any] | None:
    """timm's mixup and cutmix; None where the recipe has neither."""
    if not recipe.mixup and not recipe.cutmix:
        return None
    if train.batch_size % 2:
        raise ConfigError(
            f"a batch has {train.batch_size} images; mixup and cutmix need an even number."
        )
    return timm_data().Mixup(
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        label_smoothing=recipe.label_smoothing,
        num_classes=model.num_classes,
    )


def _plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as trackers take it: numbers and text."""
    return {
        name: value if isinstance(value, (int, float, str)) else str(value)
        for name, value in recipe.to_json().items()
    }
