# What the board starts after power-up: the user's app, handed to firstboot. MIT licence.

import firstboot

firstboot.run("app")
