"""Every fuzz target by name. A new one is a `Target` in a module's TARGETS, named here."""

from fuzz import catalog_targets, mp3_targets, net_targets
from fuzz.target import Target

TARGETS: dict[str, Target] = {**mp3_targets.TARGETS, **catalog_targets.TARGETS, **net_targets.TARGETS}
