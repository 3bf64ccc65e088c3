"""What infidelity and deletion share: what pixels become, and what maps may be."""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor

from relevance.base import checks

BASELINES = ("black", "blur")


def reference(baseline: str | Tensor, images: Tensor) -> Tensor:
    """Return what pixels become, [N, C, H, W]."""
    if isinstance(baseline, Tensor):
        checks.tensor("baseline", baseline, "a float tensor, black or blur", "float")
        if baseline.shape not in (images.shape[1:], images.shape):
            raise ValueError(
                f"baseline has shape {list(baseline.shape)}; it must have that of an image, {list(images.shape[1:])}, or of all."
            )
        return checks.pixels("baseline", baseline.to(images).expand_as(images))
    if checks.one_of("baseline", baseline, BASELINES) == "black":
        return torch.zeros_like(images)
    width = images.shape[-1] / 4
    blurred = ndimage.gaussian_filter(images.detach().cpu().numpy(), sigma=(0, 0, width, width))
    return torch.from_numpy(blurred).to(images).clamp(0, 1)
