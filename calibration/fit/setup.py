"""A device with its runtimes as formulas take it, and the same with some coefficients replaced."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from latmodel.laws.coefficients import Device, RuntimeCoefficients, Sheet, coefficient_values, device_coefficients
from latmodel.laws.corrector import Corrector
from latmodel.model.implementation import Implementation
from latmodel.predict.target import Target


@dataclass(frozen=True)
class Setup:
    """A device with its runtimes: where a fit starts and what it returns.

    `correctors` are what the profile to be made multiplies the kernels of some runtimes by. A fit without them would
    put what they correct down to the coefficients, and its residuals would be those of other predictions.
    """

    sheet: Sheet
    device: Device
    runtimes: Mapping[str, tuple[RuntimeCoefficients, Implementation]]
    correctors: Mapping[str, Corrector] = field(default_factory=dict)

    def target(self, runtime: str) -> Target:
        """What formulas take."""
        coefficients, implementation = self.runtimes[runtime]
        return Target(self.sheet, self.device, coefficients, implementation, self.correctors.get(runtime))

    def moved(self, values: Mapping[str, float]) -> "Setup":
        """The same with some coefficients replaced: `device.NAME` or `runtime.RUNTIME.NAME`."""
        device: dict[str, float] = {}
        runtimes: dict[str, dict[str, float]] = {name: {} for name in self.runtimes}
        for key, value in values.items():
            owner, rest = key.split(".", 1)
            if owner == "device":
                device[rest] = value
            else:
                runtime, name = rest.rsplit(".", 1)
                runtimes[runtime][name] = value
        moved = {
            name: (c._replace(**runtimes[name]), implementation) for name, (c, implementation) in self.runtimes.items()
        }
        coefficients = device_coefficients({**coefficient_values(self.device), **device})
        return replace(self, device=coefficients, runtimes=moved)
