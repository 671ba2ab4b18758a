//! Flags of every program, and of every subcommand of `nix`.

use super::{Group, Value, switch, takes};

const LOG_FORMATS: &[&str] =
    &["bar", "bar-with-logs", "internal-json", "multiline", "multiline-with-logs", "raw", "raw-with-logs"];

/// Flags of every program.
pub const ALL: Group = Group {
    title: "Flags of every program",
    offered: true,
    rows: &[
        switch(&["--debug"], "Prints everything that there is to tell"),
        switch(&["--help"], "Prints this help and does nothing else"),
        takes(&["--log-format"], &[Value::Word(LOG_FORMATS)], "Chooses the form of messages"),
        takes(&["-j"], &[Value::Text("N|auto")], "Sets 'max-jobs': how many builds run at the same time"),
        takes(
            &["--option"],
            &[Value::Setting, Value::OfSetting],
            "Sets a setting for this run; one that does not exist is told of",
        ),
        switch(&["--quiet"], "Prints less; may be repeated"),
        switch(&["--verbose", "-v"], "Prints more; may be repeated"),
        switch(&["--version"], "Prints the version and does nothing else"),
    ],
};

/// Flags of every program but `nix`.
pub const OF_CLASSIC: Group = Group {
    title: "Flags of every classic program",
    offered: true,
    rows: &[
        switch(
            &["--keep-failed", "-K"],
            "Sets 'keep-failed': leaves the directory of a failed build in place",
        ),
        switch(
            &["--keep-going", "-k"],
            "Sets 'keep-going': after a failure goes on with what does not depend on it",
        ),
        switch(&["--no-build-output", "-Q"], "Does not show what builders print"),
        switch(
            &["--no-gc-warning"],
            "Does not warn that a result has no root ('nix-store --realise', 'nix-instantiate')",
        ),
        switch(&["--readonly-mode"], "Writes nothing to the store while expressions are evaluated"),
    ],
};

/// Flags of every subcommand of `nix`.
pub const OF_NIX: Group = Group {
    title: "Flags of every subcommand",
    offered: true,
    rows: &[
        switch(
            &["--offline", "--no-net"],
            "Asks no substituters, and takes what was fetched before for fresh",
        ),
        switch(&["--print-build-logs", "-L"], "Shows what builders print"),
        switch(&["--refresh"], "Takes nothing that was fetched before for fresh"),
    ],
};
