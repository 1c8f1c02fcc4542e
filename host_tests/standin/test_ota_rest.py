"""OTA packages over the REST face, by ThingsBoard's own client."""

import base64

import pytest
import requests
from tb_rest_client.models import Device, DeviceProfile, OtaPackageId, SaveOtaPackageInfoRequest
from tb_rest_client.rest_client import RestClient

from tools.checksums import checksum
from tools.standin import Standin
from tools.standin.rest import PASSWORD, USER

from .test_rest import refused

FILE = bytes(range(256)) * 40


@pytest.fixture
def server():
    with Standin() as running:
        yield running


@pytest.fixture
def client(server):
    client = RestClient(f"http://127.0.0.1:{server.http_port}", timeout=20)
    client.login(USER, PASSWORD)
    return client


@pytest.fixture
def profile(client):
    """A device profile, as the client has it."""
    return client.save_device_profile(DeviceProfile(name="boards", type="DEFAULT", transport_type="DEFAULT"))


@pytest.fixture
def file(tmp_path):
    """The path of a file with FILE in it."""
    path = tmp_path / "app.tar"
    path.write_bytes(FILE)
    return str(path)


def info(profile, title="app", version="1", kind="SOFTWARE", **more):
    return SaveOtaPackageInfoRequest(title=title, version=version, type=kind, device_profile_id=profile.id, **more)


@pytest.fixture
def package(client, profile, file):
    """A software package with its file."""
    made = client.save_ota_package_info(info(profile))
    return client.save_ota_package_data(made.id, "SHA256", file)


def test_a_package_is_made_of_its_info_and_its_file(server, client, profile, file):
    made = client.save_ota_package_info(info(profile, tag="app nightly"))
    assert (made.title, made.version, made.type, made.tag) == ("app", "1", "SOFTWARE", "app nightly")
    assert (made.has_data, made.data_size, made.checksum) == (False, None, None)
    uploaded = client.save_ota_package_data(made.id, "CRC32", file, checksum("CRC32", FILE))
    assert (uploaded.has_data, uploaded.data_size, uploaded.file_name) == (True, len(FILE), "app.tar")
    assert (uploaded.checksum_algorithm, uploaded.checksum) == ("CRC32", checksum("CRC32", FILE))
    assert client.download_ota_package(made.id) == FILE
    assert base64.b64decode(client.get_ota_package_by_id(made.id).data) == FILE
    assert client.get_ota_package_info_by_id(made.id).id.id == made.id.id
    (stored,) = server.registry.packages()
    assert (stored.kind, stored.data, stored.profile) == ("sw", FILE, profile.id.id)


def test_a_file_as_any_client_sends_it(client, profile):
    made = client.save_ota_package_info(info(profile, kind="FIRMWARE"))
    answer = requests.post(
        f"{client.base_url}/api/otaPackage/{made.id.id}",
        params={"checksumAlgorithm": "md5", "checksum": checksum("MD5", FILE)},
        files={"file": ("firmware.bin", FILE, "application/octet-stream")},
        headers={"X-Authorization": f"Bearer {client.get_token()}"},
        timeout=20,
    )
    assert answer.json()["checksum"] == checksum("MD5", FILE)
    download = requests.get(
        f"{client.base_url}/api/otaPackage/{made.id.id}/download",
        headers={"X-Authorization": f"Bearer {client.get_token()}"},
        timeout=20,
    )
    assert (download.content, download.headers["x-filename"]) == (FILE, "firmware.bin")
    assert download.headers["Content-Disposition"] == "attachment;filename=firmware.bin"


def test_pages_of_packages(client, profile, package, file):
    for number in range(3):
        client.save_ota_package_info(info(profile, "other", str(number), "FIRMWARE"))
    client.save_ota_package_info(info(profile, "far", "1", "FIRMWARE", url="https://example.org/", uses_url=True))
    assert [p.title for p in client.get_ota_packages(2, 0).data] == ["app", "other"]
    assert client.get_ota_packages(2, 2).total_elements == 5
    assert [p.version for p in client.get_ota_packages(10, 0, text_search="THER").data] == ["0", "1", "2"]
    # Only those that may be assigned: with a file or a URL.
    assert [p.title for p in client.get_ota_packages_v1(profile.id, "FIRMWARE", 10, 0).data] == ["far"]
    assert [p.title for p in client.get_ota_packages_v1(profile.id, "SOFTWARE", 10, 0).data] == ["app"]


def test_assigning_to_a_profile(server, client, profile, package):
    device = client.save_device(Device(name="d", device_profile_id=profile.id))
    profile.software_id = package.id
    assert client.save_device_profile(profile).software_id.id == package.id.id
    shared = server.attributes("d", "SHARED_SCOPE")
    assert (shared["sw_title"], shared["sw_version"], shared["sw_size"]) == ("app", "1", len(FILE))
    client.save_device(Device(name="later", device_profile_id=profile.id))
    assert server.attributes("later", "SHARED_SCOPE") == shared
    assert client.get_device_by_id(device.id).software_id is None  # it is the profile's
    fetched = client.get_device_profile_by_id(profile.id)
    assert (fetched.software_id.id, fetched.firmware_id) == (package.id.id, None)
    fetched.software_id = None
    client.save_device_profile(fetched)
    assert server.attributes("d", "SHARED_SCOPE") == {}


def test_assigning_to_a_device(server, client, profile, package):
    made = client.save_device(Device(name="d", device_profile_id=profile.id, software_id=package.id))
    assert made.software_id.id == package.id.id
    assert server.attributes("d", "SHARED_SCOPE")["sw_version"] == "1"
    assert [e.what for e in server.events if e.transport == "ota"] == ["assigned app 1"]
    made.software_id = None
    client.save_device(made)
    assert server.attributes("d", "SHARED_SCOPE") == {}
    made.software_id = package.id
    client.save_device(made)
    # In another profile it can't keep the package, and gets what that profile has.
    other = client.save_device_profile(DeviceProfile(name="others", type="DEFAULT", transport_type="DEFAULT"))
    made.device_profile_id = other.id
    with refused(400):
        client.save_device(made)
    made.software_id = None
    client.save_device(made)
    assert server.attributes("d", "SHARED_SCOPE") == {}


def test_deleting(server, client, profile, package):
    device = client.save_device(Device(name="d", device_profile_id=profile.id, software_id=package.id))
    with refused(400):
        client.delete_ota_package(package.id)
    client.delete_device(device.id)
    profile.software_id = package.id
    client.save_device_profile(profile)
    with refused(400):
        client.delete_ota_package(package.id)
    profile.software_id = None
    client.save_device_profile(profile)
    client.delete_ota_package(package.id)
    with refused(404):
        client.get_ota_package_info_by_id(package.id)
    client.save_ota_package_info(info(profile))
    client.delete_device_profile(profile.id)
    assert server.registry.packages() == []  # they go with their profile


def test_what_is_refused(client, profile, package, file, tmp_path):
    empty = client.save_ota_package_info(info(profile, "empty"))
    far = client.save_ota_package_info(info(profile, "far", url="https://example.org/", uses_url=True))
    (tmp_path / "none").write_bytes(b"")
    (tmp_path / "other").write_bytes(b"other")
    nobody = OtaPackageId(id="nobody", entity_type="OTA_PACKAGE")
    for wrong in (
        lambda: client.save_ota_package_info(info(profile)),
        lambda: client.save_ota_package_info(info(profile, kind="FIRMWARE")),  # a title and version of software
        lambda: client.save_ota_package_info(info(profile, "")),
        lambda: client.save_ota_package_info(info(profile, version=" ")),
        lambda: client.save_ota_package_info(info(profile, "x", kind="HARDWARE")),
        lambda: client.save_ota_package_info(info(profile, "x", uses_url=True)),
        lambda: client.save_ota_package_info(info(package, "x")),
        lambda: client.save_ota_package_info(info(profile, version="2", id=package.id)),
        lambda: client.save_ota_package_data(empty.id, "SHA1", file),
        lambda: client.save_ota_package_data(empty.id, "MD5", file, "0" * 32),
        lambda: client.save_ota_package_data(empty.id, "MD5", str(tmp_path / "none")),
        lambda: client.save_ota_package_data(far.id, "MD5", file),
        lambda: client.save_ota_package_data(package.id, "SHA256", str(tmp_path / "other")),
        lambda: client.download_ota_package(far.id),
        lambda: client.save_device(Device(name="d", device_profile_id=profile.id, software_id=empty.id)),
        lambda: client.save_device(Device(name="d", device_profile_id=profile.id, firmware_id=package.id)),
        lambda: client.save_device(Device(name="d", device_profile_id=profile.id, software_id=nobody)),
        lambda: client.save_device_profile(DeviceProfile(name="new", software_id=package.id)),
    ):
        with refused(400):
            wrong()
    with refused(404):
        client.save_ota_package_data(nobody, "MD5", file)
    assert client.get_tenant_devices(10, 0).data == []
    assert client.save_ota_package_info(info(profile, id=package.id)).id.id == package.id.id  # unchanged
    assert client.save_ota_package_data(package.id, "SHA256", file).has_data  # the same again
