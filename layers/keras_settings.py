"""The settings of Keras that the layers require, checked before anything is built on others."""

from __future__ import annotations


def require_tensorflow() -> None:
    """Checks that Keras runs on TensorFlow, of whose operations the layers consist.

    Raises:
        ImportError: it runs on another backend, or cannot be imported on the one that is chosen.
    """
    expected = "expected Keras on the backend tensorflow, which these layers require"
    remedy = "set KERAS_BACKEND=tensorflow in the environment, or in os.environ before Keras is first imported"
    try:
        import keras
    except (ImportError, ValueError) as error:  # the backend's own package is missing, or there is no such backend
        raise ImportError(f"{expected}, but Keras cannot be imported: {error}; {remedy}") from error
    if (backend := keras.config.backend()) != "tensorflow":
        raise ImportError(f"{expected}, found {backend}; {remedy}")


def require_channels_last() -> None:
    """Checks that images have their channels in the last axis, as the networks expect.

    Raises:
        ValueError: Keras is set to the other order.
    """
    import keras

    if (order := keras.config.image_data_format()) != "channels_last":
        raise ValueError(
            f"expected Keras's image_data_format as channels_last, which these networks require, found {order}; call "
            "keras.config.set_image_data_format('channels_last')"
        )
