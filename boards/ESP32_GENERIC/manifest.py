# What upstream freezes for an ESP32, and firstboot.
include("$(PORT_DIR)/boards/manifest.py")
include("../../manifest.py")
