"""Why a TLS handshake failed, from what mbedTLS raises on the ports."""

import pytest
from firstboot.link.tls_why import why

CA = "The certificate is not correctly signed by the trusted CA\n"
NAME = "The certificate Common Name (CN) does not match with the expected CN\n"
PAST = "The certificate validity has expired\n"
FUTURE = "The certificate validity starts in the future\n"
CERTIFICATE = "the server's certificate "
MEMORY = "not enough memory for the handshake"


@pytest.mark.parametrize(
    "text, seen, reason",
    [
        (CA, [False], "is not signed by tls.ca"),
        (CA, [], "is not signed by tls.ca"),
        (CA, [True], "is self-signed, and not the one in tls.ca"),
        (NAME, [False], "is for another name than server.host"),
        (PAST, [False], "has expired"),
        (FUTURE, [False], "is not valid yet"),
        (PAST + NAME, [False], "is for another name than server.host and has expired"),
        ("Another flag", [False], "is refused: Another flag"),
    ],
)
def test_certificates(text, seen, reason):
    assert why(ValueError(text), None, seen) == CERTIFICATE + reason


@pytest.mark.parametrize(
    "error, reason",
    [
        (OSError(12, "ENOMEM"), MEMORY),
        (OSError(16, "EBUSY"), MEMORY),
        (OSError(-0x2880, "X509 - Allocation of memory failed"), MEMORY),
        (OSError(-0x3F80, "PK - Memory allocation failed"), MEMORY),
        (OSError(104, "ECONNRESET"), "the server closed the connection in the handshake"),
        (
            OSError(-0x7280, "SSL - The connection indicated an EOF"),
            "the server closed the connection in the handshake",
        ),
        (OSError(-0x7200, ""), "the server does not speak TLS"),
        (OSError(-0x6E80, ""), "the server does not speak TLS"),
        (OSError(-0x7780, ""), "the handshake failed: "),
        (OSError(-0x6E00, "SSL - The handshake negotiation failed"), "the handshake failed: "),
    ],
)
def test_handshakes(error, reason):
    assert why(error, None, []).startswith(reason)


def test_the_boards_own_certificate():
    assert (
        why(OSError(-0x7780, ""), {"certificate": "", "key": ""}, []) == "the server refuses this board's certificate"
    )
