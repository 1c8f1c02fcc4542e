# Freezes firstboot into MicroPython. MIT licence, (c) 2026 the firstboot authors.
#
# Either by itself, `make BOARD=RPI_PICO_W FROZEN_MANIFEST=.../firstboot/manifest.py` (what the board freezes anyway
# is included), or from a manifest of your own: include(".../firstboot/manifest.py", x509=False).
#
# Options, for a board with little flash to spare:
#   http, coap, x509, ota   False leaves the slice out; a config.json that names it is told in the log
#   microcoapy         where a checkout of microCoAPy is, to be frozen too; without it, link/coap.py looks for it
#                      in the file system's /lib
#   main               True freezes main.py too: the board starts firstboot even after its file system was lost,
#                      and a main.py in the file system is not looked at any more
#   port               False leaves out what the board's and the port's own manifests list

import os

# An option of this name says whether what is below this path, within the package, is frozen.
_SLICES = {"http": "link/http", "coap": "link/coap", "x509": "x509/", "ota": "ota/"}

if not (metadata().version or metadata().description):  # a second call is an error, for one that includes this
    # Without version=: MicroPython's build would write it into each module, 8 bytes of the heap each.
    metadata(
        description="Introduces a board to ThingsBoard on its first boot, and sends telemetry from then on.",
        license="MIT",
        author="the firstboot authors",
    )
options.defaults(http=True, coap=True, x509=True, ota=True, microcoapy=None, main=False, port=True)


def _port():
    # The first of these that there is: boards may have a manifest of their own, which includes the port's.
    for path in ("$(BOARD_DIR)", "$(VARIANT_DIR)", "$(PORT_DIR)/boards", "$(PORT_DIR)/variants"):
        try:
            return include(path + "/manifest.py")
        except Exception as e:
            if not isinstance(e.__context__, FileNotFoundError):
                raise
    raise ValueError("this port has its manifest elsewhere: include it yourself, and firstboot's with port=False")


def _files():
    # In order, so that the same tree gives the same image.
    for folder, folders, names in os.walk("firmware/firstboot"):
        folders.sort()
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), "firmware/firstboot").replace(os.sep, "/")
            unwanted = [s for s in _SLICES if path.startswith(_SLICES[s]) and not getattr(options, s)]
            if name.endswith(".py") and not unwanted:
                yield path


if options.port:
    _port()
require("umqtt.simple")
package("firstboot", files=list(_files()), base_path="firmware", opt=3)
module("frozen_names.py", base_path="boards", opt=3)
if options.coap and options.microcoapy:
    package("microcoapy", base_path=options.microcoapy, opt=3)
if options.main:
    module("main.py", base_path="firmware", opt=3)
