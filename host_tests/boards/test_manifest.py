"""manifest.py, read by MicroPython's own tools/manifestfile.py."""

import pytest

from tools.places import FIRMWARE, ROOT

MANIFEST = ROOT / "manifest.py"
ALL = {str(path.relative_to(FIRMWARE)) for path in (FIRMWARE / "firstboot").rglob("*.py")}
SLICES = {
    "http": "firstboot/link/http",
    "coap": "firstboot/link/coap",
    "x509": "firstboot/x509/",
    "ota": "firstboot/ota/",
}


def ours(files):
    return {path for path in files if path.startswith("firstboot/")}


@pytest.mark.parametrize("port", ["esp32", "rp2", "unix"])
def test_by_itself_it_freezes_firstboot_and_what_the_port_freezes(read, port):
    files = read(MANIFEST, port)
    assert ours(files) == ALL
    assert "umqtt/simple.py" in files
    if port != "unix":
        assert "_boot.py" in files  # without it a board has no file system
    assert "main.py" not in files


def test_a_boards_own_manifest_comes_before_the_ports(read, tmp_path):
    (tmp_path / "sensor.py").touch()
    (tmp_path / "manifest.py").write_text('module("sensor.py")\n')
    files = read(MANIFEST, "rp2", board=tmp_path)
    assert "sensor.py" in files and "_boot.py" not in files


def test_what_is_wrong_in_a_boards_manifest_is_told(read, tmp_path, manifestfile):
    (tmp_path / "manifest.py").write_text('include("nowhere.py")\n')
    with pytest.raises(manifestfile.ManifestFileError, match="nowhere.py"):
        read(MANIFEST, "rp2", board=tmp_path)


def test_a_port_without_a_manifest_in_the_usual_place_is_told(read, manifestfile):
    with pytest.raises(manifestfile.ManifestFileError, match="port=False"):
        read(MANIFEST, "no-such-port")


def test_included_from_a_boards_manifest_nothing_is_frozen_twice(read, tmp_path):
    (tmp_path / "manifest.py").write_text(f'include("$(PORT_DIR)/boards/manifest.py")\ninclude("{MANIFEST}")\n')
    files = read(tmp_path / "manifest.py", "rp2", board=tmp_path)
    assert ours(files) == ALL and "_boot.py" in files


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_is_left_out(read, name):
    files = read(f'include("{MANIFEST}", {name}=False)')
    gone = {path for path in ALL if path.startswith(SLICES[name])}
    assert gone and ours(files) == ALL - gone


def test_microcoapy_from_a_checkout(read, tmp_path):
    (tmp_path / "checkout/microcoapy").mkdir(parents=True)
    (tmp_path / "checkout/microcoapy/microcoapy.py").touch()
    text = f'include("{MANIFEST}", microcoapy="{tmp_path}/checkout"%s)'
    assert "microcoapy/microcoapy.py" in read(text % "")
    assert "microcoapy/microcoapy.py" not in read(text % ", coap=False")


def test_main_only_where_it_is_asked_for(read):
    assert "main.py" in read(f'include("{MANIFEST}", main=True)')


def test_without_the_port(read):
    files = read(f'include("{MANIFEST}", port=False)')
    assert set(files) == ALL | {"umqtt/simple.py", "frozen_names.py"}
    assert all(files[path].opt == 3 for path in ALL)  # no line numbers: a tenth of the size


def test_it_is_a_package_of_a_library_too(read, manifestfile):
    text = f'metadata(version="2")\nadd_library("own", "{ROOT.parent}")\nrequire("{ROOT.name}", port=False)'
    files = read(text, mode=manifestfile.MODE_COMPILE)
    assert ours(files) == ALL


def test_no_version_is_written_into_the_modules(manifestfile, read, micropython, library):
    reader = manifestfile.ManifestFile(manifestfile.MODE_FREEZE, {"MPY_LIB_DIR": str(library)})
    reader.execute(f'include("{MANIFEST}", port=False)')
    assert reader.metadata().version is None and reader.metadata().license == "MIT"
    versions = {file.metadata.version for file in reader.files() if "/firstboot/" in str(file.full_path)}
    assert versions == {None}


@pytest.mark.parametrize("own", ['version="9.9"', 'description="an image"'])
def test_a_manifest_with_metadata_of_its_own_may_include_it(read, own):
    files = read(f'metadata({own})\ninclude("{MANIFEST}", port=False)')
    assert ours(files) == ALL
