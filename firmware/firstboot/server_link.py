# A link that is in memory while it talks. MIT licence, (c) 2026 the firstboot authors.
#
# While a board provisions itself it mostly decides, reads and writes: without a link's code that takes 3 KB less heap.

from . import errand


def link(server, credentials):
    """A Link, closed, and what its open() is to be given to be the device of `credentials`.

    With None for `credentials`, its ask() is. `server`: server.py's settings(), the transport and the keepalive first.
    """
    transport = server[0]
    if transport == "mqtt" and __file__[0] == "/":
        # Once, and before the link: umqtt.simple and that need not be in memory both. Frozen in, they never are, and
        # the packet would be 80 bytes more than the credentials.
        credentials = errand("link.mqtt_hello", "hello", server[1], credentials)
    return errand("link." + transport, "Link", server), credentials


class Later:
    """A Link's verbs of the handshake, each by a new one; `server`: as link() has it.

    `link`, `who`: after open() the Link that is open, and what its open() takes.
    """

    link = None

    def __init__(self, server):
        self.server = server

    def ask(self, request):
        """One provisioning request, one answer (bytes)."""
        one, who = link(self.server, None)
        return one.ask(request, who)

    def open(self, credentials):
        """Be the device of `credentials` from now on."""
        self.link, self.who = link(self.server, credentials)
        self.link.open(self.who)

    def close(self):
        """Never raises."""
        if self.link:
            self.link.close()
            self.link = None
