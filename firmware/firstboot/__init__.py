# firstboot: a board introduces itself to ThingsBoard. MIT licence, (c) 2026 the firstboot authors.
#
# main.py calls run(). What is needed only now and then (the boot, Wi-Fi, a connection's handshake) is an errand:
# its code is in memory while it runs, and the telemetry loop has the heap to itself. What everything needs all the
# time is here, a module less to hold: errands, the log (the one place where secrets are taken out), waiting.

import gc
import sys
import time

__version__ = "0.1.0"

watchdog = None  # what board.start() started
step = None  # while the server is away: what every step of a wait calls, and how many ms there are between two
_began = time.ticks_ms()  # the ports' ticks start with the boot, the VM's do not
_secrets = []  # secrets.hide() adds to them


def run(app="app"):
    """Run the board for ever: config, network, identity, telemetry.

    `app`: name of the user's module; it has `read() -> dict` and may have `on_rpc(method, params)` and
    `on_attributes(dict)`. Returns only where the port's `machine.reset()` does.
    """
    loop = error = None
    try:
        loop = errand("begin", "begin", app)
        gc.collect()  # from up here it finds what the last errand's frames still held: 2.2 KB
        loop.run()
    except BaseException as e:  # noqa: BLE001 - the last line of defence: say why, and start again
        error = e
    # Not in the handler: a frame has 12 bytes for each block of this kind that is in another one, for ever here.
    try:
        errand("ended", "end", loop, error)
    except Exception:  # noqa: BLE001 - too little memory even for that
        from machine import reset

        reset()


def errand(module, function, *args):
    """Call a function of one of this package's modules (or make an object of a class), and forget the module."""
    module = __name__ + "." + module
    gc.collect()
    try:
        return getattr(_load(module) or __import__(module, None, None, (function,)), function)(*args)
    finally:
        forget(module)
        gc.collect()


def forget(name):
    """Let go of a module by its full name; whoever still uses it keeps it alive."""
    if sys.modules.pop(name, None):
        package, _, module = name.rpartition(".")
        if hasattr(sys.modules.get(package), module):
            delattr(sys.modules[package], module)


if __path__[0] == "/":  # on flash; frozen in, it would be 192 bytes of heap for nothing

    class _Folder:
        # A file system with one file in it, which is read once.
        package: object
        path: object  # the package's
        file: str  # what the file is really called

        def mount(self, *_):
            pass

        umount = mount

        def stat(self, path):
            if path != "/module.mpy":
                raise OSError(2)
            return (0x8000,) + (0,) * 9  # a file, whether or not it is there

        def open(self, _, mode):
            # What the module itself imports is in its package's own folder.
            self.package.__path__ = self.path  # type: ignore[attr-defined]
            return open(self.file, mode)


def _load(name):
    # MicroPython keeps the name and the path of each module that was ever imported, for ever. So an errand's module is
    # always called "module": 47 names less, 1,056 bytes of the loop, and as much again of a port's pools for names.
    # And it looks up three paths for each, for which littlefs reads whole folders: here they are looked up in a folder
    # with that one file. None where that can't be: on CPython, frozen in, held by its own name already.
    folder, dot, module = name.rpartition(".")
    package = __import__(folder, None, None, ("_",))
    path = package.__path__
    if path[0] != "/" or name in sys.modules:
        return None
    import vfs

    files = _Folder()
    files.package = package
    files.path = path
    files.file = "%s/%s.mpy" % (path, module)
    try:
        vfs.mount(files, "/_")
    except OSError:  # somebody else's
        return None
    package.__path__ = "/_"
    try:
        return __import__(folder + dot + "module", None, None, ("_",))
    except (ImportError, OSError):  # a package, or not there: by its own name the error tells which
        return None
    finally:
        package.__path__ = path
        vfs.umount("/_")
        forget(folder + dot + "module")


def log(*parts):
    """Print a line: the seconds since boot and `parts`, separated by spaces."""
    line = clean(" ".join([str(part) for part in parts]))
    # Starts again after 12 days, with the ports' ticks.
    print("%8.3f" % ((time.ticks_diff(time.ticks_ms(), _began) & 0x3FFFFFFF) / 1000), line)


def clean(text):
    """`text` without the secrets."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def feed():
    """Tell the watchdog that a step of a bounded wait, or a round trip, is done. Never called by a timer."""
    if watchdog:
        watchdog.feed()
    if step:
        step[0]()


def pause(ms):
    """Sleep for `ms` milliseconds, feeding the watchdog."""
    most = step[1] if step else 1000
    while ms > 0:
        time.sleep_ms(min(ms, most))
        ms -= most
        feed()
