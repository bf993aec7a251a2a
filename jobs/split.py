"""`spark-submit jobs/split.py --config FILE`: the same as `recsys-spark split`."""

import sys

from recsys_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["split", *sys.argv[1:]]))
