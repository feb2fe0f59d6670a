"""Import the app of a user."""

from __future__ import annotations

import importlib
import site
import sys
from pathlib import Path

from leaseq.app import Leaseq
from leaseq.errors import ConfigInvalid


def load_app(path: str) -> Leaseq:
    """The app named `module:attribute`, found from the current directory too.

    Raises `ConfigInvalid` where the name leads nowhere; an error inside the module comes through as
    it is.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise ConfigInvalid(
            f"{path!r} does not name an app: write module:attribute, as in examples.orders:app"
        )
    try:
        add_to_import_path(str(Path.cwd()))
    except FileNotFoundError:
        raise ConfigInvalid("the current directory is gone: change to one that exists") from None
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ConfigInvalid(
                f"there is no module {module_name!r} to import the app from"
            ) from error
        raise
    app = getattr(module, attribute, None)
    if not isinstance(app, Leaseq):
        raise ConfigInvalid(f"{path} is not a Leaseq app")
    return app


def add_to_import_path(directory: str) -> None:
    """Import from this directory too: before installed packages, and behind the standard library.

    Modules of the standard library are imported at any time, and an app's own `queue.py` would
    replace one.
    """
    if directory in sys.path:
        return
    installed = {*site.getsitepackages(), site.getusersitepackages()}
    positions = [position for position, path in enumerate(sys.path) if path in installed]
    sys.path.insert(positions[0] if positions else len(sys.path), directory)


__all__ = ["load_app"]
