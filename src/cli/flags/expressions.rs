//! Flags of Nix expressions, and the program that evaluates them.

use super::Value::{File, Store, Text};
use super::{Group, Program, switch, takes};

/// Flags of every program that evaluates expressions.
pub const EXPRESSIONS: Group = Group {
    title: "Flags of Nix expressions",
    offered: true,
    rows: &[
        takes(
            &["--arg"],
            &[Text("NAME"), Text("EXPRESSION")],
            "Calls functions with the value of an expression as this argument",
        ),
        takes(
            &["--arg-from-file"],
            &[Text("NAME"), File],
            "Calls functions with the text of a file as this argument",
        ),
        takes(&["--arg-from-stdin"], &[Text("NAME")], "Calls functions with standard input as this argument"),
        takes(&["--argstr"], &[Text("NAME"), Text("TEXT")], "Calls functions with a text as this argument"),
        takes(&["--eval-store"], &[Store], "Works on another store while evaluating"),
        switch(&["--impure"], "Lets expressions read whatever they like"),
        takes(&["--include", "-I"], &[Text("[NAME=]PATH")], "Looks for <NAME> there first"),
        takes(
            &["--override-flake"],
            &[Text("FLAKE"), Text("FLAKE")],
            "Takes another flake in place of one (flakes come later)",
        ),
        switch(&["--repair"], "Mends paths that expressions add (comes later)"),
    ],
};

/// `nix-instantiate`.
pub const NIX_INSTANTIATE: Program = Program {
    name: "nix-instantiate",
    synopsis: &[
        "[FLAGS] FILES...",
        "--eval [FLAGS] FILES...",
        "--parse [FLAGS] FILES...",
        "--find-file [FLAGS] NAMES...",
    ],
    arguments: &[File],
    about: "Makes derivations of Nix expressions, or prints what they evaluate to",
    more: &[
        "A directory stands for its default.nix, - for standard input, <NAME> is looked up, \
         and a URL is that of an archive. Without arguments ./default.nix is evaluated.",
        "Derivations are written to the store, and the path of each is printed; they are those of a set or \
         list, or the value itself.",
    ],
    operations: &[],
    rows: &[
        takes(
            &["--add-root"],
            &[File],
            "Makes a symlink to each derivation, which keeps it from being collected",
        ),
        takes(
            &["--attr", "-A"],
            &[Text("ATTRIBUTE")],
            "Takes this attribute of the expression; may be repeated",
        ),
        switch(&["--dry-run"], "Writes nothing to the store"),
        switch(&["--eval", "--eval-only"], "Prints the value of each expression"),
        switch(&["--expr", "-E"], "Takes the arguments for expressions, not for files"),
        switch(&["--find-file"], "Prints where each <NAME> is found"),
        switch(&["--indirect"], "Changes nothing: roots are always indirect"),
        switch(&["--json"], "Prints values as JSON"),
        switch(&["--no-location"], "Leaves places in files out of XML"),
        switch(&["--parse", "--parse-only"], "Prints how each expression is understood"),
        switch(&["--raw"], "Prints values that are texts without quotes and line ends"),
        switch(&["--read-write-mode"], "Writes derivations and copied files to the store"),
        switch(&["--strict"], "Evaluates everything in a value before it is printed"),
        switch(&["--xml"], "Prints values as XML"),
    ],
    groups: &[&EXPRESSIONS],
};

/// `nix-build`.
pub const NIX_BUILD: Program = Program {
    name: "nix-build",
    synopsis: &["[FLAGS] FILES...", "[FLAGS] DERIVATIONS..."],
    arguments: &[File],
    about: "Builds derivations of Nix expressions, and links to what they make",
    more: &[
        "A directory stands for its default.nix, - for standard input, <NAME> is looked up, \
         and a URL is that of an archive. Without arguments ./default.nix is evaluated.",
        "The path of each result is printed. Links keep results from being collected: result, result-2, …, with the \
         name of an output other than out at their end.",
    ],
    operations: &[],
    rows: &[
        takes(
            &["--attr", "-A"],
            &[Text("ATTRIBUTE")],
            "Takes this attribute of the expression; may be repeated",
        ),
        switch(&["--check"], "Builds what is there once more, and compares"),
        switch(&["--dry-run"], "Tells what would be built or fetched, and does nothing"),
        switch(&["--expr", "-E"], "Takes the arguments for expressions, not for files"),
        switch(&["--no-out-link", "--no-link"], "Makes no links"),
        takes(&["--out-link", "-o"], &[File], "Calls the links like this instead of result"),
    ],
    groups: &[&EXPRESSIONS],
};
