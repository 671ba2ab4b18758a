//! The text form of derivations (ATerm).
//!
//! ```text
//! drv    = "Derive(" [output] "," [input] "," [source] "," str "," str "," [str] "," [env] ")"
//! output = "(" name "," path "," algo "," hash ")"     sorted by name
//! input  = "(" drvpath ",[" name … "])"                sorted by path, names sorted
//! source = path                                        sorted
//! env    = "(" str "," str ")"                         sorted by key
//! str    = '"' bytes '"'    with \" \\ \n \r \t; every other byte stands for itself
//! ```
//!
//! | output | path | algo | hash |
//! |---|---|---|---|
//! | input-addressed | path | | |
//! | fixed | path | \[`r:`\|`text:`\]ALGO | base16 |
//! | floating | | \[`r:`\|`text:`\]ALGO | |
//! | impure | | \[`r:`\|`text:`\]ALGO | `impure` |
//! | deferred | | | |
//!
//! There is no blank and no newline. What follows the last bracket is ignored,
//! as the reference does. The reader takes lists in any order; a derivation
//! that was written in order is printed back byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bytes, Derivation, DerivationOutput};
use crate::model::content_address::{ContentAddress, ContentAddressMethod};
use crate::model::hash::{Hash, HashAlgorithm, HashError, HashFormat};
use crate::model::store_path::{StoreDir, StorePath, StorePathError};

/// Why a text is not a derivation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AtermError {
    /// Something else stands where this must stand.
    #[error("expected string '{0}'")]
    Expected(&'static str),
    /// The text ends inside a string.
    #[error("unterminated string in derivation")]
    Unterminated,
    /// A name or path that is not text.
    #[error("string in derivation is not UTF-8")]
    NotUtf8,
    /// The extended form for outputs of outputs.
    #[error("derivation uses the experimental form 'DrvWithVersion', which is not supported")]
    WithVersion,
    /// A path that is none.
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// An algorithm or hash that is none.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// A combination of path, algorithm and hash that stands for no kind of output.
    #[error("output '{0}' of derivation is neither input-addressed nor content-addressed")]
    Output(String),
    /// The same name, path or variable twice.
    #[error("duplicate '{0}' in derivation")]
    Duplicate(String),
}

/// Reads a derivation.
///
/// # Errors
/// The first departure from the grammar.
pub fn parse(dir: &StoreDir, text: &[u8]) -> Result<Derivation, AtermError> {
    let mut parser = Parser { rest: text, dir };
    if parser.rest.starts_with(b"DrvWithVersion") {
        return Err(AtermError::WithVersion);
    }
    parser.expect("Derive([")?;
    let mut drv = Derivation::default();
    parser.list(|p| {
        let (name, output) = p.output()?;
        insert(&mut drv.outputs, name.clone(), output, || name)
    })?;
    parser.expect(",[")?;
    parser.list(|p| {
        p.expect("(")?;
        let path = p.path()?;
        p.expect(",[")?;
        let mut names = BTreeSet::new();
        p.list(|p| {
            names.insert(p.text()?);
            Ok(())
        })?;
        p.expect(")")?;
        insert(&mut drv.input_drvs, path.clone(), names, || path.base_name().to_owned())
    })?;
    parser.expect(",[")?;
    parser.list(|p| {
        drv.input_srcs.insert(p.path()?);
        Ok(())
    })?;
    parser.expect(",")?;
    drv.platform = parser.string()?;
    parser.expect(",")?;
    drv.builder = parser.string()?;
    parser.expect(",[")?;
    parser.list(|p| {
        drv.args.push(p.string()?);
        Ok(())
    })?;
    parser.expect(",[")?;
    parser.list(|p| {
        p.expect("(")?;
        let key = p.string()?;
        p.expect(",")?;
        let value = p.string()?;
        p.expect(")")?;
        insert(&mut drv.env, key.clone(), value, || String::from_utf8_lossy(&key).into_owned())
    })?;
    parser.expect(")")?;
    Ok(drv)
}

fn insert<K: Ord, V>(
    map: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    name: impl FnOnce() -> String,
) -> Result<(), AtermError> {
    match map.insert(key, value) {
        None => Ok(()),
        Some(_) => Err(AtermError::Duplicate(name())),
    }
}

struct Parser<'a> {
    rest: &'a [u8],
    dir: &'a StoreDir,
}

impl Parser<'_> {
    fn expect(&mut self, token: &'static str) -> Result<(), AtermError> {
        self.rest = self.rest.strip_prefix(token.as_bytes()).ok_or(AtermError::Expected(token))?;
        Ok(())
    }

    /// The elements of a list whose opening bracket was taken, and the closing one.
    fn list(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), AtermError>,
    ) -> Result<(), AtermError> {
        if self.rest.first() == Some(&b']') {
            return self.expect("]");
        }
        loop {
            element(self)?;
            match self.rest.first() {
                Some(b',') => self.expect(",")?,
                _ => return self.expect("]"),
            }
        }
    }

    fn string(&mut self) -> Result<Bytes, AtermError> {
        self.expect("\"")?;
        let mut out = Vec::new();
        loop {
            let plain =
                self.rest.iter().position(|b| matches!(b, b'"' | b'\\')).ok_or(AtermError::Unterminated)?;
            out.extend_from_slice(&self.rest[..plain]);
            let closing = self.rest[plain] == b'"';
            self.rest = &self.rest[plain + 1..];
            if closing {
                return Ok(out);
            }
            let (&escaped, rest) = self.rest.split_first().ok_or(AtermError::Unterminated)?;
            out.push(match escaped {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => other,
            });
            self.rest = rest;
        }
    }

    fn text(&mut self) -> Result<String, AtermError> {
        String::from_utf8(self.string()?).map_err(|_| AtermError::NotUtf8)
    }

    fn path(&mut self) -> Result<StorePath, AtermError> {
        let text = self.text()?;
        Ok(self.dir.parse(&text)?)
    }

    fn output(&mut self) -> Result<(String, DerivationOutput), AtermError> {
        self.expect("(")?;
        let name = self.text()?;
        self.expect(",")?;
        let path = self.text()?;
        self.expect(",")?;
        let algo = self.text()?;
        self.expect(",")?;
        let hash = self.text()?;
        self.expect(")")?;
        let output = match (path.as_str(), algo.as_str(), hash.as_str()) {
            ("", "", "") => DerivationOutput::Deferred,
            (path, "", "") => DerivationOutput::InputAddressed(self.dir.parse(path)?),
            (_, "", _) => return Err(AtermError::Output(name)),
            (path, algo, hash) => {
                let (method, algorithm) = method_and_algorithm(algo)?;
                match (path, hash) {
                    ("", "") => DerivationOutput::Floating(method, algorithm),
                    ("", "impure") => DerivationOutput::Impure(method, algorithm),
                    ("", _) | (_, "") => return Err(AtermError::Output(name)),
                    (path, hash) => DerivationOutput::Fixed {
                        path: self.dir.parse(path)?,
                        ca: ContentAddress { method, hash: Hash::parse_digits(hash, algorithm)? },
                    },
                }
            }
        };
        Ok((name, output))
    }
}

fn method_and_algorithm(text: &str) -> Result<(ContentAddressMethod, HashAlgorithm), HashError> {
    if let Some(algo) = text.strip_prefix(ContentAddressMethod::Text.prefix()) {
        return Ok((ContentAddressMethod::Text, algo.parse()?));
    }
    let (method, algo) = ContentAddressMethod::of_prefix(text);
    Ok((method, algo.parse()?))
}

/// Writes a derivation.
pub fn print(drv: &Derivation, dir: &StoreDir) -> Bytes {
    print_with(drv, dir, drv.input_drvs.iter().map(|(path, names)| (dir.print(path), names)), false)
}

/// Writes a derivation with its input derivations under the given names, in
/// the given order; with `mask` its own output paths, also in the environment,
/// are left empty. [`super::modulo`] hashes such texts.
pub(super) fn print_with<'a>(
    drv: &Derivation,
    dir: &StoreDir,
    inputs: impl IntoIterator<Item = (String, &'a BTreeSet<String>)>,
    mask: bool,
) -> Bytes {
    // Most of a derivation is its environment; what surrounds it is guessed.
    let texts = drv.env.iter().map(|(key, value)| key.len() + value.len() + 8);
    let mut out = Vec::with_capacity(texts.sum::<usize>() * 9 / 8 + drv.input_drvs.len() * 128 + 512);
    out.extend_from_slice(b"Derive([");
    separated(&mut out, &drv.outputs, |out, (name, output)| {
        let (path, algo, hash) = output_fields(output, dir);
        let path = if mask { String::new() } else { path };
        tuple(out, &[name.as_bytes(), path.as_bytes(), algo.as_bytes(), hash.as_bytes()]);
    });
    out.extend_from_slice(b"],[");
    separated(&mut out, inputs, |out, (input, names)| {
        out.push(b'(');
        quoted(out, input.as_bytes());
        out.extend_from_slice(b",[");
        separated(out, names, |out, name| quoted(out, name.as_bytes()));
        out.extend_from_slice(b"])");
    });
    out.extend_from_slice(b"],[");
    separated(&mut out, &drv.input_srcs, |out, path| quoted(out, dir.print(path).as_bytes()));
    out.extend_from_slice(b"],");
    quoted(&mut out, &drv.platform);
    out.push(b',');
    quoted(&mut out, &drv.builder);
    out.extend_from_slice(b",[");
    separated(&mut out, &drv.args, |out, arg| quoted(out, arg));
    out.extend_from_slice(b"],[");
    let masked = |key: &[u8]| mask && std::str::from_utf8(key).is_ok_and(|key| drv.outputs.contains_key(key));
    separated(&mut out, &drv.env, |out, (key, value)| {
        tuple(out, &[key, if masked(key) { b"" } else { value }]);
    });
    out.extend_from_slice(b"])");
    out
}

/// What is written of an output besides its name: its path, method and algorithm, and the hash.
pub fn output_fields(output: &DerivationOutput, dir: &StoreDir) -> (String, String, String) {
    let algo =
        |method: &ContentAddressMethod, algorithm: &HashAlgorithm| format!("{}{algorithm}", method.prefix());
    match output {
        DerivationOutput::InputAddressed(path) => (dir.print(path), String::new(), String::new()),
        DerivationOutput::Fixed { path, ca } => {
            (dir.print(path), algo(&ca.method, &ca.hash.algorithm()), ca.hash.digits(HashFormat::Base16))
        }
        DerivationOutput::Floating(method, algorithm) => {
            (String::new(), algo(method, algorithm), String::new())
        }
        DerivationOutput::Impure(method, algorithm) => {
            (String::new(), algo(method, algorithm), "impure".to_owned())
        }
        DerivationOutput::Deferred => Default::default(),
    }
}

fn separated<T>(out: &mut Bytes, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Bytes, T)) {
    for (i, element) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        item(out, element);
    }
}

fn tuple(out: &mut Bytes, fields: &[&[u8]]) {
    out.push(b'(');
    separated(out, fields, |out, field| quoted(out, field));
    out.push(b')');
}

fn quoted(out: &mut Bytes, text: &[u8]) {
    out.push(b'"');
    // Pieces of this length are looked at as a whole first: most need no change.
    for piece in text.chunks(32) {
        let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
        if piece.iter().fold(true, |all, byte| all & is_plain(byte)) {
            out.extend_from_slice(piece);
            continue;
        }
        for &byte in piece {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEMO: &str = concat!(
        r#"Derive([("out","/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0","","")],[],[],"#,
        r#""x86_64-linux","/bin/sh",["-c","echo hi > $out"],[("builder","/bin/sh"),("name","demo-1.0"),"#,
        r#"("out","/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0"),("system","x86_64-linux")])"#
    );

    #[test]
    fn demo_round_trips() {
        let dir = StoreDir::default();
        let drv = parse(&dir, DEMO.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(print(&drv, &dir)).unwrap(), DEMO);
        assert_eq!(drv.args[1], b"echo hi > $out");
    }

    #[test]
    fn every_kind_of_output() {
        let dir = StoreDir::default();
        let hex = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let path = "/nix/store/sbwvvfdz6b8j86ql982indq011fljspb-fr";
        for fields in [
            format!(r#""{path}","r:sha256","{hex}""#),
            format!(r#""{path}","sha256","{hex}""#),
            r#""","r:sha256","""#.to_owned(),
            r#""","sha256","impure""#.to_owned(),
            r#""","","""#.to_owned(),
        ] {
            let text = format!(r#"Derive([("out",{fields})],[],[],"a","b",[],[])"#);
            let drv = parse(&dir, text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(print(&drv, &dir)).unwrap(), text);
        }
        for fields in [r#""","","00""#, r#""","sha256","00""#, r#""x","","""#, r#""","crc","""#] {
            let text = format!(r#"Derive([("out",{fields})],[],[],"a","b",[],[])"#);
            assert!(parse(&dir, text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn every_prefix_is_refused() {
        let dir = StoreDir::default();
        for end in 0..DEMO.len() {
            assert!(parse(&dir, &DEMO.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..20)
    }

    proptest! {
        #[test]
        fn print_and_parse(
            platform in bytes(),
            builder in bytes(),
            args in proptest::collection::vec(bytes(), 0..4),
            env in proptest::collection::btree_map(bytes(), bytes(), 0..5),
            srcs in proptest::collection::btree_set(any::<[u8; 20]>(), 0..4),
            names in proptest::collection::btree_set("[a-z]{1,5}", 0..4),
        ) {
            let dir = StoreDir::default();
            let srcs: BTreeSet<StorePath> =
                srcs.iter().map(|hash| StorePath::from_parts(hash, "s.drv").unwrap()).collect();
            let drv = Derivation {
                outputs: names.iter().map(|n| (n.clone(), DerivationOutput::Deferred)).collect(),
                input_drvs: srcs.iter().map(|path| (path.clone(), names.clone())).collect(),
                input_srcs: srcs,
                platform, builder, args, env,
            };
            let text = print(&drv, &dir);
            prop_assert_eq!(parse(&dir, &text), Ok(drv));
        }

        #[test]
        fn any_bytes_are_read_or_refused(at in 0..DEMO.len(), insert in bytes()) {
            let mut text = DEMO.as_bytes().to_vec();
            text.splice(at..at, insert);
            let dir = StoreDir::default();
            if let Ok(drv) = parse(&dir, &text) {
                prop_assert_eq!(parse(&dir, &print(&drv, &dir)), Ok(drv));
            }
        }
    }
}
