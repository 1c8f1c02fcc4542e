"""The REST face, by ThingsBoard's own client."""

import contextlib
import sqlite3
import threading
import time

import paho.mqtt.client as mqtt
import pytest
from tb_rest_client.models import (
    BulkImportRequest,
    ClaimRequest,
    Device,
    DeviceCredentials,
    DeviceProfile,
    DeviceProfileData,
    SaveDeviceWithCredentialsRequest,
)
from tb_rest_client.rest import ApiException
from tb_rest_client.rest_client import RestClient

from tools.standin import Standin
from tools.standin.provisioning import ALLOW_CREATE, X509_CHAIN
from tools.standin.registry import Registry, normalised, sha3
from tools.standin.rest import API_KEY, PASSWORD, USER

from .certs import Maker


@pytest.fixture(scope="module")
def server():
    with Standin(scale=0.02) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    client = RestClient(f"http://127.0.0.1:{server.http_port}", timeout=20)
    client.login(USER, PASSWORD)
    return client


@pytest.fixture
def clean(server):
    server.registry.clear()


def profile(name, strategy, key, **configuration):
    configuration["type"] = strategy
    data = DeviceProfileData(
        configuration={"type": "DEFAULT"},
        transport_configuration={"type": "DEFAULT"},
        provision_configuration=configuration,
    )
    return DeviceProfile(
        name=name,
        type="DEFAULT",
        transport_type="DEFAULT",
        provision_type=strategy,
        provision_device_key=key,
        profile_data=data,
        description="of a test",
    )


@contextlib.contextmanager
def refused(status):
    with pytest.raises(ApiException) as caught:
        yield
    assert caught.value.status == status


def test_signing_in(server, client):
    assert client.get_user().email == USER
    client.refresh()
    assert client.get_user().authority == "TENANT_ADMIN"
    stranger = RestClient(f"http://127.0.0.1:{server.http_port}", timeout=20)
    stranger.login(USER, "wrong")
    assert not stranger.get_token()
    with refused(401):
        stranger.get_user()
    stranger.api_key_login(API_KEY)
    assert stranger.get_user().email == USER


def test_profiles(server, client, clean):
    saved = client.save_device_profile(profile("boards", ALLOW_CREATE, "key", provisionDeviceSecret="secret"))
    stored = server.registry.profiles()[0]
    assert (stored.name, stored.strategy, stored.key, stored.secret) == ("boards", ALLOW_CREATE, "key", "secret")
    again = client.get_device_profile_by_id(saved.id)
    assert (again.name, again.description, again.provision_type) == ("boards", "of a test", ALLOW_CREATE)
    again.provision_device_key = "other"
    client.save_device_profile(again)
    assert [(p.key, p.secret) for p in server.registry.profiles()] == [("other", "secret")]
    assert [p.name for p in client.get_device_profiles(10, 0).data] == ["boards"]
    assert [p.name for p in client.get_device_profile_infos(10, 0, text_search="BOA").data] == ["boards"]
    assert [p.name for p in client.get_device_profile_names()] == ["boards"]
    assert client.get_default_device_profile_info().name == "default"
    with refused(400):
        client.save_device_profile(profile("boards", ALLOW_CREATE, "third"))
    with refused(400):
        client.save_device_profile(profile("more", ALLOW_CREATE, "other"))
    device = client.save_device(Device(name="d", device_profile_id=saved.id))
    with refused(400):
        client.delete_device_profile(saved.id)
    client.delete_device(device.id)
    client.delete_device_profile(saved.id)
    with refused(404):
        client.get_device_profile_by_id(saved.id)


def test_a_chain_profile_s_key_is_its_certificate_s_hash(server, client, clean):
    ca = Maker("Factory CA").pem.decode()
    client.save_device_profile(
        profile(
            "chain",
            X509_CHAIN,
            None,
            provisionDeviceSecret=ca + Maker("Root").pem.decode(),
            certificateRegExPattern="([^@]+)",
            allowCreateNewDevicesByX509Certificate=True,
        )
    )
    stored = server.registry.profiles()[0]
    assert (stored.key, stored.pattern, stored.allow_create) == (sha3(normalised(ca)), "([^@]+)", True)
    with refused(400):
        client.save_device_profile(profile("chain-2", X509_CHAIN, None, provisionDeviceSecret="no certificate"))


def test_devices(server, client, clean):
    made = client.save_device(Device(name="d1", type="boards", label="first"), access_token="token-1")
    assert (made.name, made.type, made.label) == ("d1", "boards", "first")
    assert client.get_device_credentials_by_device_id(made.id).credentials_id == "token-1"
    assert (
        len(client.get_device_credentials_by_device_id(client.save_device(Device(name="d2")).id).credentials_id) == 20
    )
    made.name, made.additional_info = "d1-renamed", {"gateway": True}
    client.save_device(made)
    assert server.device("d1-renamed").gateway
    assert server.device("d1-renamed").credentials.id == "token-1"
    assert client.get_tenant_device("d1-renamed").id.id == made.id.id
    assert client.get_device_info_by_id(made.id).name == "d1-renamed"
    assert [d.name for d in client.get_devices_by_ids([made.id.id])] == ["d1-renamed"]
    assert [t.type for t in client.get_device_types()] == ["boards", "default"]
    with refused(400):
        client.save_device(Device(name="d2"))
    with refused(404):
        client.get_tenant_device("nobody")
    client.delete_device(made.id)
    with refused(404):
        client.get_device_by_id(made.id)


def test_pages(client, clean):
    for number in range(5):
        client.save_device(Device(name=f"board-{number}", type="boards" if number else "other"))
    pages = [client.get_tenant_devices(2, number) for number in range(3)]
    assert [[d.name for d in page.data] for page in pages] == [
        ["board-0", "board-1"],
        ["board-2", "board-3"],
        ["board-4"],
    ]
    assert [(page.total_pages, page.total_elements, page.has_next) for page in pages] == [
        (3, 5, True),
        (3, 5, True),
        (3, 5, False),
    ]
    assert client.get_tenant_device_infos(10, 0, text_search="D-3").total_elements == 1
    assert client.get_tenant_devices(10, 0, type="boards").total_elements == 4


def test_credentials(server, client, clean):
    device = client.save_device(Device(name="d"))
    credentials = client.get_device_credentials_by_device_id(device.id)
    credentials.credentials_type = "MQTT_BASIC"
    credentials.credentials_value = '{"clientId":"c","userName":"u","password":"p"}'
    changed = client.update_device_credentials(credentials)
    assert changed.credentials_id == sha3("c|u") == server.device("d").credentials.id
    certificate = Maker("d").pem.decode()
    given = DeviceCredentials(
        credentials_type="X509_CERTIFICATE", credentials_id="", credentials_value=certificate, device_id=device.id
    )
    assert client.update_device_credentials(given).credentials_id == sha3(normalised(certificate))
    with refused(400):
        client.update_device_credentials(
            DeviceCredentials(credentials_type="LWM2M_CREDENTIALS", credentials_id="x", device_id=device.id)
        )
    both = SaveDeviceWithCredentialsRequest(
        device=Device(name="e"), credentials=DeviceCredentials(credentials_type="ACCESS_TOKEN", credentials_id="tok")
    )
    client.save_device_with_credentials(both)
    assert server.device("e").credentials.id == "tok"


def test_telemetry_and_attributes(server, client, clean):
    device = client.save_device(Device(name="d"), access_token="tok")
    client.post_telemetry("tok", [{"ts": ts, "values": {"a": ts, "b": "text"}} for ts in (1000, 3000, 2000)])
    client.save_entity_telemetry(device.id, "ANY", {"c": True})
    latest = client.get_latest_timeseries(device.id)
    assert (latest["a"][0].ts, latest["a"][0].value, latest["c"][0].value) == (3000, "3000", "true")
    assert list(client.get_latest_timeseries(device.id, keys="a")) == ["a"]
    between = client.get_timeseries(device.id, keys="a", start_ts=1000, end_ts=3000)
    assert [point.ts for point in between["a"]] == [2000, 1000]
    assert client.get_timeseries_keys_v1(device.id) == ["a", "b", "c"]
    client.delete_entity_timeseries(device.id, keys="a", delete_all_data_for_keys=True)
    assert client.get_timeseries_keys_v1(device.id) == ["b", "c"]
    client.save_device_attributes(device.id, "SHARED_SCOPE", {"x": 1})
    client.save_entity_attributes_v2(device.id, "SERVER_SCOPE", {"y": "z"})
    client.post_device_attributes("tok", {"mine": True})
    assert {entry.key: entry.value for entry in client.get_attributes(device.id)} == {"x": 1, "y": "z", "mine": True}
    assert [entry.key for entry in client.get_attributes_by_scope(device.id, "CLIENT_SCOPE")] == ["mine"]
    assert client.get_attribute_keys_by_scope(device.id, "SHARED_SCOPE") == ["x"]
    client.delete_device_attributes(device.id, "SHARED_SCOPE", "x")
    assert server.attributes("d", "SHARED_SCOPE") == {}


def test_a_file_with_several_values_of_one_time_keeps_the_last(tmp_path):
    old = sqlite3.connect(tmp_path / "old.db")
    old.executescript(
        "CREATE TABLE series (id INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, ts INTEGER NOT NULL,"
        " value TEXT NOT NULL); CREATE INDEX series_device ON series (device, name, ts);"
        "INSERT INTO series (device, name, ts, value) VALUES ('d', 'a', 1, '1'), ('d', 'b', 1, '2'), ('d', 'a', 1, '3')"
    )
    old.close()
    registry = Registry(str(tmp_path / "old.db"))
    registry.add_series("d", [("b", 1, 4)])
    assert registry.series("d") == [("a", 1, 3), ("b", 1, 4)]


def test_rpc(server, client, clean):
    device = client.save_device(Device(name="d"), access_token="tok")
    with refused(409):  # the device is not there
        client.handle_two_way_device_rpc_request(device.id, {"method": "led", "params": 1})
    subscribed = threading.Event()
    board = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    board.username_pw_set("tok")
    board.on_connect = lambda *_: board.subscribe("v1/devices/me/rpc/request/+", 1)
    board.on_subscribe = lambda *_: subscribed.set()

    def on_message(_client, _data, message):
        if b"silent" not in message.payload:
            board.publish(message.topic.replace("request", "response"), message.payload, 1)

    board.on_message = on_message
    board.connect("127.0.0.1", server.mqtt_port)
    board.loop_start()
    assert subscribed.wait(10)
    try:
        body = {"method": "led", "params": {"on": True}}
        assert client.handle_two_way_device_rpc_request(device.id, body) == body
        assert client.handle_one_way_device_rpc_request(device.id, {"method": "silent", "params": 1}) is None
        with refused(504):  # it got it and did not reply
            client.handle_two_way_device_rpc_request(device.id, {"method": "silent", "params": 1})
    finally:
        board.disconnect()
        board.loop_stop()


def test_bulk_import(server, client, clean):
    file = "name;type;token;site\nd1;boards;t1;north\nd2;boards;;\n;boards;t3;\n"
    columns = [
        {"type": "NAME"},
        {"type": "TYPE"},
        {"type": "ACCESS_TOKEN"},
        {"type": "SHARED_ATTRIBUTE", "key": "site"},
    ]
    request = BulkImportRequest(file=file, mapping={"columns": columns, "delimiter": ";", "header": True})
    result = client.process_devices_bulk_import(request)
    assert (result.created, result.updated, result.errors) == (2, 0, 1)
    assert result.errors_list[0].startswith("Line 4")
    assert server.device("d1").credentials.id == "t1"
    assert server.attributes("d1", "SHARED_SCOPE") == {"site": "north"}
    assert client.process_devices_bulk_import(request).updated == 2


def test_claiming(server, client, clean):
    client.save_device(Device(name="d"), access_token="tok")
    with refused(400):
        client.claim_device_by_name("d")
    client.claim_device("tok", {"secretKey": "s"})
    assert client.claim_device_by_name("d", ClaimRequest(secret_key="s"))
    with refused(400):  # claimed once
        client.claim_device_by_name("d", ClaimRequest(secret_key="s"))
    client.claim_device("tok", {"secretKey": "s"})  # acknowledged, and ignored: it has an owner
    with refused(400):
        client.claim_device_by_name("d", ClaimRequest(secret_key="s"))


def test_a_claim_stays_until_it_is_evicted(server, client, clean):
    client.save_device(Device(name="d"), access_token="tok")
    client.claim_device("tok", {"secretKey": "first", "durationMs": 1})
    time.sleep(0.002)
    client.claim_device("tok", {"secretKey": "second"})  # the first one is over, and wins all the same
    for _ in range(2):
        with refused(400):
            client.claim_device_by_name("d", ClaimRequest(secret_key="second"))
    client.claim_device("tok", {"secretKey": "third"})  # the failed attempt has evicted it
    assert client.claim_device_by_name("d", ClaimRequest(secret_key="third"))


def test_nonsense_is_a_400_or_404(client, clean):
    device = client.save_device(Device(name="d"))
    with refused(400):
        client.get_attributes_by_scope(device.id, "NO_SCOPE")
    with refused(400):
        client.save_device_attributes(device.id, "SHARED_SCOPE", [1])
    with refused(400):
        client.get_tenant_devices(0, 0)
