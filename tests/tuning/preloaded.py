"""What the server of processes imports once; see `tests.tuning.processes`."""

import tuning.search  # noqa: F401
