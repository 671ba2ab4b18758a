//! A client of the daemon's protocol that says what no program of ours would.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::common::{Side, World};

/// Numbers of operations.
pub mod op {
    pub const ADD_TO_STORE: u64 = 7;
    pub const BUILD_PATHS: u64 = 9;
    pub const ADD_INDIRECT_ROOT: u64 = 12;
    pub const SET_OPTIONS: u64 = 19;
    pub const COLLECT_GARBAGE: u64 = 20;
    pub const QUERY_SUBSTITUTABLE_PATH_INFOS: u64 = 30;
    pub const QUERY_VALID_PATHS: u64 = 31;
    pub const QUERY_SUBSTITUTABLE_PATHS: u64 = 32;
    pub const VERIFY_STORE: u64 = 35;
    pub const BUILD_DERIVATION: u64 = 36;
    pub const ADD_SIGNATURES: u64 = 37;
    pub const ADD_TO_STORE_NAR: u64 = 39;
    pub const QUERY_MISSING: u64 = 40;
    pub const REGISTER_DRV_OUTPUT: u64 = 42;
    pub const QUERY_REALISATION: u64 = 43;
    pub const ADD_MULTIPLE_TO_STORE: u64 = 44;
    pub const BUILD_PATHS_WITH_RESULTS: u64 = 46;
}

const LAST: u64 = 0x616c_7473;
const ERROR: u64 = 0x6378_7470;
const NEXT: u64 = 0x6f6c_6d67;
const START: u64 = 0x5354_5254;
const STOP: u64 = 0x5354_4f50;
const RESULT: u64 = 0x5253_4c54;

/// The bytes of a message.
#[derive(Debug, Clone, Default)]
pub struct Words(pub Vec<u8>);

impl Words {
    /// A request.
    pub fn of(operation: u64) -> Self {
        Self::default().number(operation)
    }

    pub fn number(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn text(mut self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        self = self.number(text.len() as u64);
        self.0.extend(text);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self
    }

    pub fn texts<T: AsRef<[u8]>>(self, texts: &[T]) -> Self {
        texts.iter().fold(self.number(texts.len() as u64), |words, text| words.text(text))
    }

    /// Contents in one frame.
    pub fn framed(mut self, contents: &[u8]) -> Self {
        self = self.number(contents.len() as u64);
        self.0.extend(contents);
        self.number(0)
    }
}

/// A client, over standard input and output of a daemon's process.
pub struct Peer {
    pub child: Child,
    pub input: ChildStdin,
    pub output: ChildStdout,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// A stranger for whom a daemon of the world's store works.
    pub fn over_stdio(world: &World, side: Side) -> Self {
        Self::over_stdio_as(world, side, "--force-untrusted")
    }

    /// As [`Peer::over_stdio`], trusted or not.
    pub fn over_stdio_as(world: &World, side: Side, trust: &str) -> Self {
        let mut peer = Self::start(Self::daemon(world, side, trust));
        peer.greet();
        peer
    }

    /// A stranger who has said nothing yet.
    pub fn stranger(world: &World) -> Self {
        Self::start(Self::daemon(world, Side::Nival, "--force-untrusted"))
    }

    fn daemon(world: &World, side: Side, trust: &str) -> Command {
        let mut command = world.command(side, "nix-daemon");
        // The reference asks for the feature while it reads the next word.
        command.args(["--extra-experimental-features", "daemon-trust-override", "--stdio", trust]);
        if side == Side::Nival {
            command.arg("--process-ops");
        }
        command
    }

    /// The user `id`, at a daemon's socket.
    pub fn over_socket(world: &World, uri: &str, id: u32) -> Self {
        let mut command = world.command(Side::Nival, "nix-daemon");
        command.arg("--stdio").env("NIX_REMOTE", uri).uid(id).gid(id);
        let mut peer = Self::start(command);
        peer.greet();
        peer
    }

    /// One that has said nothing yet.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn greet(&mut self) {
        self.send(Words::of(0x6e69_7863));
        assert_eq!(self.number(), 0x6478_696f);
        self.number();
        self.send(Words::of(0x125).number(0).number(0));
        self.text();
        self.number();
        self.outcome().unwrap();
    }

    pub fn send(&mut self, words: Words) {
        self.input.write_all(&words.0).unwrap();
        self.input.flush().unwrap();
    }

    pub fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.output.read_exact(&mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn numbers(&mut self, count: u32) {
        for _ in 0..count {
            self.number();
        }
    }

    pub fn text(&mut self) -> String {
        let length = usize::try_from(self.number()).unwrap();
        let mut bytes = vec![0; length.next_multiple_of(8)];
        self.output.read_exact(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn fields(&mut self) {
        for _ in 0..self.number() {
            if self.number() == 0 {
                self.number();
            } else {
                self.text();
            }
        }
    }

    /// Whether what was asked for was done, or why not; without colours.
    pub fn outcome(&mut self) -> Result<(), String> {
        loop {
            match self.number() {
                LAST => return Ok(()),
                NEXT => drop(self.text()),
                START => {
                    self.numbers(3);
                    self.text();
                    self.fields();
                    self.number();
                }
                STOP => self.numbers(1),
                RESULT => {
                    self.numbers(2);
                    self.fields();
                }
                ERROR => {
                    self.text();
                    self.number();
                    self.text();
                    let message = self.text();
                    self.number();
                    for _ in 0..self.number() {
                        self.number();
                        self.text();
                    }
                    return Err(message.replace("\u{1b}[35;1m", "").replace("\u{1b}[0m", ""));
                }
                other => panic!("unexpected message {other:x}"),
            }
        }
    }

    /// Adds contents of a kind and gives their path.
    pub fn add(
        &mut self,
        name: &str,
        kind: &str,
        contents: &[u8],
        references: &[&str],
    ) -> Result<String, String> {
        let request = Words::of(op::ADD_TO_STORE).text(name).text(kind).texts(references).number(0);
        self.send(request.framed(contents));
        self.outcome()?;
        let path = self.text();
        (0..2).for_each(|_| drop(self.text()));
        for _ in 0..self.number() {
            self.text();
        }
        self.numbers(3);
        for _ in 0..self.number() {
            self.text();
        }
        self.text();
        Ok(path)
    }

    /// Adds a text.
    pub fn add_text(&mut self, name: &str, text: &str, references: &[&str]) -> Result<String, String> {
        self.add(name, "text:sha256", text.as_bytes(), references)
    }

    /// Has a derivation's outputs made.
    pub fn build(&mut self, request: &str) -> Result<(), String> {
        self.send(Words::of(op::BUILD_PATHS).texts(&[request]).number(0));
        self.outcome()?;
        assert_eq!(self.number(), 1);
        Ok(())
    }
}
