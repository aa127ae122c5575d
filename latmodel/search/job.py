"""One search as a value: what to search, by what, within what. It can be cut in parts that are searched anywhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..arrays import Array
from ..errors import BudgetError
from ..predict.inputs import work_of
from ..units import show_bytes, show_seconds
from .archive import Front
from .branch_and_bound import Effort, Search
from .goals import SHAPE, Limit, Measure, Objective, Scenario, measures
from .space import SearchSpace
from .tables import PART_ENTRIES, Tables, parts, tables, thinned

# FFN sizes and depths that a first look at a space keeps of each hidden size: it finds a front to prune by.
SAMPLE = 12


@dataclass(frozen=True)
class Job:
    """A checked search.

    Attributes:
        own: the device and the work that objectives and limits are of if they do not say.
        turned: the result shows objectives and rows the other way round.
    """

    own: Scenario
    space: SearchSpace
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    budget_s: float | None
    memory_bytes: float
    turned: bool = False
    effort: Effort = field(default_factory=Effort)

    def nothing_yet(self) -> Front:
        """The front of no shapes."""
        return Front.empty(len(self.objectives))

    def tables(self, part: tuple[int, int], keep: int | None = None) -> list[Tables]:
        """Costs of the layers of one part of the space in every scenario."""
        scenarios = measures(self.objectives, self.limits, self.own)[2]
        return [_tables(self.space, where, part, keep) for where in scenarios]

    def look(self) -> Front:
        """The front of an even sample of the space, from which the search proper starts."""
        if len(self.space) <= PART_ENTRIES:
            return self.nothing_yet()
        costs = self.tables((0, self.space.hiddens.size), SAMPLE)
        return self.search_depths(costs, thinned(self.space.depths, SAMPLE), self.nothing_yet())

    def search(self, part: tuple[int, int], front: Front) -> Front:
        """The front of a part's shapes and the given ones."""
        return self.search_depths(self.tables(part), self.space.depths, front)

    def search_depths(self, costs: Sequence[Tables], depths: Array, front: Front) -> Front:
        """The same for some depths, with the tables at hand."""
        goals, bounds, _ = measures(self.objectives, self.limits, self.own)
        return Search(costs, depths, goals, bounds, self.effort).run(front)

    def nothing(self) -> BudgetError:
        """What to say when no shape keeps the limits: which one binds, and the shape that comes closest."""
        for others_kept in (True, False):
            for limit in self.limits:
                others = tuple(other for other in self.limits if other is not limit) if others_kept else ()
                closest = self._closest(limit, others)
                if closest is None or closest[0] <= (-limit.bound if limit.above else limit.bound):
                    continue
                return BudgetError(
                    _explain(limit, -closest[0] if limit.above else closest[0], closest[1], bool(others))
                )
        listed = "; ".join(str(limit) for limit in self.limits)
        return BudgetError(f"no shape of the space keeps all limits together: {listed}; relax two of them")

    def _closest(self, limit: Limit, others: tuple[Limit, ...]) -> tuple[float, Mapping[str, int]] | None:
        """The best value of a limited measure, and its shape, among shapes that keep other limits; None without any."""
        _, bounds, scenarios = measures((), (limit, *others), self.own)
        goals = [bounds[0][0], Measure(Objective("params"), 0, self.own, 1.0)]
        front = Front.empty(2)
        for part in parts(self.space):
            costs = [_tables(self.space, where, part, None) for where in scenarios]
            front = Search(costs, self.space.depths, goals, bounds[1:], self.effort).run(front)
        if not len(front):
            return None
        return float(front.values[0, 0]), dict(zip(SHAPE, front.shapes[0].tolist(), strict=True))


def _tables(space: SearchSpace, where: Scenario, part: tuple[int, int], keep: int | None) -> Tables:
    args = (where.predictor, space, work_of(where.workload), where.workload.dtype, part)
    return tables(*args) if keep is None else tables(*args, keep)


# Metric → what a shape does to keep a limit, the one that comes closest, how its value is shown, what to change.
_WORDS: dict[str, tuple[str, str, Callable[[float], str], str]] = {
    "response": ("answers within", "quickest", show_seconds, "raise --budget"),
    "prefill": ("prefills within", "quickest", show_seconds, "raise that limit"),
    "decode": ("decodes a token within", "quickest", show_seconds, "raise that limit"),
    "memory": ("fits in", "smallest", show_bytes, "raise --memory"),
}


def _explain(limit: Limit, value: float, shape: Mapping[str, int], others: bool) -> str:
    one = limit.objective
    does, closest, show, change = _WORDS.get(
        one.name, (f"has {one.column} {'>=' if limit.above else '<='}", "closest", "{:.6g}".format, "relax that limit")
    )
    scenario = f" on {one.scenario}" if one.scenario is not None else ""
    upper = " (upper end of the interval)" if one.end == "high" else ""
    among = " among those that keep the other limits" if others else ""
    layers, hidden, ffn = (shape[name] for name in SHAPE[:3])
    return (
        f"no shape of the space {does} {show(limit.bound)}{upper}{scenario}: the {closest}{among}, {layers} layers x "
        f"hidden {hidden} x FFN {ffn}, {'has' if does.startswith('has') else 'takes'} {show(value)}; "
        f"{change} or widen the space"
    )
