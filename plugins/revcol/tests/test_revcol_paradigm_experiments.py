"""The experiments with transformer blocks in columns: a fair comparison, and the numbers right."""

from __future__ import annotations

import gzip
import math

import pytest
import torch

from zoo_core.errors import InputError
from zoo_core.experiment import Context
from zoo_revcol.experiments import paradigm
from zoo_revcol.text import RevColText


def context(tmp_path, seeds=(0,)):
    return Context(seeds=seeds, folder=tmp_path / "out", data_root=tmp_path)


def novels(tmp_path, **texts):
    folder = tmp_path / "gutenberg-novels"
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.txt.gz").write_bytes(gzip.compress(text.encode()))


def test_both_models_have_nearly_as_many_parameters():
    columns, one = (
        sum(
            parameter.numel()
            for parameter in RevColText(
                29, width=48, heads=4, max_length=64, task="language-modeling", **arrangement
            ).parameters()
        )
        for arrangement in paradigm.arrangements().values()
    )
    assert abs(columns / one - 1) < 0.02


def test_digits_in_columns(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(paradigm, "DIGITS_EPOCHS", 1)
    monkeypatch.setattr(paradigm, "WIDTH", 16)
    rows = list(paradigm.vit_digits(context(tmp_path, (0, 1))))
    assert [(row["model"], row["seed"]) for row in rows] == [
        (name, seed) for seed in (0, 1) for name in ("columns", "one column")
    ]
    assert all(5 < row["accuracy (%)"] < 100 and row["training loss"] < 2.5 for row in rows)
    again = list(paradigm.vit_digits(context(tmp_path, (1,))))
    assert again == rows[2:]


def test_text_in_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(paradigm, "TEXT_STEPS", 20)
    monkeypatch.setattr(paradigm, "WIDTH", 16)
    monkeypatch.setattr(paradigm, "LEARNING_RATE", 1e-2)
    novels(tmp_path, emma="abc\n" * 200, wuthering_heights="abc\n" * 50)
    rows = list(paradigm.text_columns(context(tmp_path)))
    assert [row["model"] for row in rows] == ["columns", "one column"]
    assert all(row["bits a character"] < 3.0 < math.log2(29) for row in rows)


def test_text_needs_novels_to_train_and_to_test_on(tmp_path):
    novels(tmp_path, emma="abc\n" * 50)
    with pytest.raises(InputError, match=r"needs wuthering_heights\.txt\.gz and other novels"):
        list(paradigm.text_columns(context(tmp_path)))


def test_bits_of_a_known_model():
    class Uneven(RevColText):
        """Gives symbol 2 half of the probability, and what is left to the others evenly."""

        def forward(self, tokens, padding_mask=None):
            logits = torch.zeros(*tokens.shape, 5)
            logits[..., 2] = math.log(4.0)
            return logits

    model = Uneven(5, width=4, heads=1, layers=(1,), num_columns=1, max_length=3, num_classes=0)
    # Two windows of three, and one character too many; symbol 2 is the target twice of six.
    text = torch.tensor([2, 2, 0, 1, 3, 2, 4, 2], dtype=torch.uint8)
    assert paradigm.bits(model, text) == pytest.approx((2 * 1 + 4 * 3) / 6)


def test_a_text_is_read_as_places_of_its_symbols(tmp_path):
    path = tmp_path / "x.txt.gz"
    path.write_bytes(gzip.compress(b"it's a\nz"))
    symbols = [paradigm.SYMBOLS[place] for place in paradigm.read(path)]
    assert "".join(symbols) == "it's a\nz"
    path.write_bytes(gzip.compress(b"It is"))
    with pytest.raises(InputError, match=r"x\.txt\.gz holds other symbols"):
        paradigm.read(path)


@pytest.mark.parametrize(("columns", "holds"), [(95.1, True), (94.9, False)])
def test_when_the_claim_on_digits_holds(columns, holds):
    rows = [
        {"model": "columns", "accuracy (%)": columns - 1},
        {"model": "columns", "accuracy (%)": columns + 1},
        {"model": "one column", "accuracy (%)": 96.0},
    ]
    verdict, reason = paradigm.digits_hold(rows)
    assert verdict is holds
    assert f"{columns:.2f} % in columns, 96.00 % in one column" in reason


@pytest.mark.parametrize(("columns", "holds"), [(2.03, True), (2.05, False)])
def test_when_the_claim_on_text_holds(columns, holds):
    rows = [
        {"model": "columns", "bits a character": columns},
        {"model": "one column", "bits a character": 2.0},
    ]
    assert paradigm.text_holds(rows)[0] is holds
