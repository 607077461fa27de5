"""Numbers in text files, plain or gzipped, with errors that name the line."""

from __future__ import annotations

import gzip
import itertools
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
from numpy.typing import NDArray

from zoo_core.errors import InputError

_EXACT = 2.0**53
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Table:
    """The numbers of a file.

    Attributes:
        path: of the file.
        header: the names in its first line; () if that holds numbers already.
        delimiter: between the fields; None is any white space.
        values: float64 [rows, columns].
    """

    path: Path
    header: tuple[str, ...]
    delimiter: str | None
    values: NDArray[np.float64]

    def integers(self, column: int, what: str) -> NDArray[np.int64]:
        """Returns a column that has to hold integers; raises InputError with the line."""
        values = self.values[:, column]
        self.require(np.isfinite(values), column, f"{what} is not finite")
        self.require(values == np.floor(values), column, f"{what} is not an integer")
        return self._exact(column, what) if _beyond(values) else values.astype(np.int64)

    def numbers(self, column: int, what: str) -> NDArray[np.int64] | NDArray[np.float64]:
        """Returns a column, as int64 if it holds only integers; raises InputError with the line."""
        values = self.values[:, column]
        self.require(np.isfinite(values), column, f"{what} is not finite")
        if (values != np.floor(values)).any():
            return values
        return self._exact(column, what) if _beyond(values) else values.astype(np.int64)

    def require(self, good: NDArray[np.bool_], column: int, complaint: str) -> None:
        """Raises InputError with the line of the first row that is not good."""
        if not good.all():
            row = int(np.argmin(good))
            line, text = next(itertools.islice(self._lines(), row, None))
            field = text.split(self.delimiter)[column].strip()
            raise InputError(f"{self.path}, line {line}: {complaint}: {field!r}.")

    def _exact(self, column: int, what: str) -> NDArray[np.int64]:
        """A column with integers that float64 does not hold, read anew."""
        found = np.zeros(len(self.values), np.int64)
        for row, (line, text) in enumerate(self._lines()):
            field = text.split(self.delimiter)[column].strip()
            try:
                found[row] = int(field)
            except (ValueError, OverflowError):
                raise InputError(
                    f"{self.path}, line {line}: {what} is {field!r}; expected an integer of 64 "
                    "bits, or numbers below 2^53."
                ) from None
        return found

    def _lines(self) -> Iterator[tuple[int, str]]:
        with opened(self.path) as file:
            yield from _rows(file, bool(self.header))


def read_table(path: Path, delimiter: str | None = None, header: bool | None = None) -> Table:
    """Reads a file whose rows have the same number of fields, all of them numbers.

    Args:
        path: gzipped or not, whatever its name.
        delimiter: between the fields; None finds a comma, a tab, a semicolon, or white space.
        header: whether the first line holds names, of any number; None finds out.

    Raises:
        InputError: there is no such file or it cannot be decoded, is empty, or has a bad row; the
            message names the line.
    """
    with opened(path) as file:
        first = file.readline()
    if delimiter is None:
        delimiter = next((each for each in ",\t;" if each in first), None)
    fields = [each.strip() for each in first.split(delimiter)]
    if header is None:
        header = not all(_is_number(each) for each in fields)
    with opened(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no data", category=UserWarning)
        try:
            values = np.loadtxt(
                file, delimiter=delimiter, skiprows=int(header), comments=None, ndmin=2
            )
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            _complain(path, delimiter, header, str(error))
    if not values.size:
        raise InputError(f"{path} holds no events.")
    return Table(path, tuple(fields) if header else (), delimiter, values)


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Opens a text file, gzipped or not; raises InputError where it cannot be read."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP
        opener = gzip.open if zipped else open
        with opener(path, "rt", encoding="utf-8-sig") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path} is a damaged gzip file: {error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file in UTF-8: {error.reason}.") from error


def _complain(path: Path, delimiter: str | None, header: bool, reason: str) -> NoReturn:
    """Finds the first row that NumPy could not read."""
    width = None
    with opened(path) as file:
        for line, text in _rows(file, header):
            fields = text.split(delimiter)
            width = len(fields) if width is None else width
            if len(fields) != width:
                raise InputError(
                    f"{path}, line {line}: {len(fields)} fields; expected {width}, as in the "
                    "first row."
                )
            for number, field in enumerate(fields, start=1):
                if not _is_number(field):
                    raise InputError(
                        f"{path}, line {line}, field {number}: {field.strip()!r}; expected a "
                        "number."
                    )
    raise InputError(f"{path} cannot be read: {reason}")


def _rows(file: IO[str], header: bool) -> Iterator[tuple[int, str]]:
    """The lines that hold a row, by their number from 1."""
    for line, text in enumerate(file, start=1):
        if text.strip() and not (header and line == 1):
            yield line, text


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _beyond(values: NDArray[np.float64]) -> bool:
    return bool(np.abs(values).max() >= _EXACT)
