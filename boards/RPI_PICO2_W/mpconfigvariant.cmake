# Which of the RP2350's two kinds of core: upstream's choice, Arm.
include(${MICROPY_PORT_DIR}/boards/RPI_PICO2_W/mpconfigvariant.cmake)
