"""Durations counted in buckets: of a fixed size, merged without loss, and read by any HdrHistogram library.

The buckets are those of HdrHistogram (Gil Tene, https://hdrhistogram.github.io/HdrHistogram/) with lowest discernible
value 1,000 ns, highest trackable value 3,600 s and 2 significant digits: 512 ns wide below 131 microseconds, at most
1/128 of what they hold above. The package `hdrhistogram` itself has no wheel for 64-bit ARM; tests compare with it.

A histogram as bytes, integers big-endian:

    offset  bytes
    0       4      CRC-32 of all that follows
    4       12     sum in ns
    16      8      smallest value in ns; 0 when empty
    24      8      largest value in ns; 0 when empty
    32             HdrHistogram's V2 compressed encoding

From `HDR_OFFSET` on, the bytes are what other libraries call a compressed histogram; most of them want it in Base64:
`hdrh.histogram.HdrHistogram.decode(base64.b64encode(encoded[HDR_OFFSET:]))` in Python.
"""

from edge.histogram.buckets import BUCKETS, HIGHEST_NS, LOWEST_NS, SIGNIFICANT_DIGITS, middles_ns
from edge.histogram.encoding import HDR_OFFSET
from edge.histogram.histogram import Histogram
from edge.histogram.many import Sparse, decode_many

__all__ = [
    "BUCKETS",
    "HDR_OFFSET",
    "HIGHEST_NS",
    "LOWEST_NS",
    "SIGNIFICANT_DIGITS",
    "Histogram",
    "Sparse",
    "decode_many",
    "middles_ns",
]
