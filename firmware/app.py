# Your board's work: the one file to edit. MIT licence.

import gc


def read():
    """One sample: a dict of names and values. Called every `period` seconds; None means nothing this time."""
    return {"heap_free": gc.mem_free()}


# Where the transport is mqtt, these are called too; delete what you don't need, it costs memory.
#
# def on_rpc(method, params):
#     """Do what the server asks; the result goes back as JSON. The same request may come twice."""
#
# def on_attributes(values):
#     """Shared attributes: all of them after each connect, then those that change; {"deleted": [...]} as well."""
