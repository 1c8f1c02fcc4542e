# The file system on the flash, as the ports' own _boot.py have it.

import time
import vfs


def file_system(device, formats):
    # What can't be mounted is formatted anew by the RP2 (`formats`); the ESP32 says so, for ever.
    options = {"progsize": 256} if formats else {}
    try:
        return vfs.VfsLfs2(device, **options)
    except OSError:
        while not formats:
            print("The filesystem appears to be corrupted.")
            time.sleep(3)
    vfs.VfsLfs2.mkfs(device, **options)
    return vfs.VfsLfs2(device, **options)
