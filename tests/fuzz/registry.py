"""Every fuzz target by name. A new one is a `Target` in a module's TARGETS, named here."""

from fuzz import archive_targets, catalog_targets, mp3_targets, native_targets, net_targets
from fuzz.target import Target

_MODULES = (mp3_targets, native_targets, catalog_targets, archive_targets, net_targets)
TARGETS: dict[str, Target] = {name: target for module in _MODULES for name, target in module.TARGETS.items()}
