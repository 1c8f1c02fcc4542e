"""Where micropython-lib's umqtt is on a board."""
