"""Software packages for tests: TAR archives in memory."""

import io
import tarfile
import zlib


def tar(files, form=tarfile.USTAR_FORMAT, **more):
    """An archive with `files` (name -> bytes; None: a folder); `more`: members of each TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data or b"")
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            for member, value in more.items():
                setattr(info, member, value)
            archive.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def crc(data):
    """ThingsBoard's CRC32: hex of the bytes in the reversed order."""
    return zlib.crc32(data).to_bytes(4, "little").hex()
