//! The table of cases, and what differs on purpose.

/// Sets of kinds, a bit for each column.
pub const LOCAL: u16 = 1;
pub const CHROOT: u16 = 2;
pub const FILE: u16 = 4;
pub const HTTP: u16 = 8;
pub const S3: u16 = 16;
pub const DAEMON: u16 = 32;
pub const SSH_NG: u16 = 64;
pub const SSH: u16 = 128;

const CACHES: u16 = FILE | HTTP | S3;
/// Stores whose files lie here.
const HERE: u16 = LOCAL | CHROOT;
/// Stores with a database behind them.
const MANAGED: u16 = HERE | DAEMON | SSH_NG;
const ALL: u16 = MANAGED | CACHES | SSH;
/// All but `ssh://`, whose protocol has few requests.
const BUT_SSH: u16 = MANAGED | CACHES;
const NONE: u16 = 0;
/// Stores that take logs.
pub const LOGS: u16 = MANAGED | CACHES;

/// What of standard output is compared.
pub enum Shown {
    Exactly,
    InAnyOrder,
    Nothing,
}

/// A row of the table.
pub struct Case {
    pub program: &'static str,
    /// Its words, with names for paths in them.
    pub words: &'static str,
    /// The kinds that can do it.
    pub kinds: u16,
    /// Further kinds, with which our program can do it.
    pub beyond: u16,
    /// The status where it can be done.
    pub status: i32,
    pub shown: Shown,
}

const fn store(words: &'static str, kinds: u16) -> Case {
    Case { program: "nix-store", words, kinds, beyond: NONE, status: 0, shown: Shown::Exactly }
}

const fn nix(words: &'static str, kinds: u16) -> Case {
    Case { program: "nix", ..store(words, kinds) }
}

impl Case {
    const fn beyond(mut self, kinds: u16) -> Self {
        self.beyond = kinds;
        self
    }

    const fn in_any_order(mut self) -> Self {
        self.shown = Shown::InAnyOrder;
        self
    }

    const fn status_only(mut self) -> Self {
        self.shown = Shown::Nothing;
        self
    }

    /// The answer is this status, as where it is "no".
    const fn answers(mut self, status: i32) -> Self {
        self.status = status;
        self
    }
}

/// The cases, in their order: later ones see what earlier ones have changed.
pub const TABLE: &[Case] = &[
    // What is valid.
    store("--check-validity {top}", ALL),
    store("--check-validity {nowhere}", NONE),
    store("--check-validity --print-invalid {top} {nowhere}", ALL),
    store("--dump-db {top}", ALL),
    // What is known of a path.
    store("-q --hash {top}", ALL),
    store("-q --size {top}", ALL),
    store("-q --size {nowhere}", NONE),
    store("-q --deriver {out}", ALL),
    store("-q --valid-derivers {out}", ALL),
    store("-q --outputs {drv}", BUT_SSH).beyond(SSH),
    store("-q --binding name {drv}", BUT_SSH).beyond(SSH),
    nix("path-info {top}", ALL),
    nix("path-info -rsS {top}", ALL),
    nix("path-info --sigs {top}", ALL),
    nix("path-info --json --json-format 1 {tree}", ALL),
    nix("path-info {drv}^out", BUT_SSH).beyond(SSH),
    nix("path-info {drv}^*", BUT_SSH).beyond(SSH),
    nix("path-info {drv}^nosuch", NONE),
    nix("path-info {nowhere}", NONE),
    nix("path-info {drv}^nosuch {nowhere}", NONE),
    nix("path-info --derivation {drv}", ALL),
    nix("derivation show {drv}", BUT_SSH).beyond(SSH),
    nix("store path-from-hash-part {part}", BUT_SSH),
    nix("store path-from-hash-part {none}", NONE),
    // What refers to what.
    store("-q --references {top}", ALL),
    store("-qR {top}", ALL),
    store("-q --tree {top}", ALL),
    store("-q --graph {top}", ALL),
    store("-q --referrers {tree}", MANAGED),
    store("-q --referrers-closure {tree}", MANAGED),
    // Archives, and what is in them.
    store("--export {top}", ALL),
    nix("store dump-path {tree}", ALL),
    nix("store dump-path {nowhere}", NONE),
    nix("store dump-path {drv}^out", BUT_SSH).beyond(SSH),
    nix("store ls {tree}", BUT_SSH).beyond(SSH),
    nix("store ls -lR {tree}", BUT_SSH).beyond(SSH),
    nix("store ls --json -R {tree}", BUT_SSH).beyond(SSH),
    nix("store ls {tree}/nosuch", NONE),
    nix("store cat {tree}/sub/text", BUT_SSH).beyond(SSH),
    nix("store cat {tree}/sub", NONE),
    nix("store cat {nowhere}", NONE),
    nix("store ls {nowhere}", NONE),
    nix("store ls -d {tree}/sub", BUT_SSH).beyond(SSH),
    nix("store ls -l {tree}/sub/text", BUT_SSH).beyond(SSH),
    store("--verify-path {top}", ALL),
    nix("store verify --no-trust {top}", ALL),
    nix("store verify {top}", ALL),
    nix("store verify {nowhere}", NONE),
    nix("store verify {nowhere} {top}", ALL).answers(4),
    nix("store verify {drv}^*", BUT_SSH).beyond(SSH).answers(2),
    // Build logs.
    store("-l {drv}", HERE | DAEMON | CACHES),
    nix("log {drv}", HERE | DAEMON | CACHES),
    // What can be realised.
    store("-r --no-gc-warning {top}", ALL),
    store("-r --no-gc-warning {drv}", BUT_SSH).beyond(SSH),
    store("-r --no-gc-warning {nowhere}", NONE),
    store("-r {top} --add-root {src}/root", ALL),
    store("-q --roots {top}", MANAGED),
    store("--gc --print-roots", MANAGED),
    // What is added and signed.
    nix("store add {src}/plain --name added-1", ALL),
    nix("store add --mode flat {src}/plain --name added-2", ALL),
    store("--add {src}/tree", BUT_SSH).beyond(SSH),
    store("--add-fixed sha256 {src}/plain", ALL),
    store("--import", ALL),
    nix("store sign -k {key} {nowhere}", NONE),
    nix("store sign -k {key} {drv}^*", BUT_SSH),
    nix("path-info --sigs {drv}^*", BUT_SSH).beyond(SSH),
    // What is kept in order and deleted.
    store("--verify --check-contents", MANAGED),
    store("--optimise", MANAGED).status_only(),
    store("--gc --print-live", MANAGED).in_any_order(),
    store("--gc --print-dead", MANAGED).in_any_order(),
    store("--delete {tree}", NONE),
    store("--gc --max-freed 1", MANAGED).status_only(),
    store("--gc", MANAGED).status_only(),
    store("--check-validity {drv}", CACHES | SSH),
];

/// Cases that differ on purpose, the kinds where they do, and what our error says there.
pub const OURS: &[(&str, u16, &str)] = &[
    // With the whole path.
    ("store ls {tree}/nosuch", CACHES | SSH_NG | SSH, "-tree/nosuch' does not exist"),
    ("store cat {tree}/sub", SSH, "path '/sub' is not a regular file"),
    // Our daemon tells a client of the reference so in other words.
    ("path-info {drv}^nosuch", DAEMON | SSH_NG | SSH, "doesn't have an output named 'nosuch'"),
    ("path-info {drv}^nosuch {nowhere}", DAEMON | SSH_NG | SSH, "doesn't have an output named 'nosuch'"),
    // The reference begins with an archive, or cannot look into paths at all.
    ("store dump-path {nowhere}", SSH_NG, "-nowhere' is not valid"),
    ("store cat {nowhere}", SSH, "-nowhere' is not valid"),
    ("store ls {nowhere}", SSH, "-nowhere' is not valid"),
    // There is no log, whatever the reason.
    ("-l {drv}", SSH_NG | SSH, "is not available"),
    ("log {drv}", SSH_NG | SSH, "is not available"),
    ("-r --no-gc-warning {nowhere}", SSH, "is required, but there is no substituter that can build it"),
    ("-q --roots {top}", CACHES | SSH, "Garbage collection not supported by store 'STORE'"),
    ("store sign -k {key} {drv}^*", SSH, "adding signatures is not possible on 'STORE'"),
    // The reference does nothing, with status 0.
    ("--verify --check-contents", CACHES | SSH, "operation 'verifyStore' is not supported by store 'STORE'"),
    ("--optimise", CACHES | SSH, "operation 'optimiseStore' is not supported by store 'STORE'"),
];
