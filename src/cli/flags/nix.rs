//! The flags of the subcommands of `nix`.

use super::Value::{Bytes, Days, File, Generation, Number, Profile, Store, Text, Word};
use super::common;
use super::single::DAEMON;
use super::{ALGORITHMS, FORMATS, Group, Row, own, switch, takes};

const ALL: Row = switch(&["--all"], "Takes every path of the store");
const DERIVATION: Row = switch(&["--derivation"], "Takes the derivations in place of what they make");
const RECURSIVE: Row = switch(&["--recursive", "-r"], "Takes everything that the paths refer to as well");
const STDIN: Row = switch(&["--stdin"], "Reads more arguments from standard input");

const fn choosing(rows: &'static [Row]) -> Group {
    Group { title: "Flags that choose store paths", offered: true, rows }
}

/// Flags that choose the store paths to work on.
const SELECTION: Group = choosing(&[ALL, DERIVATION, RECURSIVE, STDIN]);
/// Flags that choose what a copy works on; it is recursive anyway.
const SELECTION_TO_COPY: Group = choosing(&[ALL, DERIVATION, STDIN]);

const ARG: Row = takes(&["--arg"], &[Text("NAME"), Text("EXPRESSION")], "Gives an argument to an expression");
const ARG_FROM_FILE: Row =
    takes(&["--arg-from-file"], &[Text("NAME"), File], "Gives the text of a file to an expression");
const ARG_FROM_STDIN: Row =
    takes(&["--arg-from-stdin"], &[Text("NAME")], "Gives standard input to an expression");
const ARGSTR: Row = takes(&["--argstr"], &[Text("NAME"), Text("TEXT")], "Gives a text to an expression");
const DEBUGGER: Row = switch(&["--debugger"], "Stops at errors of an expression");
const EVAL_STORE: Row = takes(&["--eval-store"], &[Store], "Evaluates with another store");
const IMPURE: Row = switch(&["--impure"], "Lets an expression read what changes");
const INCLUDE: Row = takes(&["--include", "-I"], &[Text("PATH")], "Looks for expressions there");
const OVERRIDE_FLAKE: Row =
    takes(&["--override-flake"], &[Text("FLAKE"), Text("FLAKE")], "Takes another flake in place of one");
const REPAIR: Row = switch(&["--repair"], "Repairs what is fetched during evaluation");

/// Flags of Nix expressions that the classic programs have, too.
pub const EVALUATION: Group = Group {
    title: "Flags of Nix expressions, which change nothing for store paths",
    offered: false,
    rows: &[ARG, ARG_FROM_FILE, ARG_FROM_STDIN, ARGSTR, EVAL_STORE, IMPURE, INCLUDE, OVERRIDE_FLAKE, REPAIR],
};

/// The flag of Nix expressions that the classic programs do not have.
pub const DEBUGGING: Group = Group { title: EVALUATION.title, offered: false, rows: &[DEBUGGER] };

/// Flags of attributes and flakes.
pub const FLAKES: Group = Group {
    title: "Flags of attributes and flakes, which change nothing for store paths",
    offered: false,
    rows: &[
        switch(&["--commit-lock-file"], "Commits the lock file"),
        takes(&["--expr"], &[Text("EXPRESSION")], "Takes the arguments for attributes of an expression"),
        takes(&["--file", "-f"], &[File], "Takes the arguments for attributes of a file's expression"),
        takes(&["--inputs-from"], &[Text("FLAKE")], "Takes the inputs of another flake"),
        switch(&["--no-registries"], "Does not ask the registries")
            .deprecated("is deprecated; use '--no-use-registries'"),
        switch(&["--no-update-lock-file"], "Does not change the lock file"),
        switch(&["--no-write-lock-file"], "Does not write the lock file"),
        takes(&["--output-lock-file"], &[File], "Writes the lock file there"),
        takes(&["--override-input"], &[Text("INPUT"), Text("FLAKE")], "Takes another flake for an input"),
        switch(&["--recreate-lock-file"], "Makes the lock file anew").deprecated(
            "is deprecated and will be removed in a future version; use 'nix flake update' instead.",
        ),
        takes(&["--reference-lock-file"], &[File], "Reads the lock file there"),
        takes(&["--update-input"], &[Text("INPUT")], "Updates an input")
            .deprecated("is a deprecated alias for 'flake update' and will be removed in a future version."),
    ],
};

/// Flags of Nix expressions and flakes, for commands that understand store paths only so far: accepted
/// and not offered.
pub const LANGUAGE: [&Group; 3] = [&EVALUATION, &DEBUGGING, &FLAKES];

const JSON: Row = switch(&["--json"], "Prints JSON");
const PRETTY: Row = switch(&["--pretty"], "Prints JSON with line breaks (the default on a terminal)");
const NO_PRETTY: Row = switch(&["--no-pretty"], "Prints JSON on one line");
const DRY_RUN: Row = switch(&["--dry-run"], "Only says what would be done");
const FROM: Row = takes(&["--from"], &[Store], "Copies from this store");
const TO: Row = takes(&["--to"], &[Store], "Copies to this store");
const PROFILE: Row = takes(&["--profile"], &[Profile], "Works on this profile");
const ALL_PACKAGES: Row = switch(&["--all"], "Takes all packages");
const REGEX: Row = takes(&["--regex"], &[Text("REGEX")], "Takes the packages whose names match");
const TYPE: Row = takes(&["--type"], ALGORITHMS, "Chooses the hash algorithm");
const HASH_ALGO: Row = takes(&["--hash-algo"], ALGORITHMS, "Chooses the hash algorithm");
const NAME: Row = takes(&["--name", "-n"], &[Text("NAME")], "Gives the store path this name");
const SUBSTITUTER: Row =
    takes(&["--substituter", "-s"], &[Store], "Takes signatures from this store; may be repeated");

const AS_JSON: Group = own(&[JSON, PRETTY, NO_PRETTY]);
const LISTING: Group = own(&[
    switch(&["--directory", "-d"], "Lists directories themselves, not what is in them"),
    JSON,
    switch(&["--long", "-l"], "Also prints kinds, sizes and the targets of links"),
    NO_PRETTY,
    PRETTY,
    switch(&["--recursive", "-R"], "Also lists what is in directories below"),
]);
const CHOSEN: Group = own(&[ALL_PACKAGES, PROFILE, REGEX]);
const ONLY_PROFILE: Group = own(&[PROFILE]);
const ADDED: Group = own(&[
    DRY_RUN,
    HASH_ALGO,
    takes(
        &["--mode"],
        &[Word(&["flat", "git", "nar", "text"])],
        "Chooses what is hashed: the archive (nar), the contents of a file (flat, text), or what git hashes",
    ),
    NAME,
]);
const NOTATIONS: &[Row] = &[
    switch(&["--base16"], "Prints hashes in base 16"),
    switch(&["--base32"], "Prints hashes in the base 32 of Nix"),
    switch(&["--base64"], "Prints hashes in base 64"),
    switch(&["--sri"], "Prints hashes with their algorithm, as in sha256-… (the default)"),
    TYPE,
];
const NOTATION: Group = own(NOTATIONS);
const OLD_CONVERSION: Group = own(&[TYPE]);

/// The groups of a subcommand that has those of [`LANGUAGE`] as well.
macro_rules! language {
    ($($group:expr),* $(,)?) => {
        &[$($group,)* LANGUAGE[0], LANGUAGE[1], LANGUAGE[2]]
    };
}

/// Groups of flags by the words of the subcommand.
#[rustfmt::skip]
const GROUPS: &[(&str, &[&Group])] = &[
    ("config show", &[&AS_JSON]),
    ("copy", language![
        &own(&[
            FROM,
            switch(&["--no-check-sigs"], "Accepts paths without a trusted signature"),
            switch(&["--no-recursive"], "Copies only the paths themselves, not what they refer to"),
            takes(&["--out-link", "-o"], &[File], "Makes a symlink FILE to what was copied, which keeps it from being collected"),
            takes(&["--profile"], &[Profile], "Makes what was copied the current generation of a profile"),
            switch(&["--substitute-on-destination", "-s"], "Lets the destination fetch what it can by itself"),
            TO,
        ]),
        &SELECTION_TO_COPY,
    ]),
    ("daemon", &[&DAEMON]),
    ("derivation add", &[&own(&[DRY_RUN])]),
    ("derivation show", language![
        &own(&[
            NO_PRETTY,
            PRETTY,
            switch(&["--recursive", "-r"], "Also prints the derivations that the derivations need"),
            STDIN,
        ]),
    ]),
    ("hash convert", &[&own(&[
        takes(&["--from"], FORMATS, "Refuses hashes that are not in this notation"),
        HASH_ALGO,
        takes(&["--to"], FORMATS, "Prints hashes in this notation (sri if none is given)"),
    ])]),
    ("hash file", &[&NOTATION]),
    ("hash path", &[
        &own(&[
            takes(&["--algo"], ALGORITHMS, "Chooses the hash algorithm"),
            takes(&["--format"], FORMATS, "Chooses the notation of hashes"),
            takes(&["--mode"], &[Word(&["flat", "git", "nar"])], "Chooses what is hashed: the archive (nar), the contents of a file (flat), or what git hashes"),
        ]),
        &Group { title: "Old flags", offered: true, rows: NOTATIONS },
    ]),
    ("eval", &[
        &own(&[
            takes(&["--apply"], &[Text("FUNCTION")], "Prints what a function makes of the value"),
            takes(&["--expr"], &[Text("EXPRESSION")], "Evaluates this expression"),
            takes(&["--file", "-f"], &[File], "Evaluates the expression in a file, impurely"),
            JSON,
            NO_PRETTY,
            PRETTY,
            switch(&["--raw"], "Prints a text without quotes and line end"),
            switch(&["--read-only"], "Writes nothing to the store"),
            takes(&["--write-to"], &[File], "Writes a text to a new file, and a set of texts to a new directory"),
        ]),
        &super::expressions::EXPRESSIONS,
        &DEBUGGING,
        &FLAKES,
    ]),
    ("hash to-base16", &[&OLD_CONVERSION]),
    ("hash to-base32", &[&OLD_CONVERSION]),
    ("hash to-base64", &[&OLD_CONVERSION]),
    ("hash to-sri", &[&OLD_CONVERSION]),
    ("key generate-secret", &[&own(&[takes(&["--key-name"], &[Text("NAME")], "Gives the key this name, as in cache.example.org-1")])]),
    ("log", &LANGUAGE),
    ("nar ls", &[&LISTING]),
    ("path-info", language![
        &own(&[
            switch(&["--closure-size", "-S"], "Also prints the size of each path's closure"),
            switch(&["--human-readable", "-h"], "Prints sizes with units"),
            JSON,
            takes(&["--json-format"], &[Word(&["1", "2"])], "Chooses the version of the JSON's form"),
            NO_PRETTY,
            PRETTY,
            switch(&["--sigs"], "Also prints signatures"),
            switch(&["--size", "-s"], "Also prints the size of each path's archive"),
        ]),
        &SELECTION,
    ]),
    ("profile add", language![&own(&[
        takes(&["--priority"], &[Number], "Chooses which package wins where two have the same file: the lower number (5 if none is given)"),
        PROFILE,
        STDIN,
    ])]),
    ("profile diff-closures", &[&ONLY_PROFILE]),
    ("profile history", &[&ONLY_PROFILE, &EVALUATION, &DEBUGGING]),
    ("profile list", &[&own(&[JSON, NO_PRETTY, PRETTY, PROFILE]), &EVALUATION, &DEBUGGING]),
    ("profile remove", &[&CHOSEN, &EVALUATION, &DEBUGGING]),
    ("profile rollback", &[&own(&[DRY_RUN, PROFILE, takes(&["--to"], &[Generation], "Goes to this version, not to the one before")])]),
    ("profile upgrade", language![&CHOSEN]),
    ("profile wipe-history", &[&own(&[
        DRY_RUN,
        takes(&["--older-than"], &[Days], "Deletes only versions that are older"),
        PROFILE,
    ])]),
    ("realisation info", language![&own(&[JSON, NO_PRETTY, PRETTY]), &SELECTION]),
    ("store add", &[&ADDED]),
    ("repl", &[
        &own(&[
            takes(&["--expr"], &[Text("EXPRESSION")], "Begins with the attributes of this expression"),
            takes(&["--file", "-f"], &[File], "Begins with the attributes of the expression in a file"),
            STDIN,
        ]),
        &super::expressions::EXPRESSIONS,
        &DEBUGGING,
        &FLAKES,
    ]),
    ("store add-file", &[&ADDED]),
    ("store add-path", &[&ADDED]),
    ("store copy-log", language![&own(&[FROM, STDIN, TO])]),
    ("store copy-sigs", language![&own(&[SUBSTITUTER]), &SELECTION]),
    ("store delete", language![
        &own(&[switch(&["--ignore-liveness"], "Also deletes what is a root, or is referred to by one")]),
        &SELECTION,
    ]),
    ("store diff-closures", language![&choosing(&[DERIVATION])]),
    ("store dump-path", language![&SELECTION]),
    ("store gc", &[&own(&[
        DRY_RUN,
        takes(&["--max"], &[Bytes], "Stops once so many bytes came free"),
    ])]),
    ("store info", &[&AS_JSON]),
    ("store ls", &[&LISTING]),
    ("store make-content-addressed", language![&own(&[FROM, JSON, NO_PRETTY, PRETTY, TO]), &SELECTION]),
    ("store prefetch-file", &[&own(&[
        switch(&["--executable"], "Makes the file executable: its archive is hashed"),
        takes(&["--expected-hash"], &[Text("HASH")], "Fails unless the hash is this one"),
        takes(&["--hash-type", "--hash-algo"], ALGORITHMS, "Chooses the hash algorithm"),
        JSON,
        takes(&["--name"], &[Text("NAME")], "Gives the store path this name"),
        NO_PRETTY,
        PRETTY,
        switch(&["--unpack"], "Unpacks an archive: what it holds is added and hashed"),
    ])]),
    ("store repair", language![&SELECTION]),
    ("store sign", language![
        &own(&[takes(&["--key-file", "-k"], &[File], "Signs with the secret key in this file")]),
        &SELECTION,
    ]),
    ("store verify", language![
        &own(&[
            switch(&["--no-contents"], "Does not check the contents"),
            switch(&["--no-trust"], "Does not check the signatures"),
            takes(&["--sigs-needed", "-n"], &[Number], "Fails unless so many trusted keys have signed"),
            SUBSTITUTER,
        ]),
        &SELECTION,
    ]),
    ("why-depends", language![
        &own(&[
            switch(&["--all", "-a"], "Shows all chains of references, not only a shortest one"),
            DERIVATION,
            switch(&["--precise"], "Also shows which files refer to what"),
        ]),
    ]),
];

/// The groups of flags of a subcommand.
pub fn groups(name: &str) -> &'static [&'static Group] {
    GROUPS.iter().find(|(known, _)| *known == name).map_or(&[], |(_, groups)| groups)
}

/// The subcommands that have flags of their own.
#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(name, _)| *name)
}

/// The error for a flag that a subcommand with some groups of flags does not know.
pub fn unrecognised(groups: &[&Group], flag: &str) -> anyhow::Error {
    let groups = groups.iter().copied().chain([&common::OF_NIX, &common::ALL]);
    super::unknown(format!("unrecognised flag '{flag}'"), flag, super::names(groups))
}
