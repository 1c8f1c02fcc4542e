"""What tools.vm raises."""


class VmError(RuntimeError):
    """The VM or umqtt.simple can't be had; the text tells the reader what to do about it."""
