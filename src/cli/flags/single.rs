//! The flags of the classic programs that do one thing.

use super::Value::{Bytes, File, StorePath, Text};
use super::nix::EVALUATION;
use super::{ALGORITHMS, Group, Program, own, switch, takes};

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
    synopsis: &["[FLAGS] URL [HASH]"],
    arguments: &[],
    about: "Adds what is behind a URL to the store and prints its hash",
    more: &["With PRINT_PATH=1 in the environment, --print-path is the default."],
    operations: &[],
    rows: &[
        takes(
            &["--attr", "-A"],
            &[Text("ATTRIBUTE")],
            "Takes the URL from a Nix expression (not available yet)",
        ),
        switch(&["--executable"], "Makes the file executable: its archive is hashed"),
        takes(&["--name"], &[Text("NAME")], "Gives the store path this name"),
        switch(&["--print-path"], "Prints the store path after the hash"),
        takes(&["--type"], ALGORITHMS, "Chooses the hash algorithm"),
        switch(&["--unpack"], "Unpacks an archive: what it holds is added and hashed"),
    ],
    groups: &[&EVALUATION],
};

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
