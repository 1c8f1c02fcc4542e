# The board's flash: a block device on a file that the host opened before, for VfsLfs2.
#
# littlefs reads it thousands of times a boot, 32 to 128 bytes each: the file is mapped, a read is a copy in memory.
# It counts program and erase operations, the NVS's writes among them, and at the one where the power is to go it
# does the first part of the operation, or nothing, or all of it, and ends the VM at once: no `finally`, no flush.

import machine

_mmap = machine.libc.func("l", "mmap", "llllll")
_memcpy = machine.libc.func("v", "memcpy", "pll")
_NEAR = 0x20000000  # where addresses are small integers, which take no heap; the kernel may choose another place
_PROT_READ = 1
_MAP_SHARED = 1


class Flash:
    def __init__(self, spec, tell):
        self.file = open(spec["image"], "r+b")
        self.block = spec["block"]
        self.blocks = spec["blocks"]
        self.bytes = _mmap(_NEAR, self.block * self.blocks, _PROT_READ, _MAP_SHARED, self.file.fileno(), 0)
        self.cut = spec["cut"]
        self.torn = spec["torn"]
        self.tell = tell
        self.trace = spec["trace"]
        self.operations = 0
        self.erased = b"\xff" * 256

    def readblocks(self, n, buffer, offset=0):
        _memcpy(buffer, self.bytes + n * self.block + offset, len(buffer))

    def writeblocks(self, n, buffer, offset=None):
        if offset is None:
            self.ioctl(6, n)
            offset = 0
        self._operation(n * self.block + offset, buffer)

    def ioctl(self, operation, argument):
        if operation == 4:
            return self.blocks
        if operation == 5:
            return self.block
        if operation == 6:
            self._operation(argument * self.block, None)
            return 0

    def count(self, what, write):
        """One more operation: write(part) does `part` halves of it, 2 where the power stays on."""
        self.operations += 1
        if self.trace:
            self.tell(flash=what)
        if self.operations != self.cut:
            return write(2)
        write(self.torn)
        self.tell(cut=self.operations)
        machine.power_off()

    def _operation(self, start, buffer):
        size = self.block if buffer is None else len(buffer)
        self.count(start // self.block, lambda part: self._write(start, buffer, size * part // 2))

    def _write(self, start, buffer, size):
        self.file.seek(start)
        if buffer is not None:
            self.file.write(buffer[:size] if size < len(buffer) else buffer)
            return
        # A whole piece at a time where it fits: what this device takes from the heap, a real one does not.
        while size >= 256:
            size -= self.file.write(self.erased)
        if size:
            self.file.write(self.erased[:size])
