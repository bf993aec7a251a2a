"""`spark-submit jobs/publish.py --config FILE`: the same as `recsys-spark publish`."""

import sys

from recsys_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["publish", *sys.argv[1:]]))
