"""Which alerts fire: feeds the scraped values of /metrics to promtool with the rules of deploy/monitoring/alerts.yaml."""

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/monitoring/alerts.yaml"
# After the last scrape, the last values stay for this time: an alert over an hour or less ends within it.
TAIL_SECONDS = 4200


def parse(page: str) -> dict[str, float]:
    """Returns the value of each series of a metrics page, with the labels that Prometheus adds."""
    values = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name, _, labels = series.partition("{")
            labels = [label for label in (labels.rstrip("}"), 'instance="bridge-0"', 'job="imprint-bridge"') if label]
            values[f"{name}{{{','.join(labels)}}}"] = float(value)
    return values


class Timeline:
    """The scrapes of one bridge: one for each step, from the start."""

    def __init__(self, step: float, started: float) -> None:
        self.step, self.started = step, started
        self.scrapes: list[dict[str, float]] = []

    def add(self, page: str | None) -> None:
        # A scrape without an answer has no values.
        self.scrapes.append(parse(page) if page is not None else {})

    def firing(self, promtool: str, folder: Path, times: list[int], scale: int = 1, thin: int = 1) -> dict[int, set[str]]:
        """Returns the names of the firing alerts at each of the times, in steps.

        `scale` stretches the time: one second of the incident counts as so many seconds. With `thin`, Prometheus
        scrapes and evaluates only at every step with a multiple of this number.
        """
        step = int(self.step * scale)
        tail = TAIL_SECONDS // step
        scrapes = [scrape if number % thin == 0 else None for number, scrape in enumerate(self.scrapes)]
        series = sorted({name for scrape in scrapes if scrape for name in scrape})
        lines = [f"rule_files: [{json.dumps(str(RULES))}]", f"evaluation_interval: {step * thin}s", "tests:",
                 f"  - interval: {step}s", "    input_series:"]
        for name in series:
            values = [self.text(name, scrape, scale) for scrape in scrapes]
            last = next((value for value in reversed(values) if value != "_"), "_")
            values.extend([last] * tail)
            lines += [f"      - series: {json.dumps(name)}", f"        values: {json.dumps(' '.join(values))}"]
        lines.append("    promql_expr_test:")
        for time in times:
            lines.append(f"      - {{expr: 'ALERTS{{alertstate=\"firing\"}}', eval_time: {time * step}s, exp_samples: []}}")
        test = folder / "alerts_test.yaml"
        test.write_text("\n".join(lines) + "\n")
        found = subprocess.run([promtool, "test", "rules", test], capture_output=True, text=True, check=False)
        return self.read(found.stdout + found.stderr, times, step)

    def text(self, name: str, scrape: dict[str, float] | None, scale: int) -> str:
        if scrape is None or name not in scrape:
            return "_"
        value = scrape[name]
        # In promtool, the time begins at 0.
        if "_timestamp_seconds" in name and value > 0:
            value = (value - self.started) * scale
        return repr(value)

    @staticmethod
    def read(output: str, times: list[int], step: int) -> dict[int, set[str]]:
        firing: dict[int, set[str]] = {time: set() for time in times}
        # promtool reports each time at which an alert fires, because no alert is expected.
        for expression in re.split(r"expr: ", output)[1:]:
            found = re.search(r"time: ([0-9hms.]+),", expression)
            if found:
                time = seconds(found.group(1)) // step
                firing.setdefault(time, set()).update(re.findall(r'alertname="(\w+)"', expression))
            elif "alertname" in expression:
                raise ValueError(f"promtool has an unknown form of output: {expression[:300]}")
        if "SUCCESS" not in output and not any(firing.values()):
            raise ValueError(f"promtool failed: {output[:1000]}")
        return firing


def seconds(text: str) -> int:
    units = {"h": 3600, "m": 60, "s": 1}
    return int(sum(float(number) * units[unit] for number, unit in re.findall(r"([0-9.]+)([hms])", text)))
