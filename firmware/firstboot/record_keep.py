# What the handshake decides is on flash before anything follows from it. MIT licence, (c) 2026 the firstboot authors.

from micropython import const

from . import log

_ASKED = const(0x20)  # store.ASKED


def keep(board, state, credentials):
    """Save `state` and `credentials` in the store of `board` (a Provisioner), trying again until there is room.

    An errand of provision.py.
    """
    store = board.store
    while True:
        try:
            store.save(state, credentials)
            return store.hide()
        except OSError as e:
            log("flash: the identity can't be written, the old one stays:", e)
        # What is granted must find room, so nobody is asked yet; a state after that is found again by trying.
        if state > _ASKED and credentials == store.credentials:
            return None
        board.wait(False)
