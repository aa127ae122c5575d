"""What a response is charged by, as measures of a search: joules a token, money for a million tokens."""

from dataclasses import dataclass

from ..arrays import Array
from ..errors import UsageError
from ..model.config import Workload
from ..predict.predictor import Predictor

# Metric → its unit. Both grow with a shape, and are of generated tokens.
CHARGES = {"energy": "j_per_token", "cost": "per_million_tokens"}


@dataclass(frozen=True)
class Charge:
    """What turns seconds into a charge: watts of the device's kernels, money an hour; None where it is not given."""

    power_limit_w: float | None = None
    price_per_h: float | None = None

    def of(self, metric: str, predictor: Predictor, workload: Workload, response_s: Array, device_s: Array) -> Array:
        """Joules a token (kernels at the power limit, as `predict.energy.response_energy`), or money for a million.

        Raises:
            UsageError: nothing is generated, no power of the device is known from a source, or there is no price.
        """
        tokens = float(workload.new_tokens * workload.batch_size)
        if not tokens:
            raise UsageError(f"{metric} is of generated tokens, and there are none (--generate 0)")
        if metric == "cost":
            if self.price_per_h is None:
                raise UsageError("cost needs a price of the device's time: give --price, as in 0.5/h")
            from ..predict.energy import cost_per_million

            return cost_per_million(self.price_per_h, response_s, tokens)
        return device_s * (self._watts(predictor) / tokens)

    def _watts(self, predictor: Predictor) -> float:
        from ..predict.energy import power_of

        power = power_of(predictor.profile.gpu, self.power_limit_w)
        if power is None or not power.source:
            raise UsageError(f"energy: no power of {predictor.profile.title} is known from a source; leave energy out")
        return power.watts


NO_CHARGE = Charge()
