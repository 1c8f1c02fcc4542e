# What the virtual board is made of, on the VM's side of the flash: mounts the image, puts the board's modules
# where a port has them, and starts /main.py. The firmware does not know that this exists.

import gc
import json
import os
import sys
import vfs

import flash


def boot():
    spec = json.loads(os.getenv("VBOARD"))
    events = open(int(os.getenv("VBOARD_EVENTS")), "wb")  # a pipe to the host

    def tell(**event):
        events.write(json.dumps(event).encode() + b"\n")

    device = flash.Flash(spec, tell)
    if spec["clock"] == "unset":
        import vtime

        vtime.start(spec["port"])
        sys.modules["time"] = vtime
    # Before each module, so that what stays of them lies together: a port has none of it on the heap.
    gc.collect()
    import machine

    gc.collect()
    import mount

    gc.collect()
    import network

    gc.collect()
    import vos

    gc.collect()
    import vsocket

    machine.start(spec, tell, device)
    network.start(spec)
    vos.start(spec)
    modules = sys.modules
    modules["os"] = vos
    modules["socket"] = vsocket
    if spec["nvs"]:
        gc.collect()
        import esp32

        esp32.start(spec, device.count)
        gc.collect()
        import partition

        partition.start(spec, device.count)
        esp32.Partition = partition.Partition
    else:
        import names_rp2  # noqa: F401
    console = None
    if spec["console"]:
        gc.collect()
        import repl

        console = repl.Console(spec["machine"], tell)
        machine.console = True
    gc.collect()
    import names  # noqa: F401

    for name in ("flash", "mount", "names", "names_rp2", "partition", "repl", "vboard", "vos", "vsocket", "vtime"):
        modules.pop(name, None)
    sys.argv.clear()
    sys.path.clear()
    sys.path.extend(("", ".frozen", "/lib"))
    vfs.umount("/")
    vfs.mount(mount.file_system(device, spec["formats"]), "/")
    return tell, console, spec["console"] == "raw"


def compiled(name):
    # A frame of its own: a port, too, has let go of file and text when the code runs.
    try:
        with open(name) as f:
            return compile(f.read(), name, "exec")
    except OSError:
        return None


def main(tell, console, raw):
    gc.collect()
    tell(held=gc.mem_alloc())
    if console:
        console.live(raw)
    for name in ("/boot.py", "/main.py"):
        code = compiled(name)
        if code:
            exec(code, {"__name__": "__main__"})
    gc.collect()
    tell(idle=gc.mem_alloc())


main(*boot())
