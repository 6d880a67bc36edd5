"""Watches a Python that tests started: it is imported by itself, from the session's folder in PYTHONPATH.

The folder is where this file was found, so that a process whose environment was emptied but for the import path is
watched as well. Most processes never open a socket, which is why the judge is loaded at the first one.
"""

import sys
from _frozen_importlib_external import PathFinder

FOLDER = __file__.rpartition("/")[0]
STARTS = {"subprocess.Popen", "os.exec", "os.posix_spawn"}  # as in programs.py, which is loaded only then

_watches: list = []


def see(event: str, args: tuple) -> None:
    if _watches:
        _watches[0].see(event, args)
    elif event[:7] == "socket." or event in STARTS:
        load()
        _watches[0].see(event, args)


def load() -> None:
    if FOLDER not in sys.path:
        sys.path.insert(0, FOLDER)
    from network_watch.connections import NetworkWatch
    from network_watch.ledger import FolderLedger
    from network_watch.untold import hear_of_ports

    watch = NetworkWatch(FolderLedger(FOLDER), FOLDER)
    hear_of_ports(watch)
    _watches.append(watch)


def run_next() -> None:
    """The environment may have one of its own, which this one hides."""
    found = PathFinder.find_spec("sitecustomize", [path for path in sys.path if path != FOLDER])
    if found is not None and found.loader is not None:
        from importlib.util import module_from_spec

        module = module_from_spec(found)
        sys.modules["sitecustomize"] = module
        found.loader.exec_module(module)


sys.addaudithook(see)
run_next()
