"""Writes the two data files of these examples from a survey that comes with statsmodels.

    ./rehearse exec python docs/examples/bring_your_own/make_data.py [FOLDER]

Fair (1978), "A Theory of Extramarital Affairs", Redbook survey of 1974: 6,366 married women; public domain. Codes
become the words that statsmodels.datasets.fair gives for them.

csv/affairs.csv: does she report an affair? 32 % do.
parquet/marriages.parquet: for how many years is she married?
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from statsmodels.datasets import fair

OCCUPATIONS = {
    1: "student",
    2: "farming or semi-skilled",
    3: "white-collar",
    4: "teacher, nurse or technician",
    5: "managerial",
    6: "professional",
}
NAMES = {
    "rate_marriage": "marriage_rating",
    "yrs_married": "years_married",
    "religious": "religiousness",
    "educ": "years_of_education",
    "occupation_husb": "husbands_occupation",
}


def survey() -> pd.DataFrame:
    """One row a woman; `affairs` is the time spent in affairs, 0 for none."""
    answers: pd.DataFrame = fair.load_pandas().data.rename(columns=NAMES)
    for name in ("occupation", "husbands_occupation"):
        answers[name] = answers[name].map(OCCUPATIONS)
    return answers


def main(folder: Path) -> None:
    answers = survey()
    affair = answers["affairs"].gt(0).map({True: "yes", False: "no"})
    answers.drop(columns="affairs").assign(affair=affair).to_csv(
        folder / "csv/affairs.csv", index=False, float_format="%g"
    )
    answers.drop(columns="affairs").to_parquet(folder / "parquet/marriages.parquet", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
