//! Stores behind a daemon or a real sshd, each with its own directory and the
//! names of the world's store.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::{Side, World};
use crate::data;
use crate::servers::free_port;

/// The URI of a second store of a world: the same names, other places.
pub fn second_store(world: &World, name: &str) -> String {
    let dir = world.text(name);
    format!("local?real={dir}/store&state={dir}/var&log={dir}/log")
}

/// Where a path of a second store lies.
pub fn real(world: &World, name: &str, path: &str) -> std::path::PathBuf {
    world.path(name).join("store").join(Path::new(path).file_name().unwrap())
}

/// A daemon over a second store; ended when dropped.
pub struct Daemon {
    child: Child,
    /// Its URI for clients.
    pub uri: String,
}

impl Daemon {
    /// Starts one over the store `name`.
    pub fn start(world: &World, side: Side, name: &str, args: &[&str]) -> Self {
        Self::start_program(world, side, name, "nix-daemon", args)
    }

    /// As [`Daemon::start`], of another program.
    pub fn start_program(world: &World, side: Side, name: &str, program: &str, args: &[&str]) -> Self {
        std::fs::create_dir_all(world.path(name)).unwrap();
        let dir = world.text(name);
        // The reference's processes for clients open the store before anything
        // else, and get into each other's way where there is none yet.
        world.run(Side::Nival, "nix-store", &["--store", &second_store(world, name), "--init"]).ok();
        let socket = world.path(name).join("socket");
        let log = std::fs::File::create(world.path(name).join("daemon.log")).unwrap();
        let mut command = world.command(side, program);
        command
            .args(args)
            .env("NIX_REMOTE", second_store(world, name))
            .env("NIX_STATE_DIR", format!("{dir}/var"))
            .env("NIX_LOG_DIR", format!("{dir}/log"))
            .env("NIX_DAEMON_SOCKET_PATH", &socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap();
        let daemon = Self {
            child,
            uri: format!("unix://{}?real={dir}/store&state={dir}/var&log={dir}/log", socket.display()),
        };
        data::wait_until("the daemon's socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        daemon
    }
}

impl Daemon {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A real sshd on loopback, with its own keys and configuration; ended when
/// dropped. Each host that a client can name is one program over one store.
pub struct Sshd {
    child: Child,
    dir: String,
    hosts: String,
    port: u16,
}

impl Sshd {
    /// Starts one; `None` (with a word why) where there is none.
    pub fn start(world: &World) -> Option<Self> {
        let program = "/usr/sbin/sshd";
        if !Path::new(program).exists() {
            crate::common::skip_missing("sshd is not installed");
            return None;
        }
        let dir = world.text("ssh");
        std::fs::create_dir_all(&dir).unwrap();
        keygen(&format!("{dir}/host-key"));
        let port = free_port();
        let conf = world.write(
            "ssh/sshd_config",
            format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {dir}/host-key\nPidFile {dir}/pid\n\
                 AuthorizedKeysFile {dir}/authorized_keys\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
                 PrintMotd no\nUseDNS no\nMaxStartups 100\n"
            ),
        );
        let key = std::fs::read_to_string(format!("{dir}/host-key.pub")).unwrap();
        world.write("ssh/known_hosts", format!("[127.0.0.1]:{port} {key}"));
        world.write("ssh/authorized_keys", "");
        if rustix::process::getuid().is_root() {
            // It insists on this place.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let mut command = Command::new(program);
        command.args(["-D", "-f", conf.to_str().unwrap(), "-E", &format!("{dir}/log")]).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        let sshd = Self { child, dir, hosts: String::new(), port };
        data::wait_until("sshd", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(sshd)
    }

    /// Adds a host where the programs of a side work on the store `name`.
    pub fn add_host(&mut self, world: &World, name: &str, side: Side) {
        let (dir, port) = (&self.dir, self.port);
        keygen(&format!("{dir}/key-{name}"));
        let mut script = "#!/bin/sh\nexec env -i".to_owned();
        let mut variables = vec![
            ("PATH".to_owned(), format!("{}:/usr/bin:/bin", world.programs(side).display())),
            ("NIX_REMOTE".to_owned(), second_store(world, name)),
            ("HOME".to_owned(), world.text("home")),
        ];
        for (variable, place) in [("STORE", "store"), ("CONF", "etc")] {
            variables.push((format!("NIX_{variable}_DIR"), world.text(place)));
        }
        variables.push(("NIX_STATE_DIR".to_owned(), world.text(format!("{name}/var"))));
        for (variable, value) in variables {
            script += &format!(" '{variable}={value}'");
        }
        script += " /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n";
        let command = world.write(format!("ssh/run-{name}"), script);
        std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755)).unwrap();
        let key = std::fs::read_to_string(format!("{dir}/key-{name}.pub")).unwrap();
        let mut keys = std::fs::read_to_string(format!("{dir}/authorized_keys")).unwrap();
        keys += &format!("restrict,command=\"{}\" {key}", command.display());
        std::fs::write(format!("{dir}/authorized_keys"), keys).unwrap();
        self.hosts += &format!(
            "Host {name}\n HostName 127.0.0.1\n Port {port}\n IdentityFile {dir}/key-{name}\n \
             UserKnownHostsFile {dir}/known_hosts\n StrictHostKeyChecking yes\n IdentitiesOnly yes\n \
             IdentityAgent none\n BatchMode yes\n"
        );
        world.write("ssh/config", &self.hosts);
    }

    /// The parameters of a URI by which the built-in client logs in to a host,
    /// and `HOST:PORT`.
    pub fn built_in(&self, name: &str) -> (String, String) {
        (format!("ssh-key={}/key-{name}", self.dir), format!("127.0.0.1:{}", self.port))
    }

    /// The line of `known_hosts` with the machine's key.
    pub fn known_host(&self) -> String {
        std::fs::read_to_string(format!("{}/known_hosts", self.dir)).unwrap()
    }

    /// What a client needs in `NIX_SSHOPTS`.
    pub fn options(&self) -> String {
        format!("-F {}/config", self.dir)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(file: &str) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", file]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
