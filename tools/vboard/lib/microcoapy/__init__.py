"""A CoAP client with the face of microCoAPy 0.6.0, traps included, for CPython and for the MicroPython VM."""

from .coap_macros import COAP_CONTENT_FORMAT, COAP_RESPONSE_CODE
from .microcoapy import Coap

__all__ = ["COAP_CONTENT_FORMAT", "COAP_RESPONSE_CODE", "Coap"]
