//! The floors of the house: who may call whom, and who may print, read the
//! environment or be unsafe.

use std::path::{Path, PathBuf};

/// From the bottom up; a floor may use itself and those before it.
const FLOORS: [&[&str]; 5] =
    [&["model", "sys", "progress"], &["nar", "settings", "http"], &["store"], &["fetch"], &["ops"]];

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

/// Paths through `super` out of a room are not seen by the test above.
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
    assert_eq!(offenders(&words, |name| name.starts_with("sys/")), [""; 0]);
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "allow(dead_code)"];
    assert_eq!(offenders(&words, |_| false), [""; 0]);
}
