# Raspberry Pi Pico W with firstboot frozen in: upstream's board, with this folder's manifest and pin names.
include(${MICROPY_PORT_DIR}/boards/RPI_PICO_W/mpconfigboard.cmake)

set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/manifest.py)
