"""An MQTT client that sends any packet, on amqtt's packet classes."""

import asyncio

from amqtt.adapters import StreamReaderAdapter
from amqtt.mqtt import packet_class
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader
from amqtt.mqtt.packet import MQTTFixedHeader, PacketIdVariableHeader
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.subscribe import SubscribePacket, SubscribePayload
from amqtt.mqtt.unsubscribe import UnsubscribePacket, UnubscribePayload

PATIENCE = 10  # seconds; on a loaded machine


class Client:
    """One connection, as an asynchronous context manager."""

    def __init__(self, port, ssl=None):
        self.port = port
        self.ssl = ssl

    async def __aenter__(self):
        name = "localhost" if self.ssl else None
        connect = asyncio.open_connection("127.0.0.1", self.port, ssl=self.ssl, server_hostname=name)
        self.reader, self.writer = await asyncio.wait_for(connect, PATIENCE)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    def send(self, packet):
        """Send a packet, or bytes as they are."""
        self.writer.write(packet if isinstance(packet, bytes) else packet.to_bytes())

    async def receive(self, patience=PATIENCE):
        """The next packet; None when the server has closed the connection. TimeoutError."""
        return await asyncio.wait_for(self._receive(), patience)

    async def _receive(self):
        try:
            header = await MQTTFixedHeader.from_stream(StreamReaderAdapter(self.reader))
            if header is None:
                return None
            return await packet_class(header).from_stream(StreamReaderAdapter(self.reader), fixed_header=header)
        except (ConnectionError, OSError):
            return None

    async def connect(self, client_id="", username=None, password=None, clean=True):
        """CONNECT; the CONNACK, or None."""
        header = ConnectVariableHeader(keep_alive=60)
        payload = ConnectPayload(client_id=client_id, username=username, password=password)
        header.clean_session_flag = clean
        header.username_flag = username is not None
        header.password_flag = password is not None
        self.send(ConnectPacket(variable_header=header, payload=payload))
        return await self.receive()

    def publish(self, topic, body, qos=1, packet_id=1):
        """PUBLISH."""
        self.send(PublishPacket.build(topic, body, packet_id if qos else None, False, qos, False))

    def subscribe(self, *filters, packet_id=1):
        """SUBSCRIBE to (filter, qos) pairs."""
        self.send(SubscribePacket(None, PacketIdVariableHeader(packet_id), SubscribePayload(list(filters))))

    def unsubscribe(self, *filters, packet_id=1):
        """UNSUBSCRIBE."""
        self.send(UnsubscribePacket(None, PacketIdVariableHeader(packet_id), UnubscribePayload(list(filters))))
