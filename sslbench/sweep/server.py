"""Imported first by the server that cells are forked from, which imports for seconds after it.

A sweep that dies meanwhile would leave it behind until it looks whether it is still needed.
"""

from sslbench.machine.processes import kill_with_parent

kill_with_parent()
