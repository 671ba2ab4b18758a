//! The scripts that make shells ask the programs for completions.

/// Shells and their scripts, where `@PROGRAMS@` stands for the names of the programs.
const SHELLS: [(&str, &str); 3] =
    [("bash", include_str!("bash")), ("fish", include_str!("fish")), ("zsh", include_str!("zsh"))];

/// The shells that have a script.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHELLS.iter().map(|(name, _)| *name)
}

/// The script for a shell, which completes words of `programs`.
pub fn script<'p>(shell: &str, programs: impl IntoIterator<Item = &'p str>) -> Option<String> {
    let (_, script) = SHELLS.iter().find(|(name, _)| *name == shell)?;
    let mut programs: Vec<&str> = programs.into_iter().collect();
    programs.sort_unstable();
    Some(script.replace("@PROGRAMS@", &programs.join(" ")))
}
