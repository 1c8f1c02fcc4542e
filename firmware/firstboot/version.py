# firstboot: the one version number. MIT licence, (c) 2026 the firstboot authors.

VERSION = "0.1.0"
