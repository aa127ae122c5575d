"""Board power of graphics cards: what a core may draw decides the clock at which it multiplies.

A card that promises many cores and little power lowers their clock in long products (L4, L40, laptops); decode, which
waits for memory, hardly notices.
"""

import math
import re
from collections.abc import Mapping

# Watts of cards without a data sheet in latmodel, as their makers state them: recalled, not looked up.
RECALLED: Mapping[str, float] = {
    "NVIDIA GeForce RTX 4090 D": 425, "NVIDIA RTX A4500": 200, "NVIDIA RTX A4000": 140, "NVIDIA RTX A2000 12GB": 70,
    "NVIDIA RTX 2000 Ada Generation": 70, "NVIDIA RTX 4000 Ada Generation": 130,
    "NVIDIA RTX 4000 SFF Ada Generation": 70, "NVIDIA RTX PRO 4500 Blackwell": 200, "Quadro RTX 8000": 260,
    "Quadro RTX 6000": 260, "Quadro RTX 4000": 160, "Quadro P5000": 180, "NVIDIA TITAN V": 250, "NVIDIA TITAN Xp": 250,
    "NVIDIA GeForce RTX 2070 SUPER": 215, "NVIDIA GeForce RTX 2060 SUPER": 175, "NVIDIA GeForce RTX 2060": 160,
    "NVIDIA GeForce RTX 2070": 175, "NVIDIA GeForce GTX 1080 Ti": 250, "NVIDIA GeForce GTX 1080": 180,
    "NVIDIA GeForce GTX 1070 Ti": 180, "NVIDIA GeForce GTX 1070": 150, "NVIDIA GeForce GTX 1660": 120,
    "NVIDIA GeForce GTX 1050 Ti": 75, "NVIDIA GeForce GTX 1050": 75, "NVIDIA GeForce RTX 3050": 130, "Tesla P40": 250,
    "AMD Radeon RX 7900 XT": 315, "AMD Radeon RX 7900 GRE": 260, "AMD Radeon RX 7800 XT": 263,
    "AMD Radeon RX 7600": 165, "AMD Radeon RX 7600 XT": 190, "AMD Radeon RX 6900 XT": 300, "AMD Radeon RX 6800 XT": 300,
    "AMD Radeon RX 6800": 250, "AMD Radeon RX 6700 XT": 230, "AMD Radeon RX 6650 XT": 180, "AMD Radeon RX 6600 XT": 160,
    "AMD Radeon RX 6600": 132, "AMD Radeon PRO V620": 300, "AMD Radeon RX 5700 XT": 225, "AMD Radeon RX 580": 185,
    "AMD Radeon RX 480": 150, "AMD Radeon VII": 300, "AMD Radeon AI PRO R9700": 300, "Intel Arc A750": 225,
    "Intel Arc B570": 150, "Intel Arc Pro B50": 70,
}  # fmt: skip
# A usual desktop card's watts a core, by maker: the rate of a card that draws as much is its generation's own.
USUAL = {"nvidia": 3.5, "amd": 4.0, "intel": 8.0}
PORTABLE = re.compile(r"Laptop|Max-Q|Mobile|RTX 2050|MX150|A770M")


def excess_watts(maker: str, watts: float | None, cores: float) -> float:
    """log(watts a core / the usual); 0 where nobody states the power, as of laptops, or the maker has no cards."""
    usual = USUAL.get(maker)
    return math.log(watts / cores / usual) if watts and usual else 0.0


def is_portable(title: str) -> bool:
    """Whether the device is a laptop's, whose power its builder sets."""
    return PORTABLE.search(title) is not None
