//! The flags of all programs: how many words belong to each, what kind of word,
//! and what it is for. Help and completion read it; what a flag does stands with
//! its operation.

/// What a value of a flag is, as far as it can be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A file, a directory or a store path.
    File,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The name of a setting, and then its value.
    Setting,
    /// Something that nobody can guess.
    Free,
}

/// A flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its spellings, the long one first.
    pub names: &'static [&'static str],
    /// How many words belong to it.
    pub values: usize,
    /// What they are.
    pub value: Value,
    /// What it is for; nothing for those that are only passed over.
    pub about: &'static str,
}

impl Flag {
    /// The spellings in one text, as a help shows them.
    pub fn shown(&self) -> String {
        let mut names: Vec<&str> = self.names.to_vec();
        names.sort_by_key(|name| name.len());
        let mut text = names.join(", ");
        match (self.values, self.value) {
            (0, _) => {}
            (_, Value::Word(words)) => text += &format!(" {}", words.join("|")),
            (_, Value::File) => text += " FILE",
            (_, Value::Setting) => text += " NAME VALUE",
            (1, Value::Free) => text += " X",
            (_, Value::Free) => text += " X Y",
        }
        text
    }

    /// The line of a help.
    pub fn help(&self) -> String {
        format!("  {:<32} {}", self.shown(), self.about)
    }
}

/// The lines of a help: operations, or (if one is chosen) its flags.
pub fn help(program: &str, chosen: Option<&str>) -> Vec<String> {
    let flags = |operation: &Operation| {
        let told = operation.flags.iter().filter(|flag| !flag.about.is_empty());
        told.map(Flag::help).collect::<Vec<_>>()
    };
    let of_all = operations(program).filter(|operation| operation.names.is_empty()).flat_map(flags);
    let chosen = chosen.and_then(|name| operations(program).find(|found| found.names.contains(&name)));
    let mut lines = Vec::new();
    match chosen {
        Some(operation) => {
            lines.push(format!("Usage: {program} {} [FLAGS] [ARGUMENTS]", operation.names[0]));
            lines.push(String::new());
            lines.push(format!("{}.", operation.about));
            lines.push(String::new());
            lines.push("Flags:".to_owned());
            lines.extend(flags(operation));
        }
        None => {
            lines.push(format!("Usage: {program} OPERATION [FLAGS] [ARGUMENTS]"));
            lines.push(String::new());
            lines.push("Operations:".to_owned());
            for operation in operations(program).filter(|operation| !operation.names.is_empty()) {
                let mut names = operation.names.to_vec();
                names.sort_by_key(|name| name.len());
                lines.push(format!("  {:<32} {}", names.join(", "), operation.about));
            }
            lines.push(String::new());
            lines.push(format!("'{program} OPERATION --help' tells the flags of one. Of all of them:"));
        }
    }
    lines.extend(of_all);
    lines.push(String::new());
    lines.push("Every setting of nix.conf is a flag too; 'nix config show' lists them.".to_owned());
    lines
}

const fn switch(names: &'static [&'static str], about: &'static str) -> Flag {
    Flag { names, values: 0, value: Value::Free, about }
}

const fn takes(names: &'static [&'static str], value: Value, about: &'static str) -> Flag {
    Flag { names, values: 1, value, about }
}

/// One that is passed over, with so many words.
const fn passed(names: &'static [&'static str], values: usize) -> Flag {
    Flag { names, values, value: Value::Free, about: "" }
}

const ALGORITHMS: Value = Value::Word(&["md5", "sha1", "sha256", "sha512"]);
const FORMATS: Value = Value::Word(&["base16", "base32", "base64", "nix32", "sri"]);
const LOG_FORMATS: Value = Value::Word(&["bar", "bar-with-logs", "internal-json", "raw", "raw-with-logs"]);

/// Flags of every program.
#[rustfmt::skip]
pub const COMMON: &[Flag] = &[
    switch(&["--debug"], "Tell everything"),
    switch(&["--help"], "Say what the command does"),
    takes(&["--log-format"], LOG_FORMATS, "The form of messages"),
    takes(&["-j"], Value::Free, "The most builds at the same time"),
    Flag { names: &["--option"], values: 2, value: Value::Setting, about: "Set a setting" },
    switch(&["--quiet"], "Tell less"),
    switch(&["--verbose", "-v"], "Tell more"),
    switch(&["--version"], "Print the version"),
];

/// Flags of every command of `nix`.
#[rustfmt::skip]
pub const COMMON_OF_NIX: &[Flag] = &[
    switch(&["--no-net"], "Ask no substituters, and take what was fetched before for fresh"),
    switch(&["--offline"], "Ask no substituters, and take what was fetched before for fresh"),
    switch(&["--print-build-logs", "-L"], "Show what builders print"),
    switch(&["--refresh"], "Take nothing that was fetched before for fresh"),
];

/// Flags of some command of `nix`; which of them a command has, it says itself.
#[rustfmt::skip]
pub const OF_NIX: &[Flag] = &[
    takes(&["--algo"], ALGORITHMS, "The hash algorithm"),
    switch(&["--all"], "Everything that there is"),
    passed(&["--arg"], 2),
    passed(&["--arg-from-file"], 2),
    passed(&["--arg-from-stdin"], 1),
    passed(&["--argstr"], 2),
    switch(&["--base16"], "Print hashes in base 16"),
    switch(&["--base32"], "Print hashes in nix32"),
    switch(&["--base64"], "Print hashes in base 64"),
    switch(&["--closure-size", "-S"], "Also the size of the closure"),
    passed(&["--commit-lock-file"], 0),
    passed(&["--debugger"], 0),
    switch(&["--derivation"], "The derivations in place of what they make"),
    switch(&["--directory", "-d"], "Directories themselves, not what is in them"),
    switch(&["--dry-run"], "Only say what would be done"),
    passed(&["--eval-store"], 1),
    switch(&["--executable"], "The file is executable"),
    takes(&["--expected-hash"], Value::Free, "What the hash must be"),
    passed(&["--expr"], 1),
    passed(&["--file", "-f"], 1),
    takes(&["--format"], FORMATS, "The notation of hashes"),
    takes(&["--from"], Value::Free, "The store to copy from, or the notation that is read"),
    takes(&["--hash-algo"], ALGORITHMS, "The hash algorithm"),
    takes(&["--hash-type"], ALGORITHMS, "The hash algorithm"),
    switch(&["--human-readable", "-h"], "Sizes for people"),
    switch(&["--ignore-liveness"], "Also what something refers to"),
    passed(&["--impure"], 0),
    passed(&["--include", "-I"], 1),
    passed(&["--inputs-from"], 1),
    switch(&["--json"], "Print JSON"),
    takes(&["--json-format"], Value::Word(&["1", "2"]), "The version of the form of the JSON"),
    takes(&["--key-file", "-k"], Value::File, "The file with the secret key"),
    takes(&["--key-name"], Value::Free, "What the key is called"),
    switch(&["--long", "-l"], "Also kinds and sizes"),
    takes(&["--max"], Value::Free, "Stop once so many bytes (K, M, G, T) came free"),
    takes(&["--mode"], Value::Word(&["flat", "nar", "text"]), "What is hashed"),
    takes(&["--name", "-n"], Value::Free, "What the store path is called"),
    switch(&["--no-check-sigs"], "Accept paths without a trusted signature"),
    switch(&["--no-contents"], "Do not look at contents"),
    switch(&["--no-pretty"], "Print JSON on one line"),
    switch(&["--no-recursive"], "Only the paths themselves"),
    passed(&["--no-registries"], 0),
    switch(&["--no-trust"], "Do not look at signatures"),
    passed(&["--no-update-lock-file"], 0),
    passed(&["--no-write-lock-file"], 0),
    takes(&["--older-than"], Value::Free, "Only what is older, as in 30d"),
    takes(&["--out-link", "-o"], Value::File, "A link to the result, which is a root"),
    passed(&["--output-lock-file"], 1),
    passed(&["--override-flake"], 2),
    passed(&["--override-input"], 2),
    switch(&["--pretty"], "Print JSON with line breaks"),
    switch(&["--precise"], "Also which files refer to what"),
    takes(&["--priority"], Value::Free, "Which package wins; the lower number does"),
    takes(&["--profile"], Value::File, "The profile to work on"),
    passed(&["--recreate-lock-file"], 0),
    switch(&["--recursive", "-r", "-R"], "Everything below, or everything that is referred to"),
    passed(&["--reference-lock-file"], 1),
    takes(&["--regex"], Value::Free, "Packages whose names match"),
    passed(&["--repair"], 0),
    switch(&["--sigs"], "Also signatures"),
    takes(&["--sigs-needed", "-n"], Value::Free, "How many keys must have signed"),
    switch(&["--size", "-s"], "Also sizes"),
    switch(&["--sri"], "Print hashes in the SRI form"),
    switch(&["--stdin"], "Read more arguments from standard input"),
    switch(&["--substitute-on-destination", "-s"], "The destination fetches what it can by itself"),
    takes(&["--substituter", "-s"], Value::Free, "A store with what is wanted"),
    takes(&["--to"], Value::Free, "The store to copy to, or the notation to print, or a number"),
    takes(&["--type"], ALGORITHMS, "The hash algorithm"),
    switch(&["--unpack"], "Unpack an archive"),
    passed(&["--update-input"], 1),
];

/// An operation of a program, or nothing for the flags of all its operations.
pub struct Operation {
    /// The program.
    pub program: &'static str,
    /// Its spellings, the long one first.
    pub names: &'static [&'static str],
    /// What it does.
    pub about: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
}

const fn operation(
    program: &'static str,
    names: &'static [&'static str],
    about: &'static str,
    flags: &'static [Flag],
) -> Operation {
    Operation { program, names, about, flags }
}

const STORE: &str = "nix-store";
const ENV: &str = "nix-env";
const DRY_RUN: Flag = switch(&["--dry-run"], "Only say what would be done");
const MAX_FREED: Flag =
    takes(&["--max-freed"], Value::Free, "Stop once more than so many bytes (K, M, G, T) came free");
const MAX_LINKS: Flag =
    takes(&["--max-links"], Value::Free, "Stop once the store directory has fewer links than this");
const REPAIR: Flag = switch(&["--repair"], "Repair what is damaged, from substituters");
const RECURSIVE: Flag = switch(&["--recursive"], "Hash the archive, also of directories");
const JSON: Flag = switch(&["--json"], "Print JSON");
const FORCE: Flag = switch(&["--force"], "Also to one that leads to nothing");
const PREBUILT: Flag = switch(&["--prebuilt-only", "-b"], "Only what need not be built");
/// Of evaluation, which is not offered.
const ATTR: Flag = passed(&["--attr", "-A"], 0);
const EXPRESSION: Flag = passed(&["--from-expression", "-E"], 0);
const FROM_PROFILE: Flag = takes(&["--from-profile"], Value::File, "Take the packages from another profile");

/// Operations and flags of the classic programs.
#[rustfmt::skip]
pub const OPERATIONS: &[Operation] = &[
    operation(STORE, &[], "", &[
        takes(&["--add-root"], Value::File, "A link to the result, which is a root"),
        switch(&["--indirect"], "Without effect: roots are always indirect"),
        switch(&["--no-gc-warning"], "Do not say that a result has no root"),
        switch(&["--stdin"], "Read more arguments from standard input"),
    ]),
    operation(STORE, &["--add", "-A"], "Add files and directories", &[]),
    operation(STORE, &["--add-fixed"], "Add files addressed by a hash of one's choice", &[RECURSIVE]),
    operation(STORE, &["--check-validity"], "Fail if a path is not valid", &[
        switch(&["--print-invalid"], "Print those that are not, and do not fail"),
    ]),
    operation(STORE, &["--delete"], "Delete paths that nothing keeps", &[
        MAX_FREED,
        MAX_LINKS,
        switch(&["--ignore-liveness"], "Also what is a root"),
    ]),
    operation(STORE, &["--dump"], "Print the archive of a file or directory", &[]),
    operation(STORE, &["--dump-db"], "Print what the database knows", &[]),
    operation(STORE, &["--export"], "Print paths as a stream that can be imported", &[]),
    operation(STORE, &["--gc"], "Delete everything that no root leads to", &[
        MAX_FREED,
        MAX_LINKS,
        switch(&["--dry-run"], "Only say what would be deleted, and how much that frees"),
        JSON,
        switch(&["--print-dead"], "List what would be deleted"),
        switch(&["--print-live"], "List what is kept"),
        switch(&["--print-roots"], "List the roots"),
        switch(&["--why-alive"], "Say which root keeps a path, and by way of what"),
    ]),
    operation(STORE, &["--generate-binary-cache-key"], "Make a key to sign with: NAME SECRETFILE PUBLICFILE", &[]),
    operation(STORE, &["--import"], "Add the paths of a stream from standard input", &[]),
    operation(STORE, &["--init"], "Make an empty store", &[]),
    operation(STORE, &["--load-db"], "Register what --dump-db printed", &[]),
    operation(STORE, &["--optimise", "--optimize"], "Make equal files hard links to one copy", &[]),
    operation(STORE, &["--print-env"], "Print the environment that a derivation is built in", &[]),
    operation(STORE, &["--print-fixed-path"], "Print the path that a file with a hash has", &[RECURSIVE]),
    operation(STORE, &["--query", "-q"], "Ask what the store knows of paths", &[
        switch(&["--binding", "-b"], "A variable of a derivation"),
        switch(&["--deriver", "-d"], "The derivation that made it"),
        switch(&["--force-realise", "--force-realize", "-f"], "Realise the paths first"),
        switch(&["--graph"], "What is needed, for graphviz"),
        switch(&["--graphml"], "What is needed, as GraphML"),
        switch(&["--hash"], "The hash of the archive"),
        switch(&["--include-outputs"], "With --requisites: also outputs of derivations"),
        switch(&["--outputs"], "The outputs of a derivation"),
        switch(&["--references"], "What it refers to"),
        switch(&["--referrers", "--referers"], "What refers to it"),
        switch(&["--referrers-closure", "--referers-closure"], "What refers to it, by way of anything"),
        switch(&["--requisites", "-R"], "What it needs, and itself"),
        switch(&["--resolve"], "The store path that a link leads to"),
        switch(&["--roots"], "The roots that keep it"),
        switch(&["--size"], "The size of the archive"),
        switch(&["--tree"], "What is needed, as a tree"),
        switch(&["--use-output", "-u"], "The output of a derivation in its place"),
        switch(&["--valid-derivers"], "The derivations that make it"),
    ]),
    operation(STORE, &["--read-log", "-l"], "Print the log of a build", &[]),
    operation(STORE, &["--realise", "--realize", "-r"], "See to it that paths are there", &[
        switch(&["--check"], "Build again and compare"),
        DRY_RUN,
        switch(&["--ignore-unknown"], "Pass over what cannot be had"),
        REPAIR,
    ]),
    operation(STORE, &["--rebuild-db"], "Make the database anew from what is on disk", &[]),
    operation(STORE, &["--register-validity"], "Register paths that are on disk", &[
        switch(&["--hash-given"], "Hash and size are given too"),
        switch(&["--reregister"], "Also paths that are valid already"),
    ]),
    operation(STORE, &["--repair-path"], "Give damaged paths their contents back", &[]),
    operation(STORE, &["--restore"], "Unpack an archive from standard input", &[]),
    operation(STORE, &["--serve"], "Serve another machine over standard input and output", &[
        switch(&["--write"], "It may add paths"),
    ]),
    operation(STORE, &["--verify"], "Check that the database is true", &[
        switch(&["--check-contents"], "Also the contents of all paths"),
        REPAIR,
    ]),
    operation(STORE, &["--verify-path"], "Check the contents of paths", &[]),
    operation(ENV, &[], "", &[
        takes(&["--profile", "-p"], Value::File, "The profile to work on"),
        DRY_RUN,
        passed(&["--arg"], 2),
        passed(&["--argstr"], 2),
        passed(&["--file", "-f"], 1),
        takes(&["--force-name"], Value::Free, "What the package is called (--install, --set)"),
        PREBUILT,
        passed(&["-I"], 1),
        passed(&["--system-filter"], 1),
    ]),
    operation(ENV, &["--delete-generations"], "Delete generations: old, +5, 30d or numbers", &[]),
    operation(ENV, &["--install", "-i"], "Add packages", &[
        ATTR,
        EXPRESSION,
        FROM_PROFILE,
        switch(&["--preserve-installed", "-P"], "Keep packages with the same name"),
        switch(&["--remove-all", "-r"], "First remove everything that is installed"),
    ]),
    operation(ENV, &["--list-generations"], "List the generations", &[JSON]),
    operation(ENV, &["--query", "-q"], "List what is installed", &[
        ATTR,
        switch(&["--available", "-a"], "List what could be installed"),
        switch(&["--attr-path", "-P"], "Show attributes"),
        switch(&["--compare-versions", "-c"], "Compare installed and available versions"),
        switch(&["--description"], "Show descriptions"),
        switch(&["--drv-path"], "Show derivations"),
        switch(&["--installed"], "List what is installed"),
        JSON,
        switch(&["--meta"], "Show all that is noted about packages (JSON, XML)"),
        switch(&["--no-name"], "Do not show names"),
        switch(&["--out-path"], "Show store paths"),
        switch(&["--status", "-s"], "Show whether packages are installed and there"),
        switch(&["--system"], "Show for which system packages are"),
        switch(&["--xml"], "Print XML"),
    ]),
    operation(ENV, &["--rollback"], "Go back to the generation before", &[FORCE]),
    operation(ENV, &["--set"], "Make the profile one package", &[
        ATTR,
        EXPRESSION,
        FROM_PROFILE,
    ]),
    operation(ENV, &["--set-flag"], "Note something with installed packages: NAME VALUE PACKAGES", &[]),
    operation(ENV, &["--switch-generation", "-G"], "Go to a generation", &[FORCE]),
    operation(ENV, &["--switch-profile", "-S"], "Use another profile", &[]),
    operation(ENV, &["--uninstall", "-e"], "Remove packages", &[]),
    operation(ENV, &["--upgrade", "-u"], "Replace packages by newer ones", &[
        ATTR,
        EXPRESSION,
        switch(&["--always"], "Also by older ones and the same"),
        switch(&["--eq"], "Only by those of the same version"),
        FROM_PROFILE,
        switch(&["--leq"], "Also by those of the same version"),
        switch(&["--lt"], "Only by newer ones (the default)"),
    ]),
    operation("nix-hash", &[], "", &[
        switch(&["--base16"], "Print hashes in base 16"),
        switch(&["--base32"], "Print hashes in nix32"),
        switch(&["--base64"], "Print hashes in base 64"),
        switch(&["--flat"], "Hash the contents of files"),
        switch(&["--sri"], "Print hashes in the SRI form"),
        switch(&["--to-base16"], "Print hashes in base 16"),
        switch(&["--to-base32"], "Print hashes in nix32"),
        switch(&["--to-base64"], "Print hashes in base 64"),
        switch(&["--to-sri"], "Print hashes in the SRI form"),
        switch(&["--truncate"], "Cut hashes to 160 bits"),
        takes(&["--type"], ALGORITHMS, "The hash algorithm"),
    ]),
    operation("nix-prefetch-url", &[], "", &[
        switch(&["--executable"], "It is a program: its archive is hashed"),
        takes(&["--name"], Value::Free, "The name of the store path"),
        switch(&["--print-path"], "Print the store path after the hash"),
        takes(&["--type"], ALGORITHMS, "The hash algorithm"),
        switch(&["--unpack"], "It is an archive: what it holds is hashed"),
    ]),
    operation("nix-copy-closure", &[], "", &[
        switch(&["--bzip2"], ""),
        DRY_RUN,
        switch(&["--from"], "Copy from the other machine"),
        switch(&["--gzip"], "Compress what is sent"),
        switch(&["--include-outputs"], "Also the outputs of derivations"),
        switch(&["--show-progress"], ""),
        switch(&["--to"], "Copy to the other machine (the default)"),
        switch(&["--use-substitutes", "-s"], "The other machine fetches what it can by itself"),
        switch(&["--xz"], ""),
    ]),
    operation("nix-collect-garbage", &[], "", &[
        switch(&["--delete-old", "-d"], "First delete all generations but the current ones"),
        takes(&["--delete-older-than"], Value::Free, "First delete older generations, as in 30d, or all but the last, as in +5"),
        switch(&["--dry-run"], "Only say what would be deleted, and how much that frees"),
        MAX_FREED,
    ]),
    operation("nix-daemon", &[], "", DAEMON),
];

/// Flags of `nix-daemon`, which `nix daemon` has too.
pub const DAEMON: &[Flag] = &[
    switch(&["--daemon"], ""),
    switch(&["--default-trust"], "Trust those that 'trusted-users' names"),
    switch(&["--force-trusted"], "Trust all clients"),
    switch(&["--force-untrusted"], "Trust no client"),
    switch(&["--process-ops"], "With --stdio: work on the store itself"),
    switch(&["--stdio"], "Serve one client over standard input and output"),
];

/// The flag of a program that a word may mean.
pub fn suggestion(program: &str, word: &str) -> Option<String> {
    let tables = match program {
        "nix" => vec![COMMON, COMMON_OF_NIX, OF_NIX],
        _ => vec![COMMON],
    };
    let common = tables.into_iter().flatten().flat_map(|flag| flag.names);
    let own = operations(program).flat_map(|operation| {
        operation.names.iter().chain(operation.flags.iter().flat_map(|flag| flag.names))
    });
    let known = common.chain(own).copied().filter(|name| name.starts_with("--"));
    if let Some(near) = nival::settings::near::nearest(word, known) {
        return Some(near.to_owned());
    }
    let settings = nival::settings::table::TABLE.iter().map(|row| row.name);
    nival::settings::near::nearest(word.strip_prefix("--")?, settings).map(|name| format!("--{name}"))
}

/// The flag of one of some tables with a spelling.
pub fn find<'f>(tables: &[&'f [Flag]], word: &str) -> Option<&'f Flag> {
    tables.iter().copied().flatten().find(|flag| flag.names.contains(&word))
}

/// The operations of a program; that without names holds the flags of all.
pub fn operations(program: &str) -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().filter(move |operation| operation.program == program)
}
