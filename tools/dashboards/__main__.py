"""Writes the dashboards, and the alerts in the forms of Grafana and of the operator."""

from pathlib import Path

from tools.dashboards import alerting
from tools.dashboards.boards import BOARDS, rendered

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"


def main() -> None:
    """Write the files; those of dashboards that are no more are removed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.json"):
        if path.stem not in BOARDS:
            path.unlink()
    for name, make in BOARDS.items():
        (FOLDER / f"{name}.json").write_text(rendered(make()))
    for path, text in alerting.files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
