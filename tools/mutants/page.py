# SPDX-License-Identifier: GPL-2.0
"""The map of mutants by rule: the source, each line in the colour of its worst mutant."""
import collections
import html

import build
import rules
import verdicts

STYLE = """
:root { color-scheme: light dark; --killed: #c8f0c8; --crashed: #d8e8f8; --reasoned: #e4e4e4;
	--untried: transparent; --not-reached: #ffe0b0; --survived: #ffb8b8; --wedged: #e8b8ff }
@media (prefers-color-scheme: dark) { :root { --killed: #1d4a1d; --crashed: #1f3a55;
	--reasoned: #444; --not-reached: #6b4a10; --survived: #8a1f1f; --wedged: #5b2080 } }
body { font: 15px sans-serif; margin: 1em auto; max-width: 75em; padding: 0 1em }
.wide { overflow-x: auto }
table { border-collapse: collapse }
th, td { border: 1px solid #8888; padding: .2em .5em; text-align: right }
th:first-child { text-align: left }
pre { line-height: 1.35; tab-size: 8 }
pre > * { display: block } pre > :target { outline: 2px solid }
i { font-style: normal; opacity: .5; user-select: none }
summary { cursor: pointer }
.killed { background: var(--killed) } .crashed { background: var(--crashed) }
.reasoned { background: var(--reasoned) } .untried { background: var(--untried) }
.not-reached { background: var(--not-reached) } .survived { background: var(--survived) }
.wedged { background: var(--wedged) }
li { margin: .3em 0; overflow-wrap: anywhere }
"""
LEGEND = {
    "killed": "a test failed on each mutant of the line",
    "crashed": "one made the kernel die or hang before a test had failed",
    "reasoned": "no test can notice one, or get there, and the line says why",
    "untried": "no mutant was made of it, or none was tried yet",
    "not reached": "no program of the selftest gets there",
    "survived": "all programs that get there pass with one: a test is missing",
    "wedged": "a program did not end with one: a defect of the program",
}


def colour(how):
    return how.replace(" ", "-")


def share(tally):
    """Killed, of those that tests can be asked to notice."""
    asked = sum(tally[how] for how in ("killed", "survived", "not reached", "wedged"))
    return f"{100 * tally['killed'] / asked:.0f} %" if asked else "-"


def rows(field, judge, chosen, place):
    """Lines of a table: by place(edit), how many of which verdict."""
    tallies = collections.defaultdict(collections.Counter)
    for numbers in chosen:
        edits = [field.edits[number] for number in numbers]
        tallies[place(edits[0])][judge.verdict(numbers, edits).how] += 1
    if len(tallies) > 1:
        tallies["all"] = sum(tallies.values(), collections.Counter())
    for name, tally in tallies.items():
        yield [name, sum(tally.values()), *(tally[how] for how in verdicts.HOWS), share(tally)]


HEAD = ["", "compiled", *verdicts.HOWS, "of noticeable"]


def table(field, judge, chosen):
    lines = [HEAD, *rows(field, judge, chosen, lambda edit: edit.file)]
    return "\n".join(f"{line[0]:<12}" + "".join(f"{cell:>15}" for cell in line[1:])
                     for line in lines)


def link(name):
    return f'<a href="#{name}">{name}</a>' if name in rules.SCOPE else name


def html_table(lines):
    yield "<div class=wide><table>"
    for number, line in enumerate(lines):
        cell = "td" if number else "th"
        yield f"<tr><th>{line[0]}" + "".join(f"<{cell}>{text}" for text in line[1:])
    yield "</table></div>"


def tell(edit, verdict):
    by = f" by {verdict.test}" if verdict.test else ""
    said = f": {verdict.message}" if verdict.message else ""
    return f"{verdict.how}{by}: {edit.title}{said}"


def listing(name, text, judged):
    """The lines of a file."""
    by_line = collections.defaultdict(list)
    for edit, verdict in judged:
        by_line[edit.line].append((edit, verdict))
    shown = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        said = f"<i>{number:>5} </i>{html.escape(line)}"
        if found := by_line.get(number):
            worst = max((verdict.how for _, verdict in found), key=verdicts.HOWS.index)
            why = html.escape("\n".join(tell(edit, verdict) for edit, verdict in found))
            said = f'<span id="{name}-{number}" class={colour(worst)} title="{why}">{said}</span>'
        else:
            said = f"<span>{said}</span>"
        shown.append(said)
    # Each line is a block of its own.
    return f'<h2 id="{name}">{name}</h2><div class=wide><pre>{"".join(shown)}</pre></div>'


def write(path, field, judge):
    mutants = [((number,), edit) for number, edit in field.edits.items() if not edit.delay]
    judged = [(edit, judge.verdict(numbers, [edit])) for numbers, edit in mutants]
    chosen = [numbers for numbers, _ in mutants]
    made = collections.Counter(edit.file for edit in field.all_edits if not edit.delay)
    page = ["<!DOCTYPE html><html lang=en><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width, initial-scale=1'>",
            f"<title>Mutants of io_uring</title><style>{STYLE}</style><h1>Mutants of io_uring</h1>",
            f"<p>{sum(made.values())} mutants were made by rule, and {len(mutants)} of them compile. ",
            "A line has the colour of its worst mutant, and tells of all of them where the pointer ",
            "rests on it.<table>"]
    page += [f"<tr><td class={colour(how)} style='text-align: left'>{how}<td style='text-align: left'>"
             f"{what}" for how, what in LEGEND.items()]
    page.append("</table><h2>Files</h2>")
    page += html_table([HEAD, *([link(line[0]), *line[1:]]
                                for line in rows(field, judge, chosen, lambda edit: edit.file))])
    page.append("<h2>Functions</h2><details><summary>a table of them</summary>")
    page += html_table([HEAD, *rows(field, judge, chosen,
                                    lambda edit: f"{edit.file}:{edit.function}")])
    page.append("</details><h2>What nobody notices</h2><ul>")
    page += [f'<li><a href="#{edit.file}-{edit.line}">{edit.file}:{edit.line}</a> {edit.function}(): '
             f"<span class={colour(verdict.how)}>{html.escape(tell(edit, verdict))}</span>"
             for edit, verdict in judged if verdict.how in verdicts.OPEN]
    page.append("</ul>")
    for name in rules.SCOPE:
        text = (build.source() / "io_uring" / name).read_text()
        page.append(listing(name, text, [both for both in judged if both[0].file == name]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(page) + "\n")
