"""`serve`: from the command line to a page in the browser, until Ctrl-C."""

from contextlib import suppress

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.runtime.log import Log
from recsys_spark.runtime.signals import terminable
from recsys_spark.storage.local import local_tables
from recsys_spark.storage.store import is_local
from recsys_spark.web.server import open_server
from recsys_spark.web.site import Site


def serve_tables(config: Config, log: Log, host: str, port: int, run_id: str | None) -> None:
    """Serve the tables of a local root until the process is to end, then say so.

    Raises ConfigError if the root is not local, nothing is published, or the port is taken.
    """
    root = config.paths.root
    if not is_local(root):
        raise ConfigError(
            f"serve reads folders of this machine, and paths.root is {root}: copy its folder "
            "`tables` here, for example with `hadoop fs -get`, and set paths.root to where it is."
        )
    site = Site(local_tables(root), run_id)
    shown, _ = site.shown()
    with terminable(), suppress(KeyboardInterrupt), open_server(site, host, port, log) as server:
        if server.is_open:
            log.warning(
                "Anyone on the network can read the histories and lists of all users: the page "
                "has no password. Without --host only this machine can."
            )
        print(f"Run {shown.run_id} of {root} at {server.address} (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    print("Ended.")
