"""ThingsBoard's MQTT transport: session behaviour on amqtt's packets (contract 2.1, 3 and 4.2)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any

from amqtt.adapters import BufferReader, StreamReaderAdapter
from amqtt.errors import AMQTTError, CodecError, MQTTError, NoDataError
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import ConnackPacket
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.packet import MQTTFixedHeader
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsuback import UnsubackPacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket

from . import authentication, mqtt5, mqtt_ota, provisioning, values
from .core import IDLE, PROVISION_SESSION, Core, Rpc, rpc_payload, session_limits
from .limits import Limited
from .mqtt_profile import ATTRIBUTES, MqttProfile
from .registry import Device, now_ms
from .updates import NoPackage

MOST = 65536  # bytes of remaining length; one more closes the connection
PROVISION = "provision"
REQUEST = "/provision/request"
RESPONSE = "/provision/response"
SESSION_LIMITS = "getSessionLimits"
CLAIM = "v1/devices/me/claim"
# What the server sends by itself, by the filters that ask for it.
SHARED_UPDATES = (ATTRIBUTES, "v2/a", "v2/a/j")
RPC_REQUESTS = ("v1/devices/me/rpc/request/+", "v2/r/req/+", "v2/r/req/j/+")

# What a device may subscribe to, to the letter (contract 3.1).
FILTERS = {
    *SHARED_UPDATES,
    *RPC_REQUESTS,
    "v1/devices/me/attributes/response/+",
    "v1/devices/me/rpc/response/+",
    "v2/a/res/+",
    "v2/a/res/j/+",
    "v2/r/res/+",
    "v2/r/res/j/+",
    "v2/fw/response/+/chunk/+",
    "v2/fw/error",
    "v2/sw/response/+/chunk/+",
    "v2/sw/error",
}
_ATTRIBUTE_REQUEST = re.compile(r"(v1/devices/me/attributes/request|v2/a/req(?:/j)?)/(\d+)$")
_RPC_REPLY = re.compile(r"(?:v1/devices/me/rpc/response|v2/r/res(?:/j)?)/(\d+)$")
_RPC_REQUEST = re.compile(r"(v1/devices/me/rpc/request|v2/r/req(?:/j)?)/(\d+)$")
# A topic of these with anything but a number at its end is a malformed one.
_NUMBERED = ("v1/devices/me/attributes/request/", "v2/a/req/", "v1/devices/me/rpc/request/", "v2/r/req/")


class Closed(Exception):
    """The server ends the connection; the message says why."""


class Connection:
    """One client's connection."""

    def __init__(self, core: Core, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.core = core
        self.reader = reader
        self.writer = writer
        self.who = "?"
        self.device: Device | None = None
        self.profile = MqttProfile(None)  # the device's, as it was at CONNECT
        self.idle_at = 0.0  # monotonic; when the session is over, unless more comes
        self.provision_only = False
        self.protobuf = False
        self.is_5 = False
        self.subscriptions: dict[str, int] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.packet_id = 0
        self.closed = False
        self.downloads = mqtt_ota.Downloads(core.updates)
        self._sent_calls: dict[int, Rpc] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Read packets until the client or the server ends the connection."""
        why = "gone"
        try:
            while not self.closed:
                packet = await self._read()
                if packet is None:
                    break
                await self._handle(packet)
        except Closed as e:
            why = str(e)
        except (AMQTTError, MQTTError, CodecError, NoDataError, asyncio.IncompleteReadError) as e:
            why = f"undecodable packet ({e})"
        except (ConnectionError, OSError) as e:
            why = f"connection lost ({e})"
        finally:
            self.close(why)

    def close(self, why: str) -> None:
        """End the connection."""
        if self.closed:
            return
        self.closed = True
        if self.timer:
            self.timer.cancel()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        if self.device and self.core.sessions.get(self.device.id) is self:
            del self.core.sessions[self.device.id]
        if why != "gone":
            self.core.say("mqtt", self.who, f"closed: {why}")
        with contextlib.suppress(ConnectionError, OSError):
            self.writer.close()

    def push_shared(self, update: dict[str, Any]) -> None:
        """Send a change of shared attributes in the form that the device has subscribed to."""
        topics = [topic for topic in SHARED_UPDATES if topic in self.subscriptions]
        if not topics and any(map(self.profile.is_updates, self.subscriptions)):
            topics = [ATTRIBUTES]  # a topic of the profile's own is granted, and never sent to (contract 3.1)
        for topic in topics:
            self._publish(topic, json.dumps(update).encode(), self.subscriptions.get(topic, 1))

    def push_rpc(self, rpc: Rpc) -> None:
        """Send an RPC request; at QoS 1 it is delivered once the device has acknowledged it."""
        for wanted in RPC_REQUESTS:
            if wanted in self.subscriptions and self.device:
                qos = self.subscriptions[wanted]
                self._publish(f"{wanted[:-1]}{rpc.id}", rpc_payload(rpc), qos)
                if qos:
                    self._sent_calls[self.packet_id] = rpc
                else:
                    self.core.delivered(self.device, rpc)
                return

    def _spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        async def run() -> None:
            try:
                await work(*arguments)
            except Closed as e:
                self.close(str(e))

        task = asyncio.ensure_future(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> Any:
        # Sessions end, but for provision-only ones, after 600 s without one of certain packets (contract 3).
        patience = max(0, self.idle_at - time.monotonic()) if self.device else None
        try:
            return await asyncio.wait_for(self._packet(), patience)
        except asyncio.TimeoutError:
            raise Closed("idle") from None

    async def _packet(self) -> Any:
        header = await MQTTFixedHeader.from_stream(StreamReaderAdapter(self.reader))
        if header is None:
            return None
        if header.remaining_length > MOST:
            raise Closed(f"packet of {header.remaining_length} bytes")
        body = await self.reader.readexactly(header.remaining_length)
        self.is_5 = self.is_5 or mqtt5.is_connect(header.packet_type, body)
        if self.is_5:
            try:
                body = mqtt5.without_properties(header.packet_type, header.flags, body)
            except ValueError as e:
                raise Closed(f"undecodable packet ({e})") from None
            header.remaining_length = len(body)
        return await packet_class(header).from_stream(BufferReader(body), fixed_header=header)

    def _send(self, packet: Any, filters: int = 0) -> None:
        if not self.closed and not self.writer.is_closing():
            data = bytes(packet.to_bytes())
            self.writer.write(mqtt5.with_properties(data, filters) if self.is_5 else data)

    def _publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        self.packet_id = self.packet_id % 65535 + 1
        self._send(PublishPacket.build(topic, payload, self.packet_id if qos else None, False, qos, False))

    def _answer(self, topic: str, filter_: str, payload: bytes) -> None:
        # Answers come subscribed or not: at the QoS of the subscription, at 1 without (contract 3).
        self._publish(topic, payload, self.subscriptions.get(filter_, 1))

    async def _handle(self, packet: Any) -> None:
        if isinstance(packet, (ConnectPacket, PublishPacket, SubscribePacket, PingReqPacket)):
            self.idle_at = time.monotonic() + IDLE * self.core.scale
        if isinstance(packet, ConnectPacket):
            self._connect(packet)
        elif self.device is None and not self.provision_only:
            raise Closed("a packet before CONNECT")
        elif isinstance(packet, PublishPacket):
            if self.provision_only:
                self._spawn(self._provision, packet)
            else:
                self._published(packet)
            await self.writer.drain()
        elif isinstance(packet, PubackPacket):
            rpc = self._sent_calls.pop(packet.packet_id, None)
            if rpc and self.device:
                self.core.delivered(self.device, rpc)
        elif isinstance(packet, SubscribePacket):
            self._subscribe(packet)
        elif isinstance(packet, UnsubscribePacket):
            for topic in packet.payload.topics:
                self.subscriptions.pop(topic, None)
            self._send(UnsubackPacket.build(packet.variable_header.packet_id), len(packet.payload.topics))
        elif isinstance(packet, PingReqPacket):
            self._send(PingRespPacket.build())
        elif isinstance(packet, DisconnectPacket):
            raise Closed("gone")

    def _connect(self, packet: ConnectPacket) -> None:
        if packet.variable_header.proto_level not in (3, 4):
            raise Closed(f"unsupported protocol level {packet.variable_header.proto_level}")
        client_id = "" if packet.client_id_is_random else packet.client_id or ""
        if packet.variable_header.proto_name == "MQIsdp" and not 0 < len(client_id) < 24:
            raise Closed("a client id that MQTT 3.1 does not allow")
        username = packet.username if packet.username_flag else None
        password = packet.password if packet.password_flag else None
        if packet.username_flag and username is None:
            username = ""
        # Session-present is not(clean session), though nothing is ever kept (contract 2.3).
        present = 0 if packet.clean_session_flag else 1
        if PROVISION in (client_id, username) or self.provision_only:
            self.provision_only = True
            self.who = PROVISION
            self._send(ConnackPacket.build(present, authentication.ACCEPTED))
            return
        device, code = self._login(client_id, username, password)
        if device and not (self.core.may_use(device, "MQTT") and self._is_allowed(device)):
            device, code = None, authentication.UNAVAILABLE
        self._send(ConnackPacket.build(present, code))
        if device is None:
            self.who = username[:4] + "..." if username else client_id or "?"
            self.core.say("mqtt", self.who, f"CONNACK {code}")
            raise Closed("refused")
        self.core.begin(device, self)
        self.device = device
        self.profile = MqttProfile(self.core.registry.profile(id=device.profile))
        self.who = device.name
        self.core.say("mqtt", self.who, "connected")

    def _login(self, client_id: str, username: str | None, password: str | None) -> tuple[Device | None, int]:
        chain = self.writer.get_extra_info("client_chain")
        if chain:
            # A certificate decides alone: user name and password are not looked at, not even as a fallback.
            device = authentication.by_certificate(self.core.registry, chain[0])
            return device, authentication.ACCEPTED if device else authentication.NOT_AUTHORIZED
        device = authentication.match(self.core.registry, client_id, username, password)
        if device:
            return device, authentication.ACCEPTED
        return None, authentication.refusal(client_id, username, password)

    def _is_allowed(self, device: Device) -> bool:
        try:
            self.core.limits.check(device.id)
        except Limited:
            return False
        return True

    def _subscribe(self, packet: SubscribePacket) -> None:
        if self.provision_only and not self.core.release.suback_in_provision_session:
            return
        codes = []
        for topic, qos in packet.payload.topics:
            pushed = topic in (*SHARED_UPDATES, *RPC_REQUESTS) or self.profile.is_updates(topic)
            is_allowed = topic == RESPONSE if self.provision_only else topic in FILTERS or pushed
            codes.append(min(qos, 1) if is_allowed else 0x80)
            # A rate limit drops the subscription, though it is granted (contract 3).
            if is_allowed and not (pushed and self.device and not self._is_allowed(self.device)):
                self.subscriptions[topic] = min(qos, 1)
        self._send(SubackPacket.build(packet.variable_header.packet_id, codes))
        if self.device and any(topic in RPC_REQUESTS for topic, _ in packet.payload.topics):
            for rpc in self.core.pending(self.device):
                self.push_rpc(rpc)

    def _acknowledge(self, packet: PublishPacket) -> None:
        if packet.qos:
            self._send(PubackPacket.build(packet.packet_id))

    async def _provision(self, packet: PublishPacket) -> None:
        if packet.topic_name != REQUEST:
            self._acknowledge(packet)
            raise Closed(f"publish to {packet.topic_name} in a provision-only session")
        try:
            answer = await self._provision_answer(packet.data or b"")
        except provisioning.SyntaxFault:
            raise Closed("malformed provisioning request") from None
        except (provisioning.MemberFault, provisioning.CoreFault):
            self._acknowledge(packet)
            raise Closed("provisioning request without an answer") from None
        fate = self.core.fate("provision", "mqtt", self.who)
        kind = fate.kind if fate else ""
        if fate and kind == "delay":
            await asyncio.sleep(fate.seconds)
        if fate and kind == "replace":
            answer = fate.body
        if kind == "close":
            raise Closed("fault")
        if kind not in ("drop", "restart"):
            self._acknowledge(packet)
        if kind not in ("drop", "restart", "ack"):
            for _ in range(2 if kind == "double" else 1):
                self._answer(RESPONSE, RESPONSE, answer)
        if self.timer is None and not self.closed:
            delay = PROVISION_SESSION * self.core.scale
            self.timer = asyncio.get_running_loop().call_later(delay, self.close, "provision session over")

    async def _provision_answer(self, body: bytes) -> bytes:
        if not body:
            # Zero bytes are a valid, empty protobuf request; from then on the session is answered in protobuf.
            self.protobuf = True
            self.core.say("mqtt", "?", "empty provisioning request")
            return provisioning.as_protobuf(provisioning.refusal("NOT_FOUND"))
        answer = await self.core.provision("mqtt", body)
        return provisioning.as_protobuf(answer) if self.protobuf else provisioning.as_json(answer)

    def _published(self, packet: PublishPacket) -> None:
        topic, body = packet.topic_name, packet.data or b""
        device = self.device
        assert device is not None
        asked = mqtt_ota.ASKED.search(topic)
        if asked:
            self._download(device, asked, packet)
            return
        try:
            acknowledged = self._dispatch(device, topic, body)
        except (values.Malformed, values.BadTimestamp) as e:
            if packet.qos and isinstance(e, values.Malformed) and (self.is_5 or self.profile.acknowledges_faults):
                self.core.say("mqtt", self.who, f"bad payload on {topic}: {e}")
                if self.is_5:
                    self.writer.write(mqtt5.puback(packet.packet_id, mqtt5.PAYLOAD_FORMAT_INVALID))
                else:
                    self._acknowledge(packet)
                return
            raise Closed(f"bad payload on {topic}: {e}") from None
        except Limited as e:
            raise Closed(f"{e} on {topic}") from None
        if acknowledged and (self.profile.is_telemetry(topic) or self.profile.is_attributes(topic)):
            self._acknowledge_by_fate(packet)
        elif acknowledged:
            self._acknowledge(packet)
            self._after(device, topic, body)

    def _download(self, device: Device, asked: re.Match[str], packet: PublishPacket) -> None:
        try:
            topic, filter_, data = self.downloads.chunk(device, asked, packet.data or b"")
        except NoPackage as e:
            self._answer(mqtt_ota.ERROR, mqtt_ota.ERROR, str(e).encode())
            raise Closed(f"{e} on {asked[0]}") from None
        except (ValueError, Limited) as e:
            raise Closed(f"{e} on {asked[0]}") from None
        self._acknowledge(packet)
        self._answer(topic, filter_, data)

    def _acknowledge_by_fate(self, packet: PublishPacket) -> None:
        fate = self.core.fate("telemetry", "mqtt", self.who)
        kind = fate.kind if fate else ""
        if kind == "close":
            raise Closed("fault")
        if fate and kind == "delay":
            asyncio.get_running_loop().call_later(fate.seconds, self._acknowledge, packet)
        elif kind not in ("drop", "restart"):
            for _ in range(2 if kind == "double" else 1):
                self._acknowledge(packet)

    def _dispatch(self, device: Device, topic: str, body: bytes) -> bool:
        if self.profile.is_attributes(topic):
            self.core.attributes("mqtt", device, values.attributes(body))
        elif self.profile.is_telemetry(topic):
            records = values.telemetry(body, now_ms())
            if records is None:
                return False  # `[]`: no acknowledgement ever
            self.core.telemetry("mqtt", device, records)
        elif topic.startswith("v1/gateway/"):
            return device.gateway
        elif _ATTRIBUTE_REQUEST.match(topic) or _RPC_REQUEST.match(topic):
            document = values.document(body)
            if not isinstance(document, dict):
                raise values.Malformed("not an object")
            method = values.text(document, "method")
            if _RPC_REQUEST.match(topic) and method is None:
                raise Closed(f"no method on {topic}")
            for member in ("clientKeys", "sharedKeys"):
                values.text(document, member)
            if method != SESSION_LIMITS:
                self.core.limits.check(device.id)
        elif _RPC_REPLY.match(topic):
            self.core.limits.check(device.id)
        elif topic == CLAIM:
            self.core.limits.check(device.id)
            self.core.claim(device, body)
        elif topic.startswith(_NUMBERED):
            raise values.Malformed("no number at its end")
        return True

    def _after(self, device: Device, topic: str, body: bytes) -> None:
        asked = _ATTRIBUTE_REQUEST.match(topic)
        if asked:
            document = values.document(body)
            wanted = [values.keys(values.text(document, member)) for member in ("clientKeys", "sharedKeys")]
            answer = self.core.requested_attributes(device, *wanted)
            if answer is not None:
                self._respond(asked, answer)
        replied = _RPC_REPLY.match(topic)
        if replied:
            self.core.rpc_reply(device, int(replied[1]), values.json_or_text(body))
        called = _RPC_REQUEST.match(topic)
        if called:
            document = values.document(body)
            self._spawn(self._client_rpc, called, values.text(document, "method") or "", document.get("params"))

    async def _client_rpc(self, called: re.Match[str], method: str, params: Any) -> None:
        if method == SESSION_LIMITS and called[1].startswith("v1"):
            answer: Any = session_limits(self.core.limits)
        else:
            answer = await self.core.device_call(method, values.plain(params))
        self._respond(called, answer)

    def _respond(self, asked: re.Match[str], answer: Any) -> None:
        prefix = asked[1].replace("request", "response").replace("req", "res")
        self._answer(f"{prefix}/{asked[2]}", f"{prefix}/+", json.dumps(answer).encode())
