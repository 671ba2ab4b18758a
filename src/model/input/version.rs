//! The branch, tag or commit of an input.

use super::git::Rev;
use super::{Input, InputError, Result};

impl Input {
    /// The same at another branch or tag, or commit. What is not given stays, but where a commit
    /// and a branch cannot be both.
    ///
    /// # Errors
    /// [`InputError::NoVersions`] and [`InputError::BothVersions`].
    pub fn with_version(&self, reference: Option<&str>, rev: Option<&Rev>) -> Result<Input> {
        if reference.is_none() && rev.is_none() {
            return Ok(self.clone());
        }
        let mut input = self.clone();
        let url = || self.url().to_string();
        // A commit of another branch than before is not the one from before.
        let (own_reference, own_rev) = match &mut input {
            Input::Git(input) => (&mut input.reference, &mut input.rev),
            Input::Mercurial(input) => (&mut input.reference, &mut input.rev),
            Input::Indirect(input) => (&mut input.reference, &mut input.rev),
            Input::Forge(input) => {
                if let (Some(reference), Some(rev)) = (reference, rev) {
                    let (reference, rev) = (reference.to_owned(), rev.as_str().to_owned());
                    return Err(InputError::BothVersions { url: url(), reference, rev });
                }
                input.reference = None;
                (&mut input.reference, &mut input.rev)
            }
            Input::Web(_) | Input::Path(_) => {
                let (what, version) = match (reference, rev) {
                    (_, Some(rev)) => ("revision", rev.as_str()),
                    (reference, None) => ("branch/tag name", reference.unwrap_or_default()),
                };
                return Err(InputError::NoVersions { url: url(), what, version: version.to_owned() });
            }
        };
        if let Some(reference) = reference {
            *own_reference = Some(reference.to_owned());
        }
        *own_rev = rev.cloned();
        Ok(input)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let rev = Rev::parse("fa866f85814ba2080d39e950fb3d8c966c5b522a").unwrap();
        let other = Rev::parse(&"b".repeat(40)).unwrap();
        let with = |url: &str, reference: Option<&str>, rev: Option<&Rev>| {
            let input = Input::from_url(&url.replace("REV", other.as_str())).unwrap();
            input.with_version(reference, rev).map(|input| input.url().to_string())
        };
        for (url, reference, commit, wanted) in [
            ("github:o/r/REV", Some("x"), None, "github:o/r/x".to_owned()),
            ("github:o/r/x", None, Some(&rev), format!("github:o/r/{}", rev.as_str())),
            ("git+file:///x?rev=REV&ref=y", Some("x"), None, "git+file:///x?ref=x".to_owned()),
            ("hg+file:///x?ref=y", None, Some(&rev), format!("hg+file:///x?ref=y&rev={}", rev.as_str())),
            ("path:/x", None, None, "path:/x".to_owned()),
        ] {
            assert_eq!(with(url, reference, commit).unwrap(), wanted);
        }
        assert!(matches!(with("github:o/r", Some("x"), Some(&rev)), Err(InputError::BothVersions { .. })));
        assert!(matches!(with("path:/x", Some("x"), None), Err(InputError::NoVersions { .. })));
    }
}
