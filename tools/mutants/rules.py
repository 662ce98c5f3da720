# SPDX-License-Identifier: GPL-2.0
"""Makes mutants, and delays, of a kernel source by rule: nobody chose them.

The rules are the textbook's, on the syntax tree that tree-sitter makes of the source as
it stands.  A mutant is an insertion before and after a stretch of text, where MUTANT
is true if it was chosen at boot, as in mutants.toml.
"""
import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from build import CACHE, BadInput

# Files, and their functions, or all.
SCOPE = {
    "io-wq.c": None,
    "tctx.c": None,
    "cancel.c": None,
    "sqpoll.c": None,
    # The ring's end, and what leads to io-wq and back.
    "io_uring.c": ("io_prep_async_work", "io_prep_async_link", "io_req_queue_iowq_tw",
                   "io_queue_iowq", "io_wq_put_work", "io_wq_free_work", "io_wq_submit_work",
                   "io_queue_async", "io_tctx_exit_cb", "io_ring_exit_work",
                   "io_ring_ctx_wait_and_kill", "io_uring_release"),
    "register.c": ("__io_register_iowq_aff", "io_register_iowq_aff", "io_unregister_iowq_aff",
                   "io_register_iowq_max_workers"),
}
PARSER = Path(__file__).resolve().parent / "parse.cjs"
MODULES = "web-tree-sitter@0.27", "tree-sitter-c@0.24"

# What only asserts, or tells a log: nothing in it can be noticed.
IDLE = re.compile(r"lockdep_|WARN|BUG|BUILD_BUG|might_|pr_|trace_|audit_|kcov_|fallthrough")
# What declares something, though the parser takes it for a statement.
DECLARES = re.compile(r"(DEFINE|DECLARE)_|H?LIST_HEAD\b|CLASS\b|guard\b")
# What others can see: locks let go, bits, lists, reference counts, wake-ups, states.
VISIBLE = re.compile(
    r".*unlock|(test_and_)?(set|clear)_bit|.*_(add|del|cut|init)(_(head|tail|init|after|rcu))*$"
    r"|(atomic|refcount|percpu_ref)_(?!read)|.*_(get|put|release)$|put_|wake_up|complete|.*notify"
    r"|.*signal|set_(mask_bits|current_state|cpus)|__set_current_state|WRITE_ONCE|rcu_assign"
    r"|smp_store|xa_(store|erase)|kfree_rcu|queue_|schedule_delayed|cmpxchg|io_task_work")
# Which side has to be one more, for a bound that is off by one.
RELATIONS = {"<": "right", "<=": "left", ">": "left", ">=": "right"}
# Calls that change nothing: a condition of them that is false is no more than its statement left out.
PURE = re.compile(r"test_bit|IS_ERR|PTR_ERR|READ_ONCE|(un)?likely|task_rlimit|time_|cpumask_|fatal_signal"
                  r"|signal_pending|.*(_empty|_read|is_hashed|has_sleeper)$")


@dataclass
class Node:
    type: str
    field: Optional[str]
    begin: int
    end: int
    children: list
    parent: Optional["Node"] = field(default=None, repr=False)

    @classmethod
    def of(cls, plain, parent=None):
        kind, name, begin, end, children = plain
        node = cls(kind, name, begin, end, [], parent)
        node.children = [cls.of(child, node) for child in children]
        return node

    def child(self, name):
        return next((child for child in self.children if child.field == name), None)

    def all(self):
        yield self
        for child in self.children:
            yield from child.all()

    def up(self):
        node = self.parent
        while node:
            yield node
            node = node.parent


@dataclass(frozen=True)
class Edit:
    """One change: what is done to which text, and how it is written."""
    file: str
    function: str
    line: int
    rule: str
    what: str
    begin: int
    end: int
    before: str
    after: str

    @property
    def title(self):
        """What tells it from others of its function, for people and for reasons."""
        return f"{self.rule}: {self.what}"

    @property
    def delay(self):
        return self.rule == "slow"

    def __str__(self):
        return f"{self.file}:{self.line} {self.function}(): {self.title}"


def modules():
    """Where npm's parser is, fetched once."""
    place = CACHE / "npm"
    found = place / "node_modules"
    if not (found / "tree-sitter-c").exists():
        place.mkdir(parents=True, exist_ok=True)
        run = subprocess.run(["npm", "install", "--prefix", place, "--ignore-scripts", "--no-audit",
                              "--no-fund", "--silent", *MODULES],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode:
            raise BadInput(f"npm cannot fetch {' and '.join(MODULES)}: {run.stdout.strip()}")
    return found


def parse(paths):
    """The syntax trees of files, in their order."""
    run = subprocess.run(["node", PARSER, modules(), *paths], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    if run.returncode:
        raise BadInput(f"the C parser failed: {run.stderr.strip().splitlines()[-1]}")
    return map(Node.of, json.loads(run.stdout))


class Source:
    """A file, and the edits that the rules make of it."""

    def __init__(self, name, text, tree, spans):
        self.name, self.text, self.tree, self.spans = name, text, tree, spans
        self.edits = []

    def text_of(self, node):
        return self.text[node.begin:node.end]

    def callee(self, node):
        """The name of the function that a statement or an expression calls first of all."""
        call = next((one for one in node.all() if one.type == "call_expression"), None)
        return self.text_of(call.children[0]) if call else self.text_of(node).strip(" ;")

    def idle(self, node):
        return any(IDLE.match(self.callee(one)) for one in (node, *node.up())
                   if one.type in ("call_expression", "expression_statement"))

    def add(self, rule, node, before="", after="", what=None):
        function = next((name for name, begin, end in self.spans
                         if begin <= node.begin and node.end <= end), None)
        if function is None or self.idle(node):
            return
        what = " ".join((what or self.text_of(node)).split())
        self.edits.append(Edit(self.name, function, self.text.count("\n", 0, node.begin) + 1, rule,
                               what if len(what) <= 90 else f"{what[:87]}...",
                               node.begin, node.end, before, after))

    def make(self):
        for node in self.tree.all():
            statement(self, node)
            condition(self, node)
            relation(self, node)
            constant(self, node)
        return self.edits


def macro_loop(source, node):
    """The body that follows the head of a loop which is a macro, for a parser that has no macros."""
    if node.type != "expression_statement" or source.text_of(node).endswith(";"):
        return None
    after = node.parent.children[node.parent.children.index(node) + 1:]
    return next((one for one in after[:1] if one.type == "compound_statement"), None)


def statement(source, node):
    """Statements are left out, and what others can see is slow."""
    if node.parent is None or node.parent.type == "translation_unit" or \
            DECLARES.match(source.text_of(node)) or torn(source, node):
        return
    before, after = "{ if (MUTANT); else", "}"
    if body := macro_loop(source, node):
        source.add("without", Node("", None, node.begin, body.end, [node], node.parent), before,
                   after, source.text_of(node) + " {}")
        return
    if node.type == "expression_statement" and source.text_of(node).rstrip(";"):
        if not source.text_of(node).endswith(";"):
            return
        if not only_of_an_if(source, node):
            source.add("without", node, before, after)
        if VISIBLE.match(source.callee(node)):
            source.add("slow", node, "{", "io_uring_slow(MUTANT); }")
    elif node.type in ("goto_statement", "break_statement", "continue_statement", "return_statement"):
        last = node.parent.parent and node.parent.parent.type == "function_definition" and \
            node.parent.children[-2] is node
        if not last and not only_of_an_if(source, node):
            source.add("without", node, before, after)
    elif (node.type == "if_statement" and node.child("alternative")) or \
            node.type in ("switch_statement", "do_statement"):
        source.add("without", node, before, after, source.text_of(node).split("{")[0] + " {}")


def torn(source, node):
    """Whether it is the rest of a declaration with an annotation that the parser does not know."""
    place = node.parent.children.index(node)
    before = node.parent.children[place - 1] if place else node
    return before.type == "declaration" and not source.text_of(before).endswith(";")


def only_of_an_if(source, node):
    """Whether leaving it out is the same as a condition that is false, which is there, too."""
    parent = node.parent
    if parent.type == "compound_statement" and len(parent.children) == 3:
        node, parent = parent, parent.parent
    return (parent.type == "if_statement" and node.field == "consequence"
            and not parent.child("alternative")
            and not any(one.type in ("assignment_expression", "update_expression")
                        or one.type == "call_expression" and not PURE.match(source.callee(one))
                        for one in parent.child("condition").all()))


def inner(source, node):
    """Without parentheses, and what compilers are told of probability."""
    while True:
        if node.type == "parenthesized_expression":
            node = node.children[1]
        elif node.type == "call_expression" and \
                source.text_of(node.children[0]) in ("likely", "unlikely"):
            node = node.child("arguments").children[1]
        else:
            return node


def operator(source, node):
    return source.text_of(node.child("operator")) if node.type == "binary_expression" else ""


def logical(source, node):
    return operator(source, node) in ("&&", "||", "==", "!=", *RELATIONS) or \
        (node.type == "unary_expression" and source.text_of(node).startswith("!"))


def condition(source, node):
    """Conditions are true, or false, whatever they ask; so are the arms of a ternary."""
    if node.field == "condition" and node.parent.type in (
            "if_statement", "while_statement", "do_statement", "for_statement",
            "conditional_expression"):
        if node.parent.type == "conditional_expression" and not node.parent.child("consequence"):
            return      # of `this ?: that`, it is the value as well
        owner, node = node.parent, inner(source, node)
        endless = owner.type in ("while_statement", "do_statement", "for_statement") and not any(
            one.type in ("break_statement", "return_statement", "goto_statement")
            for one in owner.child("body").all())
    elif logical(source, node) and not any(
            logical(source, one) or one.field == "condition" for one in node.up()
            if one.type.endswith("expression") and one.type != "call_expression"):
        endless = False
    else:
        return
    fixed = node.type == "number_literal" or source.text_of(node) in ("true", "false")
    if not endless and not fixed:
        always(source, node)
    if fixed and source.text_of(node) in ("0", "false"):
        return
    never(source, node)
    parts(source, node)


def always(source, node):
    source.add("true", node, "(MUTANT || (", "))")


def never(source, node):
    source.add("false", node, "(!MUTANT && (", "))")


def parts(source, node):
    """What a part of a condition decides, but for what the whole being true or false says."""
    one_way = {"&&": always, "||": never}.get(operator(source, node))
    if one_way:
        for part in node.child("left"), node.child("right"):
            part = inner(source, part)
            if operator(source, part) != operator(source, node):
                one_way(source, part)
            parts(source, part)


def relation(source, node):
    """Less becomes less or equal, and so on: the bound is off by one."""
    if one_more := RELATIONS.get(operator(source, node)):
        source.add("off by one", node.child(one_more), "(", ") + MUTANT", source.text_of(node))


def constant(source, node):
    """Numbers are one more, truths are the other, and errors have other numbers."""
    text = source.text_of(node)
    if node.type not in ("number_literal", "true", "false", "identifier") or node.field == "label":
        return
    owners = {one.type for one in node.up()}
    if owners & {"array_declarator", "enumerator", "bitfield_clause", "preproc_def"}:
        return
    if any(one.type == "case_statement" and one.child("value") and
           one.child("value").begin <= node.begin < one.child("value").end for one in node.up()):
        return
    if node.field == "condition" or node.parent.field == "condition" or \
            operator(source, node.parent) in RELATIONS:
        return
    line = source.text[source.text.rfind("\n", 0, node.begin) + 1:]
    what = f"{text} in {line.split(chr(10))[0].strip()}"
    if node.type in ("true", "false"):
        source.add("constant", node, "(MUTANT !=", ")", what)
    elif node.type == "number_literal" or re.fullmatch(r"E[A-Z0-9]+", text):
        source.add("constant", node, "(", "+ MUTANT)", what)


def generate(folder, functions, scope=None):
    """The edits of all files of the scope in a folder; functions(text) gives a file's."""
    edits = []
    scope = scope or SCOPE
    paths = [folder / name for name in scope]
    for path, tree in zip(paths, parse(paths)):
        text = path.read_text()
        wanted = scope[path.name]
        spans = [span for span in functions(text) if wanted is None or span[0] in wanted]
        edits += Source(path.name, text, tree, spans).make()
    return sorted(set(edits), key=lambda edit: (list(scope).index(edit.file), edit.begin, edit.end,
                                                edit.rule))
