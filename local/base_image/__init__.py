"""The images that a local build starts from, for a machine that reaches package registries but no image registry."""

from local.base_image.choice import PUBLIC_BASE_IMAGE, base_image_option, registry_answers
from local.base_image.debian import BaseImageError
from local.base_image.images import make_base_image, make_busybox_image

__all__ = [
    "PUBLIC_BASE_IMAGE",
    "BaseImageError",
    "base_image_option",
    "make_base_image",
    "make_busybox_image",
    "registry_answers",
]
