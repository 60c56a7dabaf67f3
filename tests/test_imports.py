"""That each module can be imported, also those that only an optional package calls."""

from importlib import import_module
from pkgutil import walk_packages

import sslbench


def test_each_module_can_be_imported():
    names = [it.name for it in walk_packages(sslbench.__path__, "sslbench.")]
    assert len(names) > 100
    for name in names:
        import_module(name)
