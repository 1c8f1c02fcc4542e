"""MicroPython's `micropython` where there is no MicroPython."""


def const(value):
    return value


def native(function):
    return function


viper = native


def opt_level(level=None):
    return 0 if level is None else None


def mem_info(verbose=None):
    print("mem: CPython's")


def qstr_info(verbose=None):
    print("qstr pool: CPython's")


def stack_use():
    return 0


def heap_lock():
    return 1


def heap_unlock():
    return 0


def kbd_intr(char):
    pass


def alloc_emergency_exception_buf(size):
    pass


def schedule(function, argument):
    function(argument)
