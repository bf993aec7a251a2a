"""`spark-submit jobs/refit.py --config FILE`: the same as `recsys-spark refit`."""

import sys

from recsys_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["refit", *sys.argv[1:]]))
