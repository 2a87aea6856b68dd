"""Images: sizes, maps of the plane, colours, filters, boxes: `tg.image`, also `tg.ops.image`.

Names and arguments are those of `keras.ops.image`, and TensorFlow's for what Keras lacks. Images
are (h, w, c) or (batch, h, w, c); everything that computes has gradients.
"""

from tabgrad.image.boxes import (
    non_max_suppression,
    non_max_suppression_padded,
    non_max_suppression_with_scores,
)
from tabgrad.image.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    grayscale_to_rgb,
    hsv_to_rgb,
    rgb_to_grayscale,
    rgb_to_hsv,
)
from tabgrad.image.filters import gaussian_blur, sobel_edges, ssim, threshold
from tabgrad.image.framing import (
    crop_images,
    extract_patches,
    extract_patches_3d,
    flip_left_right,
    flip_up_down,
    pad_images,
)
from tabgrad.image.resizing import crop_and_resize, resize, scale_and_translate
from tabgrad.image.sampling import map_coordinates
from tabgrad.image.warping import (
    affine_transform,
    elastic_transform,
    perspective_transform,
    rotate_with_offset,
    transform,
)
from tabgrad.ops.public import publish

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "affine_transform",
    "crop_and_resize",
    "crop_images",
    "elastic_transform",
    "extract_patches",
    "extract_patches_3d",
    "flip_left_right",
    "flip_up_down",
    "gaussian_blur",
    "grayscale_to_rgb",
    "hsv_to_rgb",
    "map_coordinates",
    "non_max_suppression",
    "non_max_suppression_padded",
    "non_max_suppression_with_scores",
    "pad_images",
    "perspective_transform",
    "resize",
    "rgb_to_grayscale",
    "rgb_to_hsv",
    "rotate_with_offset",
    "scale_and_translate",
    "sobel_edges",
    "ssim",
    "threshold",
    "transform",
]

publish(globals())
