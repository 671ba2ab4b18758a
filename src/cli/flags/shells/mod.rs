//! The scripts that make shells ask the programs for completions.

/// Shells and their scripts.
pub const SHELLS: &[(&str, &str)] =
    &[("bash", include_str!("bash")), ("fish", include_str!("fish")), ("zsh", include_str!("zsh"))];

/// The script for a shell.
pub fn script(shell: &str) -> Option<&'static str> {
    SHELLS.iter().find(|(name, _)| *name == shell).map(|(_, script)| *script)
}
