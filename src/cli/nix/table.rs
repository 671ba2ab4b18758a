//! The subcommands, their old names, and what is said about unknown ones.

use super::copy::Copy;
use super::eval::Eval;
use super::hash::{self, Convert, HashFile, HashPath};
use super::help::Help;
use super::key::{GenerateSecret, SecretToPublic};
use super::log::{CopyLog, Log};
use super::nar::{Cat, Ls, Pack};
use super::path_info::PathInfo;
use super::profile;
use super::repl::Repl;
use super::why_depends::WhyDepends;
use super::{Command, config};
use crate::cli::nix::derivation::add::Add as AddDerivation;
use crate::cli::nix::derivation::show::Show;
use crate::cli::nix::realisation::info::Info as RealisationInfo;
use crate::cli::nix::store::add;
use crate::cli::nix::store::gc::{Delete, Gc, Optimise};
use crate::cli::nix::store::info::{DumpPath, Info, PathFromHashPart};
use crate::cli::nix::store::ls::{StoreCat, StoreLs};
use crate::cli::nix::store::make_content_addressed::MakeContentAddressed;
use crate::cli::nix::store::prefetch_file::PrefetchFile;
use crate::cli::nix::store::repair::Repair;
use crate::cli::nix::store::sign::{CopySigs, Sign};
use crate::cli::nix::store::verify::Verify;

/// Makes a subcommand with no flag given yet.
type Make = fn() -> Box<dyn Command>;

/// A subcommand.
pub struct Row {
    /// Its words after `nix`.
    pub name: &'static str,
    /// What follows them.
    pub synopsis: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What does it, where that is built.
    pub make: Option<Make>,
}

impl Row {
    /// Whether it is not there yet. A program of its own, which nothing here makes, has a synopsis.
    pub fn is_missing(&self) -> bool {
        self.make.is_none() && self.synopsis.is_empty()
    }

    /// What it does, or that it is not there yet.
    pub fn shown(&self) -> &'static str {
        if self.is_missing() { "(not available yet)" } else { self.about }
    }
}

const fn built(name: &'static str, synopsis: &'static str, about: &'static str, make: Make) -> Row {
    Row { name, synopsis, about, make: Some(make) }
}

/// A subcommand that is not there yet; `about` says why, or what can be done without it.
const fn later(name: &'static str, about: &'static str) -> Row {
    Row { name, synopsis: "", about, make: None }
}

const BUILDING: &str = "it comes later";
const REALISE: &str = "it comes later; 'nix-build' and 'nix-store --realise DRV' build";
const RUN: &str = "it comes later; 'nix profile add' and 'nix-env -i' make packages usable";
const FLAKES: &str = "flakes come later";

/// A subcommand that is a program of its own.
const fn apart(name: &'static str, synopsis: &'static str, about: &'static str) -> Row {
    Row { name, synopsis, about, make: None }
}

fn make<C: Command + Default + 'static>() -> Box<dyn Command> {
    Box::new(C::default())
}

/// All subcommands; those of a group stand together, in the order in which
/// they are listed.
pub const TABLE: &[Row] = &[
    later("build", REALISE),
    later("bundle", BUILDING),
    later("config check", "'nix config show' lists the settings, 'nix store info' tries the store"),
    built("config show", "[--json] [NAME]", "Print the settings, or the value of one", make::<config::Show>),
    built(
        "copy",
        "[--from URI] [--to URI] [--no-recursive] [--no-check-sigs] [--all | --stdin | INSTALLABLES...]",
        "Copy store paths and what they refer to from one store to another",
        make::<Copy>,
    ),
    apart(
        "daemon",
        "[--stdio [--process-ops]] [--default-trust | --force-trusted | --force-untrusted]",
        "Serve the local store to other users and machines",
    ),
    built(
        "derivation add",
        "[--dry-run] < JSON",
        "Add a derivation, read from standard input, to the store",
        make::<AddDerivation>,
    ),
    built(
        "derivation show",
        "[-r] [--stdin] INSTALLABLES...",
        "Print the contents of derivations as JSON",
        make::<Show>,
    ),
    later("develop", RUN),
    later("edit", "it comes later"),
    later("env shell", RUN),
    built(
        "eval",
        "[--json | --raw | --write-to FILE] [--apply FUNCTION] (--expr EXPRESSION | --file FILE) [ATTRIBUTE]",
        "Print the value of an expression",
        make::<Eval>,
    ),
    later("flake archive", FLAKES),
    later("flake check", FLAKES),
    later("flake clone", FLAKES),
    later("flake info", FLAKES),
    later("flake init", FLAKES),
    later("flake lock", FLAKES),
    later("flake metadata", FLAKES),
    later("flake new", FLAKES),
    later("flake prefetch-inputs", FLAKES),
    later("flake prefetch", FLAKES),
    later("flake show", FLAKES),
    later("flake update", FLAKES),
    later("fmt", BUILDING),
    later("formatter build", BUILDING),
    later("formatter run", BUILDING),
    built(
        "hash convert",
        "[--from FORMAT] [--to FORMAT] [--hash-algo ALGO] HASHES...",
        "Print hashes in another notation: base16, nix32, base64 or sri",
        make::<Convert>,
    ),
    built(
        "hash file",
        "[--type ALGO] [--base16|--base32|--base64|--sri] FILES...",
        "Print the hash of the contents of files",
        make::<HashFile>,
    ),
    built(
        "hash path",
        "[--algo ALGO] [--format FORMAT] [--mode nar|flat] PATHS...",
        "Print the hash of the archives of files or directories",
        make::<HashPath>,
    ),
    built("hash to-base16", "[--type ALGO] HASHES...", "Print hashes in base 16", hash::to_base16),
    built("hash to-base32", "[--type ALGO] HASHES...", "Print hashes in nix32", hash::to_base32),
    built("hash to-base64", "[--type ALGO] HASHES...", "Print hashes in base 64", hash::to_base64),
    built("hash to-sri", "[--type ALGO] HASHES...", "Print hashes in the SRI form", hash::to_sri),
    built("help", "[SUBCOMMAND...]", "Say what a subcommand does", make::<Help>),
    later("help-stores", "docs/stores.md in the source describes all kinds of stores"),
    built(
        "key convert-secret-to-public",
        "< SECRETKEY",
        "Print the public half of a secret key",
        make::<SecretToPublic>,
    ),
    built("key generate-secret", "--key-name NAME", "Print a new secret key", make::<GenerateSecret>),
    built("log", "INSTALLABLE", "Print the log of a build", make::<Log>),
    built("nar cat", "NAR PATH", "Print a file in an archive", make::<Cat>),
    built("nar dump-path", "PATH", "An old name of 'nar pack'", super::nar::dump_path),
    built("nar ls", "[-l] [-R] [-d] [--json] NAR PATH", "List what is in an archive", make::<Ls>),
    built("nar pack", "PATH", "Print the archive of a file or directory", make::<Pack>),
    built(
        "path-info",
        "[-s] [-S] [-h] [--sigs] [-r] [--json --json-format 1|2] [--all | --stdin | INSTALLABLES...]",
        "Print store paths and what the store knows of them",
        make::<PathInfo>,
    ),
    later(
        "print-dev-env",
        "it comes later; 'nix-store --print-env DRV' prints the environment of a derivation",
    ),
    built(
        "profile add",
        "[--profile LINK] [--priority N] INSTALLABLES...",
        "Add packages to a profile",
        make::<profile::Add>,
    ),
    built(
        "profile diff-closures",
        "[--profile LINK]",
        "Say how the closures of the versions of a profile differ",
        make::<profile::ProfileDiff>,
    ),
    built("profile history", "[--profile LINK]", "List the versions of a profile", make::<profile::History>),
    built(
        "profile list",
        "[--profile LINK] [--json]",
        "List the packages of a profile",
        make::<profile::List>,
    ),
    built(
        "profile remove",
        "[--profile LINK] [--all | --regex REGEX | NAMES...]",
        "Remove packages from a profile",
        make::<profile::Remove>,
    ),
    built(
        "profile rollback",
        "[--profile LINK] [--to N] [--dry-run]",
        "Go back to an earlier version of a profile",
        make::<profile::Rollback>,
    ),
    built(
        "profile upgrade",
        "[--profile LINK] [--all | --regex REGEX | NAMES...]",
        "Look for newer packages; those from flakes are not upgraded yet",
        make::<profile::Upgrade>,
    ),
    built(
        "profile wipe-history",
        "[--profile LINK] [--older-than DAYS] [--dry-run]",
        "Delete the other versions of a profile",
        make::<profile::WipeHistory>,
    ),
    built(
        "realisation info",
        "[-r] [--all] [--json] INSTALLABLES...",
        "Print which paths the outputs of derivations have",
        make::<RealisationInfo>,
    ),
    later("registry add", FLAKES),
    later("registry list", FLAKES),
    later("registry pin", FLAKES),
    later("registry remove", FLAKES),
    later("registry resolve", FLAKES),
    built(
        "repl",
        "[--expr EXPRESSION | --file FILE] [ATTRIBUTES...]",
        "Evaluate expressions as they are typed",
        make::<Repl>,
    ),
    later("run", RUN),
    later("search", "it comes later; 'nix-env -qa' lists packages"),
    built(
        "store add-file",
        "[-n NAME] [--hash-algo ALGO] [--dry-run] FILE",
        "Add a file, addressed by its contents",
        add::add_file,
    ),
    built(
        "store add-path",
        "[-n NAME] [--hash-algo ALGO] [--dry-run] PATH",
        "An old name of 'store add'",
        add::add,
    ),
    built(
        "store add",
        "[-n NAME] [--mode nar|flat|text|git] [--hash-algo ALGO] [--dry-run] PATH",
        "Add a file or directory to the store",
        add::add,
    ),
    built("store cat", "PATH", "Print a file in a store path", make::<StoreCat>),
    built(
        "store copy-log",
        "[--from URI] [--to URI] INSTALLABLES...",
        "Copy the logs of builds from one store to another",
        make::<CopyLog>,
    ),
    built(
        "store copy-sigs",
        "-s URI... [-r] [--all | --stdin | INSTALLABLES...]",
        "Copy signatures from other stores",
        make::<CopySigs>,
    ),
    built(
        "store delete",
        "[--ignore-liveness] [-r] [--stdin] PATHS...",
        "Delete store paths that nothing keeps",
        make::<Delete>,
    ),
    built(
        "store diff-closures",
        "BEFORE AFTER",
        "Say how two closures differ",
        make::<profile::DiffClosures>,
    ),
    built("store dump-path", "INSTALLABLE", "Print the archive of a store path", make::<DumpPath>),
    built("store gc", "[--dry-run] [--max BYTES]", "Delete everything that no root leads to", make::<Gc>),
    built("store info", "[--json]", "Open the store and say which one it is", make::<Info>),
    built("store ls", "[-l] [-R] [-d] [--json] PATH", "List what is in a store path", make::<StoreLs>),
    built(
        "store make-content-addressed",
        "[--from URI] [--to URI] [-r] [--json] [--all | --stdin | INSTALLABLES...]",
        "Add copies of store paths that are addressed by their contents",
        make::<MakeContentAddressed>,
    ),
    built("store optimise", "", "Make equal files hard links to one copy", make::<Optimise>),
    built(
        "store path-from-hash-part",
        "HASHPART",
        "Print the store path with a hash part",
        make::<PathFromHashPart>,
    ),
    built(
        "store prefetch-file",
        "[--name NAME] [--hash-type ALGO] [--expected-hash HASH] [--unpack] [--executable] [--json] URL",
        "Add what is behind a URL to the store",
        make::<PrefetchFile>,
    ),
    built(
        "store repair",
        "PATHS...",
        "Give damaged paths their contents back, from other stores",
        make::<Repair>,
    ),
    later("store roots-daemon", "no daemon for roots is needed: running programs are looked up in /proc"),
    built(
        "store sign",
        "-k KEYFILE [-r] [--all | --stdin | INSTALLABLES...]",
        "Sign store paths with a secret key",
        make::<Sign>,
    ),
    built(
        "store verify",
        "[-r] [--no-contents] [--no-trust] [-n COUNT] [--all | --stdin | INSTALLABLES...]",
        "Check the contents of store paths and who vouches for them",
        make::<Verify>,
    ),
    later("upgrade-nix", "Nival is upgraded as it was installed"),
    built(
        "why-depends",
        "[--all] [--precise] PACKAGE DEPENDENCY",
        "Show the chains of references from one path to another",
        make::<WhyDepends>,
    ),
];

/// Old names and their successors, both from the root.
pub const ALIASES: &[(&str, &str)] = &[
    ("add-to-store", "store add-path"),
    ("cat-nar", "nar cat"),
    ("cat-store", "store cat"),
    ("copy-sigs", "store copy-sigs"),
    ("dev-shell", "develop"),
    ("diff-closures", "store diff-closures"),
    ("doctor", "config check"),
    ("dump-path", "store dump-path"),
    ("hash-file", "hash file"),
    ("hash-path", "hash path"),
    ("ls-nar", "nar ls"),
    ("ls-store", "store ls"),
    ("make-content-addressable", "store make-content-addressed"),
    ("optimise-store", "store optimise"),
    ("ping-store", "store info"),
    ("profile install", "profile add"),
    ("shell", "env shell"),
    ("show-config", "config show"),
    ("show-derivation", "derivation show"),
    ("sign-paths", "store sign"),
    ("store ping", "store info"),
    ("to-base16", "hash to-base16"),
    ("to-base32", "hash to-base32"),
    ("to-base64", "hash to-base64"),
    ("verify", "store verify"),
];

/// The name of `word` in a group (the empty one is the root).
pub fn below(group: &str, word: &str) -> String {
    if group.is_empty() { word.to_owned() } else { format!("{group} {word}") }
}

/// The subcommand with a name.
pub fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

/// The group with a name.
pub fn group(name: &str) -> Option<&'static str> {
    TABLE
        .iter()
        .filter_map(|row| row.name.split_once(' '))
        .map(|(group, _)| group)
        .find(|found| *found == name)
}

/// The successor of an old name.
pub fn alias(name: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(old, _)| *old == name).map(|(_, target)| *target)
}

/// The words that may follow in a group, each once.
pub fn members(group: &str) -> Vec<&'static str> {
    let mut members: Vec<&str> = TABLE
        .iter()
        .filter_map(|row| match group {
            "" => row.name.split(' ').next(),
            _ => row.name.strip_prefix(group)?.strip_prefix(' '),
        })
        .collect();
    members.dedup();
    members
}

/// The message for a word that is no subcommand, with those that look like it.
pub fn not_recognised(group: &str, word: &str) -> String {
    /// Names further away are not meant.
    const FURTHEST: usize = 2;
    let mut near: Vec<(usize, &str)> = members(group)
        .into_iter()
        .map(|name| (strsim::levenshtein(word, name), name))
        .filter(|(distance, _)| *distance <= FURTHEST)
        .collect();
    near.sort_unstable();
    let names: Vec<&str> = near.into_iter().map(|(_, name)| name).collect();
    let hint = match names.split_last() {
        None => String::new(),
        Some((only, [])) => format!("\n       Did you mean {only}?"),
        Some((last, others)) => format!("\n       Did you mean one of {} or {last}?", others.join(", ")),
    };
    format!("'{word}' is not a recognised command{hint}")
}

/// The message for a group without a subcommand.
pub fn needs_subcommand(group: &str) -> String {
    /// The original breaks the line when it gets longer.
    const WIDTH: usize = 59;
    let mut text = format!("nix {group} requires a sub-command. Available sub-commands:");
    if text.len() > WIDTH
        && let Some(blank) = text.rfind(' ')
    {
        text.replace_range(blank..=blank, "\n       ");
    }
    text.push('\n');
    for member in members(group) {
        text.push_str("\n         · ");
        text.push_str(member);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let hint = |group: &str, word: &str| {
            let text = not_recognised(group, word);
            text.split_once('\n').map(|(_, hint)| hint.trim().to_owned()).unwrap_or_default()
        };
        assert_eq!(hint("store", "ad"), "Did you mean one of add, cat, gc or ls?");
        assert_eq!(hint("store", "l"), "Did you mean one of ls or gc?");
        assert_eq!(hint("store", ""), "Did you mean one of gc or ls?");
        assert_eq!(hint("", "conf"), "Did you mean one of config or copy?");
        assert_eq!(hint("", "evl"), "Did you mean one of eval, env or repl?");
        assert_eq!(hint("", "hsahx"), "");
        assert_eq!(hint("", "path-inof"), "Did you mean path-info?");
    }

    #[test]
    fn groups() {
        assert_eq!(members("config"), ["check", "show"]);
        assert!(members("").contains(&"store"));
        assert_eq!(
            needs_subcommand("derivation"),
            "nix derivation requires a sub-command. Available\n       sub-commands:\n\n         · add\n         · show"
        );
        assert!(
            needs_subcommand("profile").starts_with("nix profile requires a sub-command. Available sub-c")
        );
    }
}
