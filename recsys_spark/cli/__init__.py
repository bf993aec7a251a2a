"""The command line."""

from recsys_spark.cli.app import main

__all__ = ["main"]
