# BOARD_VARIANT=SPIRAM: for modules with PSRAM (WROVER).
include(${CMAKE_SOURCE_DIR}/boards/ESP32_GENERIC/mpconfigvariant_SPIRAM.cmake)
