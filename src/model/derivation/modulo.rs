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
    /// An output, or one of an input, has no path before it is built. The hash, if
    /// there is one, stands for the derivation in those of others and in the names
    /// of realisations.
    Deferred(Option<Hash>),
}

impl Modulo {
    /// The hash, if there is one, whether paths follow from it or not.
    pub fn hash(self) -> Option<Hash> {
        match self {
            Self::Known(hash) => Some(hash),
            Self::Deferred(hash) => hash,
        }
    }
}

/// Why the outputs of a derivation are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// Nothing would be made.
    #[error("must have at least one output")]
    None,
    /// The paths of its outputs come about in different ways.
    #[error("can't mix derivation output types")]
    Mixed,
    /// The one fixed output has another name.
    #[error("single fixed output must be named \"out\"")]
    FixedName,
    /// Several outputs of which the content is promised.
    #[error("only one fixed output is allowed for now")]
    SeveralFixed,
    /// An input has no such output.
    #[error("no hash for output '{output}' of derivation '{name}'")]
    NoSuchOutput {
        /// The output.
        output: String,
        /// The derivation that wants it.
        name: String,
    },
    /// No path follows from the promised content.
    #[error("{0}")]
    Content(String),
    /// No path follows from the inputs, because one of them is not known yet.
    #[error("derivation has incorrect output '{found}', should be deferred")]
    NotDeferred {
        /// The full path in the text.
        found: String,
    },
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
    #[error(
        "derivation has incorrect environment variable '{name}', should be '{expected}' but is actually '{found}'"
    )]
    Env {
        /// The variable, which has the name of the output.
        name: String,
        /// The full path that follows.
        expected: String,
        /// The value.
        found: String,
    },
    /// The environment does not name the path.
    #[error(
        "derivation has missing environment variable '{name}', should be '{expected}' but is not present"
    )]
    NoEnv {
        /// The variable, which has the name of the output.
        name: String,
        /// The full path that follows.
        expected: String,
    },
}

/// How the paths of all outputs of a derivation come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// They follow from the inputs, as far as these are known.
    Inputs,
    /// The one output, `out`, follows from its promised content.
    Fixed,
    /// They are known once built, if only for a while.
    Unknown,
}

/// How the outputs of a derivation come about, which must be one way for all.
///
/// # Errors
/// A derivation that nothing can come of.
pub fn addressing(drv: &Derivation) -> Result<Addressing, OutputError> {
    let mut outputs = drv.outputs.iter();
    let (name, first) = outputs.next().ok_or(OutputError::None)?;
    let fixed = |output: &DerivationOutput| matches!(output, DerivationOutput::Fixed { .. });
    if fixed(first) && name != "out" {
        return Err(OutputError::FixedName);
    }
    for (_, output) in outputs {
        if std::mem::discriminant(output) != std::mem::discriminant(first) {
            return Err(OutputError::Mixed);
        }
        if fixed(output) {
            return Err(OutputError::SeveralFixed);
        }
    }
    Ok(match first {
        DerivationOutput::InputAddressed(_) | DerivationOutput::Deferred => Addressing::Inputs,
        DerivationOutput::Fixed { .. } => Addressing::Fixed,
        DerivationOutput::Floating(..) | DerivationOutput::Impure(..) => Addressing::Unknown,
    })
}

/// The hash of `drv` as an input of another, given those of its own inputs.
///
/// # Errors
/// The errors of `input`.
pub fn hash_as_input<E>(
    drv: &Derivation,
    dir: &StoreDir,
    input: impl FnMut(&StorePath) -> Result<Modulo, E>,
) -> Result<Modulo, E> {
    match addressing(drv) {
        Ok(Addressing::Fixed) => {}
        Ok(Addressing::Inputs) => return hash_text(drv, dir, false, input),
        Ok(Addressing::Unknown) if !is_impure(drv) => {
            return Ok(Modulo::Deferred(hash_text(drv, dir, false, input)?.hash()));
        }
        // What nothing can come of has no hash either, however it got here.
        Ok(Addressing::Unknown) | Err(_) => return Ok(Modulo::Deferred(None)),
    }
    Ok(fixed_hash(drv, dir).map_or(Modulo::Deferred(None), Modulo::Known))
}

/// The hash that names the realisations of `drv`, given those that its inputs
/// have as inputs; none where each build has a result of its own.
///
/// # Errors
/// The errors of `input`.
pub fn hash_for_realisations<E>(
    drv: &Derivation,
    dir: &StoreDir,
    input: impl FnMut(&StorePath) -> Result<Modulo, E>,
) -> Result<Option<Hash>, E> {
    match addressing(drv) {
        Ok(Addressing::Fixed) => Ok(fixed_hash(drv, dir)),
        Ok(Addressing::Inputs) => Ok(hash_text(drv, dir, true, input)?.hash()),
        Ok(Addressing::Unknown) if !is_impure(drv) => Ok(hash_text(drv, dir, true, input)?.hash()),
        Ok(Addressing::Unknown) | Err(_) => Ok(None),
    }
}

fn is_impure(drv: &Derivation) -> bool {
    drv.outputs.values().any(|output| matches!(output, DerivationOutput::Impure(..)))
}

/// The hash of a derivation whose one output is promised.
fn fixed_hash(drv: &Derivation, dir: &StoreDir) -> Option<Hash> {
    let Some(DerivationOutput::Fixed { path, ca }) = drv.outputs.get("out") else { return None };
    let text = format!(
        "fixed:out:{}{}:{}",
        ca.method.prefix(),
        ca.hash.prefixed(crate::model::HashFormat::Base16),
        dir.display(path)
    );
    Some(Hash::sha256(text.as_bytes()))
}

fn hash_text<E>(
    drv: &Derivation,
    dir: &StoreDir,
    mask: bool,
    mut input: impl FnMut(&StorePath) -> Result<Modulo, E>,
) -> Result<Modulo, E> {
    let mut inputs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut is_deferred = false;
    for (path, names) in &drv.input_drvs {
        let modulo = input(path)?;
        is_deferred |= matches!(modulo, Modulo::Deferred(_));
        let Some(hash) = modulo.hash() else { return Ok(Modulo::Deferred(None)) };
        inputs.entry(hash.to_base16()).or_default().extend(names.iter().cloned());
    }
    let named = inputs.iter().map(|(hash, names)| (hash.clone(), names));
    let hash = Hash::sha256(&aterm::print_with(drv, dir, named, mask));
    Ok(if is_deferred { Modulo::Deferred(Some(hash)) } else { Modulo::Known(hash) })
}

/// Gives an input-addressed derivation without input derivations its output
/// paths, in `outputs` and in its environment.
///
/// # Errors
/// A bad name.
pub fn fill_in_outputs(drv: &mut Derivation, dir: &StoreDir, name: &str) -> Result<(), NameError> {
    let none = |_: &StorePath| Ok::<_, std::convert::Infallible>(Modulo::Deferred(None));
    let Ok(Modulo::Known(hash)) = hash_text(drv, dir, true, none) else { return Ok(()) };
    for (output_name, output) in &mut drv.outputs {
        let path = dir.output_path(output_name, &hash, name)?;
        drv.env.insert(output_name.clone().into_bytes(), dir.print(&path).into_bytes());
        *output = DerivationOutput::InputAddressed(path);
    }
    Ok(())
}

/// Gives the outputs of an input-addressed derivation that have no path the one
/// that follows, where it is known, also in the environment where that says
/// nothing else.
///
/// # Errors
/// `Ok(Err(…))` for a bad name, `Err(…)` from `input`.
pub fn work_out_outputs<E>(
    drv: &mut Derivation,
    dir: &StoreDir,
    name: &str,
    input: impl FnMut(&StorePath) -> Result<Modulo, E>,
) -> Result<Result<(), NameError>, E> {
    let is_open = |(_, output): &(&String, &DerivationOutput)| matches!(output, DerivationOutput::Deferred);
    let open: Vec<String> = drv.outputs.iter().filter(is_open).map(|(name, _)| name.clone()).collect();
    // What is hashed has a variable for each, empty.
    for name in &open {
        drv.env.entry(name.clone().into_bytes()).or_default();
    }
    let Modulo::Known(hash) = hash_text(drv, dir, true, input)? else { return Ok(Ok(())) };
    for output_name in open {
        let path = match dir.output_path(&output_name, &hash, name) {
            Ok(path) => path,
            Err(error) => return Ok(Err(error)),
        };
        let variable = drv.env.entry(output_name.clone().into_bytes()).or_default();
        if variable.is_empty() {
            *variable = dir.print(&path).into_bytes();
        }
        drv.outputs.insert(output_name, DerivationOutput::InputAddressed(path));
    }
    Ok(Ok(()))
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
    let modulo = match addressing(drv) {
        Ok(Addressing::Inputs) => hash_text(drv, dir, true, input)?,
        Ok(Addressing::Fixed | Addressing::Unknown) => Modulo::Deferred(None),
        Err(error) => return Ok(Err(error)),
    };
    Ok(drv.outputs.iter().try_for_each(|(output_name, output)| {
        let expected = match (output, modulo) {
            (DerivationOutput::InputAddressed(_) | DerivationOutput::Deferred, Modulo::Known(hash)) => {
                dir.output_path(output_name, &hash, name)?
            }
            // No path can be right where none follows: a person who could choose
            // one could choose that of anything.
            (DerivationOutput::InputAddressed(path), Modulo::Deferred(_)) => {
                return Err(OutputError::NotDeferred { found: dir.print(path) });
            }
            (DerivationOutput::Fixed { ca, .. }, _) => fixed_path(dir, name, output_name, ca)?,
            (DerivationOutput::Deferred, Modulo::Deferred(_))
            | (DerivationOutput::Floating(..) | DerivationOutput::Impure(..), _) => return Ok(()),
        };
        check_output(drv, dir, output_name, output.path(), &expected)
    }))
}

/// The path of an output whose content is promised.
fn fixed_path(
    dir: &StoreDir,
    name: &str,
    output_name: &str,
    ca: &crate::model::ContentAddress,
) -> Result<StorePath, OutputError> {
    let name = crate::model::store_path::output_path_name(name, output_name);
    match dir.content_path(&name, ca, &Default::default()) {
        Ok(path) => Ok(path),
        Err(crate::model::content_address::ContentPathError::Name(error)) => Err(error.into()),
        Err(error) => Err(OutputError::Content(error.to_string())),
    }
}

fn check_output(
    drv: &Derivation,
    dir: &StoreDir,
    name: &str,
    found: Option<&StorePath>,
    expected: &StorePath,
) -> Result<(), OutputError> {
    let expected_text = dir.print(expected);
    if let Some(found) = found
        && found != expected
    {
        return Err(OutputError::Path { found: dir.print(found), expected: expected_text });
    }
    match drv.env.get(name.as_bytes()) {
        Some(value) if value == expected_text.as_bytes() => Ok(()),
        Some(value) => Err(OutputError::Env {
            name: name.to_owned(),
            expected: expected_text,
            found: String::from_utf8_lossy(value).into_owned(),
        }),
        None => Err(OutputError::NoEnv { name: name.to_owned(), expected: expected_text }),
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

    fn parsed(outputs: &str, inputs: &str, env: &str) -> Derivation {
        let text = format!(r#"Derive([{outputs}],[{inputs}],[],"a","b",[],[{env}])"#);
        Derivation::parse(&StoreDir::default(), text.as_bytes()).unwrap()
    }

    const CHOSEN: &str = "/nix/store/00000000000000000000000000000000-chosen";
    const INPUT: &str = r#"("/nix/store/iyj3kf10rjifv3rg403vzmkplvpzzs4f-demo-1.0.drv",["out"])"#;
    const FIXED: &str = r#""/nix/store/sbwvvfdz6b8j86ql982indq011fljspb-fr","r:sha256","5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03""#;

    /// Nobody chooses a path because an input leaves it open.
    #[test]
    fn no_path_stands_where_none_follows() {
        let dir = StoreDir::default();
        let hash = |outputs: &str| hash_as_input(&parsed(outputs, "", ""), &dir, no_input).unwrap();
        let chosen =
            parsed(&format!(r#"("out","{CHOSEN}","","")"#), INPUT, &format!(r#"("out","{CHOSEN}")"#));
        for input in [
            r#"("out","","r:sha256","")"#.to_owned(),
            r#"("out","","sha256","impure")"#.to_owned(),
            // These are refused themselves, but may be there from before.
            format!(r#"("a",{FIXED}),("out",{FIXED})"#),
            format!(r#"("dev",{FIXED})"#),
            format!(r#"("a","{CHOSEN}","",""),("out","","r:sha256","")"#),
            String::new(),
        ] {
            assert!(matches!(hash(&input), Modulo::Deferred(_)), "{input}");
        }
        // A chain with such an input at its end.
        let deferred = parsed(r#"("out","","","")"#, INPUT, r#"("out","")"#);
        let above = hash_as_input(&deferred, &dir, |_| Ok::<_, Infallible>(Modulo::Deferred(None)));
        assert_eq!(above, Ok(Modulo::Deferred(None)));
        assert_eq!(check_outputs(&deferred, &dir, "x", |_| above), Ok(Ok(())));
        let found = check_outputs(&chosen, &dir, "chosen", |_| above).unwrap().unwrap_err();
        assert_eq!(
            found.to_string(),
            format!("derivation has incorrect output '{CHOSEN}', should be deferred")
        );
    }

    /// Texts of the reference.
    #[test]
    fn outputs_of_which_nothing_can_come() {
        let dir = StoreDir::default();
        let mixed = "can't mix derivation output types";
        let one = "single fixed output must be named \"out\"";
        for (outputs, expected) in [
            (String::new(), "must have at least one output"),
            (format!(r#"("a","{CHOSEN}","",""),("out","","","")"#), mixed),
            (format!(r#"("a","{CHOSEN}","",""),("out","","r:sha256","")"#), mixed),
            (r#"("a","","r:sha256",""),("out","","r:sha256","impure")"#.to_owned(), mixed),
            (format!(r#"("out",{FIXED}),("z","","r:sha256","")"#), mixed),
            (format!(r#"("a",{FIXED}),("out",{FIXED})"#), one),
            (format!(r#"("dev",{FIXED})"#), one),
            (format!(r#"("out",{FIXED}),("z",{FIXED})"#), "only one fixed output is allowed for now"),
        ] {
            let drv = parsed(&outputs, "", "");
            let found = check_outputs(&drv, &dir, "x", no_input).unwrap().unwrap_err();
            assert_eq!(found.to_string(), expected, "{outputs}");
        }
    }

    #[test]
    fn a_missing_variable_is_found() {
        let dir = StoreDir::default();
        let drv = parsed(&format!(r#"("out",{FIXED})"#), "", "");
        let found = check_outputs(&drv, &dir, "fr", no_input).unwrap().unwrap_err().to_string();
        assert!(
            found.starts_with("derivation has missing environment variable 'out', should be '"),
            "{found}"
        );
    }
}
