"""`spark-submit jobs/ingest.py --config FILE`: the same as `recsys-spark ingest`."""

import sys

from recsys_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["ingest", *sys.argv[1:]]))
