// The board is upstream's; the port's folder is on the include path.
#include "boards/RPI_PICO_W/mpconfigboard.h"
