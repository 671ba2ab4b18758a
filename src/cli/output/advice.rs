//! What a user can do about what a message tells of, in the words of the programs.

use nival::progress::Advice;

/// What follows a message.
pub fn words(advice: Advice<'_>) -> String {
    match advice {
        Advice::RepairPath(path) => format!("; try: nix-store --repair-path {path}"),
        Advice::Repair => "; try: nix-store --verify --repair".to_owned(),
        Advice::RepairContents => {
            "; 'nix-store --verify --check-contents --repair' finds and mends it".to_owned()
        }
        Advice::RepairInstead => ": use 'nix-store --verify --repair' or '--repair-path'".to_owned(),
        Advice::NameSubstituter => "; name one with --option substituters URL".to_owned(),
        Advice::GoBack(profile) => format!("; 'nix profile rollback --profile {profile}' goes back"),
        _ => String::new(),
    }
}
