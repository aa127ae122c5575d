"""What a fit found, as lines of text: each coefficient with its error and prior, what is undetermined, the errors."""

from collections.abc import Iterator

from latmodel.profile import Profile
from latmodel.report import table

from .fit import Fitted


def fit_report(profile: Profile, fitted: Fitted) -> Iterator[str]:
    """Lines: coefficients ± error with prior and ratio, the undetermined and those at a bound, errors by phase."""
    cells, loose, stuck = [], [], []
    for name, item in fitted.coefficients.items():
        prior = fitted.priors[name]
        if item.status == "undetermined":
            loose.append(name)
            continue
        if item.status == "boundary":
            stuck.append(name)
        numbers = (f"{item.value:.4g}", f"±{100 * item.stderr_log:.1f} %", f"{prior.value:.4g}")
        cells.append([name, *numbers, f"{item.value / prior.value:.2f}", prior.meaning])
    if cells:
        yield table(["coefficient", "value", "error", "prior", "ratio", "meaning"], cells)
    if stuck:
        yield f"at boundary (the data pull beyond what is plausible): {', '.join(stuck)}"
    if loose:
        yield f"undetermined by these rows, near their priors: {', '.join(loose)}"
    for row in profile.quality.errors:
        yield f"{row.split}, {row.phase}: {row.mape_percent:.2f} % MAPE over {row.rows} rows"
