//! `nix-daemon`: the local store for other users and other machines.
//!
//! ```text
//! the daemon        listens, looks who comes, and starts for each
//!   └→ a process    of its own (this program with --stdio), which serves it and ends with it
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nival::ops::serve::worker;
use nival::progress::Progress as _;
use nival::settings::table::Effect;
use nival::settings::{Origin, Settings};
use nival::store::LocalStore;
use nival::store::open::uri;
use nival::store::open::uri::{StoreKind, StoreUri};
use nival::sys::interrupt::{self, Interruptible};
use nival::sys::users::{self, User};
use nival::sys::{PathError, errno_text, mount, socket};
use rustix::event::{PollFd, PollFlags, poll};

use super::context::Context;
use super::error::usage;
use super::flags::parse::{Item, Parser};
use super::flags::{self, NIX_DAEMON, page};
use super::served::Served;
use super::signals;
use crate::cli::output::messages::level;
use crate::cli::output::streams::{stdin, stdout_file};

/// Clients that are served at the same time: of one user who is not trusted, and
/// in all. Who is trusted always gets in.
const MAX_OF_USER: usize = 128;
const MAX_CLIENTS: usize = 1024;

/// Which clients are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trusted {
    /// A client is trusted if its user is; over standard input every client is, as it could start
    /// this program itself.
    Default,
    /// Every client is trusted.
    Always,
    /// No client is trusted.
    Never,
}

/// Runs `nix-daemon`.
///
/// # Errors
/// Usage errors, and those of listening and serving.
pub fn run(context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let syntax = Syntax {
        parser: Parser::classic(&NIX_DAEMON, words),
        groups: NIX_DAEMON.groups,
        unrecognised: |flag| NIX_DAEMON.unrecognised(flag),
        help: || page::of_program(&NIX_DAEMON).print(),
    };
    run_with(context, syntax)
}

/// Runs `nix daemon` with the words after it; `help` prints its help.
///
/// # Errors
/// Usage errors, and those of listening and serving.
pub fn run_as_subcommand(
    context: Context,
    words: Vec<OsString>,
    help: fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let syntax = Syntax {
        parser: Parser::nix(words),
        groups: flags::nix::groups(SUBCOMMAND),
        unrecognised: |flag| flags::nix::unrecognised(flags::nix::groups(SUBCOMMAND), flag),
        help,
    };
    run_with(context, syntax)
}

/// The name of the daemon among the subcommands of `nix`.
pub const SUBCOMMAND: &str = "daemon";

/// What differs between `nix-daemon` and `nix daemon`.
struct Syntax {
    parser: Parser,
    groups: &'static [&'static flags::Group],
    unrecognised: fn(&str) -> anyhow::Error,
    help: fn() -> anyhow::Result<()>,
}

fn run_with(mut context: Context, mut syntax: Syntax) -> anyhow::Result<()> {
    let (mut stdio, mut itself, mut trusted) = (false, false, Trusted::Default);
    while let Some(item) = syntax.parser.next(&mut context, syntax.groups)? {
        let given = match item {
            Item::Flag(given) => given,
            Item::Argument(argument) => {
                return usage(format!("unexpected argument '{}'", argument.to_string_lossy()));
            }
            Item::Unknown(flag) => return Err((syntax.unrecognised)(&flag)),
            Item::Operation(_) | Item::Taken => continue,
        };
        match given.name() {
            "--daemon" => {}
            "--stdio" => stdio = true,
            "--process-ops" => itself = true,
            "--force-trusted" => trusted = Trusted::Always,
            "--force-untrusted" => trusted = Trusted::Never,
            "--default-trust" => trusted = Trusted::Default,
            other => return Err(page::not_taken(other)),
        }
    }
    if context.is_answered_by(syntax.help)? {
        return Ok(());
    }
    if stdio {
        return serve_stdio(context, itself, trusted);
    }
    let passed_on = passed_on(&context);
    Daemon { context, passed_on, trusted, children: Vec::new(), waiting: Vec::new() }.run()
}

/// The words that give the processes for clients what the command line of the daemon says about
/// messages and settings, whichever flags said it.
fn passed_on(context: &Context) -> Vec<OsString> {
    /// More changes nothing.
    const MOST_VERBOSE: u32 = 10;
    let verbosity = context.ui.verbosity() - level::INFO;
    let flag = if verbosity > 0 { "--verbose" } else { "--quiet" };
    let times = verbosity.unsigned_abs().min(MOST_VERBOSE) as usize;
    let mut words: Vec<OsString> = std::iter::repeat_n(flag.into(), times).collect();
    words.extend(["--log-format".into(), context.ui.format().name().into()]);
    let acts = |effect| !matches!(effect, Effect::OfLanguage | Effect::Nothing(_));
    // The daemon itself warns once of those that change nothing.
    let given = context.settings.iter().filter(|shown| shown.origin == Origin::CommandLine);
    // `nix` sets it for all of its subcommands, and the processes for clients evaluate nothing.
    let given = given.filter(|shown| shown.row.name != "pure-eval");
    let mut given: Vec<_> = given.filter(|shown| acts(shown.row.effect)).collect();
    // Other settings are known only with the features that they belong to.
    given.sort_by_key(|shown| shown.row.name != "experimental-features");
    for shown in given {
        words.extend(["--option".into(), shown.row.name.into(), shown.value.to_text().into()]);
    }
    words
}

/// Serves one client over standard input and output.
fn serve_stdio(mut context: Context, itself: bool, trusted: Trusted) -> anyhow::Result<()> {
    let uri = StoreUri::parse(context.settings.store_uri(), &context.current_dir)?;
    let uri = uri::resolve(&uri, &context.surroundings())?;
    if let (StoreKind::Daemon(path), false) = (&uri.kind, itself) {
        let path = match path {
            Some(path) => path.clone(),
            None => uri::daemon_socket(&context.surroundings())?,
        };
        anyhow::ensure!(
            trusted != Trusted::Never,
            "'--force-untrusted' needs '--process-ops' here: the daemon at '{}' would trust whom it trusts",
            path.display()
        );
        return forward(&path);
    }
    let (options, warnings) = match uri.kind {
        StoreKind::Daemon(_) => {
            let local = StoreUri { kind: StoreKind::Local(None), ..uri };
            uri::local_options(&local, &context.surroundings())?
        }
        _ => uri::local_options(&uri, &context.surroundings())?,
    };
    warnings.iter().for_each(|warning| context.ui.warn(warning));
    let output = stdout_file().try_clone()?;
    // The client may go while something is being done for it.
    signals::cancel_when_gone(output.try_clone()?)?;
    if trusted == Trusted::Never {
        limit_memory();
    }
    // A client that takes nothing is not to keep locks held.
    let flags = rustix::fs::fcntl_getfl(&output)?;
    rustix::fs::fcntl_setfl(&output, flags | rustix::fs::OFlags::NONBLOCK)?;
    let mut host = Served(&mut context);
    worker::serve(stdin(), Interruptible(output), &mut host, trusted != Trusted::Never, |progress| {
        LocalStore::open(options, progress)
    })?;
    Ok(())
}

/// Whatever a stranger makes this process do, the machine has memory left. All
/// that is known to be held has limits of its own; this is for the rest.
fn limit_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const BASE: u64 = 512 << 20;
    const OF_CORE: u64 = 128 << 20;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let most = BASE.saturating_add(OF_CORE.saturating_mul(cores));
    let now = getrlimit(Resource::Data);
    let most = now.maximum.map_or(most, |limit| limit.min(most));
    // Where it cannot be had, the other limits are there.
    let _ = setrlimit(Resource::Data, Rlimit { current: Some(most), maximum: Some(most) });
}

/// Passes bytes between standard input and output and a daemon's socket.
fn forward(path: &std::path::Path) -> anyhow::Result<()> {
    let stream = socket::connect(path).map_err(|error| {
        anyhow::anyhow!("cannot connect to socket at '{}': {}", path.display(), errno_text(&error))
    })?;
    let mut to_daemon = File::from(OwnedFd::from(stream.try_clone()?));
    let from_daemon = Interruptible(File::from(OwnedFd::from(stream.try_clone()?)));
    let there = std::thread::Builder::new().spawn(interrupt::inherited(move || {
        // Its end is the end of the answers, too.
        let _ = std::io::copy(&mut stdin(), &mut to_daemon);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }))?;
    let mut answers = from_daemon;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match answers.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => {
                interrupt::check()?;
                return Err(error.into());
            }
        };
        nival::sys::write_all(stdout_file(), &buffer[..count])?;
    }
    // Nobody is left to hear what it would still read.
    drop(there);
    Ok(())
}

/// Connections over which nothing was said yet: no program is started for these.
/// Where there are more, as many descriptors might be missing.
const MAX_WAITING: usize = 256;

/// A client that was let in.
struct Client {
    user: u32,
    trusted: bool,
    stream: UnixStream,
}

impl Client {
    /// Whether it has gone without a word.
    fn is_gone(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let mut byte = [0; 1];
        matches!(recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((_, 0)))
    }
}

struct Daemon {
    context: Context,
    passed_on: Vec<OsString>,
    trusted: Trusted,
    /// With the numbers of their users.
    children: Vec<(u32, Child)>,
    waiting: Vec<Client>,
}

impl Daemon {
    fn run(mut self) -> anyhow::Result<()> {
        // First of all: what is opened here must not be taken for what was passed.
        let listeners = self.listeners()?;
        let signals = signals::pipe()?;
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        loop {
            if interrupt::requested() {
                // Clients that are being served are served to their end.
                return Ok(());
            }
            let ready: Vec<bool> = {
                let mut watched = vec![PollFd::new(&signals, PollFlags::IN)];
                watched.extend(listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
                watched.extend(self.waiting.iter().map(|client| PollFd::new(&client.stream, PollFlags::IN)));
                match poll(&mut watched, None) {
                    Ok(_) => watched.iter().map(|watched| !watched.revents().is_empty()).collect(),
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(error) => return Err(std::io::Error::from(error).into()),
                }
            };
            if ready.first() == Some(&true) {
                let mut bytes = [0; 256];
                while (&signals).read(&mut bytes).is_ok_and(|count| count > 0) {}
                self.children.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
            }
            let (at_listeners, at_clients) = ready[1..].split_at(listeners.len());
            // From the end, since those that are served leave the list.
            for (index, _) in at_clients.iter().enumerate().rev().filter(|(_, ready)| **ready) {
                let client = self.waiting.swap_remove(index);
                if !client.is_gone() {
                    self.serve_or_tell(client);
                }
            }
            for (listener, _) in listeners.iter().zip(at_listeners).filter(|(_, ready)| **ready) {
                self.accept(listener);
            }
        }
    }

    /// Those that systemd passes, or the usual one.
    fn listeners(&self) -> anyhow::Result<Vec<UnixListener>> {
        if let Some(count) = self.context.environment.text("LISTEN_FDS") {
            let ours = self.context.environment.text("LISTEN_PID");
            let ours = ours.and_then(|pid| pid.parse().ok()) == Some(std::process::id());
            let count = count.parse().ok().filter(|_| ours);
            let count = count.ok_or_else(|| anyhow::anyhow!("unexpected systemd environment variables"))?;
            return socket::passed(count).map_err(|error| {
                anyhow::anyhow!("cannot use a socket of systemd's: {}", errno_text(&error))
            });
        }
        let path: PathBuf = uri::daemon_socket(&self.context.surroundings())?;
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(PathError::at("creating directory", dir))?;
        }
        let listener = socket::bind_for_all(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
                "cannot bind to socket at '{}': another daemon listens there, or it is no socket",
                path.display()
            ),
            _ => anyhow::anyhow!("cannot bind to socket at '{}': {}", path.display(), errno_text(&error)),
        })?;
        self.context.ui.notice(&format!("listening at '{}'", path.display()));
        Ok(vec![listener])
    }

    fn accept(&mut self, listener: &UnixListener) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(error) => {
                self.context.ui.error(&format!("accepting connection: {}", errno_text(&error)));
                // Most likely too many files are open: some will be closed.
                std::thread::sleep(Duration::from_millis(100));
                return;
            }
        };
        match self.admit(stream) {
            Ok(client) if self.waiting.len() < MAX_WAITING => self.waiting.push(client),
            Ok(client) => self.serve_or_tell(client),
            Err(error) => self.tell(&error),
        }
    }

    fn serve_or_tell(&mut self, client: Client) {
        if let Err(error) = self.serve(client) {
            self.tell(&error);
        }
    }

    fn tell(&self, error: &anyhow::Error) {
        self.context.ui.error(&format!("while processing connection: {}", super::error::text(error)));
    }

    /// Lets a client in, or does not.
    fn admit(&self, stream: UnixStream) -> anyhow::Result<Client> {
        let peer = socket::peer(&stream)?;
        let id = peer.user;
        let user = users::user(id).unwrap_or(User { name: id.to_string(), group: peer.group });
        let settings = &self.context.settings;
        let trusted = match self.trusted {
            Trusted::Always => true,
            Trusted::Never => false,
            Trusted::Default => matches(&user, settings.trusted_users()),
        };
        // What a build leaves running must not reach the store by another way.
        let group = settings.build_users_group();
        anyhow::ensure!(
            id == 0 || group.is_empty() || !users::is_member(&user, group),
            "user '{}' belongs to '{group}', whose members run builds and may not connect",
            user.name
        );
        anyhow::ensure!(
            trusted || is_allowed(&user, settings),
            "user '{}' is not allowed to connect to the Nix daemon",
            user.name
        );
        let pid = peer.process.map_or("unknown".to_owned(), |pid| pid.to_string());
        let suffix = if trusted { " (trusted)" } else { "" };
        self.context.ui.notice(&format!("accepted connection from pid {pid}, user {}{suffix}", user.name));
        let of_user = self.children.iter().filter(|(user, _)| *user == id).count()
            + self.waiting.iter().filter(|client| client.user == id).count();
        let of_all = self.children.len() + self.waiting.len();
        anyhow::ensure!(
            trusted || (of_user < MAX_OF_USER && of_all < MAX_CLIENTS),
            "{} clients are being served already, {of_user} of them of user '{}'",
            of_all,
            user.name
        );
        Ok(Client { user: id, trusted, stream })
    }

    /// Starts what serves a client.
    fn serve(&mut self, client: Client) -> anyhow::Result<()> {
        let Client { user, trusted, stream } = client;
        let (input, output) = (stream.as_fd().try_clone_to_owned()?, OwnedFd::from(stream));
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("nix-daemon")
            .args(&self.passed_on)
            .args(["--stdio", "--process-ops"])
            .arg(if trusted { "--force-trusted" } else { "--force-untrusted" })
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID")
            // What the terminal sends to the daemon is not for its clients.
            .process_group(0)
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output));
        self.children.push((user, mount::outside(&mut command).spawn()?));
        Ok(())
    }
}

/// Whether names of users and, after an `@`, of groups name a user.
fn matches(user: &User, names: &[String]) -> bool {
    names.iter().any(|name| match name.strip_prefix('@') {
        Some(group) => users::is_member(user, group),
        None => name == "*" || *name == user.name,
    })
}

fn is_allowed(user: &User, settings: &Settings) -> bool {
    matches(user, settings.allowed_users())
}
