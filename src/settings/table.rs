//! The table of all settings: one row each, sorted by name.
//!
//! Names, aliases, types, defaults and feature gates are those of Nix 2.34.8, as listed by
//! `nix config show --json`; the descriptions are our own. Each row
//! ends in what Nival does with it; what it does not act on (yet) is parsed, checked and shown, and
//! `Row::without_effect` says why.
//!
//! `eval-cores`, `eval-listing-memory`, `gc-without-proc` and `sync-store-paths` are Nival's own and therefore appear in `config show` in
//! addition to the 129 rows of the reference.

use Kind::{
    Bool, Features, Json, List, Map, MaxJobs, Mounts, OptionalPath, Path, Plugins, RelativePath, Sandbox,
    Set, Signed64, Store, StoreList, Text, Unsigned32, Unsigned64,
};

/// The shape of a setting's value, which decides how its text is parsed and printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true`/`yes`/`1` or `false`/`no`/`0`.
    Bool,
    /// A number from 0 to 2³²−1, with an optional K, M, G or T (powers of 1024).
    Unsigned32,
    /// A number from 0 to 2⁶⁴−1, with an optional K, M, G or T.
    Unsigned64,
    /// A number that may be negative, with an optional K, M, G or T.
    Signed64,
    /// `auto` (one per CPU) or a plain number from 0 to 2³²−1.
    MaxJobs,
    /// Any text, also empty.
    Text,
    /// An absolute path, normalised lexically.
    Path,
    /// An absolute path, or empty for none.
    OptionalPath,
    /// A path that may be relative and stays as written, but may not be empty.
    RelativePath,
    /// Blank-separated words; order and repetitions count.
    List,
    /// Blank-separated words, sorted, each once.
    Set,
    /// Like `Set`, restricted to known experimental features.
    Features,
    /// Blank-separated `KEY=VALUE` words; words without `=` are dropped.
    Map,
    /// Blank-separated `TARGET[=SOURCE][?]` words.
    Mounts,
    /// One store URI; empty means `auto`.
    Store,
    /// Blank-separated store URIs.
    StoreList,
    /// Files or directories of plugins: a list that `extra-` does not extend.
    Plugins,
    /// One of the given words.
    Choice {
        /// The words.
        values: &'static [&'static str],
        /// Whether the error names them.
        listed: bool,
    },
    /// `true`, `false` or `relaxed`.
    Sandbox,
    /// A JSON array, kept as text.
    Json,
}

impl Kind {
    /// Whether `extra-NAME` exists for settings of this kind.
    pub fn appendable(self) -> bool {
        matches!(self, Kind::List | Kind::Set | Kind::Features | Kind::Map | Kind::Mounts | Kind::StoreList)
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called in files; the flags are made from it.
    pub name: &'static str,
    /// Old names, accepted wherever the name is.
    pub aliases: &'static [&'static str],
    /// How its text is read and printed.
    pub kind: Kind,
    /// The built-in default as text. Defaults that depend on the machine or on directories are
    /// filled in by `Settings::with_defaults`.
    pub default: &'static str,
    /// Whether the default is the same everywhere, so that a manual may print it.
    pub document_default: bool,
    /// The experimental feature without which assignments are ignored.
    pub feature: Option<&'static str>,
    /// What Nival does with it today.
    pub effect: Effect,
    /// What it is for, in one line.
    pub doc: &'static str,
}

/// What Nival does with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nival acts on it.
    Acts,
    /// Nival acts on it when it builds; a daemon is told of it.
    Builds,
    /// It is of a part of building that Nival does not have yet; a daemon is told of it.
    OfBuilding,
    /// It is of a part of the language that Nival does not have yet.
    OfLanguage,
    /// It changes nothing, for this reason.
    Nothing(&'static str),
}

/// A row of which only the effect is missing, so that no row can be without one.
struct Begun(Row);

impl Begun {
    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.0.aliases = aliases;
        self
    }

    const fn feature(mut self, feature: &'static str) -> Self {
        self.0.feature = Some(feature);
        self
    }

    const fn varying_default(mut self) -> Self {
        self.0.document_default = false;
        self
    }

    const fn acts(self) -> Row {
        self.0
    }

    const fn builds(mut self) -> Row {
        self.0.effect = Effect::Builds;
        self.0
    }

    const fn of_building(mut self) -> Row {
        self.0.effect = Effect::OfBuilding;
        self.0
    }

    const fn of_language(mut self) -> Row {
        self.0.effect = Effect::OfLanguage;
        self.0
    }

    const fn vain(mut self, why: &'static str) -> Row {
        self.0.effect = Effect::Nothing(why);
        self.0
    }
}

const fn row(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Begun {
    let effect = Effect::Acts;
    Begun(Row { name, aliases: &[], kind, default, document_default: true, feature: None, effect, doc })
}

const LINT: Kind = Kind::Choice { values: &["ignore", "warn", "fatal"], listed: true };
const PROFILER: Kind = Kind::Choice { values: &["disabled", "flamegraph"], listed: false };

/// All settings, sorted by name.
// Kept out of rustfmt's hands: a row is one or two lines, not eight.
#[rustfmt::skip]
pub static TABLE: &[Row] = &[
    row("abort-on-warn", Bool, "false", "Turns every `builtins.warn` into an evaluation error.").acts(),
    row("accept-flake-config", Bool, "false", "Take over settings proposed by a flake without asking.")
        .feature("flakes").of_language(),
    row("access-tokens", Map, "", "Credentials for source hosts, as HOST=TOKEN words.").acts(),
    row("allow-dirty", Bool, "true", "Permit work trees with uncommitted changes as inputs.").acts(),
    row("allow-dirty-locks", Bool, "false", "Permit lock files that refer to uncommitted inputs.")
        .feature("flakes").of_language(),
    row("allow-import-from-derivation", Bool, "true", "Let evaluation read files that must be built first.").acts(),
    row("allow-new-privileges", Bool, "false", "Let builders gain privileges through set-uid programs (Linux).").builds(),
    row("allow-symlinked-store", Bool, "false", "Put up with symlinks on the way to the store directory.").acts(),
    row("allow-unsafe-native-code-during-evaluation", Bool, "false", "Enable builtins that load or run native code.").of_language(),
    row("allowed-impure-host-deps", Set, "", "Host paths a derivation may ask to see in its sandbox (macOS).").builds(),
    row("allowed-uris", List, "", "URI prefixes that restricted evaluation may still fetch from.").acts(),
    row("allowed-users", List, "*", "Users and @groups who may talk to the daemon.").acts(),
    row("always-allow-substitutes", Bool, "false", "Substitute even derivations that ask not to be substituted.").builds(),
    row("auto-allocate-uids", Bool, "false", "Give builds free uid ranges instead of members of a group.")
        .feature("auto-allocate-uids").of_building(),
    row("auto-optimise-store", Bool, "false", "Hard-link identical files whenever a path is added.").acts(),
    row("bash-prompt", Text, "", "Prompt of the shell opened by `nix develop`.").of_language(),
    row("bash-prompt-prefix", Text, "", "Text put before the prompt in `nix develop`.").of_language(),
    row("bash-prompt-suffix", Text, "", "Text put after the prompt in `nix develop`.").of_language(),
    row("build-dir", OptionalPath, "", "Where build directories are made; by default below the state directory.").builds(),
    row("build-hook", List, "nix __build-remote", "Program (with arguments) that is offered builds for remote machines.").of_building(),
    row("build-poll-interval", Unsigned32, "5", "Seconds between two looks for a free build user.").builds(),
    row("build-users-group", Text, "", "Group whose members run builds; empty builds as the calling user.")
        .varying_default().acts(),
    row("builders", Text, "", "Remote build machines, or @FILE listing them.").varying_default().builds(),
    row("builders-use-substitutes", Bool, "false", "Let remote machines fetch build inputs from their own substituters.").builds(),
    row("commit-lock-file-summary", Text, "", "First line of the commit that records a changed lock file.")
        .aliases(&["commit-lockfile-summary"]).feature("flakes").of_language(),
    row("compress-build-log", Bool, "true", "Store build logs compressed.").aliases(&["build-compress-log"]).builds(),
    row("connect-timeout", Unsigned64, "15", "Seconds to wait for a connection when downloading; 0 waits as long as the system does.").acts(),
    row("cores", Unsigned32, "0", "Parallel jobs a builder is told to use; 0 means all CPUs.").aliases(&["build-cores"]).builds(),
    row("debugger-on-trace", Bool, "false", "Open the debugger at `builtins.trace`, if one is enabled.").of_language(),
    row("debugger-on-warn", Bool, "false", "Open the debugger at `builtins.warn`, if one is enabled.").of_language(),
    row("diff-hook", OptionalPath, "", "Program run on the two results when a repeated build differs.").of_building(),
    row("download-attempts", Unsigned32, "5", "How often a download is tried before it counts as failed.").acts(),
    row("download-buffer-size", Unsigned64, "1048576", "Bytes of a download held in memory before the sender is slowed down.").vain("downloads are written to their place as they come"),
    row("download-speed", Unsigned32, "0", "Upper limit of the download rate in KiB/s; 0 is unlimited.").acts(),
    row("eval-attrset-update-layer-rhs-threshold", Unsigned32, "16", "Tuning of `//`: right-hand sides up to this size become a layer.").of_language(),
    row("eval-cache", Bool, "true", "Remember on disk what packages expressions offer and which trees were read (results of flakes, too, once there are any).").acts(),
    row("eval-cores", Unsigned32, "1", "Threads that evaluate (at most 64), for listings and deep values; 0 means all CPUs (Nival only).").acts(),
    row("eval-listing-memory", Unsigned64, "768", "MiB after which a listing of packages goes on in a new evaluation; 0 means as soon as it can (Nival only).").acts(),
    row("eval-profile-file", RelativePath, "nix.profile", "Where the evaluation profiler writes.").of_language(),
    row("eval-profiler", PROFILER, "disabled", "Which evaluation profiler runs.").of_language(),
    row("eval-profiler-frequency", Unsigned32, "99", "Samples a second taken by the evaluation profiler.").of_language(),
    row("eval-system", Text, "", "Value of `builtins.currentSystem`; empty takes `system`.").acts(),
    row("experimental-features", Features, "fetch-tree flakes nix-command", "Unfinished features to switch on.").acts(),
    row("external-builders", Json, "[]", "Programs that build for foreign systems, as a JSON array.").of_building(),
    row("extra-platforms", Set, "", "System types this machine runs besides its own.").varying_default().acts(),
    row("fallback", Bool, "false", "Build from source when a substituter fails.").aliases(&["build-fallback"]).builds(),
    row("filter-syscalls", Bool, "true", "Refuse builders the system calls that make set-uid files or attributes (Linux).").builds(),
    row("flake-registry", Text, "https://channels.nixos.org/flake-registry.json", "Path or address of the flake registry used by everybody.")
        .feature("flakes").acts(),
    row("fsync-metadata", Bool, "true", "Let SQLite sync the store database at each commit.").acts(),
    row("fsync-store-paths", Bool, "false", "Sync the files of each added store path.").acts(),
    row("gc-reserved-space", Signed64, "8388608", "Bytes kept in a file so that a full disk can still be cleaned.").acts(),
    row("gc-without-proc", Bool, "false", "Collect garbage also where /proc does not tell what running programs use (Nival only).").acts(),
    row("hashed-mirrors", List, "", "Servers asked by hash for files of the built-in fetcher.").of_building(),
    row("http-connections", Unsigned64, "25", "Parallel transfers over HTTP; 0 is unlimited.")
        .aliases(&["binary-caches-parallel-connections"]).acts(),
    row("http2", Bool, "true", "Use HTTP/2 where the server offers it.").acts(),
    row("id-count", Unsigned32, "8388608", "How many ids may be given out by automatic uid allocation.").of_building(),
    row("ignore-try", Bool, "false", "Do not let `builtins.tryEval` hide errors from the debugger.").of_language(),
    row("ignored-acls", Set, "security.csm security.selinux system.nfs4_acl", "Extended attributes left alone when a path is canonicalised.")
        .acts(),
    row("impersonate-linux-26", Bool, "false", "Report kernel version 2.6 to builders.").aliases(&["build-impersonate-linux-26"]).of_building(),
    row("impure-env", Map, "", "Values for impure environment variables of fixed-output builds.")
        .feature("configurable-impure-env").of_building(),
    row("json-log-path", OptionalPath, "", "File or socket that receives a copy of the log as JSON.").acts(),
    row("keep-build-log", Bool, "true", "Keep the logs of builds.").aliases(&["build-keep-log"]).builds(),
    row("keep-derivations", Bool, "true", "Garbage collection keeps the derivations of living outputs.").aliases(&["gc-keep-derivations"]).acts(),
    row("keep-env-derivations", Bool, "false", "Profiles refer to the derivations of their packages.").aliases(&["env-keep-derivations"]).acts(),
    row("keep-failed", Bool, "false", "Leave the directory of a failed build in place.").builds(),
    row("keep-going", Bool, "false", "After a failure go on with what does not depend on it.").builds(),
    row("keep-outputs", Bool, "false", "Garbage collection keeps the outputs of living derivations.").aliases(&["gc-keep-outputs"]).acts(),
    row("lint-absolute-path-literals", LINT, "ignore", "What to do about path literals starting at / or ~.").acts(),
    row("lint-short-path-literals", LINT, "ignore", "What to do about relative path literals without a leading ./ or ../.").acts(),
    row("lint-url-literals", LINT, "ignore", "What to do about unquoted URLs.").acts(),
    row("log-lines", Unsigned64, "25", "Lines of a failed build's log shown with the error.").builds(),
    row("max-build-log-size", Unsigned64, "0", "A build that logs more bytes is killed; 0 is unlimited.").aliases(&["build-max-log-size"]).builds(),
    row("max-call-depth", Unsigned32, "10000", "Nesting of function calls at which evaluation gives up.").acts(),
    row("max-free", Unsigned64, "9223372036854775807", "An automatic collection ends once this many bytes are free.").acts(),
    row("max-jobs", MaxJobs, "1", "Builds run at the same time; `auto` is one per CPU.").aliases(&["build-max-jobs"]).builds(),
    row("max-silent-time", Signed64, "0", "Seconds a builder may print nothing; 0 is unlimited.").aliases(&["build-max-silent-time"]).builds(),
    row("max-substitution-jobs", Unsigned32, "16", "Substitutions run at the same time.").aliases(&["substitution-max-jobs"]).vain("'http-connections' and the cores bound how many paths are fetched at a time"),
    row("min-free", Unsigned64, "0", "Collect garbage during a build when fewer bytes are free; 0 never does.").acts(),
    row("min-free-check-interval", Unsigned64, "5", "Seconds between two checks of `min-free`.").acts(),
    row("nar-buffer-size", Unsigned64, "33554432", "Largest NAR held in memory when a size must be known first.").vain("archives are never held in memory as a whole"),
    row("narinfo-cache-meta-ttl", Unsigned32, "604800", "Seconds for which a binary cache's own description is remembered.").acts(),
    row("narinfo-cache-negative-ttl", Unsigned32, "3600", "Seconds for which the absence of a path in a cache is remembered.").acts(),
    row("narinfo-cache-positive-ttl", Unsigned32, "2592000", "Seconds for which the presence of a path in a cache is remembered.").acts(),
    row("netrc-file", Path, "/etc/nix/netrc", "netrc file with user names and passwords for HTTP.").acts(),
    row("nix-path", List, "", "Where `<name>` is looked up.").varying_default().acts(),
    row("nix-shell-always-looks-for-shell-nix", Bool, "true", "`nix-shell` prefers a directory's shell.nix to default.nix.").of_language(),
    row("nix-shell-shebang-arguments-relative-to-script", Bool, "true", "Paths in a `nix-shell` script's header start at the script.").of_language(),
    row("plugin-files", Plugins, "", "Native plugins to load. Nival loads none.").vain("Nival has no plugins"),
    row("post-build-hook", Text, "", "Program run after each successful build.").builds(),
    row("pre-build-hook", Text, "", "Program run before each build, which may add sandbox paths.").of_building(),
    row("preallocate-contents", Bool, "false", "Reserve a file's space on disk before writing it.").vain("the file system chooses the place of a file when all of it is there"),
    row("print-missing", Bool, "true", "List what will be built and fetched before starting.").acts(),
    row("pure-eval", Bool, "false", "Evaluation sees nothing that is not fixed by a hash.").acts(),
    row("require-drop-supplementary-groups", Bool, "true", "A build fails when its extra groups cannot be given up.").of_building(),
    row("require-sigs", Bool, "true", "Paths that are not content-addressed need a trusted signature.").acts(),
    row("restrict-eval", Bool, "false", "Evaluation sees only the lookup path and allowed URIs.").acts(),
    row("run-diff-hook", Bool, "false", "Whether `diff-hook` runs.").of_building(),
    row("sandbox", Sandbox, "true", "Builds are isolated; `relaxed` lets a derivation opt out.")
        .aliases(&["build-use-chroot", "build-use-sandbox"]).builds(),
    row("sandbox-build-dir", Path, "/build", "Where the build directory appears inside the sandbox.").builds(),
    row("sandbox-dev-shm-size", Text, "50%", "Size limit of /dev/shm in the sandbox.").builds(),
    row("sandbox-fallback", Bool, "true", "Build without a sandbox where the kernel has none to offer.").builds(),
    row("sandbox-paths", Mounts, "", "Host paths shown in the sandbox: TARGET, TARGET=SOURCE, with ? when it may be missing.")
        .aliases(&["build-chroot-dirs", "build-sandbox-paths"]).builds(),
    row("secret-key-files", List, "", "Secret keys that sign locally built paths.").builds(),
    row("show-trace", Bool, "false", "Print where in the program an evaluation error arose.").acts(),
    row("ssl-cert-file", OptionalPath, "", "Certificates trusted for HTTPS.").varying_default().acts(),
    row("stalled-download-timeout", Unsigned64, "300", "Seconds without data after which a download is given up.").acts(),
    row("start-id", Unsigned32, "872415232", "First id given out by automatic uid allocation.").of_building(),
    row("store", Store, "auto", "The store to work with, as a URI.").acts(),
    row("substitute", Bool, "true", "Whether missing paths may come from substituters.").aliases(&["build-use-substitutes"]).acts(),
    row("substituters", StoreList, "https://cache.nixos.org/", "Stores asked for paths that are missing here.").aliases(&["binary-caches"]).acts(),
    row("sync-before-registering", Bool, "false", "Call sync(2) for the whole system before paths are registered.").acts(),
    row("sync-store-paths", Bool, "true", "Sync a path's data and directory entries to disk before its row is committed (Nival only).").acts(),
    row("system", Text, "", "System type of this machine.").acts(),
    row("system-features", Set, "", "What this machine can offer to derivations that require it.").varying_default().builds(),
    row("tarball-ttl", Unsigned32, "3600", "Seconds for which a downloaded tarball counts as fresh.").acts(),
    row("timeout", Signed64, "0", "Seconds a build may take; 0 is unlimited.").aliases(&["build-timeout"]).builds(),
    row("trace-function-calls", Bool, "false", "Log entry to and return from each function.").of_language(),
    row("trace-import-from-derivation", Bool, "false", "Warn whenever evaluation waits for a build.").acts(),
    row("trace-verbose", Bool, "false", "Whether `builtins.traceVerbose` prints.").acts(),
    row("trust-tarballs-from-git-forges", Bool, "true", "Take a forge's tarball of a commit to be that commit.").of_language(),
    row("trusted-public-keys", List, "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=", "Keys whose signatures are believed.")
        .aliases(&["binary-cache-public-keys"]).acts(),
    row("trusted-substituters", StoreList, "", "Stores that untrusted users may name as substituters.").aliases(&["trusted-binary-caches"]).acts(),
    row("trusted-users", List, "root", "Users and @groups the daemon obeys in everything.").acts(),
    row("upgrade-nix-store-path-url", Text, "https://github.com/NixOS/nixpkgs/raw/master/nixos/modules/installer/tools/nix-fallback-paths.nix",
        "Where `nix upgrade-nix` learns the newest version.").vain("Nival is not upgraded by itself"),
    row("use-case-hack", Bool, "false", "Rename files that differ only in case when unpacking (for such file systems).").acts(),
    row("use-cgroups", Bool, "false", "Run each build in a control group of its own (Linux).").of_building(),
    row("use-registries", Bool, "true", "Resolve indirect flake references through registries.").feature("flakes").of_language(),
    row("use-sqlite-wal", Bool, "true", "Keep the store database in write-ahead-log mode.").acts(),
    row("use-xdg-base-directories", Bool, "false", "Keep per-user files in the XDG directories, not directly in the home directory.").acts(),
    row("user-agent-suffix", Text, "", "Text added to the HTTP user agent.").acts(),
    row("warn-dirty", Bool, "true", "Warn about work trees with uncommitted changes.").acts(),
    row("warn-large-path-threshold", Unsigned64, "0", "Warn when a larger path (in bytes) is copied to the store; 0 never does.").acts(),
    row("warn-short-path-literals", Bool, "false", "Old form of `lint-short-path-literals`.").of_language(),
];

/// The experimental features that exist; any other name draws a warning.
pub const FEATURES: &[&str] = &[
    "auto-allocate-uids",
    "blake3-hashes",
    "ca-derivations",
    "cgroups",
    "configurable-impure-env",
    "daemon-trust-override",
    "dynamic-derivations",
    "external-builders",
    "fetch-closure",
    "fetch-tree",
    "flakes",
    "git-hashing",
    "impure-derivations",
    "local-overlay-store",
    "mounted-ssh-store",
    "nix-command",
    "parse-toml-timestamps",
    "pipe-operators",
    "read-only-local-store",
    "recursive-nix",
    "verified-fetches",
];

/// What may be meant by a name that no setting has, as the end of a message.
pub fn suggestion(name: &str) -> String {
    let (begin, rest) = name.strip_prefix("extra-").map_or(("", name), |rest| ("extra-", rest));
    let names = TABLE.iter().filter(|row| begin.is_empty() || row.kind.appendable()).map(|row| row.name);
    match crate::model::nearest::nearest(rest, names) {
        Some(near) if near != rest => format!("; did you mean '{begin}{near}'?"),
        _ => String::new(),
    }
}

impl Row {
    /// Whether a daemon is to be told of the setting, because it is of building.
    pub fn is_of_building(&self) -> bool {
        matches!(self.effect, Effect::Builds | Effect::OfBuilding)
    }

    /// Why the setting changes nothing in Nival itself, if it does not.
    pub fn without_effect(&self) -> Option<String> {
        match self.effect {
            Effect::Acts | Effect::Builds => None,
            Effect::OfBuilding => {
                Some("has no effect here yet; a daemon that builds is told of it".to_owned())
            }
            Effect::OfLanguage => {
                Some("has no effect yet: it is of a part of the language that comes later".to_owned())
            }
            Effect::Nothing(why) => Some(format!("has no effect: {why}")),
        }
    }
}

/// The position of the setting called `name`, which must not be an alias.
pub fn position(name: &str) -> Option<usize> {
    TABLE.binary_search_by(|row| row.name.cmp(name)).ok()
}

/// The position of the setting called `name` now or formerly.
pub fn position_or_alias(name: &str) -> Option<usize> {
    position(name).or_else(|| TABLE.iter().position(|row| row.aliases.contains(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_sorted_and_unique() {
        assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(FEATURES.windows(2).all(|pair| pair[0] < pair[1]));
        let mut names = BTreeSet::new();
        for row in TABLE {
            assert!(names.insert(row.name), "{} twice", row.name);
            for alias in row.aliases {
                assert!(names.insert(alias), "{alias} twice");
            }
        }
    }

    #[test]
    fn the_table_is_complete() {
        // 129 of the reference, `eval-cores`, `eval-listing-memory`, `gc-without-proc` and `sync-store-paths`.
        assert_eq!(TABLE.len(), 133);
    }

    #[test]
    fn gates_are_known_features() {
        for row in TABLE {
            if let Some(feature) = row.feature {
                assert!(FEATURES.contains(&feature), "{}: {feature}", row.name);
            }
            assert!(!row.doc.is_empty() && !row.doc.contains('\n'), "{}", row.name);
        }
    }

    #[test]
    fn old_names_are_found() {
        assert_eq!(position("gc-keep-outputs"), None);
        assert_eq!(position_or_alias("gc-keep-outputs"), position("keep-outputs"));
        assert_eq!(position_or_alias("no-such-setting"), None);
    }
}
