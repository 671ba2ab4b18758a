//! `nix-channel`: the user's channels, which are the packages of a profile of their own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nival::model::{DerivedPath, Outputs};
use nival::ops::channel::{list, update};
use nival::ops::profile::Profile;
use nival::ops::realise::Outcome;
use nival::ops::user_env;
use nival::ops::user_env::element::Element;
use nival::progress::Progress as _;

use super::context::Context;
use super::error::{self, Exit, usage};
use super::flags::parse::{Item, Parser, text};
use super::flags::{NIX_CHANNEL, Operation, page};
use super::{nix_env, realiser};
use crate::cli::output::streams::Out;

/// Runs the last operation that the words name; all other words are its arguments.
///
/// # Errors
/// Usage errors, and those of the operation.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let mut operation: Option<&'static Operation> = None;
    let mut arguments = Vec::new();
    let mut parser = Parser::classic(&NIX_CHANNEL, words);
    while let Some(item) = parser.next(&mut context, NIX_CHANNEL.groups)? {
        match item {
            Item::Operation(named) => operation = Some(named),
            Item::Argument(argument) => arguments.push(text(&argument)?),
            Item::Unknown(flag) => return usage(format!("unsupported argument '{flag}'")),
            Item::Flag(given) => return Err(page::not_taken(given.name())),
            Item::Taken => {}
        }
    }
    if context.version_wanted || context.help_wanted {
        return context.is_answered_by(|| page::of_operation(&NIX_CHANNEL, operation).print()).map(drop);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match (operation.map_or("", Operation::name), &arguments[..]) {
        ("--add", [url]) => add(context, url, None),
        ("--add", [url, name]) => add(context, url, Some(name)),
        ("--add", _) => usage("'--add' requires one or two arguments"),
        ("--remove", [name]) => remove(context, name),
        ("--remove", _) => usage("'--remove' requires one argument"),
        ("--list", []) => print(context),
        ("--list", _) => usage("'--list' expects no arguments"),
        ("--update", names) => update(context, names),
        ("--list-generations", []) => of_profile(context, &["--list-generations"]),
        ("--list-generations", _) => usage("'--list-generations' expects no arguments"),
        ("--rollback", []) => of_profile(context, &["--rollback"]),
        ("--rollback", [number]) => of_profile(context, &["--switch-generation", number]),
        ("--rollback", _) => usage("'--rollback' has at most one argument"),
        _ => usage("no command specified"),
    }
}

/// The link of the profile that channels are installed in.
fn profile_link(context: &Context) -> anyhow::Result<PathBuf> {
    let dir = context.profiles_dir();
    Ok(dir.ok_or_else(|| anyhow::anyhow!("cannot determine your home directory"))?.join("channels"))
}

/// Does what `nix-env` does with these words, with the profile of the channels.
fn of_profile(context: Context, words: &[&str]) -> anyhow::Result<()> {
    let profile = profile_link(&context)?;
    let words = ["--profile".into(), profile.into()].into_iter().chain(words.iter().map(Into::into));
    nix_env::run(context, words.collect())
}

fn add(mut context: Context, url: &str, name: Option<&str>) -> anyhow::Result<()> {
    context.end_of_args()?;
    let (name, url) = list::check(url, name)?;
    let file = context.channels_file()?;
    Ok(list::change(&file, |channels| drop(channels.insert(name, url)))?)
}

fn remove(context: Context, name: &str) -> anyhow::Result<()> {
    let file = context.channels_file()?;
    list::change(&file, |channels| drop(channels.remove(name)))?;
    of_profile(context, &["--uninstall", name])
}

fn print(mut context: Context) -> anyhow::Result<()> {
    context.end_of_args()?;
    let mut out = Out::new();
    for (name, url) in list::read(&context.channels_file()?)? {
        out.line(format_args!("{name} {url}"))?;
    }
    out.finish()
}

/// Fetches the channels of these names, or all of them, and installs them together with the
/// others, which stay as they are.
fn update(mut context: Context, names: &[&str]) -> anyhow::Result<()> {
    context.end_of_args()?;
    let channels = list::read(&context.channels_file()?)?;
    let link = profile_link(&context)?;
    let store = &*context.open_store()?;
    context.make_user_links(false, true)?;
    let profile = Profile::new(&link);
    let is_meant = |name: &str| names.is_empty() || names.contains(&name);
    let installed = user_env::installed(store, &link)?;
    for name in channels.keys().filter(|name| !is_meant(name)) {
        kept(&installed, &link, name)?;
    }
    let memory = context.memory_of_downloads(store.dir());
    let means = context.means(memory.as_ref());
    let (mut fetched, mut requests) = (Vec::new(), Vec::new());
    for (name, url) in channels.iter().filter(|(name, _)| is_meant(name)) {
        let update = update::fetch(store, &means, name, url)?;
        requests.push(DerivedPath::built(update.drv_path, Outputs::All));
        fetched.push(update::element(name, update.out));
    }
    for outcome in realiser::realise(&context, store, &requests)? {
        if let Outcome::Failed(error) = outcome {
            // Not the status of a build, which nobody has asked for.
            error::report(&error.into(), &context.program, &context.ui);
            return Err(Exit(1).into());
        }
    }
    context.ui.notice(&format!("unpacking {} channels...", channels.len()));
    let keep_derivations = context.settings.keep_env_derivations();
    user_env::change(store, &profile, keep_derivations, |installed| -> anyhow::Result<_> {
        let element = |name: &String| match fetched.iter().find(|element| element.name == *name) {
            Some(element) => Ok(element.clone()),
            None => kept(&installed, &link, name),
        };
        channels.keys().map(element).collect::<anyhow::Result<Vec<Element>>>().map(Some)
    })?;
    show(&context, &link)
}

/// The channel `name` among those that are installed.
fn kept(installed: &[Element], link: &Path, name: &str) -> anyhow::Result<Element> {
    match installed.iter().find(|element| element.name == name) {
        Some(element) => Ok(update::element(name, element.out_path.clone())),
        None => anyhow::bail!(
            "reading symbolic link \"{}\": No such file or directory",
            link.join(name).display()
        ),
    }
}

/// Makes the link by which expressions and programs find the channels.
fn show(context: &Context, profile: &Path) -> anyhow::Result<()> {
    let link = context.default_expression()?.join("channels");
    if let Some(dir) = link.parent() {
        std::fs::create_dir_all(dir).map_err(nival::sys::PathError::at("creating directory", dir))?;
    }
    match std::fs::read_link(&link) {
        Ok(target) if target == profile => Ok(()),
        _ => Ok(nival::sys::atomic::replace_symlink(&link, profile)?),
    }
}
