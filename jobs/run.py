"""`spark-submit jobs/run.py --config FILE`: the same as `recsys-spark run`."""

import sys

from recsys_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
