//! `nix profile`, and `nix store diff-closures`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use nival::model::{DerivedPath, StoreDir, StorePath, package_name};
use nival::ops::closure_diff::{self, Difference};
use nival::ops::nix_profile::{self, DEFAULT_PRIORITY, Manifest, ProfileElement};
use nival::ops::profile::{Generation, Obsolete, Profile, parse_days};
use nival::progress::{Progress as _, size_text};
use nival::store::api::Store;
use regex_lite::Regex;

use super::{Arity, Command};
use crate::cli::context::Context;
use crate::cli::error::{Usage, usage};
use crate::cli::flags;
use crate::cli::flags::parse::Given;
use crate::cli::flags::parse::text;
use crate::cli::installables::selection::{Selection, deriver};
use crate::cli::installables::store_path::outputs_of;
use crate::cli::output::json::Style;
use crate::cli::output::streams::Out;
use crate::cli::realiser;

/// The profile that `--profile` names, or the default one.
#[derive(Default)]
struct ProfileFlag(Option<OsString>);

impl ProfileFlag {
    fn flag(&mut self, given: &Given) -> anyhow::Result<bool> {
        if given.name() == "--profile" {
            self.0 = Some(given.value());
            return Ok(true);
        }
        // Flags of expressions change nothing for what is installed already.
        Ok(flags::find(&flags::nix::LANGUAGE, given.name()).is_some())
    }

    /// The store and the profile.
    fn open(&self, context: &Context) -> anyhow::Result<(Box<dyn Store>, Profile)> {
        let store = context.open_store()?;
        if !store.is_read_only() {
            context.make_user_links(true, false)?;
        }
        let link = match &self.0 {
            Some(link) => context.absolute(Path::new(link)),
            None => context.default_profile()?,
        };
        Ok((store, Profile::new(link)))
    }
}

/// `nix profile add`.
#[derive(Default)]
pub struct Add {
    profile: ProfileFlag,
    selection: Selection,
    priority: Option<i64>,
}

impl Command for Add {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--priority" => {
                let value = given.text()?;
                let number = value.parse().map_err(|_| Usage(format!("'{value}' is not an integer")))?;
                self.priority = Some(number);
            }
            "--stdin" => self.selection.stdin = true,
            _ => return Ok(self.selection.installable_flag(given)? || self.profile.flag(given)?),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let (opened, profile) = self.profile.open(context)?;
        let store = &*opened;
        if arguments.is_empty() && !self.selection.stdin {
            return usage("more arguments are required");
        }
        let mut new: Vec<(String, Vec<StorePath>)> = Vec::new();
        for wanted in self.selection.wanted(context, store.dir(), arguments)? {
            let paths = valid_paths(context, store, &wanted)?;
            let name = paths.first().map(|path| package_name::split(path.name()).0.to_owned());
            new.push((name.unwrap_or_default(), paths));
        }
        let priority = self.priority.unwrap_or(DEFAULT_PRIORITY);
        nix_profile::change(store, &profile, |manifest| -> anyhow::Result<bool> {
            for (name, paths) in &new {
                manifest.add(name, ProfileElement::of_paths(paths.clone(), priority));
            }
            Ok(true)
        })
    }
}

/// The valid paths that an installable means, which are fetched if need be.
fn valid_paths(context: &Context, store: &dyn Store, wanted: &DerivedPath) -> anyhow::Result<Vec<StorePath>> {
    if store.is_valid(&wanted.path)? {
        // An output that there is not is told of before anything is done.
        known_paths(store, wanted)?;
    }
    let requests = std::slice::from_ref(wanted);
    realiser::require(context, store, requests, realiser::realise(context, store, requests)?)?;
    known_paths(store, wanted)
}

/// The paths that an installable stands for, as far as they are known.
fn known_paths(store: &dyn Store, wanted: &DerivedPath) -> anyhow::Result<Vec<StorePath>> {
    let DerivedPath { path: drv, outputs: Some(outputs) } = wanted else {
        return Ok(vec![wanted.path.clone()]);
    };
    let derivation = store.queries().read_derivation(drv)?;
    let known = outputs_of(store, outputs, drv, &derivation)?;
    Ok(known.into_iter().filter_map(|(_, path)| path).collect())
}

/// Which packages of a profile are meant: by name, by expression, or all.
#[derive(Default)]
struct Chosen {
    all: bool,
    expressions: Vec<String>,
}

impl Chosen {
    fn flag(&mut self, given: &Given) -> anyhow::Result<bool> {
        match given.name() {
            "--all" => self.all = true,
            "--regex" => self.expressions.push(given.text()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads the words.
    fn matchers(&self, arguments: &[OsString]) -> anyhow::Result<Matchers<'_>> {
        let names: Vec<String> = arguments.iter().map(|name| text(name)).collect::<anyhow::Result<_>>()?;
        if names.is_empty() && self.expressions.is_empty() && !self.all {
            return usage("No packages specified.");
        }
        if let Some(index) = names.iter().find(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            anyhow::bail!("'nix profile' no longer supports indices ('{index}')");
        }
        let compile = |expression: &String| {
            Regex::new(&format!("^(?i:(?:{expression}))$"))
                .map_err(|error| anyhow::anyhow!("invalid regular expression '{expression}': {error}"))
        };
        let compiled: Vec<Regex> = self.expressions.iter().map(compile).collect::<anyhow::Result<_>>()?;
        Ok(Matchers { chosen: self, names, compiled })
    }
}

/// As [`Chosen`], read.
struct Matchers<'c> {
    chosen: &'c Chosen,
    names: Vec<String>,
    compiled: Vec<Regex>,
}

impl Matchers<'_> {
    /// The names of those in a manifest; what matches nothing is told. `what` is
    /// to be done with them.
    fn choose(&self, context: &Context, dir: &StoreDir, manifest: &Manifest, what: &str) -> BTreeSet<String> {
        let mut matched: BTreeSet<String> = BTreeSet::new();
        if manifest.elements.is_empty() {
            context.ui.warn("There are no packages in the profile.");
        } else {
            for name in &self.names {
                let path = dir.parse(name).ok();
                let hits = manifest.elements.iter().filter(|(there, element)| {
                    *there == name || path.as_ref().is_some_and(|path| element.store_paths.contains(path))
                });
                let hits: Vec<String> = hits.map(|(name, _)| name.clone()).collect();
                if hits.is_empty() {
                    context
                        .ui
                        .warn(&format!("Package name '{name}' does not match any packages in the profile."));
                }
                matched.extend(hits);
            }
            for (expression, compiled) in self.chosen.expressions.iter().zip(&self.compiled) {
                let hits: Vec<&String> =
                    manifest.elements.keys().filter(|name| compiled.is_match(name)).collect();
                matched.extend(hits.iter().copied().cloned());
                if hits.is_empty() {
                    context
                        .ui
                        .warn(&format!("Regex '{expression}' does not match any packages in the profile."));
                }
            }
            if self.chosen.all {
                matched.extend(manifest.elements.keys().cloned());
            }
        }
        if matched.is_empty() {
            context
                .ui
                .warn(&format!("No packages to {what}. Use 'nix profile list' to see the current profile."));
        }
        matched
    }
}

/// `nix profile remove`.
#[derive(Default)]
pub struct Remove {
    profile: ProfileFlag,
    chosen: Chosen,
}

impl Command for Remove {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.chosen.flag(given)? || self.profile.flag(given)?)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let matchers = self.chosen.matchers(arguments)?;
        let (opened, profile) = self.profile.open(context)?;
        let store = &*opened;
        nix_profile::change(store, &profile, |manifest| -> anyhow::Result<bool> {
            let matched = matchers.choose(context, store.dir(), manifest, "remove");
            for name in &matched {
                if let Some(element) = manifest.elements.remove(name) {
                    context.ui.notice(&format!("removing '{}'", element.title(name)));
                }
            }
            if !matched.is_empty() {
                let kept = manifest.elements.len();
                context.ui.notice(&format!("removed {} packages, kept {kept} packages", matched.len()));
            }
            Ok(!matched.is_empty())
        })
    }
}

/// `nix profile upgrade`: of packages that do not come from a flake there is
/// nothing newer.
#[derive(Default)]
pub struct Upgrade {
    profile: ProfileFlag,
    chosen: Chosen,
}

impl Command for Upgrade {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.chosen.flag(given)? || self.profile.flag(given)?)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let matchers = self.chosen.matchers(arguments)?;
        let (opened, profile) = self.profile.open(context)?;
        let store = &*opened;
        let manifest = Manifest::read(store, profile.link())?;
        let matched = matchers.choose(context, store.dir(), &manifest, "upgrade");
        for name in &matched {
            let Some(element) = manifest.elements.get(name) else { continue };
            let title = element.title(name);
            anyhow::ensure!(
                !element.is_of_flake(),
                "package '{name}' comes from a flake ({title}), and flakes are not available yet in this version of \
                 Nival; nothing is upgraded"
            );
            context.ui.warn(&format!(
                "Found package '{title}', but it was not added from a flake, so it can't be checked for upgrades!"
            ));
        }
        if !matched.is_empty() {
            context.ui.warn("Found some packages but none of them could be upgraded.");
        }
        Ok(())
    }
}

/// `nix profile list`.
#[derive(Default)]
pub struct List {
    profile: ProfileFlag,
    style: Style,
}

impl Command for List {
    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.style.flag(given) || self.profile.flag(given)?)
    }

    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let (opened, profile) = self.profile.open(context)?;
        let store = &*opened;
        let manifest = Manifest::read(store, profile.link())?;
        let mut out = Out::new();
        if self.style.json {
            let json = manifest.to_json(store.dir());
            out.line(if self.style.is_pretty() {
                serde_json::to_string_pretty(&json)?
            } else {
                json.to_string()
            })?;
            return out.finish();
        }
        for (number, (name, element)) in manifest.elements.iter().enumerate() {
            if number > 0 {
                out.line("")?;
            }
            let inactive = if element.active { "" } else { " \x1b[31;1m(inactive)\x1b[0m" };
            out.line(format_args!("Name:               \x1b[1m{name}\x1b[0m{inactive}"))?;
            for (label, key) in [
                ("Flake attribute:    ", "attrPath"),
                ("Original flake URL: ", "originalUrl"),
                ("Locked flake URL:   ", "url"),
            ] {
                if let Some(value) = element.other.get(key).and_then(serde_json::Value::as_str) {
                    let outputs = if key == "attrPath" { element.chosen_outputs() } else { String::new() };
                    out.line(format_args!("{label}{value}{outputs}"))?;
                }
            }
            let paths: Vec<String> = element.store_paths.iter().map(|path| store.dir().print(path)).collect();
            out.line(format_args!("Store paths:        {}", paths.join(" ")))?;
        }
        out.finish()
    }
}

/// `nix profile history`.
#[derive(Default)]
pub struct History(ProfileFlag);

impl Command for History {
    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        self.0.flag(given)
    }

    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let (opened, profile) = self.0.open(context)?;
        let store = &*opened;
        let generations = profile.generations()?;
        let mut out = Out::new();
        let mut before: Option<(&Generation, Manifest)> = None;
        for generation in &generations.all {
            if before.is_some() {
                out.line("")?;
            }
            let manifest = Manifest::read(store, &generation.link)?;
            let colour = if Some(generation.number) == generations.current { "32;1" } else { "1" };
            let date = nival::sys::clock::local_time(generation.created);
            let date = date.split(' ').next().unwrap_or_default();
            let from = before.as_ref().map_or(String::new(), |(before, _)| format!(" <- {}", before.number));
            out.line(format_args!("Version \x1b[{colour}m{}\x1b[0m ({date}){from}:", generation.number))?;
            let none = Manifest::default();
            let lines = changes(before.as_ref().map_or(&none, |(_, manifest)| manifest), &manifest);
            if lines.is_empty() {
                out.line("  No changes.")?;
            }
            lines.into_iter().try_for_each(|line| out.line(format_args!("  {line}")))?;
            before = Some((generation, manifest));
        }
        out.finish()
    }
}

/// Versions for people: the empty one, and none at all, have signs of their own.
fn versions(versions: &BTreeSet<String>) -> String {
    if versions.is_empty() {
        return "∅".to_owned();
    }
    let words: Vec<&str> =
        versions.iter().map(|version| if version.is_empty() { "ε" } else { version }).collect();
    words.join(", ")
}

/// What came, went or changed, by name.
fn changes(before: &Manifest, after: &Manifest) -> Vec<String> {
    let names: BTreeSet<&String> = before.elements.keys().chain(after.elements.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        let (old, new) = (before.elements.get(name), after.elements.get(name));
        if old.map(|old| &old.store_paths) == new.map(|new| &new.store_paths) {
            continue;
        }
        let shown = |element: Option<&ProfileElement>| {
            versions(&element.map(ProfileElement::versions).unwrap_or_default())
        };
        let title = new.or(old).map_or_else(|| name.clone(), |element| element.title(name));
        lines.push(format!("{title}: {} -> {}", shown(old), shown(new)));
    }
    lines
}

/// `nix profile diff-closures`.
#[derive(Default)]
pub struct ProfileDiff(ProfileFlag);

impl Command for ProfileDiff {
    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        self.0.flag(given)
    }

    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let (opened, profile) = self.0.open(context)?;
        let store = &*opened;
        let generations = profile.generations()?;
        let mut out = Out::new();
        for (number, pair) in generations.all.windows(2).enumerate() {
            if number > 0 {
                out.line("")?;
            }
            out.line(format_args!("Version {} -> {}:", pair[0].number, pair[1].number))?;
            let path = |generation: &Generation| -> anyhow::Result<StorePath> {
                let target = std::fs::read_link(&generation.link)?;
                Ok(store.dir().parse(&target.to_string_lossy())?)
            };
            for difference in closure_diff::diff(store, &path(&pair[0])?, &path(&pair[1])?)? {
                out.line(format_args!("  {}", show(&difference)))?;
            }
        }
        out.finish()
    }
}

/// A difference in one line.
fn show(difference: &Difference) -> String {
    let mut parts = Vec::new();
    if !difference.gone.is_empty() || !difference.new.is_empty() {
        parts.push(format!("{} → {}", versions(&difference.gone), versions(&difference.new)));
    }
    if let Some(size) = difference.size {
        // What grows is shown as a warning.
        let colour = if size > 0 { "31;1" } else { "32;1" };
        parts.push(format!("\x1b[{colour}m{}\x1b[0m", size_text(size)));
    }
    format!("{}: {}", difference.name, parts.join(", "))
}

/// `nix store diff-closures`.
#[derive(Default)]
pub struct DiffClosures(Selection);

impl Command for DiffClosures {
    fn arity(&self) -> Arity {
        Arity::exactly(2)
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        if given.name() == "--derivation" {
            self.0.derivation = true;
            return Ok(true);
        }
        self.0.installable_flag(given)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let store = &*context.open_store()?;
        let mut paths = Vec::new();
        for wanted in self.0.wanted(context, store.dir(), arguments)? {
            paths.push(if self.0.derivation { deriver(store, &wanted.path)? } else { wanted.path });
        }
        let [before, after] = &paths[..] else { return Ok(()) };
        let mut out = Out::new();
        for difference in closure_diff::diff(store, before, after)? {
            out.line(show(&difference))?;
        }
        out.finish()
    }
}

/// `nix profile rollback`.
#[derive(Default)]
pub struct Rollback {
    profile: ProfileFlag,
    to: Option<u64>,
    dry_run: bool,
}

impl Command for Rollback {
    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--to" => {
                let value = given.text()?;
                self.to = Some(value.parse().map_err(|_| Usage(format!("'{value}' is not an integer")))?);
            }
            "--dry-run" => self.dry_run = true,
            _ => return self.profile.flag(given),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let (store, profile) = self.profile.open(context)?;
        let refused = |generation: &Generation| generation.gone(&*store);
        Ok(profile.switch_generation(self.to, self.dry_run, refused, &*context.ui)?)
    }
}

/// `nix profile wipe-history`.
#[derive(Default)]
pub struct WipeHistory {
    profile: ProfileFlag,
    older_than: Option<i64>,
    dry_run: bool,
}

impl Command for WipeHistory {
    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--older-than" => {
                let age = parse_days(&given.text()?).map_err(|error| Usage(error.to_string()))?;
                self.older_than = Some(age);
            }
            "--dry-run" => self.dry_run = true,
            _ => return self.profile.flag(given),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let (_store, profile) = self.profile.open(context)?;
        let obsolete = self.older_than.map_or(Obsolete::Old, Obsolete::OlderThan);
        profile.delete_generations(&obsolete, self.dry_run, &*context.ui)?;
        Ok(())
    }
}
