"""Pixels as text for a record: the digest of an image, and a packed mask."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def digest_image(image: np.ndarray) -> str:
    """Return the SHA-256 of an image's type, shape and pixels; byte order does not matter."""
    native = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
    digest = hashlib.sha256(f"{native.dtype.name} {native.shape}".encode())
    if native.dtype == np.longdouble and native.dtype.itemsize > 8:  # some of its bytes are random padding
        with np.errstate(over="ignore"):
            native = native.astype(np.float64)
    digest.update(native.view(np.uint8).data if native.ndim else native.tobytes())
    return digest.hexdigest()


def digest_images(images: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> str:
    """Return the SHA-256 of several images and their masks, in order."""
    digests = [digest_image(each) for pair in images for each in pair if each is not None]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def digest_packed(mask: str) -> str:
    """Return the SHA-256 of a packed mask."""
    return hashlib.sha256(mask.encode()).hexdigest()


def pack_mask(mask: np.ndarray) -> str:
    """Return a mask, ``(h, w)`` bool, as text: its bits, compressed, in base 64."""
    bits = np.packbits(np.asarray(mask, dtype=bool))
    return base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode("ascii")


def unpack_mask(text: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the mask, ``(h, w)``, that ``pack_mask`` wrote.

    Raises
    ------
    ValueError
        If the text is not a mask of that shape.
    """
    height, width = shape
    try:
        size = -(-height * width // 8)
        opened = zlib.decompressobj()
        # a few bytes can expand to gigabytes: unpack at most one more than expected
        packed = np.frombuffer(opened.decompress(base64.b64decode(text, validate=True), size + 1), dtype=np.uint8)
        if packed.size != size or not opened.eof or opened.unused_data:
            raise ValueError("its size is different.")
    except (ValueError, zlib.error) as error:
        raise ValueError(f"the text is not a mask of {height} x {width} pixels.") from error
    return np.unpackbits(packed, count=height * width).astype(bool).reshape(height, width)
