"""A card whose chip was measured on another card: the same multiprocessors behind another memory."""

from collections.abc import Mapping

from .datasheets import DataSheet
from .prior import datasheet_prior
from .profile import Coefficient, Profile
from .uncalibrated import sheet_part

SHARES = ("gemm", "prefill", "decode", "pointwise")  # families with a share of the data sheet's bandwidth
IDLE = ("decode.idle_split", "decode.idle_whole")  # bandwidth that few tiles cannot draw, against what many draw


def on_sibling(measured: Profile, card: DataSheet) -> Profile:
    """The kernels of a measured card on the data sheet of another one with the same chip.

    What a multiprocessor asks for is the chip's, what the memory gives is the card's. A share e of a bandwidth B is
    the lesser of both. On a slower memory b the chip asks for as much as it did, e · B, and gets at most the larger of
    e and the share that calibrated cards have in common. On a faster one e stays. What a single tile draws (and what
    few tiles leave idle) is the chip's: so many bytes a second, whatever the memory.

    An A100 of 80 GB draws 0.77 of its 2.04 TB/s in products of few rows. One of 40 GB draws more than that share of its
    1.56: whole models there are 12 % too slow otherwise (argonne-lcf/LLM-Inference-Bench@4211f5d, batch 1).
    """
    sheet, before = sheet_part(card), measured.device.sheet
    ratio = before.bandwidth_bytes_per_s / sheet.bandwidth_bytes_per_s
    tables = {dtype: _moved(table, ratio) for dtype, table in measured.device.coefficients.items()}
    corrections = {dtype: parts for dtype, parts in measured.device.corrections.items() if dtype in tables}
    device = measured.device.model_copy(update={"sheet": sheet, "coefficients": tables, "corrections": corrections})
    return measured.model_copy(update={"device": device, "gpu": card.name, "name": card.name, "title": card.title})


def _moved(table: Mapping[str, Coefficient], ratio: float) -> dict[str, Coefficient]:
    common = datasheet_prior()["coefficients"]
    moved = dict(table)
    for family in SHARES:
        name = f"{family}.bandwidth_efficiency"
        if name in table and ratio > 1.0:
            share = table[name].value
            moved[name] = _at(table[name], min(share * ratio, max(share, common[name]["value"])))
    if "gemm.tile_bandwidth" in table:
        moved["gemm.tile_bandwidth"] = _at(table["gemm.tile_bandwidth"], table["gemm.tile_bandwidth"].value * ratio)
    for name in IDLE:
        if name in table:
            key = "decode.bandwidth_efficiency"
            moved[name] = _at(table[name], table[name].value * moved[key].value / (table[key].value * ratio))
    return moved


def _at(one: Coefficient, value: float) -> Coefficient:
    return one.model_copy(update={"value": value})
