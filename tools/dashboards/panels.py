"""The few kinds of panels that our dashboards are made of, and what all dashboards share.

Every query begins with `max without (instance, pod)`: several servers export the same figures.
"""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common as shared
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as queries_models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
PERCENT, SECONDS, COUNT, RATE = "percentunit", "s", "short", "cps"
SCRAPE = "5s"

Query = tuple[str, str]
"""An expression, and what its series are called."""


def once(selector: str) -> str:
    """A series that every server exports, as one."""
    return f"max without (instance, pod) ({selector})"


def rate_of(counter: str, by: str) -> str:
    """The rate of a counter that every server shows, put together by some labels."""
    return f"sum by ({by}) (max without (instance, pod) (rate({counter}[$__rate_interval])))"


def number(
    title: str,
    query: str,
    unit: str,
    about: str,
    *,
    steps: Sequence[tuple[float | None, str]] = ((None, "text"),),
    width: int = 4,
) -> stat.Panel:
    """One large number with its recent past behind it. `steps` are (from, colour)."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .with_target(_target((query, ""), 0))
        .unit(unit)
        .no_value("–")
        .graph_mode(common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(shared.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .height(4)
        .span(width)
    )


def lines(
    title: str,
    queries: Sequence[Query],
    unit: str,
    about: str,
    *,
    width: int = 12,
    least: float | None = 0,
) -> timeseries.Panel:
    """Lines over time. Gaps are shown: no data is not nought."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .line_width(2)
        .fill_opacity(6)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .tooltip(
            shared.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .legend(
            shared.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .height(9)
        .span(width)
    )
    if least is not None:
        panel.axis_soft_min(least)
    for place, query in enumerate(queries):
        panel.with_target(_target(query, place))
    return panel


def rows(title: str, queries: Sequence[Query], about: str, *, width: int = 12) -> table.Panel:
    """A table of what is true now: a row per label set, a column per query.

    The columns are percentages, unless their name ends in a unit in brackets.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(PERCENT)
        .no_value("–")
        .height(9)
        .span(width)
    )
    for place, (expression, name) in enumerate(queries):
        target = _target((expression, name), place).instant()
        panel.with_target(target.format(queries_models.PromQueryFormat.TABLE))
    renamed = {f"Value #{_letter(place)}": name for place, (_, name) in enumerate(queries)}
    hidden = dict.fromkeys(["Time", "window", "state", "level", "job", "variant", "basis"], True)
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize", options={"excludeByName": hidden, "renameByName": renamed}
        )
    )
    for _, name in queries:
        unit = SECONDS if name.endswith("(s)") else COUNT if name.endswith("(n)") else None
        if unit:
            panel.override_by_name(name, [models.DynamicConfigValue(id_val="unit", value=unit)])
    return panel


def board(uid: str, title: str, about: str, variables: Sequence[object]) -> dashboard.Dashboard:
    """An empty dashboard with the links between ours; `variables` come after the data source."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["engagement"])
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .refresh("10s")
        .readonly()
        .link(
            dashboard.DashboardLink("Engagement")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["engagement"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    for variable in variables:
        made.with_variable(variable)  # type: ignore[arg-type]
    return made


def names_of(name: str, label: str, query: str, *, many: bool = True) -> dashboard.QueryVariable:
    """A variable whose values Prometheus knows: all of them at first if several may be chosen."""
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
        .multi(many)
        .include_all(many)
    )
    if many:
        made.all_value(".*").current(
            models.VariableOption(selected=True, text="All", value="$__all")
        )
    return made


def choice_of(name: str, label: str, values: Sequence[str]) -> dashboard.CustomVariable:
    """A variable with these values, the first at first."""
    return (
        dashboard.CustomVariable(name)
        .label(label)
        .values(",".join(values))
        .current(models.VariableOption(selected=True, text=values[0], value=values[0]))
    )


def _target(query: Query, place: int) -> prometheus.Dataquery:
    expression, name = query
    return (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(expression)
        .legend_format(name or "__auto")
        .ref_id(_letter(place))
        .interval(SCRAPE)
    )


def _letter(place: int) -> str:
    return chr(ord("A") + place)


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    made = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)
