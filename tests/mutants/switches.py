"""Writes all mutants of a file into the file at once, each behind a switch.

cargo-mutants compiles the crate once for each mutant. A file with switches contains the original code and every mutant
of the file, so that one build serves all mutants: the environment variable IMPRINT_BRIDGE_MUTANT selects, by number,
the mutant that the test binary executes. Without the variable the binary executes the original code.

    a <= b      becomes     (if crate::mutant::none_of(7, 8) {a <= b} else if crate::mutant::is(7) {a > b} else {a < b})
    { body }    becomes     { if crate::mutant::is(9) { return true; } body }
    { items }   becomes     { if …none_of(9, 9) {…Either::Left({ items })} else {…Either::Right(::std::iter::empty())} }
    x => y      becomes     x if !crate::mutant::is(10) => y
"""

from dataclasses import dataclass, field

import tree_sitter_rust
from tree_sitter import Language, Parser

# The module that knows the active mutant. It is added to the crate's root. Its functions are `const`, because mutants
# occur in `const fn`; so the number is a plain static that the loader sets before `main`.
MODULE = """
mod mutant {
    use std::sync::atomic::{AtomicU32, Ordering};
    static ACTIVE: AtomicU32 = AtomicU32::new(0);
    #[used]
    #[unsafe(link_section = ".init_array")]
    static BEFORE_MAIN: extern "C" fn() = before_main;
    extern "C" fn before_main() {
        let number = std::env::var("IMPRINT_BRIDGE_MUTANT").ok().and_then(|number| number.parse().ok());
        ACTIVE.store(number.unwrap_or(0), Ordering::Relaxed);
    }
    const fn active() -> u32 {
        unsafe { *ACTIVE.as_ptr() }
    }
    pub(crate) const fn is(number: u32) -> bool {
        active() == number
    }
    pub(crate) const fn none_of(first: u32, last: u32) -> bool {
        active() < first || active() > last
    }
    pub(crate) enum Either<A, B> {
        Left(A),
        Right(B),
    }
    impl<A: Iterator, B: Iterator<Item = A::Item>> Iterator for Either<A, B> {
        type Item = A::Item;
        fn next(&mut self) -> Option<A::Item> {
            match self {
                Self::Left(left) => left.next(),
                Self::Right(right) => right.next(),
            }
        }
    }
}
"""

# The kinds of sites. Of two sites with the same range, the first kind encloses the other.
RANKS = ["iterator", "body", "arm", "arm with guard", "guard", "expression"]


@dataclass(eq=False)
class Mutant:
    """One change that cargo-mutants proposes. Positions are in bytes of the file."""

    file: str
    name: str
    genre: str
    start: int
    end: int
    replacement: bytes
    return_type: str
    number: int = 0


@dataclass
class Site:
    """The expression, the function body or the match arm that contains the changes of some mutants."""

    genre: str
    start: int
    end: int
    mutants: list = field(default_factory=list)


@dataclass
class Region:
    """A range of bytes of the file with switches: the code of one mutant, or of a whole site with several mutants."""

    start: int
    end: int
    mutants: list
    own: bool


def sites(source, mutants):
    """Returns the sites of a file, the mutants that no switch can select, and the mutants that do not compile."""
    tree = Parser(Language(tree_sitter_rust.language())).parse(source)
    found, without, refused = {}, [], []
    for mutant in mutants:
        # The language has no `||` beside `let`.
        if tree.root_node.descendant_for_byte_range(mutant.start, mutant.end).parent.type == "let_chain":
            refused.append(mutant)
            continue
        place = site_of(tree.root_node, mutant)
        if place is None:
            without.append(mutant)
            continue
        genre, start, end = place
        found.setdefault(place, Site(genre, start, end)).mutants.append(mutant)
    return list(found.values()), without, refused


def site_of(root, mutant):
    node = root.descendant_for_byte_range(mutant.start, mutant.end)
    if mutant.genre == "FnValue":
        while node and not (node.type == "block" and node.parent and node.parent.type == "function_item"):
            node = node.parent
        if not node:
            return None
        # All values of an opaque type have the same type. Only of two iterators, `Either` makes one type.
        if mutant.return_type.startswith("-> impl Iterator<"):
            return ("iterator", node.start_byte + 1, node.end_byte - 1)
        if "impl " in mutant.return_type:
            return None
        # The place after the opening brace.
        return ("body", node.start_byte + 1, node.start_byte + 1)
    if mutant.genre == "BinaryOperator":
        node = node.parent
        if node.type == "compound_assignment_expr":
            return ("expression", node.start_byte, node.end_byte)
        if node.type != "binary_expression":
            return None
        # The outermost expression without parentheses: the new operator can bind its neighbours differently.
        while node.parent.type == "binary_expression":
            node = node.parent
        return ("expression", node.start_byte, node.end_byte)
    if mutant.genre == "UnaryOperator":
        node = node.parent
        return ("expression", node.start_byte, node.end_byte) if node.type == "unary_expression" else None
    if mutant.genre == "StructField":
        while node and node.type != "struct_expression":
            node = node.parent
        return node and ("expression", node.start_byte, node.end_byte)
    if mutant.genre == "MatchArmGuard":
        return None if has_let(node) else ("guard", mutant.start, mutant.end)
    if mutant.genre == "MatchArm":
        while node and node.type != "match_arm":
            node = node.parent
        pattern = node and node.child_by_field_name("pattern")
        # An arm with a guard does not count towards exhaustiveness, so another arm must match everything.
        if not pattern or not any(arm != node and matches_all(arm) for arm in node.parent.named_children):
            return None
        guard = pattern.child_by_field_name("condition")
        if guard:
            return None if has_let(guard) else ("arm with guard", guard.start_byte, guard.end_byte)
        return ("arm", pattern.end_byte, pattern.end_byte)
    return None


def matches_all(arm):
    return arm.type == "match_arm" and arm.child_by_field_name("pattern").text == b"_"


def has_let(guard):
    """Returns whether a guard binds names, so that no parentheses can enclose it."""
    return guard.type in ("let_chain", "let_condition")


def with_switches(source, places):
    """Returns the source with switches, and the regions of the code that the switches add."""
    # Insertions, ordered by position. At the same position the inner of two sites closes first and opens last.
    pieces = []
    for site in places:
        first, last = site.mutants[0].number, site.mutants[-1].number
        rank = RANKS.index(site.genre)
        before, after = insertions(source, site, first, last)
        pieces.append(((site.start, 1, -site.end if after else -len(source), rank), site, True, before))
        if after:
            pieces.append(((site.end, 0, -site.start, -rank), site, False, after))
    pieces.sort(key=lambda piece: piece[0])
    out, regions, opened, position = bytearray(), [], {}, 0
    for (at, *_), site, opens, parts in pieces:
        out += source[position:at]
        position = at
        if opens:
            opened[id(site)] = len(out)
        for text, mutant in parts:
            if mutant:
                regions.append(Region(len(out), len(out) + len(text), [mutant], True))
            out += text
        if not opens or site.start == site.end:
            regions.append(Region(opened[id(site)], len(out), site.mutants, False))
    return bytes(out + source[position:]), regions


def insertions(source, site, first, last):
    """Returns the text before and after a site, in parts. A part that belongs to one mutant names the mutant."""
    if site.genre == "body":
        parts = [(b" if crate::mutant::is(%d) { return %s; }" % (m.number, m.replacement), m) for m in site.mutants]
        return parts, []
    active = b"crate::mutant::none_of(%d, %d)" % (first, last)
    if site.genre == "iterator":
        before = [(b" if " + active + b" {crate::mutant::Either::Left({", None)]
        after = [(b"})}", None)]
        for depth, mutant in enumerate(site.mutants, 1):
            is_last = mutant is site.mutants[-1]
            condition = b"" if is_last else b" if crate::mutant::is(%d)" % mutant.number
            sides = [b"Right"] * depth + ([] if is_last else [b"Left"])
            value = b"".join(b"crate::mutant::Either::%s(" % side for side in sides)
            after += [(b" else" + condition + b" {" + value, None), (mutant.replacement, mutant)]
            after += [(b")" * len(sides) + b"}", None)]
        return before, after
    if site.genre == "arm":
        return [(b" if " + active, None)], []
    if site.genre == "arm with guard":
        return [(active + b" && (", None)], [(b")", None)]
    # The original comes first: the compiler then reports a difference in type at the mutant.
    before = [(b"(if " + active + b" {", None)]
    after = [(b"}", None)]
    for mutant in site.mutants:
        changed = source[site.start : mutant.start] + mutant.replacement + source[mutant.end : site.end]
        condition = b"" if mutant is site.mutants[-1] else b" if crate::mutant::is(%d)" % mutant.number
        after += [(b" else" + condition + b" {", None), (changed, mutant), (b"}", None)]
    return before, [*after, (b")", None)]
