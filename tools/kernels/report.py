# SPDX-License-Identifier: GPL-2.0
"""What came of the kernels: as a table, as a page, and as JUnit XML."""
import html
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import results

STYLE = """
:root { color-scheme: light dark; --line: #ccc; --head: #eee; --good: #dfd; --known: #ffd;
        --bad: #fcc }
@media (prefers-color-scheme: dark) {
  :root { --line: #555; --head: #333; --good: #143d1c; --known: #4a4210; --bad: #5c1a1a }
  svg { filter: invert(1) hue-rotate(180deg) } }
body { font: 15px sans-serif; margin: 1em auto; padding: 0 1em; max-width: 90em }
.wide, pre { overflow-x: auto; max-width: 100% }
table { border-collapse: collapse }
th, td { border: 1px solid var(--line); padding: .3em .6em; text-align: right;
         white-space: nowrap }
th { background: var(--head); text-align: left }
tr > :first-child { position: sticky; left: 0 }
td a { color: inherit; text-decoration: none; display: block }
.good { background: var(--good) } .known { background: var(--known) }
.bad { background: var(--bad) } small { opacity: .7 }
pre { background: var(--head); padding: .6em } svg { width: 100%; min-width: 600px; height: auto }
"""


def programs_of(runs) -> list:
    return sorted({program.name for run in runs for program in run.judgement.programs})


def cell(program) -> str:
    """Passed/skipped/failed."""
    return (f"{program.count('passed')}/{program.count('skipped')}"
            f"/{program.count('failed', 'crashed')}")


def rows(runs) -> list:
    """The table: programs down, kernels across."""
    table = [["passed/skipped/failed", *(run.title for run in runs)]]
    for name in programs_of(runs):
        found = [next((p for p in run.judgement.programs if p.name == name), None)
                 for run in runs]
        table.append([name, *(cell(program) if program else "-" for program in found)])
    for test in sorted({test for run in runs for test in run.liburing}):
        table.append([f"liburing: {test}", *(run.liburing.get(test, "-") for run in runs)])
    table.append(["boot, s", *(f"{run.outcome.boot_seconds or 0:.1f}" for run in runs)])
    table.append(["in all, s", *(f"{run.outcome.seconds:.1f}" for run in runs)])
    table.append(["as expected", *(summary(run)[1] for run in runs)])
    return table


def summary(run) -> tuple:
    """How the run is coloured, and whether all was as expected."""
    return (("bad", "NO") if run.bad else
            ("known", "known bugs") if run.judgement.findings else ("good", "yes"))


def as_markdown(runs) -> str:
    table = rows(runs)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |"
             for row in table]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def plot(runs) -> str:
    """The delays from close() to the exit of the workers, as SVG."""
    data = "".join(f'"{run.title}" {delay}\n' for run in runs
                   for delay in results.delays(run.outcome.ktap))
    if not data:
        return ""
    # A single kernel has no range of its own.
    names = {line.rpartition(" ")[0] for line in data.splitlines()}
    script = f"""$delays << END
{data}END
set terminal svg size 1000,400 font "sans,12" background "white"
set style data boxplot
set style boxplot pointtype 7
set style fill solid 0.3
set logscale y
set xrange [0.5:{len(names)}.5]
set ylabel "ms from close() to the exit of the workers"
set xtics rotate by -30
unset key
plot $delays using (1):2:(0.5):1 pointsize 0.3
"""
    return subprocess.run(["gnuplot"], input=script, text=True, check=True,
                          stdout=subprocess.PIPE).stdout.partition("?>")[2]


def colour(run, program) -> str:
    names = {test.name for test in program.tests}
    return ("bad" if names & set(run.judgement.unexpected) else
            "known" if names & set(run.judgement.findings) else "good")


def as_html(runs, how: str) -> str:
    escape = html.escape
    page = ["<!DOCTYPE html><meta charset=utf-8><title>io_uring selftest</title>",
            "<meta name=viewport content='width=device-width'>",
            f"<style>{STYLE}</style><h1>io_uring worker lifetime selftest</h1>",
            f"<p>{escape(how)} Tests passed/skipped/failed, and seconds; each leads to what"
            " the program said. <a href='../mutants/report.html'>What the tests notice of"
            " broken kernels</a> is another page, once make mutate has made it.",
            "<div class=wide><table><tr><th>"]
    page += [f'<th><a href="#k{number}">{escape(run.title)}</a>'
             for number, run in enumerate(runs)]
    for name in programs_of(runs):
        page.append(f"<tr><th>{escape(name)}")
        for number, run in enumerate(runs):
            program = next((p for p in run.judgement.programs if p.name == name), None)
            page.append(f'<td class={colour(run, program)}><a href="#k{number}-{escape(name)}">'
                        f"{cell(program)} <small>{program.seconds:.1f}</small></a>"
                        if program else "<td>-")
    for title, values in (("boot, s", (f"{run.outcome.boot_seconds or 0:.1f}" for run in runs)),
                          ("in all, s", (f"{run.outcome.seconds:.1f}" for run in runs))):
        page.append(f"<tr><th>{title}" + "".join(f"<td>{value}" for value in values))
    page.append("<tr><th>as expected" + "".join(
        "<td class={}>{}".format(*summary(run)) for run in runs))
    page.append("</table></div><h2>From close() to the exit of the workers</h2>"
                f"<div class=wide>{plot(runs)}</div>")
    for number, run in enumerate(runs):
        page.append(f'<h2 id="k{number}">{escape(run.title)}</h2>'
                    f"<p>{escape(run.outcome.release)}")
        page += [f"<p class=bad>{escape(line)}" for line in run.complaints()]
        page += [f"<p class=known>{escape(f'{test} {what}')}"
                 for test, what in run.judgement.findings.items()]
        page += [f'<details id="k{number}-{escape(program.name)}">'
                 f"<summary class={colour(run, program)}>{escape(program.name)} "
                 f"{cell(program)}</summary><pre>{escape(program.log)}</pre></details>"
                 for program in sorted(run.judgement.programs, key=lambda p: p.name)]
        page.append("<details><summary>the kernel's log</summary>"
                    f"<pre>{escape(run.outcome.log)}</pre></details>")
    # A link opens what it leads to.
    page.append("<script>function show() { const to ="
                " document.getElementById(location.hash.slice(1));"
                " if (to && to.open === false) { to.open = true; to.scrollIntoView(); } }"
                " addEventListener('hashchange', show); show()</script>")
    return "\n".join(page) + "\n"


def write_junit(runs, path: Path) -> None:
    """A failure is what was not expected; a known bug counts as skipped."""
    root = ET.Element("testsuites")
    for run in runs:
        guest = ET.SubElement(root, "testsuite", name=run.title)
        case = ET.SubElement(guest, "testcase", classname=run.title, name="guest",
                             time=f"{run.outcome.seconds:.3f}")
        for line in run.complaints():
            ET.SubElement(case, "failure", message=line)
        ET.SubElement(case, "system-out").text = printable(run.outcome.log)
        for program in run.judgement.programs:
            suite = ET.SubElement(root, "testsuite", name=f"{run.title} {program.name}",
                                  time=f"{program.seconds:.3f}")
            for test in program.tests:
                case = ET.SubElement(suite, "testcase", name=test.name,
                                     classname=f"{run.title}.{program.name}")
                if test.name in run.judgement.unexpected:
                    ET.SubElement(case, "failure",
                                  message=run.judgement.unexpected[test.name])
                elif test.name in run.judgement.findings:
                    ET.SubElement(case, "skipped", message=run.judgement.findings[test.name])
                elif test.verdict == "skipped":
                    ET.SubElement(case, "skipped", message=test.reason)
                if test.log:
                    ET.SubElement(case, "system-out").text = printable(test.log)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def printable(text: str) -> str:
    """What XML can hold of it."""
    return "".join(char for char in text if char >= " " or char in "\n\t")
