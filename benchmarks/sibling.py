"""A card whose chip was measured on another card: the same multiprocessors behind another memory."""

from latmodel.device.chips import at_memory, memory_ratio
from latmodel.device.datasheets import DataSheet
from latmodel.device.profile import Profile
from latmodel.device.uncalibrated import sheet_part


def on_sibling(measured: Profile, card: DataSheet) -> Profile:
    """The kernels of a measured card on the data sheet of another one with the same chip.

    Shares of the bandwidth are moved as in `at_memory`, which a profile from a data sheet uses too. That one has no
    vLLM: a benchmark's rows of a card without a profile are priced by the sibling's, and users are refused.

    An A100 of 80 GB draws 0.77 of its 2.04 TB/s in products of few rows. One of 40 GB draws more than that share of its
    1.56: whole models there are 12 % too slow otherwise (argonne-lcf/LLM-Inference-Bench@4211f5d, batch 1).
    """
    sheet, before = sheet_part(card), measured.device.sheet
    ratio = memory_ratio(before, sheet)
    tables = {dtype: at_memory(table, ratio) for dtype, table in measured.device.coefficients.items()}
    corrections = {dtype: parts for dtype, parts in measured.device.corrections.items() if dtype in tables}
    device = measured.device.model_copy(update={"sheet": sheet, "coefficients": tables, "corrections": corrections})
    return measured.model_copy(update={"device": device, "gpu": card.name, "name": card.name, "title": card.title})
