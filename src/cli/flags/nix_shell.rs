//! The flags of `nix-shell`.

use super::Value::{File, Text};
use super::expressions::EXPRESSIONS;
use super::{Program, switch, takes};

/// `nix-shell`.
pub const NIX_SHELL: Program = Program {
    name: "nix-shell",
    synopsis: &["[FLAGS] [FILE]", "[FLAGS] -p PACKAGES...", "SCRIPT [ARGUMENTS]"],
    arguments: &[File],
    about: "Starts a shell in the environment of a derivation, whose inputs are built or fetched first",
    more: &[
        "Without a file this is shell.nix, or else default.nix; of a directory, those in it. The functions in it \
         are called with inNixShell = true.",
        "PACKAGES are expressions: what one writes into a list with the packages of <nixpkgs> in scope.",
        "A script whose first line is '#! /usr/bin/env nix-shell' names its flags in further lines that begin with \
         '#! nix-shell', and the program that runs it with -i. Files in it are relative to the script.",
        "The shell is bash of <nixpkgs>, if there is any; the variable NIX_BUILD_SHELL names another one.",
    ],
    operations: &[],
    rows: &[
        takes(&["--add-root"], &[File], "Changes nothing: no links are made"),
        takes(&["--attr", "-A"], &[Text("ATTRIBUTE")], "Takes this attribute of the expression"),
        switch(&["--check"], "Builds inputs that are there once more, and compares"),
        takes(
            &["--command"],
            &[Text("COMMAND")],
            "Does this first; on a terminal 'return' in it leads to the shell itself",
        ),
        switch(&["--dry-run"], "Tells what would be built or fetched, and starts nothing"),
        takes(&["--exclude"], &[Text("REGEX")], "Neither builds nor fetches inputs whose path matches"),
        switch(&["--expr", "-E"], "Takes the argument for an expression, not for a file"),
        takes(&["-i"], &[Text("INTERPRETER")], "Runs the script with this program; in lines of scripts only"),
        switch(&["--indirect"], "Changes nothing: no links are made"),
        takes(&["--keep"], &[Text("NAME")], "Keeps this variable, too, in a shell with --pure"),
        switch(&["--no-out-link", "--no-link"], "Changes nothing: no links are made"),
        takes(&["--out-link", "-o"], &[File], "Changes nothing: no links are made"),
        switch(&["--packages", "-p"], "Takes the arguments for packages that the shell has"),
        switch(&["--pure"], "Keeps most variables out that are set outside"),
        takes(&["--run"], &[Text("COMMAND")], "Runs this and nothing else"),
    ],
    groups: &[&EXPRESSIONS],
};
