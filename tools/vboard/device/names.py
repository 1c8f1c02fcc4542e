# Names that fill the pools in which MicroPython keeps them on the heap for ever: of 20, 40, 80, 160, 320.
#
# A port has the names of its own modules in ROM; here they take 120 places, 100 more on an ESP32. With those of this
# function, and on an RP2 those of names_rp2.py, 300 are taken: else the pool for 320, 2,272 bytes in one piece, would
# be opened wherever the firmware has its hundredth name. What a port's pools take for the firmware's names,
# tools/measure.py adds. Made by hasattr() in a loop they would leave holes, 0.3 KiB of a first boot's smallest heap.

# fmt: off
def never():
    return (
        z10, z11, z12, z13, z14, z15, z16, z17, z18, z19, z1a, z1b, z1c, z1d, z1e, z1f, z20, z21, z22, z23, z24, z25,
        z26, z27, z28, z29, z2a, z2b, z2c, z2d, z2e, z2f, z30, z31, z32, z33, z34, z35, z36, z37, z38, z39, z3a, z3b,
        z3c, z3d, z3e, z3f, z40, z41, z42, z43, z44, z45, z46, z47, z48, z49, z4a, z4b, z4c, z4d, z4e, z4f, z50, z51,
        z52, z53, z54, z55, z56, z57, z58, z59, z5a, z5b, z5c, z5d, z5e, z5f, z60, z61, z62, z63, z64, z65, z66, z67,
        z68, z69, z6a, z6b, z6c, z6d, z6e, z6f, z70, z71, z72, z73, z74, z75, z76, z77, z78, z79, z7a, z7b, z7c, z7d,
        z7e, z7f, z80, z81, z82, z83, z84, z85, z86, z87, z88, z89, z8a, z8b, z8c, z8d, z8e, z8f, z90, z91, z92, z93,
        z94, z95, z96, z97,
    )
