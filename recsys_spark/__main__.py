"""`python -m recsys_spark` is the command line."""

import sys

from recsys_spark.cli import main

if __name__ == "__main__":
    sys.exit(main())
