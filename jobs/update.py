"""`spark-submit jobs/update.py --config FILE`: the same as `recsys-spark update`."""

import sys

from recsys_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["update", *sys.argv[1:]]))
