# firstboot: a board introduces itself to ThingsBoard. MIT licence, (c) 2026 the firstboot authors.
#
# main.py calls run(); nothing is imported before it is needed, and what only the first boot needs is
# forgotten before the telemetry loop starts.

from .version import VERSION as __version__  # noqa: F401 - for whoever asks


def run(app="app"):
    """Run the board for ever: config, network, identity, telemetry.

    `app`: name of the user's module; it has `read() -> dict` and may have `on_rpc(method, params)` and
    `on_attributes(dict)`. Returns only where the port's `machine.reset()` does.
    """
    from .run import run as go

    go(app)
