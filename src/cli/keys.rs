//! New keys, for the programs that make them.

use nival::model::signature::SecretKey;

/// Refuses names of keys that cannot be told from the key when it is read.
///
/// # Errors
/// For an empty name, and for one with a colon or a blank in it.
pub fn check_key_name(name: &str) -> anyhow::Result<()> {
    let odd = |c: char| c == ':' || c.is_whitespace() || c.is_control();
    anyhow::ensure!(!name.is_empty(), "the name of a key must not be empty");
    anyhow::ensure!(!name.contains(odd), "the name of a key, '{name}', must not contain ':' or blanks");
    Ok(())
}

/// A new secret key.
///
/// # Errors
/// When the system has no randomness.
pub fn generate_key(name: &str) -> anyhow::Result<SecretKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(SecretKey::from_seed(name, &seed))
}
