//! What the shell (Bash) reads when it begins.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::model::shell::quote;

/// What the shell is to do.
pub struct Beginning<'b> {
    /// The directory of the shell, which goes with it.
    pub directory: &'b Path,
    /// The program of the shell.
    pub shell: &'b Path,
    /// Whether nothing from outside counts.
    pub pure: bool,
    /// Whether there is a file of attributes.
    pub structured: bool,
    /// The time zone outside.
    pub time_zone: Option<OsString>,
    /// What is done then, if anything.
    pub command: &'b [u8],
    /// Whether the shell ends with that.
    pub ends: bool,
}

/// The text that it reads.
pub fn text(beginning: &Beginning<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| text.extend_from_slice(part));
        text.push(b'\n');
    };
    let directory = quote(beginning.directory.as_os_str().as_bytes());
    let shell = quote(beginning.shell.as_os_str().as_bytes());
    let shell_dir = quote(beginning.shell.parent().unwrap_or(Path::new("")).as_os_str().as_bytes());
    // The directory goes however the shell ends; stdenv has lists of its own for that. A pure shell
    // need not have a path on which `rm` is found.
    line(&[b"_nix_shell_clean_tmpdir() { command -p rm -rf ", &directory, b"; }"]);
    line(&[b"trap _nix_shell_clean_tmpdir EXIT"]);
    line(&[b"exitHooks+=(_nix_shell_clean_tmpdir)"]);
    line(&[b"failureHooks+=(_nix_shell_clean_tmpdir)"]);
    if !beginning.pure {
        line(&[b"if [ -n \"${PS1-}\" ] && [ -e ~/.bashrc ]; then source ~/.bashrc; fi"]);
        line(&[b"_nix_shell_outer_path=$PATH"]);
    }
    line(&[b"unset PATH"]);
    line(&[b"dontAddDisableDepTrack=1"]);
    if beginning.structured {
        line(&[b"source \"$NIX_ATTRS_SH_FILE\""]);
    }
    line(&[b"if [ -n \"${stdenv-}\" ] && [ -e \"$stdenv/setup\" ]; then source \"$stdenv/setup\"; fi"]);
    line(&[b"PATH=", &shell_dir, b"${PATH:+:$PATH}"]);
    if !beginning.pure {
        line(&[b"PATH=$PATH${_nix_shell_outer_path:+:$_nix_shell_outer_path}"]);
        line(&[b"unset _nix_shell_outer_path"]);
    }
    line(&[b"SHELL=", &shell]);
    line(&[b"BASH=", &shell]);
    line(&[b"set +e"]);
    line(&[b"if [ -n \"${PS1-}\" ] && [ -z \"${NIX_SHELL_PRESERVE_PROMPT-}\" ]; then"]);
    line(&[br"  PS1='\n\[\033[1;31m\][nix-shell:\w]\$\[\033[0m\] '"]);
    line(&[b"fi"]);
    line(&[b"if [ \"$(type -t runHook)\" = function ]; then runHook shellHook; fi"]);
    line(&[b"unset NIX_ENFORCE_PURITY"]);
    line(&[b"shopt -u nullglob"]);
    match &beginning.time_zone {
        Some(zone) => line(&[b"export TZ=", &quote(zone.as_bytes())]),
        None => line(&[b"unset TZ"]),
    }
    line(&[b"shopt -s execfail"]);
    line(&[beginning.command]);
    if beginning.ends {
        line(&[b"exit"]);
    }
    text
}
