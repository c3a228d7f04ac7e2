"""What the property tests of inference draw from."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def tilings(draw, dims: int = 3) -> tuple[tuple[int, ...], tuple[int, ...], float]:
    """An image shape, a patch that fits it, and an overlap."""
    shape = draw(st.tuples(*[st.integers(1, 12)] * dims))
    patch = tuple(draw(st.integers((n + 3) // 4, n)) for n in shape)
    return shape, patch, draw(st.sampled_from([0.0, 0.25, 0.5, 0.9]))
