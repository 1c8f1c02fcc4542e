# What the virtual board is made of, on the VM's side of the flash: mounts the image, puts the board's modules
# where a port has them, and starts /main.py. The firmware does not know that this exists.

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
    import machine
    import mount
    import network
    import vos
    import vsocket

    machine.start(spec, tell)
    network.start(spec)
    vos.start(spec)
    modules = sys.modules
    modules["os"] = vos
    modules["socket"] = vsocket
    if spec["nvs"]:
        import esp32

        esp32.start(spec, device.count)
    console = None
    if spec["console"]:
        import repl

        console = repl.Console(spec["machine"], tell)
        machine.console = True
    for name in ("flash", "mount", "repl", "vboard", "vos", "vsocket", "vtime"):
        modules.pop(name, None)
    sys.argv.clear()
    sys.path.clear()
    sys.path.extend(("", ".frozen", "/lib"))
    vfs.umount("/")
    vfs.mount(mount.file_system(device, spec["formats"]), "/")
    return tell, console, spec["console"] == "raw"


def fill_names(gc):
    # A port has the names of its own modules in ROM; here they are on the heap, in pools that double in size. The pool
    # for 160 names is opened here, so that the firmware's names take what they take on a port: one more pool of
    # 2,272 bytes, where a port's pools for up to 300 names are 2,164.
    for i in range(100):
        gc.collect()
        before = gc.mem_alloc()
        getattr(gc, "name%d" % i, None)
        gc.collect()
        if gc.mem_alloc() - before > 1000:
            return


def main(tell, console, raw):
    import gc

    fill_names(gc)
    gc.collect()
    tell(held=gc.mem_alloc())
    if console:
        console.live(raw)
    for name in ("/boot.py", "/main.py"):
        try:
            with open(name) as f:
                source = f.read()
        except OSError:
            continue
        exec(compile(source, name, "exec"), {"__name__": "__main__"})
    gc.collect()
    tell(idle=gc.mem_alloc())


main(*boot())
