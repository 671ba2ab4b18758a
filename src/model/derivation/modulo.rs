//! The hash of a derivation *modulo* what it could not know when it was
//! written: its own output paths and the fixed contents of its inputs.
//!
//! A fixed-output derivation hashes as `fixed:out:` \[`r:`\] ALGO `:` BASE16 `:` PATH,
//! so that how it fetches does not matter. Any other hashes as its text, with
//! each input derivation named by *its* hash (base-16) instead of its path and
//! the list sorted again. For the derivation's own output paths the text has
//! those left empty; as somebody's input it has them filled in.

use std::collections::{BTreeMap, BTreeSet};

use super::{Derivation, DerivationOutput, aterm};
use crate::model::hash::Hash;
use crate::model::store_path::{NameError, StoreDir, StorePath};

/// What is known of the hash of a derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modulo {
    /// The hash.
    Known(Hash),
    /// An output, or one of an input, has no path before it is built.
    Deferred,
}

/// Why the outputs of a derivation are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Nothing would be made.
    #[error("must have at least one output")]
    None,
    /// The name makes no store path.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another path follows from the inputs.
    #[error("derivation has incorrect output '{found}', should be '{expected}'")]
    Path {
        /// The full path in the text.
        found: String,
        /// The full path that follows.
        expected: String,
    },
    /// The environment names another path.
    #[error("derivation has incorrect environment variable '{name}', should be '{expected}'")]
    Env {
        /// The variable, which has the name of the output.
        name: String,
        /// The full path that follows.
        expected: String,
    },
}

/// The hash of `drv` as an input of another, given those of its own inputs.
///
/// # Errors
/// Those of `input`.
pub fn hash_as_input<E>(
    drv: &Derivation,
    dir: &StoreDir,
    input: impl FnMut(&StorePath) -> Result<Modulo, E>,
) -> Result<Modulo, E> {
    if let [("out", DerivationOutput::Fixed { path, ca })] =
        drv.outputs.iter().map(|(n, o)| (n.as_str(), o)).collect::<Vec<_>>()[..]
    {
        let text = format!(
            "fixed:out:{}{}:{}",
            ca.method.prefix(),
            ca.hash.prefixed(crate::model::HashFormat::Base16),
            dir.display(path)
        );
        return Ok(Modulo::Known(Hash::sha256(text.as_bytes())));
    }
    if !drv.outputs.values().all(|output| matches!(output, DerivationOutput::InputAddressed(_))) {
        return Ok(Modulo::Deferred);
    }
    hash_text(drv, dir, false, input)
}

fn hash_text<E>(
    drv: &Derivation,
    dir: &StoreDir,
    mask: bool,
    mut input: impl FnMut(&StorePath) -> Result<Modulo, E>,
) -> Result<Modulo, E> {
    let mut inputs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, names) in &drv.input_drvs {
        match input(path)? {
            Modulo::Known(hash) => inputs.entry(hash.to_base16()).or_default().extend(names.iter().cloned()),
            Modulo::Deferred => return Ok(Modulo::Deferred),
        }
    }
    let named = inputs.iter().map(|(hash, names)| (hash.clone(), names));
    Ok(Modulo::Known(Hash::sha256(&aterm::print_with(drv, dir, named, mask))))
}

/// Gives an input-addressed derivation without input derivations its output
/// paths, in `outputs` and in its environment.
///
/// # Errors
/// A bad name.
pub fn fill_in_outputs(drv: &mut Derivation, dir: &StoreDir, name: &str) -> Result<(), NameError> {
    let none = |_: &StorePath| Ok::<_, std::convert::Infallible>(Modulo::Deferred);
    let Ok(Modulo::Known(hash)) = hash_text(drv, dir, true, none) else { return Ok(()) };
    for (output_name, output) in &mut drv.outputs {
        let path = dir.output_path(output_name, &hash, name)?;
        drv.env.insert(output_name.clone().into_bytes(), dir.print(&path).into_bytes());
        *output = DerivationOutput::InputAddressed(path);
    }
    Ok(())
}

/// Checks that every output path of the derivation named `name` (without
/// `.drv`) follows from its inputs or its promised content.
///
/// # Errors
/// `Ok(Err(…))` for a wrong path, `Err(…)` from `input`.
pub fn check_outputs<E>(
    drv: &Derivation,
    dir: &StoreDir,
    name: &str,
    input: impl FnMut(&StorePath) -> Result<Modulo, E>,
) -> Result<Result<(), OutputError>, E> {
    if drv.outputs.is_empty() {
        return Ok(Err(OutputError::None));
    }
    let addressed = drv.outputs.values().any(|output| matches!(output, DerivationOutput::InputAddressed(_)));
    let modulo = if addressed { hash_text(drv, dir, true, input)? } else { Modulo::Deferred };
    Ok(drv.outputs.iter().try_for_each(|(output_name, output)| {
        let (found, expected) = match (output, modulo) {
            (DerivationOutput::InputAddressed(path), Modulo::Known(hash)) => {
                (path, dir.output_path(output_name, &hash, name)?)
            }
            (DerivationOutput::Fixed { path, ca }, _) => {
                let name = crate::model::store_path::output_path_name(name, output_name);
                let expected = dir.content_path(&name, ca, &Default::default());
                match expected {
                    Ok(expected) => (path, expected),
                    // Without references only the name can be at fault.
                    Err(crate::model::content_address::ContentPathError::Name(error)) => {
                        return Err(error.into());
                    }
                    Err(_) => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        check_output(drv, dir, output_name, found, &expected)
    }))
}

fn check_output(
    drv: &Derivation,
    dir: &StoreDir,
    name: &str,
    found: &StorePath,
    expected: &StorePath,
) -> Result<(), OutputError> {
    let expected_text = dir.print(expected);
    if found != expected {
        return Err(OutputError::Path { found: dir.print(found), expected: expected_text });
    }
    match drv.env.get(name.as_bytes()) {
        Some(value) if value != expected_text.as_bytes() => {
            Err(OutputError::Env { name: name.to_owned(), expected: expected_text })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const DEMO: &str = concat!(
        r#"Derive([("out","/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0","","")],[],[],"#,
        r#""x86_64-linux","/bin/sh",["-c","echo hi > $out"],[("builder","/bin/sh"),("name","demo-1.0"),"#,
        r#"("out","/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0"),("system","x86_64-linux")])"#
    );
    const MULTI: &str = concat!(
        r#"Derive([("dev","/nix/store/c1hwz3q922jya80ksn6z2qqrqb85srh6-multi-dev","",""),"#,
        r#"("out","/nix/store/7j8cdxxh21ffdr6zn864ckngj05aiam9-multi","","")],"#,
        r#"[("/nix/store/iyj3kf10rjifv3rg403vzmkplvpzzs4f-demo-1.0.drv",["out"])],"#,
        r#"["/nix/store/qa1w9gdfrba6jl2r57mb3c43863gqywp-hello.txt"],"x86_64-linux","/bin/sh",[],"#,
        r#"[("builder","/bin/sh"),("dev","/nix/store/c1hwz3q922jya80ksn6z2qqrqb85srh6-multi-dev"),"#,
        r#"("input","/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0"),("name","multi"),"#,
        r#"("out","/nix/store/7j8cdxxh21ffdr6zn864ckngj05aiam9-multi"),("outputs","out dev"),"#,
        r#"("src","/nix/store/qa1w9gdfrba6jl2r57mb3c43863gqywp-hello.txt"),("system","x86_64-linux")])"#
    );

    fn no_input(_: &StorePath) -> Result<Modulo, Infallible> {
        unreachable!("a derivation without inputs asks for none")
    }

    /// Derivations written by the reference.
    #[test]
    fn known_outputs() {
        let dir = StoreDir::default();
        let demo = Derivation::parse(&dir, DEMO.as_bytes()).unwrap();
        assert_eq!(check_outputs(&demo, &dir, "demo-1.0", no_input), Ok(Ok(())));
        let hash = hash_as_input(&demo, &dir, no_input);
        let multi = Derivation::parse(&dir, MULTI.as_bytes()).unwrap();
        assert_eq!(check_outputs(&multi, &dir, "multi", |_| hash), Ok(Ok(())));
        assert!(matches!(check_outputs(&multi, &dir, "other", |_| hash), Ok(Err(OutputError::Path { .. }))));
    }

    #[test]
    fn a_wrong_variable_is_found() {
        let dir = StoreDir::default();
        let mut demo = Derivation::parse(&dir, DEMO.as_bytes()).unwrap();
        // Output variables are left empty in the hashed text, so the path still agrees.
        demo.env.insert(b"out".to_vec(), b"/elsewhere".to_vec());
        assert!(matches!(check_outputs(&demo, &dir, "demo-1.0", no_input), Ok(Err(OutputError::Env { .. }))));
    }
}
