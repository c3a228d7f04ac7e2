"""Property tests judge what is right, not how fast; tiny tensors run best on one thread."""

from __future__ import annotations

import torch
from hypothesis import settings

settings.register_profile("volunet", deadline=None, print_blob=True)
settings.load_profile("volunet")
torch.set_num_threads(1)
