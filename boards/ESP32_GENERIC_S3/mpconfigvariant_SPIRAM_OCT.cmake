# BOARD_VARIANT=SPIRAM_OCT: for modules with octal PSRAM (N8R8, N16R8).
include(${CMAKE_SOURCE_DIR}/boards/ESP32_GENERIC_S3/mpconfigvariant_SPIRAM_OCT.cmake)
