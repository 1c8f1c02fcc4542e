"""The benchmark: firstboot beside what a user would write or install instead, on the 32-bit VM."""
