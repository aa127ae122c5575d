"""Make all packaged profiles anew, each after what it is made from: `python -m calibration.published`.

The cards' kernels, the RTX 3090's study, what all cards share. Each is also a command of its own
(`python -m calibration.published.cards`, `.rtx3090`, `.datasheet_prior`). The published measurements are read, not kept
here: `--data` names their folder.
"""

import argparse
from pathlib import Path

from . import cards, datasheet_prior, rtx3090


def main() -> None:
    """Write every packaged profile and the prior of cards that have none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of published measurements")
    parser.add_argument("--profiles", type=Path, default=Path("profiles"), help="folder to write the profiles to")
    parser.add_argument("--prior", type=Path, default=datasheet_prior.PATH, help="file of what all cards share")
    options = parser.parse_args()
    for name in cards.PACKAGED:
        cards.write(name, options.data, options.profiles)
    rtx3090.write(options.data, options.profiles / rtx3090.FILE)
    datasheet_prior.write(options.profiles, options.prior)


if __name__ == "__main__":
    main()
