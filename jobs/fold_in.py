"""`spark-submit jobs/fold_in.py --config FILE`: the same as `recsys-spark fold-in`."""

import sys

from recsys_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["fold-in", *sys.argv[1:]]))
