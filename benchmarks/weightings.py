"""How values should weigh: forms of the confidence compared on the validation rows of a split.

Reads the tables `train` and `validation` of a root, trains each weighting over one grid with the
package's kernels in this process, without Spark, and prints NDCG@10 of the validation rows as a
Markdown table. Every weighting is scaled so that the mean confidence of the likes is 1, and gets
the same trials.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from recsys_spark.kernels.als.csr import compress
from recsys_spark.kernels.als.initial_factors import initial_factors
from recsys_spark.kernels.als.solve import Problem, fix, gram, solve_rows
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import WalsSpec, resolve_spec
from recsys_spark.kernels.als.weights import row_regularization

Values = npt.NDArray[np.float64]
K = 10


class Rows:
    """The training rows by dense index of user and item, and the held-out rows of known ids."""

    def __init__(self, root: Path) -> None:
        train, held_out = (read(root, table) for table in ("train", "validation"))
        self.user_ids, self.user = np.unique(train["user"], return_inverse=True)
        self.item_ids, self.item = np.unique(train["item"], return_inverse=True)
        self.value: Values = train["value"].astype(np.float64)
        self.held_out = held_out

    def relevant(self, least: float) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
        """Users with held-out rows of at least this value, and the items of each; -1: not known."""
        rows = self.held_out["value"] >= least
        user, item = self.held_out["user"][rows], self.held_out["item"][rows]
        order = np.argsort(user, kind="stable")
        users, starts = np.unique(user[order], return_index=True)
        at = np.searchsorted(self.item_ids, item).clip(max=len(self.item_ids) - 1)
        known = np.where(self.item_ids[at] == item, at, -1)
        parts = np.split(known[order], starts[1:])
        known_users = np.isin(users, self.user_ids)
        chosen = [part for part, is_known in zip(parts, known_users, strict=True) if is_known]
        return np.searchsorted(self.user_ids, users[known_users]), chosen


def read(root: Path, table: str) -> dict[str, npt.NDArray[np.generic]]:
    (folder,) = (root / "tables" / table / "versions").iterdir()
    columns = pq.read_table(folder, columns=["user", "item", "value"])
    return {name: columns[name].to_numpy() for name in columns.column_names}


def confidences(rows: Rows, threshold: float | None) -> dict[str, Values]:
    """The confidence of every training row under each weighting, 0 for what is left out."""
    r = rows.value
    forms = {"binary": np.ones_like(r), "log": np.log1p(r), "power 0.5": np.sqrt(r), "linear": r}
    found = {name: form / form.mean() for name, form in forms.items()}
    if threshold is not None:
        found[f"threshold {threshold:g}"] = (r >= threshold).astype(np.float64)
    return found


def train(rows: Rows, c: Values, spec: WalsSpec) -> tuple[npt.NDArray[np.float32], ...]:
    """Factors of users and items; the target is the confidence's share, as in the preset ials."""
    pairs = (rows.user.astype(np.int32), rows.item.astype(np.int32))
    sizes = (len(rows.user_ids), len(rows.item_ids))
    weights = c.astype(np.float32)
    sides = [
        compress(pairs[side], pairs[1 - side], weights, weights, sizes[side]) for side in (0, 1)
    ]
    ids = (rows.user_ids.astype(np.int64), rows.item_ids.astype(np.int64))
    factors = [initial_factors(ids[side], spec, side) for side in (0, 1)]
    for step in range(2 * spec.iterations + 1):
        side = step % 2
        counts = np.diff(sides[side].indptr).astype(np.float64)
        penalty = row_regularization(counts, sizes[1 - side], spec, ("user", "item")[side])
        unobserved = np.full(sizes[side], spec.unobserved_weight)
        fixed = fix(factors[1 - side], gram(factors[1 - side]))
        problem = Problem(sides[side], unobserved, penalty)
        factors[side] = solve_rows(problem, fixed, Solver(), loss=False).factors
    return tuple(factors)


def ndcg(
    rows: Rows, factors: tuple[npt.NDArray[np.float32], ...], least: float
) -> float:  # fmt: skip
    """Mean over users with relevant held-out rows; training rows are left out of the lists."""
    users, relevant = rows.relevant(least)
    scores = factors[0][users] @ factors[1].T
    at = np.full(len(rows.user_ids), -1)
    at[users] = np.arange(len(users))
    seen = at[rows.user] >= 0
    scores[at[rows.user[seen]], rows.item[seen]] = -np.inf
    lists = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    gains = 1 / np.log2(np.arange(2, K + 2))
    found = [
        gains[np.isin(one, own)].sum() / gains[: min(K, len(own))].sum()
        for one, own in zip(lists, relevant, strict=True)
    ]
    return float(np.mean(found))


def trials(rows: Rows, options: argparse.Namespace) -> Iterator[dict[str, float | str]]:
    for name, c in confidences(rows, options.threshold).items():
        for w0, strength in itertools.product(options.unobserved, options.regularization):
            spec = resolve_spec("ials", rank=options.rank, iterations=options.iterations,
                                unobserved_weight=w0, regularization=strength)  # fmt: skip
            factors = train(rows, c, spec)
            for least in options.relevant:
                value = ndcg(rows, factors, least)
                print(f"{name}, w0 {w0:g}, lambda {strength:g}: {value:.4f} (>= {least:g})",
                      file=sys.stderr)  # fmt: skip
                yield {"weighting": name, "w0": w0, "lambda": strength, "least": least,
                       "ndcg": value}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="a root with tables of one split")
    parser.add_argument("--threshold", type=float, help="also train on values from here on alone")
    parser.add_argument("--relevant", type=float, nargs="+", default=[-np.inf],
                        help="least values of relevant rows")  # fmt: skip
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=15)
    parser.add_argument("--unobserved", type=float, nargs="+", default=[0.1, 0.3, 1.0])
    parser.add_argument("--regularization", type=float, nargs="+", default=[0.003, 0.01, 0.03])
    parser.add_argument("--out", type=Path, help="JSON file of all trials")
    options = parser.parse_args()
    found = list(trials(Rows(options.root), options))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2))
    print("| weighting | relevant from | w0 | lambda | NDCG@10 |\n|---|---|---|---|---|")
    for (name, least), some in itertools.groupby(
        sorted(found, key=lambda row: (str(row["weighting"]), row["least"])),
        key=lambda row: (row["weighting"], row["least"]),
    ):
        best = max(some, key=lambda row: row["ndcg"])
        print(f"| {name} | {least:g} | {best['w0']:g} | {best['lambda']:g} | {best['ndcg']:.4f} |")


if __name__ == "__main__":
    main()
