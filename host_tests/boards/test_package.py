"""A real mpremote installs package.json by mip on a virtual board, which then boots."""

import json

import tools.package
from tools.places import FIRMWARE
from tools.stage import Stage
from tools.vboard import Image, VirtualBoard


def test_mip_installs_it_and_the_board_boots(site, install):
    with Stage("coap") as stage:
        image = Image(stage.image().path.with_name("mip.img")).format()
        own = {"/config.json": json.dumps(stage.config).encode(), "/app.py": (FIRMWARE / "app.py").read_bytes()}
        image.put(own)
        board = VirtualBoard(image, heap=256 * 1024)
        board.serial()
        with board:
            done = install(board, f"{site}tree/package.json")
        assert done.returncode == 0, done.stdout + done.stderr
        wanted = {f"/lib/{module}": (FIRMWARE / module).stat().st_size for module in tools.package.modules()}
        got = image.ls()
        assert {path: size for path, size in got.items() if path.startswith("/lib/firstboot")} == wanted
        assert "/lib/umqtt/simple.mpy" in got and "/lib/microcoapy/microcoapy.py" in got
        image.put({"/main.py": (FIRMWARE / "main.py").read_bytes()})
        run = stage.board(image, heap=256 * 1024).run("telemetry: acknowledged", timeout=60)
        assert run.ended == "found", run.log
        assert len(stage.standin.devices()) == 1
