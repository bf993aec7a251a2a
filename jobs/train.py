"""`spark-submit jobs/train.py --config FILE`: the same as `recsys-spark train`."""

import sys

from recsys_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
