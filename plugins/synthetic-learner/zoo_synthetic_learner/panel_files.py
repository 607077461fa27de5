"""The real panels, read from their published files into tidy columns.

Each has one row for a unit and a year. `root` is the folder of data, which holds the folder
`panels`; None is the variable ZOO_DATA.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from zoo_core.cache import user_path
from zoo_core.errors import InputError, enumeration

Root = str | os.PathLike[str] | None


def load_california(root: Root = None) -> pd.DataFrame:
    """Reads cigarette sales of 39 US states, 1970 to 2000; California is treated from 1989 on.

    Returns:
        Columns state, year, packs (sold per head and year) and treated (0 or 1).

    Raises:
        InputError: no folder was named, or the file is not there or another one.
    """
    names = {"State": "state", "Year": "year", "PacksPerCapita": "packs", "treated": "treated"}
    return _read(root, "california_prop99.csv", names, separator=";")


def load_smoking(root: Root = None) -> pd.DataFrame:
    """Reads the states of `load_california` with covariates, of which most are partly missing.

    Returns:
        Columns state, year, cigsale (packs sold per head), lnincome, beer, age15to24, retprice.

    Raises:
        InputError: as `load_california`.
    """
    names = ("state", "year", "cigsale", "lnincome", "beer", "age15to24", "retprice")
    return _read(root, "smoking_covariates.csv", {each: each for each in names})


def load_cps(root: Root = None) -> pd.DataFrame:
    """Reads wages of 50 US states, 1979 to 2018, from the Current Population Survey.

    Returns:
        Columns state, year, log_wage (mean of weekly wages' logarithm), hours (mean), urate (rate
        of unemployment, 0 to 1), and the laws min_wage, open_carry and abort_ban (booleans).

    Raises:
        InputError: as `load_california`.
    """
    names = ("state", "year", "log_wage", "hours", "urate", "min_wage", "open_carry", "abort_ban")
    return _read(root, "cps_states.csv", {each: each for each in names}, separator=";")


def load_mpdta(root: Root = None) -> pd.DataFrame:
    """Reads teen employment of 500 US counties, 2003 to 2007, and when minimum wages rose.

    Returns:
        Columns county, year, lemp (logarithm of employment), lpop (logarithm of population, the
        same in all years) and first_treated (a year; 0 for never).

    Raises:
        InputError: as `load_california`.
    """
    names = {
        "countyreal": "county",
        "year": "year",
        "lemp": "lemp",
        "lpop": "lpop",
        "first.treat": "first_treated",
    }
    return _read(root, "mpdta.csv", names)


def load_mpdta_reference(root: Root = None) -> pd.DataFrame:
    """Reads what the R package `did` makes of `load_mpdta` and of panels that it draws.

    Returns:
        Columns scenario, group (the first treated year), year, att and se. The scenario
        "mpdta_nev_dr" has never treated controls and no covariates.

    Raises:
        InputError: as `load_california`.
    """
    names = {"scenario": "scenario", "group": "group", "t": "year", "att": "att", "se": "se"}
    return _read(root, "mpdta_r_reference_attgt.csv", names)


def load_basque(root: Root = None) -> pd.DataFrame:
    """Reads the product of 17 Spanish regions, 1955 to 1997; the Basque Country is treated.

    The row of the whole country is left out. Treatment, from 1970 on, is terrorism.

    Returns:
        Columns region, year, gdpcap (per head), treated (0 or 1), and predictors, most of them
        missing in most years.

    Raises:
        InputError: as `load_california`.
    """
    sectors = ("agriculture", "energy", "industry", "construction")
    names = {"regionname": "region", "year": "year", "gdpcap": "gdpcap"}
    names |= {f"sec.{each}": f"sec_{each}" for each in sectors}
    names |= {f"sec.services.{each}": f"sec_services_{each}" for each in ("venta", "nonventa")}
    names |= {f"school.{each}": f"school_{each}" for each in ("illit", "prim", "med", "high")}
    names |= {"school.post.high": "school_post_high", "popdens": "popdens", "invest": "invest"}
    table = _read(root, "basque.csv", names)
    table = table[table["region"] != "Spain (Espana)"].reset_index(drop=True)
    return _with_treated(table, "region", "Basque Country (Pais Vasco)", 1970, place=3)


def load_germany(root: Root = None) -> pd.DataFrame:
    """Reads the product of 17 countries, 1960 to 2003; West Germany is treated from 1990 on.

    Returns:
        Columns country, year, gdp (per head, US dollars at purchasing power parity), treated (0 or
        1), and the predictors infrate, trade, schooling, invest60, invest70, invest80, industry,
        which are partly missing.

    Raises:
        InputError: as `load_california`.
    """
    predictors = ("infrate", "trade", "schooling", "invest60", "invest70", "invest80", "industry")
    names = {each: each for each in ("country", "year", "gdp", *predictors)}
    table = _read(root, "germany.csv", names)
    return _with_treated(table, "country", "West Germany", 1990, place=3)


def cps_panel(root: Root = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns log wages Y [50 states, 40 years] and covariates S [50, 2], for made-up effects.

    S has the means of urate and hours over the first 30 years, standardised over states.

    Raises:
        InputError: as `load_california`.
    """
    table = load_cps(root)
    return _matrix(table, "state", "log_wage"), _means(
        table, "state", ["urate", "hours"], 1979 + 30
    )


def smoking_panel(root: Root = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns cigarette sales Y [38 states, 31 years] and covariates S [38, 2], without California.

    S has the means of retprice and lnincome over the years before 1989 in which they are known,
    standardised over states.

    Raises:
        InputError: as `load_california`.
    """
    table = load_smoking(root)
    table = table[table["state"] != "California"]
    return _matrix(table, "state", "cigsale"), _means(
        table, "state", ["retprice", "lnincome"], 1989
    )


def _matrix(table: pd.DataFrame, unit: str, outcome: str) -> pd.DataFrame:
    return table.pivot(index=unit, columns="year", values=outcome)


def _means(table: pd.DataFrame, unit: str, columns: list[str], before: int) -> pd.DataFrame:
    means = table[table["year"] < before].groupby(unit)[columns].mean()
    return (means - means.mean()) / means.std(ddof=1)


def _with_treated(
    table: pd.DataFrame, column: str, unit: str, year: int, *, place: int
) -> pd.DataFrame:
    treated = (table[column] == unit) & (table["year"] >= year)
    table.insert(place, "treated", treated.astype("int64"))
    return table


def _read(root: Root, file: str, names: dict[str, str], *, separator: str = ",") -> pd.DataFrame:
    """Returns the named columns of a file, renamed, years as int64."""
    given = root if root is not None else os.environ.get("ZOO_DATA")
    if not given:
        raise InputError(
            f"{file}: name the folder of data, which holds panels/, with root= or ZOO_DATA."
        )
    path = user_path(given, "root" if root is not None else "ZOO_DATA") / "panels" / file
    if not path.is_file():
        raise InputError(
            f"there is no file {path}; expected the folder of data, which holds panels/, as root "
            "or in ZOO_DATA."
        )
    table = _parsed(path, separator)
    absent = [each for each in names if each not in table.columns]
    if absent:
        raise InputError(f"{path} has no columns {enumeration(absent)}; expected another file.")
    table = table[list(names)].rename(columns=names)
    try:
        return table.astype({"year": "int64"})
    except (TypeError, ValueError):
        raise InputError(f"{path} has years that are no whole numbers; get it anew.") from None


def _parsed(path: Path, separator: str) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep=separator)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as a table: {reason}") from None
