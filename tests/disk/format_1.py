"""A journal of format 1, as the zmqkit of that time wrote it."""

from __future__ import annotations

import base64
import zlib

_PACKED = (
    "eNrt2k1rE0EYB/CZ3W3eNE5b2u4hVkbw0EItFA+exKYllGKaahrBgBAm2TFdkt1N9qVvCFrxC/gp9Iv0"
    "qF4FjyJ4EMFb8eRkk/SFtp5b/P9g9uWZzTOTh93DLLvxpGiHkr/wfEeE/B4ZJZpGFjknhGiqJcgxXTXj"
    "xDkdNLLndFvkfBqZ3+tm2SExsh8I89jHG7fUAQAAAAAAAFwoNJJmLkf3H4ai3paWcERTWoPdyHK5kK8U"
    "eCW/VCzwQZDPBLIbSbch+WqpUlgplPnj8upavlzljwrVOb69qdZ7lcKzCi+tq/a0WJzjdc/a5UvF9aVZ"
    "vlEpry5X3pT0pDk5Sd++iocNRdDqNePUgL0In8lw5d9DWlJYRz3Ho3Z82/PtcPdsV5zTimRNTVWNWDzx"
    "I7nTsX0ZDHvmuAhD6XTCc/J7227NtuL/2s8YubaaZq0ld/tB7vmW9Gv14akvReC5wYXVORHzxXYc6idu"
    "bMpGK4icM5PIDAv6nCZN06T7ZlxPUfeiMN5opyoah/iMKxzZn8SpMm6JdiR5vlQ9Sj/MPqslzAcmJbZr"
    "yZ2g21Yr+5qIQi8+r8VZawvxrreWT/Xuqyz7Rgx2QNgh+8kO2Gc8aQAAAAAAAACXVErXJ2lbBKE+bujm"
    "7W4kIxluRk7dFXY7UBek48symp5Lex3p2m4zQfUxaltrGRU32FfC/rDv7Jc6AAAAAAAAAICrJK2bNH4V"
    "YKSGrweu6Tk6eAGgjehjadvKqgu161OE/VAbAAAAAAD4D71f0RhJ0ySl07nc9Pinm0Z6cbbfNaHHX0vf"
    "XbjfEOF8x22KRsOL3ND1MqIpbPdd8jXqB3CpJKboDZKiqfij/+w4MQz1nL78Uv3dW/+TURQIAAAAAAAA"
    "AAAAAAAAAADgqtqauDP1F4h58zE="
)

FILE = zlib.decompress(base64.b64decode(_PACKED))
"""The queue is `thumbnails`, the id 77, and the last number 3.

Task 1 waits. Task 2 is dead, with every field set.
"""
