//! Paths as texts: nothing here looks at a file.

/// Gives an absolute path without empty components, `.` and `..`, and without a
/// slash at its end. A `..` at the root stays there.
pub fn canonical(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len().max(1));
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// The part of a path after its last slash; one slash at the end is passed over.
pub fn base_name(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    match last_slash(path) {
        Some(slash) => &path[slash + 1..],
        None => path,
    }
}

/// The name in a store of what lies at a path, unless another is given for it.
pub fn store_name(path: &[u8]) -> &[u8] {
    match base_name(path) {
        b"" => b"source",
        name => name,
    }
}

/// The part of a path before its last slash, `/` for what lies in the root, `.`
/// where there is no slash.
pub fn dir_of(path: &[u8]) -> &[u8] {
    match last_slash(path) {
        Some(0) => b"/",
        Some(slash) => &path[..slash],
        None => b".",
    }
}

fn last_slash(path: &[u8]) -> Option<usize> {
    path.iter().rposition(|byte| *byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        // path, baseNameOf, dirOf
        for (path, base, dir) in [
            ("", "", "."),
            ("/", "", "/"),
            ("//", "", "/"),
            ("///", "", "//"),
            ("a", "a", "."),
            ("a/", "a", "a"),
            ("/a", "a", "/"),
            ("/a/", "a", "/a"),
            ("/a//", "", "/a/"),
            ("a//b", "b", "a/"),
            ("/a/b/", "b", "/a/b"),
            ("/a/b//", "", "/a/b/"),
            ("..", "..", "."),
            ("/..", "..", "/"),
            ("/../a", "a", "/.."),
            ("//a", "a", "/"),
            ("a///", "", "a//"),
            ("/a/b/../../c/", "c", "/a/b/../../c"),
        ] {
            assert_eq!(base_name(path.as_bytes()), base.as_bytes(), "{path}");
            assert_eq!(dir_of(path.as_bytes()), dir.as_bytes(), "{path}");
        }
    }

    #[test]
    fn canonical_paths() {
        for (path, canonical_path) in [
            ("/", "/"),
            ("///", "/"),
            ("/a//", "/a"),
            ("/a/b//", "/a/b"),
            ("/.", "/"),
            ("/..", "/"),
            ("/../a", "/a"),
            ("/a/../..", "/"),
            ("/a/./b//c/.", "/a/b/c"),
            ("/a/b/../../c/", "/c"),
            ("/a/...//", "/a/..."),
        ] {
            assert_eq!(canonical(path.as_bytes()), canonical_path.as_bytes(), "{path}");
        }
    }
}
