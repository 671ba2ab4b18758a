//! The operations and flags of `nix-store`.

use super::Value::{Bytes, File, Number, StorePath};
use super::{Operation, Program, Row, switch, takes};

const DRY_RUN: Row = switch(&["--dry-run"], "Only says what would be done");
const MAX_FREED: Row = takes(&["--max-freed"], &[Bytes], "Stops once more than so many bytes came free");
const MAX_LINKS: Row =
    takes(&["--max-links"], &[Number], "Stops once the store directory has fewer links than this");
const REPAIR: Row = switch(&["--repair"], "Gives damaged paths their contents back, from substituters");
const RECURSIVE: Row =
    switch(&["--recursive"], "Hashes the archive of the file or directory, not the file's contents");

const fn operation(
    names: &'static [&'static str],
    synopsis: &'static str,
    about: &'static str,
    rows: &'static [Row],
) -> Operation {
    Operation { names, synopsis, arguments: &[StorePath], about, rows }
}

const fn on_files(
    names: &'static [&'static str],
    synopsis: &'static str,
    about: &'static str,
    rows: &'static [Row],
) -> Operation {
    Operation { names, synopsis, arguments: &[File], about, rows }
}

/// An operation without arguments.
const fn alone(
    names: &'static [&'static str],
    synopsis: &'static str,
    about: &'static str,
    rows: &'static [Row],
) -> Operation {
    Operation { names, synopsis, arguments: &[], about, rows }
}

/// `nix-store`.
pub const PROGRAM: Program = Program {
    name: "nix-store",
    synopsis: &["OPERATION [FLAGS] [ARGUMENTS]"],
    arguments: &[StorePath],
    about: "Adds, queries, copies, checks and deletes store paths",
    more: &[
        "A PATH is a store path, something inside one, or a symlink to one.",
        "Flags, arguments and the operation may come in any order; one-letter flags may be written together, as in -qR.",
    ],
    operations: OPERATIONS,
    rows: &[
        takes(
            &["--add-root"],
            &[File],
            "Makes a symlink FILE to each result, which keeps it from being collected (--realise)",
        ),
        switch(&["--indirect"], "Changes nothing: roots made by --add-root are always indirect"),
        switch(&["--no-output"], "Changes nothing"),
        switch(&["--stdin"], "Reads more arguments, separated by blanks or line breaks, from standard input"),
    ],
    groups: &[],
};

const OPERATIONS: &[Operation] = &[
    on_files(
        &["--add", "-A"],
        "FILES...",
        "Adds files and directories to the store and prints their store paths",
        &[],
    ),
    on_files(
        &["--add-fixed"],
        "ALGORITHM FILES...",
        "Adds files under paths that follow from a hash of the given algorithm",
        &[RECURSIVE],
    ),
    operation(
        &["--check-validity"],
        "PATHS...",
        "Fails if one of the paths is not valid",
        &[switch(&["--print-invalid"], "Prints the paths that are not valid, and does not fail")],
    ),
    operation(
        &["--delete"],
        "PATHS...",
        "Deletes paths that no root keeps",
        &[switch(&["--ignore-liveness"], "Also deletes what is a root, or is referred to by one")],
    ),
    on_files(&["--dump"], "FILE", "Prints the archive of a file or directory", &[]),
    alone(&["--dump-db"], "[PATHS...]", "Prints what the database knows of the paths, or of all", &[]),
    operation(&["--export"], "PATHS...", "Prints paths as a stream that --import reads", &[]),
    operation(
        &["--gc"],
        "[--print-roots | --print-live | --print-dead | --why-alive PATHS...]",
        "Deletes every path that no root keeps",
        &[
            switch(&["--dry-run"], "Only says how many paths would be deleted, and how much that would free"),
            switch(&["--json"], "Prints JSON (with --print-roots or --why-alive)"),
            MAX_FREED,
            MAX_LINKS,
            switch(&["--print-dead"], "Lists the paths that would be deleted"),
            switch(&["--print-live"], "Lists the paths that roots keep"),
            switch(&["--print-roots"], "Lists the roots and the paths that they lead to"),
            switch(
                &["--why-alive"],
                "Says which root keeps each of the paths, and by way of which references",
            ),
        ],
    ),
    on_files(
        &["--generate-binary-cache-key"],
        "NAME SECRETFILE PUBLICFILE",
        "Makes a pair of keys to sign store paths with",
        &[],
    ),
    alone(&["--import"], "", "Adds the paths of a stream from standard input that --export printed", &[]),
    alone(&["--init"], "", "Makes the store's directories and its database, if they are not there", &[]),
    alone(&["--load-db"], "", "Registers the paths that --dump-db printed, read from standard input", &[]),
    alone(&["--optimise", "--optimize"], "", "Makes equal files of the store hard links to one copy", &[]),
    operation(
        &["--print-env"],
        "DRV",
        "Prints the environment of a derivation's builder as a shell script",
        &[],
    ),
    alone(
        &["--print-fixed-path"],
        "ALGORITHM HASH NAME",
        "Prints the store path of a file with a known hash",
        &[RECURSIVE],
    ),
    operation(
        &["--query", "-q"],
        "[QUESTION] PATHS...",
        "Prints what the store knows of paths; --outputs if no question is given",
        &[
            switch(
                &["--binding", "-b"],
                "Prints a variable of each derivation; its name is the first argument",
            ),
            switch(&["--deriver", "-d"], "Prints the derivation that made each path"),
            switch(
                &["--force-realise", "--force-realize", "-f"],
                "Realises the paths first (not available with a query yet)",
            ),
            switch(&["--graph"], "Prints the paths' closure as a graph for graphviz"),
            switch(&["--graphml"], "Prints the paths' closure as a graph in GraphML"),
            switch(&["--hash"], "Prints the hash of each path's archive"),
            switch(
                &["--include-outputs"],
                "With --requisites: also the outputs of derivations in the closure",
            ),
            switch(&["--outputs"], "Prints the outputs of each derivation (the default question)"),
            switch(&["--references"], "Prints the paths that each path refers to"),
            switch(&["--referrers", "--referers"], "Prints the paths that refer to each path"),
            switch(
                &["--referrers-closure", "--referers-closure"],
                "Prints the paths that refer to each path, directly or by way of others",
            ),
            switch(
                &["--requisites", "-R"],
                "Prints the closure: the paths and everything that they refer to",
            ),
            switch(&["--resolve"], "Prints the store path that each file leads to"),
            switch(&["--roots"], "Prints the roots that keep each path"),
            switch(&["--size"], "Prints the size of each path's archive"),
            switch(&["--tree"], "Prints the closure of each path as a tree"),
            switch(&["--use-output", "-u"], "Asks about the outputs of a derivation in its place"),
            switch(&["--valid-derivers"], "Prints the valid derivations that make each path"),
        ],
    ),
    operation(&["--read-log", "-l"], "PATHS...", "Prints the logs of the builds that made the paths", &[]),
    operation(
        &["--realise", "--realize", "-r"],
        "PATHS...",
        "Fetches paths that are missing, and prints the outputs of derivations",
        &[
            switch(&["--check"], "Has a daemon that builds make the outputs again, and compares them"),
            DRY_RUN,
            switch(&["--ignore-unknown"], "Passes over paths that nobody has"),
            switch(&["--repair"], "Has a daemon that builds make damaged outputs again"),
        ],
    ),
    alone(&["--rebuild-db"], "", "Makes the database anew from what is on disk", &[]),
    alone(
        &["--register-validity"],
        "",
        "Registers paths that are on disk; reads them from standard input",
        &[
            switch(&["--hash-given"], "Hash and size of each path are given, too"),
            switch(&["--reregister"], "Also registers paths that are valid already"),
        ],
    ),
    operation(
        &["--repair-path"],
        "PATHS...",
        "Gives damaged paths their contents back, from substituters",
        &[],
    ),
    on_files(&["--restore"], "FILE", "Unpacks an archive from standard input as FILE", &[]),
    alone(
        &["--serve"],
        "",
        "Serves another machine over standard input and output",
        &[switch(&["--write"], "Lets the other machine add paths")],
    ),
    alone(
        &["--verify"],
        "",
        "Checks that what the database says of paths is true",
        &[switch(&["--check-contents"], "Also checks the contents of all paths, which takes long"), REPAIR],
    ),
    operation(&["--verify-path"], "PATHS...", "Checks the contents of paths", &[]),
];
