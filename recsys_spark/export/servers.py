"""What servers have in common: a package that may be missing, and that they may be away."""

from importlib import import_module

from recsys_spark.errors import ConfigError

AWAY = "Check that it runs and lets this machine in, then repeat the command."


def require(package: str, extra: str) -> None:
    """Raise ConfigError, which says what to install, if the package cannot be imported."""
    try:
        import_module(package)
    except ImportError:
        raise ConfigError(
            f"The package {package} is not installed: pip install 'recsys-spark[{extra}]', on the "
            "executors as well."
        ) from None


def reason_of(error: Exception) -> str:
    """What a server or its driver said, in a line without a full stop and without hints."""
    lines = (line for line in str(error).splitlines() if not line.startswith("\t"))
    return " ".join(" ".join(lines).split()).rstrip(".")
