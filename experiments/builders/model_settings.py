"""The settings that a model brings with it: those of the only front end that it takes, and crops of the length it is made for."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection

from experiments.settings import Settings, fields
from layers.front_ends.registry import FRONT_ENDS
from layers.networks.registry import NETWORKS

BASELINE_WEIGHTS = "musicnn_both"  # of a baseline on a network's embedding, where none are named


def settings_for_model(settings: Settings, given: Collection[str] = ()) -> Settings:
    """Gives settings the values that their model cannot do without.

    Args:
        settings: of a run; `model` is a network, or a baseline on a network's embedding, such as musicnn_logistic.
        given: names of the settings that the user has chosen, which are not replaced.

    Returns:
        The settings with the model's front end, its sample rate and other features, and its length of crops unless that is
        given; of a baseline on a network's embedding also with weights, if there are none; of most models the settings
        themselves.

    Raises:
        ValueError: a setting that is given contradicts the model.
    """
    network_name = settings.model.removesuffix("_logistic")
    network = NETWORKS.get(network_name)
    if network is None or not network.front_end:
        return settings
    arguments = inspect.signature(FRONT_ENDS[network.front_end].__init__).parameters
    # Padding is free: zeros, which its authors' library pads today, are heard as a click at the edge of every window.
    needed = {name: arguments[name].default for name in fields("features") if name in arguments and name != "pad_mode"}
    needed["frontend"] = network.front_end
    for name in given:
        if name in needed and getattr(settings, name) != needed[name]:
            raise ValueError(
                f"expected --{name}={needed[name]} with --model={settings.model}, which knows no other features, received "
                f"{getattr(settings, name)}; leave it out"
            )
    if network.crop_seconds is not None and "crop_seconds" not in given:
        needed["crop_seconds"] = network.crop_seconds
    if settings.model != network_name and not settings.pretrained_weights:
        needed["pretrained_weights"] = BASELINE_WEIGHTS
    return dataclasses.replace(settings, **needed)
