//! The flags of the classic programs that do one thing.

use super::Value::{Bytes, File, StorePath, Text};
use super::expressions::EXPRESSIONS;
use super::{ALGORITHMS, Group, Operation, Program, own, switch, takes};

/// `nix-hash`.
pub const NIX_HASH: Program = Program {
    name: "nix-hash",
    synopsis: &[
        "[FLAGS] FILES...",
        "--to-base16|--to-base32|--to-base64|--to-sri [--type ALGORITHM] HASHES...",
    ],
    arguments: &[File],
    about: "Prints hashes of files and directories, or hashes in another notation",
    more: &[
        "The archive of a file or directory is hashed, or with --flat the contents of a file.",
        "The algorithm is md5 unless --type names another one: sha1, sha256, sha512 or blake3.",
    ],
    operations: &[],
    rows: &[
        switch(&["--base16"], "Prints hashes in base 16 (the default)"),
        switch(&["--base32"], "Prints hashes in the base 32 of Nix"),
        switch(&["--base64"], "Prints hashes in base 64"),
        switch(&["--flat"], "Hashes the contents of files, not their archives"),
        switch(&["--sri"], "Prints hashes with their algorithm, as in sha256-…"),
        switch(&["--to-base16"], "Prints the given hashes in base 16"),
        switch(&["--to-base32"], "Prints the given hashes in the base 32 of Nix"),
        switch(&["--to-base64"], "Prints the given hashes in base 64"),
        switch(&["--to-sri"], "Prints the given hashes with their algorithm"),
        switch(&["--truncate"], "Shortens hashes to 160 bits"),
        takes(&["--type"], ALGORITHMS, "Chooses the hash algorithm"),
    ],
    groups: &[],
};

/// `nix-prefetch-url`.
pub const NIX_PREFETCH_URL: Program = Program {
    name: "nix-prefetch-url",
    synopsis: &["[FLAGS] URL [HASH]", "[FLAGS] --attr ATTRIBUTE [FILE] [HASH]"],
    arguments: &[],
    about: "Adds what is behind a URL to the store and prints its hash",
    more: &[
        "FILE is ./default.nix unless another one is named. mirror://NAME/FILE is FILE on the first of the \
         mirrors that Nixpkgs has under NAME.",
        "With PRINT_PATH=1 in the environment, --print-path is the default.",
    ],
    operations: &[],
    rows: &[
        takes(
            &["--attr", "-A"],
            &[Text("ATTRIBUTE")],
            "Takes the URL and the kind of hash from this attribute of an expression",
        ),
        switch(&["--executable"], "Makes the file executable: its archive is hashed"),
        takes(&["--name"], &[Text("NAME")], "Gives the store path this name"),
        switch(&["--print-path"], "Prints the store path after the hash"),
        takes(&["--type"], ALGORITHMS, "Chooses the hash algorithm"),
        switch(&["--unpack"], "Unpacks an archive: what it holds is added and hashed"),
    ],
    groups: &[&EXPRESSIONS],
};

/// `nix-channel`.
pub const NIX_CHANNEL: Program = Program {
    name: "nix-channel",
    synopsis: &["OPERATION [ARGUMENTS]"],
    arguments: &[],
    about: "Follows channels: trees of Nix expressions that are published at URLs",
    more: &[
        "Expressions and nix-env find the channels by ~/.nix-defexpr/channels. A URL is that of a tarball \
         (.tar.gz, .tar.xz, .tar.bz2), or of the directory in which nixexprs.tar.xz or nixexprs.tar.bz2 lies. \
         What was fetched less than an hour ago is not fetched again (setting tarball-ttl).",
    ],
    operations: &[
        channels(&["--add"], "URL [NAME]", "Adds a channel to the list, or gives it another URL"),
        channels(&["--list"], "", "Prints the names and URLs of the channels"),
        channels(&["--list-generations"], "", "Lists the generations of the channels"),
        channels(&["--remove"], "NAME", "Removes a channel from the list and from the profile"),
        channels(
            &["--rollback"],
            "[GENERATION]",
            "Goes back to the generation before the current one, or to this one",
        ),
        channels(&["--update"], "[NAMES...]", "Fetches the newest version of all channels, or of some"),
    ],
    rows: &[],
    groups: &[],
};

const fn channels(names: &'static [&'static str], synopsis: &'static str, about: &'static str) -> Operation {
    Operation { names, synopsis, arguments: &[], about, rows: &[] }
}

/// `nix-copy-closure`.
pub const NIX_COPY_CLOSURE: Program = Program {
    name: "nix-copy-closure",
    synopsis: &["[--to | --from] [FLAGS] [USER@]HOST[:PORT] PATHS..."],
    arguments: &[Text("HOST"), StorePath],
    about: "Copies paths and everything that they refer to, to or from another machine",
    more: &[],
    operations: &[],
    rows: &[
        switch(&["--bzip2"], "Does what --gzip does").deprecated("is not implemented, falling back to gzip"),
        switch(&["--dry-run"], "Only says what would be copied"),
        switch(&["--from"], "Copies from the other machine"),
        switch(&["--gzip"], "Compresses what is sent"),
        switch(&["--include-outputs"], "Also copies the outputs of derivations"),
        switch(&["--show-progress"], "Changes nothing: progress is always shown on a terminal"),
        switch(&["--to"], "Copies to the other machine (the default)"),
        switch(&["--use-substitutes", "-s"], "Lets the other machine fetch what it can by itself"),
        switch(&["--xz"], "Does what --gzip does").deprecated("is not implemented, falling back to gzip"),
    ],
    groups: &[],
};

/// `nix-collect-garbage`.
pub const NIX_COLLECT_GARBAGE: Program = Program {
    name: "nix-collect-garbage",
    synopsis: &["[-d | --delete-older-than DAYS] [--max-freed BYTES | --dry-run]"],
    arguments: &[],
    about: "Deletes old generations of profiles, if asked to, and every store path that no root keeps",
    more: &[],
    operations: &[],
    rows: &[
        switch(&["--delete-old", "-d"], "First deletes all generations of profiles but the current ones"),
        takes(
            &["--delete-older-than"],
            &[Text("30d|+5")],
            "First deletes generations that were not current any more so many days ago, \
             or all but the last few up to the current one",
        ),
        switch(&["--dry-run"], "Only says what would be deleted, and how much that would free"),
        takes(&["--max-freed"], &[Bytes], "Stops once more than so many bytes came free"),
    ],
    groups: &[],
};

/// Flags of `nix-daemon` that `nix daemon` has, too.
pub const DAEMON: Group = own(&[
    switch(&["--default-trust"], "Trusts the users that 'trusted-users' names (the default)"),
    switch(&["--force-trusted"], "Trusts all clients"),
    switch(&["--force-untrusted"], "Trusts no client"),
    switch(&["--process-ops"], "With --stdio: works on the store itself, even where a daemon would"),
    switch(&["--stdio"], "Serves one client over standard input and output"),
]);

/// `nix-daemon`.
pub const NIX_DAEMON: Program = Program {
    name: "nix-daemon",
    synopsis: &["[FLAGS]"],
    arguments: &[],
    about: "Serves the local store to other users, at a socket",
    more: &["The socket is the daemon's usual one, or what systemd passes."],
    operations: &[],
    rows: &[switch(&["--daemon"], "Changes nothing: the program never leaves its terminal")],
    groups: &[&DAEMON],
};
