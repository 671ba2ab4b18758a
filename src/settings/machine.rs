//! What defaults depend on besides the environment: the machine and the user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Warning;
use super::environment::Environment;

/// Facts about the machine and the calling user. Tests build one by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// System type, for instance `x86_64-linux`.
    pub system: String,
    /// CPUs this process may use.
    pub cores: u32,
    /// Other system types it can run.
    pub extra_platforms: Vec<String>,
    /// What it can offer to derivations.
    pub system_features: Vec<String>,
    /// The effective user id, where it can be found out.
    pub user: Option<u32>,
    /// The user's home directory according to the passwd file.
    pub passwd_home: Option<PathBuf>,
    /// The system's bundle of certificates.
    pub certificates: Option<PathBuf>,
}

const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "x86_64"
} else if cfg!(target_arch = "aarch64") {
    "aarch64"
} else if cfg!(target_arch = "riscv64") {
    "riscv64"
} else if cfg!(target_arch = "x86") {
    "i686"
} else {
    "unknown"
};

const OPERATING_SYSTEM: &str = if cfg!(target_os = "macos") {
    "darwin"
} else if cfg!(target_os = "freebsd") {
    "freebsd"
} else {
    "linux"
};

impl Machine {
    /// Looks at the running system. Never fails: what cannot be found out stays empty.
    pub fn detect() -> Machine {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // The owner of a process's directory is its effective user.
        let user = fs::metadata("/proc/self").ok().map(|metadata| metadata.uid());
        Machine {
            system: format!("{ARCHITECTURE}-{OPERATING_SYSTEM}"),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            extra_platforms: extra_platforms(),
            system_features: system_features(),
            user,
            passwd_home: user.and_then(passwd_home),
            certificates: CERTIFICATES.iter().map(PathBuf::from).find(|bundle| bundle.exists()),
        }
    }

    /// Whether the calling user is the superuser.
    pub fn is_root(&self) -> bool {
        self.user == Some(0)
    }

    /// The user's home directory, with a warning when HOME belongs to somebody else and is passed
    /// over for that reason. A HOME that does not exist is taken as it is.
    pub fn home(&self, environment: &Environment) -> (Option<PathBuf>, Option<Warning>) {
        let Some(home) = environment.get("HOME") else {
            return (self.passwd_home.clone(), None);
        };
        let home = PathBuf::from(home);
        let owner = fs::metadata(&home).ok().map(|metadata| metadata.uid());
        match (owner, self.user, &self.passwd_home) {
            (Some(owner), Some(user), Some(passwd)) if owner != user => {
                let warning = Warning::ForeignHome {
                    home: home.to_string_lossy().into_owned(),
                    passwd: passwd.to_string_lossy().into_owned(),
                };
                (Some(passwd.clone()), Some(warning))
            }
            _ => (Some(home), None),
        }
    }
}

/// Where distributions keep the certificates; the first is the reference's choice.
const CERTIFICATES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// The home directory in the line of /etc/passwd (`name:password:uid:gid:comment:home:shell`)
/// that has this uid.
fn passwd_home(user: u32) -> Option<PathBuf> {
    let text = fs::read("/etc/passwd").ok()?;
    home_in_passwd(&String::from_utf8_lossy(&text), user)
}

fn home_in_passwd(text: &str, user: u32) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [_, _, uid, _, _, home, _] if uid.parse() == Ok(user) => Some(PathBuf::from(home)),
            _ => None,
        }
    })
}

fn system_features() -> Vec<String> {
    let mut features = vec!["benchmark", "big-parallel", "nixos-test", "uid-range"];
    // Opening tells more surely than the mode whether this user may start virtual machines.
    if fs::OpenOptions::new().read(true).write(true).open(Path::new("/dev/kvm")).is_ok() {
        features.push("kvm");
    }
    features.into_iter().map(str::to_owned).collect()
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn extra_platforms() -> Vec<String> {
    use std::arch::is_x86_feature_detected as has;

    let mut platforms = vec!["i686-linux".to_owned(), "x86_64-v1-linux".to_owned()];
    // The levels of the x86-64 psABI; each contains the one before.
    let second = has!("cmpxchg16b")
        && has!("popcnt")
        && has!("sse3")
        && has!("sse4.1")
        && has!("sse4.2")
        && has!("ssse3");
    let third = second
        && has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt")
        && has!("movbe");
    let fourth = third
        && has!("avx512f")
        && has!("avx512bw")
        && has!("avx512cd")
        && has!("avx512dq")
        && has!("avx512vl");
    for (level, present) in [(2, second), (3, third), (4, fourth)] {
        if present {
            platforms.push(format!("x86_64-v{level}-linux"));
        }
    }
    platforms
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn extra_platforms() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detection_finds_a_system() {
        let machine = Machine::detect();
        assert!(machine.cores > 0);
        assert!(machine.system.contains('-'));
    }

    #[test]
    fn passwd_lines() {
        let text = "root:x:0:0::/root:/bin/sh\nbroken\na:x:notanumber:1::/a:/s\nu:x:7:7:U:/home/u:/s\n";
        assert_eq!(home_in_passwd(text, 7), Some(PathBuf::from("/home/u")));
        assert_eq!(home_in_passwd(text, 8), None);
    }

    #[test]
    fn a_foreign_home_is_passed_over() {
        let root_owned = fs::metadata("/").map(|metadata| metadata.uid());
        let machine = Machine {
            user: root_owned.ok().map(|owner| owner.wrapping_add(1)),
            passwd_home: Some(PathBuf::from("/home/u")),
            ..Machine::default()
        };
        let (home, warning) = machine.home(&[("HOME", "/")].into_iter().collect());
        assert_eq!(home, Some(PathBuf::from("/home/u")));
        assert_eq!(
            warning.map(|warning| warning.to_string()).unwrap_or_default(),
            "$HOME ('/') is not owned by you, falling back to the one defined in the 'passwd' \
             file ('/home/u')"
        );
        let (home, warning) = machine.home(&[("HOME", "/no/such/home")].into_iter().collect());
        assert_eq!(home, Some(PathBuf::from("/no/such/home")));
        assert_eq!(warning, None);
    }
}
