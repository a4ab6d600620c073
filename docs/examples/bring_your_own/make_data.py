"""Writes the two data files of these examples from data sets that come with scikit-learn.

    ./rehearse exec python docs/examples/bring_your_own/make_data.py [FOLDER]

csv/tumours.csv: Breast Cancer Wisconsin (Diagnostic), 569 tumours, the ten mean measurements; UCI, CC BY 4.0.
parquet/progression.parquet: diabetes progression after one year, 442 patients; Efron et al., 2004.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer, load_diabetes


def main(folder: Path) -> None:
    cancer = load_breast_cancer(as_frame=True)
    tumours = cancer.data.filter(like="mean ").rename(columns=lambda name: name.replace(" ", "_"))
    tumours["diagnosis"] = cancer.target.map(dict(enumerate(cancer.target_names)))
    tumours["size"] = tumours["mean_radius"].gt(15).map({True: "large", False: "small"})
    tumours.to_csv(folder / "csv/tumours.csv", index=False)

    patients = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"})
    patients["sex"] = patients["sex"].map({1.0: "one", 2.0: "two"})
    patients.to_parquet(folder / "parquet/progression.parquet", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
