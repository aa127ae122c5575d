"""Which generation of hardware a device belongs to, by its name: what a device that nobody measured is like."""

import re
from typing import NamedTuple


class Generation(NamedTuple):
    """A generation of one maker's hardware; `core_tflops` is its dense 16-bit rate a core (SM, CU, Xe or GPU core).

    The rate is the median over the data sheets of latmodel's devices of that generation, else recalled; it only tells
    generations apart, and the fit says how much of it llama.cpp turns into speed.
    """

    name: str
    maker: str
    core_tflops: float


_TABLE = (
    ("maxwell", "nvidia", 0.47, r"Jetson Nano"),
    ("pascal-p100", "nvidia", 0.36, r"P100|sm_60"),  # no dp4a: products of 8-bit integers are emulated
    ("pascal", "nvidia", 0.40, r"GTX 10|Quadro P\d|TITAN Xp|Tesla P\d|MX150|sm_61"),
    ("volta", "nvidia", 1.38, r"TITAN V|V100|sm_70"),
    ("turing-gtx", "nvidia", 0.46, r"GTX 16"),
    ("turing", "nvidia", 0.85, r"RTX 20[678]|Quadro RTX|sm_75"),
    ("ampere-a100", "nvidia", 2.89, r"A100|A30\b|sm_80"),
    ("orin", "nvidia", 2.66, r"Orin|sm_87"),
    ("ada", "nvidia", 1.29, r"RTX 40|Ada|\bL4|sm_89"),
    ("hopper", "nvidia", 6.63, r"H100|sm_90"),
    ("blackwell", "nvidia", 1.32, r"RTX 50|Blackwell|GB10|sm_1[02]"),
    ("ampere", "nvidia", 1.69, r"RTX 30|RTX A\d|RTX 2050|sm_86"),
    ("polaris", "amd", 0.17, r"RX [45]80"),
    ("vega", "amd", 0.45, r"Radeon VII"),
    ("rdna2-integrated", "amd", 0.57, r"6000 series"),
    ("rdna2", "amd", 0.58, r"RX 6\d{3}|V620"),
    ("rdna1", "amd", 0.49, r"RX 5\d{3}"),
    ("rdna3.5", "amd", 1.49, r"8060S|AI 9 300 series"),
    ("rdna3-integrated", "amd", 1.38, r"780M|Z1|8000 series"),
    ("rdna4", "amd", 2.98, r"R9700|RX 90|gfx12"),
    ("rdna3", "amd", 1.25, r"RX 7\d{3}|gfx11"),
    ("cdna3", "amd", 4.30, r"MI3|gfx94"),
    ("xe2", "intel", 5.29, r"Arc B|Pro B|xe2"),
    ("xe1", "intel", 4.50, r"Arc A|xe-hpg"),
    ("xe2-integrated", "intel", 4.00, r"140V|Ultra 200"),
    ("xe1-integrated", "intel", 0.60, r"Ultra 100"),
    ("apple-m1", "apple", 0.33, r"Apple M1"),
    ("apple-m2", "apple", 0.36, r"Apple M2"),
    ("apple-m3", "apple", 0.35, r"Apple M3"),
    ("apple-m4", "apple", 0.40, r"Apple M4"),
    ("apple-m5", "apple", 0.40, r"Apple M5"),
    ("adreno", "qualcomm", 0.40, r"Adreno"),
)
# Vulkan on Intel multiplies on the vector units, cooperative matrices being off there: Arc A770, B580, Lunar Lake.
VECTOR_TFLOPS = {"xe1": 1.23, "xe2": 1.37, "xe2-integrated": 1.0}
UNKNOWN = Generation("unknown", "unknown", 1.0)


def generation_of(title: str, architecture: str = "") -> Generation:
    """The generation of a device by its title, or by the architecture that its data sheet states."""
    for text in (title, architecture):
        for name, maker, rate, pattern in _TABLE:
            if text and re.search(pattern, text):
                return Generation(name, maker, rate)
    return UNKNOWN
