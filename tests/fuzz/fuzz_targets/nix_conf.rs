//! nix.conf: read or refused; what is read is printed so that it reads the
//! same, and settings take its values or refuse them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::settings::conf::{self, Entry};
use nival::settings::{Origin, Settings};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let Ok(entries) = conf::parse(&text, "nix.conf") else { return };
    assert!(entries.len() <= text.split('\n').count());
    let printed: String = entries.iter().map(print).collect();
    let again = conf::parse(&printed, "nix.conf").expect("what was printed is read");
    assert_eq!(again.iter().map(print).collect::<String>(), printed);

    let assignments: Vec<(String, String)> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Assignment { name, value, .. } => Some((name, value)),
            Entry::Include { .. } => None,
        })
        .collect();
    if assignments.is_empty() {
        return;
    }
    let mut settings = Settings::built_in();
    let _ = settings.apply(&assignments, Origin::User);
    let _ = settings.show_json();
    let _ = settings.take_warnings();
    let _ = settings.take_unknown();
});

fn print(entry: &Entry) -> String {
    match entry {
        Entry::Assignment { name, value, .. } => format!("{name} = {value}\n"),
        Entry::Include { file, required: true, .. } => format!("include {file}\n"),
        Entry::Include { file, required: false, .. } => format!("!include {file}\n"),
    }
}
