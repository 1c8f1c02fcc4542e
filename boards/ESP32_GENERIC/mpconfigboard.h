// The board is upstream's; the port's folder is on the include path.
#include "boards/ESP32_GENERIC/mpconfigboard.h"
