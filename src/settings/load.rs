//! Loading settings: the order of sources, include directives, and the process's environment.
//!
//! From low to high precedence:
//! 1. built-in defaults, some of which depend on the machine, on directories and on variables
//! 2. nix.conf in NIX_CONF_DIR (/etc/nix)
//! 3. the user's files (`Environment::user_conf_files`), the last of them first
//! 4. NIX_CONFIG, the text of a configuration file
//! 5. NIX_PATH, for `nix-path` only
//! 6. the command line, through `flags` and `Settings::set_option`
//!
//! This is the only place of the library that reads the process's environment.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::conf::{self, Entry, SyntaxError};
use super::environment::{Environment, RelativeDirectory};
use super::machine::Machine;
use super::value::{Context, StoreUriParser, Value, ValueError, lexically_normal};
use super::{Origin, Settings};

/// How deep files may include each other. The reference has no limit and overflows its stack.
const MAX_INCLUDE_DEPTH: usize = 32;
/// How many files one source may include; without it two files including each other twice would
/// be read 2³² times.
const MAX_INCLUDED_FILES: usize = 1024;
/// How long a configuration file may be, which keeps us from reading /dev/zero to its end.
const MAX_FILE_SIZE: u64 = 16 << 20;

/// Configuration that cannot be used. The first five messages are those of the reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A line that does not follow the grammar.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A bad value in a file or variable.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// A bad value, and where it stands.
    #[error("{reason}\n       in {place}")]
    Placed {
        /// What is wrong with it.
        reason: ValueError,
        /// File, line and the assignment.
        place: String,
    },
    /// An included file is missing.
    #[error("file \"{path}\" included from \"{origin}\" not found")]
    IncludeNotFound {
        /// The missing file.
        path: String,
        /// The including file.
        origin: String,
    },
    /// An included file with a relative name, in a text that lies in no known directory.
    #[error("not an absolute path: \"{path}\"")]
    RelativeInclude {
        /// The name.
        path: String,
    },
    /// A directory variable holds a relative path.
    #[error(transparent)]
    RelativeDirectory(#[from] RelativeDirectory),
    /// Files include each other without end.
    #[error("file \"{path}\" included from \"{origin}\" is nested more than {limit} levels deep", limit = MAX_INCLUDE_DEPTH)]
    IncludeTooDeep {
        /// The file not read any more.
        path: String,
        /// The including file.
        origin: String,
    },
    /// One source includes too many files.
    #[error("file \"{path}\" included from \"{origin}\" is one of more than {limit} included files", limit = MAX_INCLUDED_FILES)]
    TooManyIncludes {
        /// The file not read any more.
        path: String,
        /// The including file.
        origin: String,
    },
    /// A file is too long to be a configuration file.
    #[error("configuration file \"{path}\" is longer than {limit} bytes", limit = MAX_FILE_SIZE)]
    TooLong {
        /// The file.
        path: String,
    },
    /// Reading failed for an unusual reason.
    #[error("cannot read configuration file \"{path}\": {}", crate::sys::errno_text(reason))]
    Read {
        /// The file.
        path: String,
        /// What went wrong.
        reason: io::Error,
    },
}

impl LoadError {
    /// Whether the reference adds `Try '… --help'`.
    pub fn is_usage(&self) -> bool {
        match self {
            LoadError::Syntax(_) => true,
            LoadError::Value(error) | LoadError::Placed { reason: error, .. } => error.is_usage(),
            _ => false,
        }
    }
}

impl Environment {
    /// The variables of this process.
    pub fn from_process() -> Environment {
        std::env::vars_os().collect()
    }
}

/// Loads all sources but the command line.
///
/// `store_uri` is the parser of the store floor; `value::accept_store_uri` does without it.
/// Warnings wait in the result, also about unknown settings. Missing files are skipped, and so
/// are files without read permission, as in the reference.
pub fn load(
    environment: &Environment,
    machine: &Machine,
    store_uri: StoreUriParser,
) -> Result<Settings, LoadError> {
    let directories = environment.directories()?;
    let mut settings = Settings::with_context(Context { store_uri, cores: machine.cores });
    set_machine_defaults(&mut settings, machine, &directories.conf);
    set_environment_defaults(&mut settings, environment, store_uri)?;

    apply_file(&mut settings, &directories.conf.join("nix.conf"), Origin::System)?;

    let home = if environment.conf_files_need_home() {
        let (home, warning) = machine.home(environment);
        if let Some(warning) = warning {
            settings.warn_once(warning);
        }
        home
    } else {
        None
    };
    for file in environment.user_conf_files(home.as_deref()).iter().rev() {
        apply_file(&mut settings, file, Origin::User)?;
    }

    if let Some(text) = environment.text("NIX_CONFIG") {
        let mut reader = Reader::default();
        // A text from a variable lies in no directory, so its includes must be absolute.
        reader.text(&text, "NIX_CONFIG", None, 0)?;
        apply(&mut settings, &reader.assignments, Origin::Environment)?;
    }
    if let Some(elements) = environment.lookup_path() {
        settings.set("nix-path", &elements.join(" "), Origin::Environment)?;
    }
    Ok(settings)
}

/// Makes assignments in their order, those of features first (see [`Settings::apply`]).
fn apply(settings: &mut Settings, assignments: &[Assignment], origin: Origin) -> Result<(), LoadError> {
    let (features, others): (Vec<_>, Vec<_>) =
        assignments.iter().partition(|found| super::is_of_features(&found.name));
    for found in features.into_iter().chain(others) {
        settings.set(&found.name, &found.value, origin).map_err(|reason| {
            let Assignment { name, value, file, line } = found;
            LoadError::Placed { reason, place: format!("{file}, line {line}: {name} = {value}") }
        })?;
    }
    Ok(())
}

fn set_machine_defaults(settings: &mut Settings, machine: &Machine, conf: &Path) {
    let file = |name: &str| conf.join(name).to_string_lossy().into_owned();
    settings.set_default("netrc-file", Value::Text(file("netrc")));
    settings.set_default("builders", Value::Text(format!("@{}", file("machines"))));
    settings.set_default("system", Value::Text(machine.system.clone()));
    let platforms = machine.extra_platforms.iter().cloned().collect();
    settings.set_default("extra-platforms", Value::Set(platforms));
    let features = machine.system_features.iter().cloned().collect();
    settings.set_default("system-features", Value::Set(features));
    let certificates = machine.certificates.as_ref().map(|bundle| bundle.to_string_lossy().into_owned());
    settings.set_default("ssl-cert-file", Value::OptionalText(certificates));
    if machine.is_root() {
        settings.set_initial("build-users-group", Value::Text("nixbld".to_owned()));
    }
}

fn set_environment_defaults(
    settings: &mut Settings,
    environment: &Environment,
    store_uri: StoreUriParser,
) -> Result<(), LoadError> {
    if let Some(remote) = environment.text("NIX_REMOTE").filter(|remote| !remote.is_empty()) {
        let Some(uri) = store_uri(&remote) else {
            return Err(LoadError::Value(ValueError::Store { value: remote }));
        };
        settings.set_default("store", Value::Text(uri));
    }
    if let Some(bundle) =
        environment.non_empty("NIX_SSL_CERT_FILE").or_else(|| environment.non_empty("SSL_CERT_FILE"))
    {
        // Taken as written, unlike the setting.
        let bundle = bundle.to_string_lossy().into_owned();
        settings.set_initial("ssl-cert-file", Value::OptionalText(Some(bundle)));
    }
    if environment.is_on("NIX_ABORT_ON_WARN") {
        settings.set_initial("abort-on-warn", Value::Bool(true));
    }
    if environment.is_on("NIX_IGNORE_SYMLINK_STORE") {
        settings.set_initial("allow-symlinked-store", Value::Bool(true));
    }
    Ok(())
}

fn apply_file(settings: &mut Settings, path: &Path, origin: Origin) -> Result<(), LoadError> {
    if let Some(text) = read_file(path)? {
        let mut reader = Reader::default();
        reader.text(&text, &path.to_string_lossy(), path.parent(), 0)?;
        apply(settings, &reader.assignments, origin)?;
    }
    Ok(())
}

/// Collects the assignments of one source and all it includes.
#[derive(Default)]
struct Reader {
    assignments: Vec<Assignment>,
    included: usize,
}

/// One assignment, and where it stands.
struct Assignment {
    name: String,
    value: String,
    file: String,
    line: usize,
}

impl Reader {
    fn text(
        &mut self,
        text: &str,
        origin: &str,
        directory: Option<&Path>,
        depth: usize,
    ) -> Result<(), LoadError> {
        for entry in conf::parse(text, origin)? {
            match entry {
                Entry::Assignment { name, value, line } => {
                    self.assignments.push(Assignment { name, value, file: origin.to_owned(), line });
                }
                Entry::Include { file, required, .. } => {
                    let path = included_path(&file, directory)?;
                    self.include(&path, origin, required, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn include(&mut self, path: &Path, origin: &str, required: bool, depth: usize) -> Result<(), LoadError> {
        let shown = path.to_string_lossy().into_owned();
        if !exists(path) {
            if required {
                return Err(LoadError::IncludeNotFound { path: shown, origin: origin.to_owned() });
            }
            return Ok(());
        }
        if depth > MAX_INCLUDE_DEPTH {
            return Err(LoadError::IncludeTooDeep { path: shown, origin: origin.to_owned() });
        }
        self.included += 1;
        if self.included > MAX_INCLUDED_FILES {
            return Err(LoadError::TooManyIncludes { path: shown, origin: origin.to_owned() });
        }
        match read_file(path)? {
            Some(text) => self.text(&text, &shown, path.parent(), depth),
            None => Ok(()),
        }
    }
}

/// Where an included file lies. It must be absolute or stand in a file with an absolute name.
fn included_path(file: &str, directory: Option<&Path>) -> Result<PathBuf, LoadError> {
    let joined = directory.map_or_else(|| PathBuf::from(file), |directory| directory.join(file));
    // The reference names the file as written, not the joined path.
    lexically_normal(&joined).ok_or_else(|| LoadError::RelativeInclude { path: file.to_owned() })
}

/// Whether there is anything by that name, be it unreadable or a symlink into nowhere.
fn exists(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => !is_missing(&error),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The text of a file, bytes that are not UTF-8 replaced; nothing if it cannot be read.
fn read_file(path: &Path) -> Result<Option<String>, LoadError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes));
    let shown = || path.to_string_lossy().into_owned();
    match read {
        Ok(_) if bytes.len() as u64 > MAX_FILE_SIZE => Err(LoadError::TooLong { path: shown() }),
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if is_missing(&error) => Ok(None),
        // A file the user may not read, or a directory, counts as empty, as in the reference: the
        // system's nix.conf may well hold secrets.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory) =>
        {
            Ok(None)
        }
        Err(reason) => Err(LoadError::Read { path: shown(), reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Warning;
    use super::super::value::accept_store_uri;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A directory with some files, removed at the end of the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(files: &[(&str, &str)]) -> Scratch {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("nival-settings-{}-{number}", std::process::id());
            let root = std::env::temp_dir().join(name);
            for (file, text) in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(path, text).expect("a file");
            }
            Scratch(root)
        }

        fn path(&self, file: &str) -> String {
            self.0.join(file).to_string_lossy().into_owned()
        }

        /// Loads with `conf` as NIX_CONF_DIR and no other files but those given by variables.
        fn load(&self, variables: &[(&str, String)]) -> Result<Settings, LoadError> {
            let base = [("NIX_CONF_DIR", self.path("conf")), ("XDG_CONFIG_DIRS", String::new())];
            let environment: Environment = base.iter().chain(variables).cloned().collect();
            load(&environment, &Machine::default(), accept_store_uri)
        }

        fn shown(&self, variables: &[(&str, String)], name: &str) -> String {
            match self.load(variables) {
                Ok(settings) => settings.value(name).map(Value::to_text).unwrap_or_default(),
                Err(error) => format!("error: {error}"),
            }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // A leftover directory in /tmp does no harm.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn precedence() {
        let scratch = Scratch::new(&[
            ("conf/nix.conf", "bash-prompt = system\n"),
            ("dirs/nix/nix.conf", "bash-prompt = dirs\n"),
            ("xdg/nix/nix.conf", "bash-prompt = xdg\n"),
            ("a", "bash-prompt = a\n"),
            ("b", "bash-prompt = b\ncores = 7\n"),
        ]);
        let mut variables = vec![("HOME", "/no/such/home".to_owned())];
        assert_eq!(scratch.shown(&variables, "bash-prompt"), "system");
        variables.push(("XDG_CONFIG_DIRS", scratch.path("dirs")));
        assert_eq!(scratch.shown(&variables, "bash-prompt"), "dirs");
        variables.push(("XDG_CONFIG_HOME", scratch.path("xdg")));
        assert_eq!(scratch.shown(&variables, "bash-prompt"), "xdg");
        let files = format!("{}:/no/such:{}", scratch.path("a"), scratch.path("b"));
        variables.push(("NIX_USER_CONF_FILES", files));
        assert_eq!(scratch.shown(&variables, "bash-prompt"), "a");
        assert_eq!(scratch.shown(&variables, "cores"), "7");
        variables.push(("NIX_CONFIG", "bash-prompt = text\nbash-prompt = late".to_owned()));
        assert_eq!(scratch.shown(&variables, "bash-prompt"), "late");
    }

    #[test]
    fn includes_count_where_they_stand() {
        let scratch = Scratch::new(&[
            ("conf/nix.conf", "cores = 1\ninclude ../more/a\n!include nope\ntimeout = 1\n"),
            ("more/a", "cores = 2\ntimeout = 2\ninclude b\n"),
            ("more/b", "log-lines = 2\n"),
        ]);
        assert_eq!(scratch.shown(&[], "cores"), "2");
        assert_eq!(scratch.shown(&[], "timeout"), "1");
        assert_eq!(scratch.shown(&[], "log-lines"), "2");
    }

    #[test]
    fn faulty_files() {
        let scratch = Scratch::new(&[("conf/nix.conf", "include sub/../nope\n")]);
        let expected = format!(
            "error: file \"{}\" included from \"{}\" not found",
            scratch.path("conf/nope"),
            scratch.path("conf/nix.conf")
        );
        assert_eq!(scratch.shown(&[], "cores"), expected);

        let scratch = Scratch::new(&[("conf/nix.conf", "include more\n"), ("conf/more", "cores 3\n")]);
        let error = scratch.load(&[]).expect_err("faulty");
        assert!(error.is_usage());
        let path = scratch.path("conf/more");
        assert_eq!(
            error.to_string(),
            format!("syntax error in configuration line 'cores 3' in \"{path}\"\n       at line 1")
        );

        // A bad value is told with its place, also when another file includes it.
        let conf = ("conf/nix.conf", "timeout = 1\ninclude more\n");
        let scratch = Scratch::new(&[conf, ("conf/more", "\nmax-jobs  = many # x\n")]);
        let place = scratch.path("conf/more");
        assert_eq!(
            scratch.shown(&[], "cores"),
            format!(
                "error: configuration setting 'max-jobs' should be 'auto' or an integer\n       in {place}, line 2: max-jobs = many"
            )
        );
        let variables = [("NIX_CONFIG", "cores = 1\ncores = x".to_owned())];
        assert_eq!(
            Scratch::new(&[]).shown(&variables, "cores"),
            "error: setting 'cores' has invalid value 'x'\n       in NIX_CONFIG, line 2: cores = x"
        );

        let scratch = Scratch::new(&[]);
        let variables = [("NIX_CONFIG", "!include d/a".to_owned())];
        assert_eq!(scratch.shown(&variables, "cores"), "error: not an absolute path: \"d/a\"");
        let variables = [("NIX_CONFIG", "cores".to_owned())];
        assert_eq!(
            scratch.shown(&variables, "cores"),
            "error: syntax error in configuration line 'cores' in \"NIX_CONFIG\"\n       at line 1"
        );
        let variables = [("NIX_REMOTE", "blah".to_owned())];
        assert_eq!(scratch.shown(&variables, "cores"), "error: Cannot parse Nix store 'blah'");
    }

    #[test]
    fn cycles_end() {
        let scratch = Scratch::new(&[("conf/nix.conf", "include nix.conf\n")]);
        assert!(matches!(scratch.load(&[]), Err(LoadError::IncludeTooDeep { .. })));
        let many = "include /dev/null\n".repeat(2000);
        let scratch = Scratch::new(&[("conf/nix.conf", many.as_str())]);
        assert!(matches!(scratch.load(&[]), Err(LoadError::TooManyIncludes { .. })));
        let scratch = Scratch::new(&[("conf/nix.conf", "include /dev/zero\n")]);
        assert!(matches!(scratch.load(&[]), Err(LoadError::TooLong { .. })));
        // A directory counts as an empty file.
        let scratch = Scratch::new(&[("conf/nix.conf", "include .\ncores = 4\n")]);
        assert_eq!(scratch.shown(&[], "cores"), "4");
    }

    #[test]
    fn variables_give_defaults() {
        let scratch = Scratch::new(&[("conf/nix.conf", "nix-path = q\n")]);
        let variables = [
            ("NIX_REMOTE", "daemon".to_owned()),
            ("NIX_PATH", "a:b=c".to_owned()),
            ("NIX_SSL_CERT_FILE", String::new()),
            ("SSL_CERT_FILE", "/certs".to_owned()),
            ("NIX_ABORT_ON_WARN", "1".to_owned()),
        ];
        assert_eq!(scratch.shown(&variables, "store"), "daemon");
        assert_eq!(scratch.shown(&variables, "nix-path"), "a b=c");
        assert_eq!(scratch.shown(&variables, "ssl-cert-file"), "/certs");
        assert_eq!(scratch.shown(&variables, "abort-on-warn"), "true");
        assert_eq!(scratch.shown(&variables, "netrc-file"), scratch.path("conf/netrc"));
        let settings = scratch.load(&variables).expect("valid");
        let overridden: Vec<_> = settings.overridden().map(|(name, _)| name).collect();
        assert_eq!(overridden, ["nix-path"]);
    }

    #[test]
    fn odd_bytes_are_read() {
        let scratch = Scratch::new(&[("conf/nix.conf", "")]);
        fs::write(scratch.path("conf/nix.conf"), b"\xff\xfe = \xff\nbash-prompt = \xff\n").expect("a file");
        let mut settings = scratch.load(&[]).expect("valid");
        assert_eq!(settings.value("bash-prompt").map(Value::to_text).as_deref(), Some("\u{fffd}"));
        assert_eq!(settings.take_unknown(), [Warning::UnknownSetting("\u{fffd}\u{fffd}".to_owned())]);
    }
}
