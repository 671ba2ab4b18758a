//! The floors of the house: who may call whom, and who may print, read the
//! environment or be unsafe.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::imports::Imports;

/// From the bottom up; a floor may use itself and those before it.
const FLOORS: [&[&str]; 6] = [
    &["model", "sys", "progress"],
    &["nar", "settings", "http", "eval"],
    &["store"],
    &["fetch"],
    &["build", "flake"],
    &["ops"],
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with its path below `src` and its text without comments
/// and tests.
fn all_sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(found.len() > 40, "the sources are somewhere else");
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\n#[allow").next().unwrap_or_default();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (name, code.join("\n"))
        })
        .collect()
}

/// The rows of a list of floors as docs/architecture.md shows them.
fn shown(floors: &[&[&str]]) -> String {
    let rows: Vec<String> = floors.iter().map(|row| row.join(", ")).collect();
    rows.join(" ← ")
}

fn assert_is_documented(floors: &[&[&str]]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let text = std::fs::read_to_string(path).unwrap();
    let list = shown(floors);
    assert!(text.lines().any(|line| line == list), "docs/architecture.md has no line '{list}'");
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn calls_go_down_only() {
    let mut used = 0;
    for (name, code) in all_sources() {
        let module = name.split('/').next().unwrap().trim_end_matches(".rs");
        let Some(floor) = floor_of(module) else {
            assert!(
                matches!(name.as_str(), "main.rs" | "lib.rs") || name.starts_with("cli/"),
                "{name} stands on no floor"
            );
            continue;
        };
        for part in code.split("crate::").skip(1) {
            let target: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(other) = floor_of(&target) else { continue };
            used += 1;
            assert!(other <= floor, "{name} on floor {floor} uses '{target}' on floor {other}");
            // The language sees the world only through a trait of its own.
            let may = module != "eval" || matches!(target.as_str(), "eval" | "model");
            assert!(may, "{name} uses '{target}'; the language may use 'model' only");
        }
    }
    assert!(used > 50, "the references between floors were not found");
}

/// The rooms of `store/` that may use each other from the bottom up; those of one
/// row never use each other. `error.rs` collects the errors of all.
const STORE_FLOORS: [&[&str]; 4] =
    [&["layout", "graph", "compression"], &["api"], &["local", "binary_cache", "remote", "empty"], &["open"]];

#[test]
fn stores_call_down_only() {
    assert_is_documented(&STORE_FLOORS);
    let floor = |room: &str| STORE_FLOORS.iter().position(|rooms| rooms.contains(&room));
    let mut used = 0;
    for (name, code) in all_sources() {
        let Some(inside) = name.strip_prefix("store/") else { continue };
        let room = inside.split('/').next().unwrap().trim_end_matches(".rs");
        let Some(own) = floor(room) else {
            assert!(matches!(room, "mod" | "error"), "{name} stands on no floor of the stores");
            continue;
        };
        for part in code.split("crate::store::").skip(1) {
            let target: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(other) = floor(&target) else { continue };
            used += 1;
            // Helpers at the bottom may use each other.
            assert!(other < own || target == room || own == 0, "{name} uses 'store::{target}'");
        }
    }
    assert!(used > 50, "the references between stores were not found");
}

/// Paths through `super` out of a room are not seen by `stores_call_down_only`.
#[test]
fn stores_call_down_only_through_super() {
    let floor = |room: &str| STORE_FLOORS.iter().position(|rooms| rooms.contains(&room));
    for (name, code) in all_sources() {
        let Some(inside) = name.strip_prefix("store/") else { continue };
        let room = inside.split('/').next().unwrap().trim_end_matches(".rs");
        let Some(own) = floor(room) else { continue };
        let out = "super::".repeat(inside.trim_end_matches("/mod.rs").split('/').count());
        for part in code.split(&out).skip(1) {
            let target: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(other) = floor(&target) else { continue };
            assert!(other < own || target == room, "{name} uses '{target}' through 'super'");
        }
    }
}

/// The rooms of `cli/` from the bottom up; those of one row may use each other, and
/// `programs` stands for all that have no name here.
const CLI_FLOORS: [&[&str]; 8] = [
    &["signals"],
    &["output"],
    &["error"],
    &["flags"],
    &["context"],
    &["stores", "realiser", "served", "collect", "evaluation", "repair", "keys", "contents"],
    &["installables"],
    &["programs"],
];

#[test]
fn programs_call_down_only() {
    assert_is_documented(&CLI_FLOORS);
    let floor = |room: &str| CLI_FLOORS.iter().position(|rooms| rooms.contains(&room));
    let room_of = |name: &str| {
        let room = name.strip_prefix("cli/")?.split('/').next()?.trim_end_matches(".rs").to_owned();
        Some(if floor(&room).is_some() { room } else { "programs".to_owned() })
    };
    let imports = Imports::of(all_sources());
    let mut used = 0;
    for (file, other) in imports.edges() {
        let (Some(own), Some(target)) = (room_of(file), room_of(other)) else { continue };
        used += 1;
        assert!(floor(&target) <= floor(&own), "{file} uses {other}, which stands above it");
    }
    assert!(used > 50, "the references between programs were not found");
}

/// What programs share stands in the rooms below them. `nix daemon` is the program `nix-daemon`, and
/// `nix-channel` has `nix-env` work on a profile of its own.
#[test]
fn programs_use_no_other_program() {
    let program = |name: &str| {
        let room = name.strip_prefix("cli/")?.split('/').next()?.trim_end_matches(".rs").to_owned();
        (room == "nix" || room.starts_with("nix_")).then_some(room)
    };
    let imports = Imports::of(all_sources());
    let mut used = 0;
    for (file, other) in imports.edges() {
        let (Some(own), Some(target)) = (program(file), program(other)) else { continue };
        used += 1;
        let passes_on = [("nix", "nix_daemon"), ("nix_channel", "nix_env")];
        assert!(
            own == target || passes_on.contains(&(&*own, &*target)),
            "{file} uses {other}, a part of another program"
        );
    }
    assert!(used > 50, "the references within programs were not found");
}

/// No file needs itself by way of another folder.
#[test]
fn no_circle_spans_folders() {
    let imports = Imports::of(all_sources());
    let count = imports.edges().count();
    assert!(count > 500, "only {count} imports were found");
    // The memory of an evaluation is one module in several files; it holds what the others define.
    let folder = |file: &str| match file.rsplit_once('/').map_or("", |(folder, _)| folder) {
        "eval/heap" => "eval".to_owned(),
        folder => folder.to_owned(),
    };
    for circle in imports.circles() {
        let folders: BTreeSet<String> = circle.iter().map(|file| folder(file)).collect();
        let within: Vec<String> = imports
            .edges()
            .filter(|(file, other)| circle.contains(*file) && circle.contains(*other))
            .map(|(file, other)| format!("{file} → {other}"))
            .collect();
        assert!(folders.len() < 2, "a circle of imports spans {folders:?}:\n{}", within.join("\n"));
    }
}

#[test]
fn circles_are_found() {
    let imports = Imports::of(
        [
            ("a/mod.rs", "mod b;\npub use b::B;\npub struct A;"),
            // By way of a name that is passed on.
            ("a/b.rs", "use super::A;\nuse crate::c::{self, d::{D, other as E}};\npub struct B(D);"),
            (
                "c/mod.rs",
                "pub mod d;\npub struct C;\npub mod own {\n    use super::C;\n    pub struct O(C);\n}\n",
            ),
            ("c/d.rs", "pub struct D;\npub fn other() { nival::a::B::new(); }"),
            ("c/e.rs", "use super::d::*;\nfn f() -> crate::a::A { super::d::other() }"),
        ]
        .map(|(name, code)| (name.to_owned(), code.to_owned())),
    );
    let edges: Vec<String> = imports.edges().map(|(file, other)| format!("{file} {other}")).collect();
    assert_eq!(
        edges,
        [
            "a/b.rs a/mod.rs",
            "a/b.rs c/d.rs",
            "a/b.rs c/mod.rs",
            "c/d.rs a/b.rs",
            "c/e.rs a/mod.rs",
            "c/e.rs c/d.rs"
        ]
    );
    let circle = BTreeSet::from(["a/b.rs", "c/d.rs"].map(str::to_owned));
    assert_eq!(imports.circles(), BTreeSet::from([circle]));
}

/// Files that contain one of the words, apart from those that may.
fn offenders(words: &[&str], may: impl Fn(&str) -> bool) -> Vec<String> {
    all_sources()
        .into_iter()
        .filter(|(name, code)| !may(name) && words.iter().any(|word| code.contains(word)))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn only_the_user_interface_prints() {
    let words = ["println!", "print!(", "io::stdout()", "io::stderr()"];
    assert_eq!(offenders(&words, |name| name.starts_with("cli/output/")), [""; 0]);
}

#[test]
fn only_main_and_the_settings_read_the_environment() {
    let words = ["env::var", "env::vars", "env::args"];
    let may = |name: &str| matches!(name, "main.rs" | "settings/load.rs");
    assert_eq!(offenders(&words, may), [""; 0]);
}

#[test]
fn only_sys_is_unsafe() {
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"];
    let may = |name: &str| name.starts_with("sys/") || name.starts_with("eval/heap/");
    assert_eq!(offenders(&words, may), [""; 0]);
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "allow(dead_code)"];
    assert_eq!(offenders(&words, |_| false), [""; 0]);
}
