//! A real S3 server (OpenStack Swift).

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::common::World;
use crate::servers::free_port;

/// A server of buckets; ended with it.
pub struct Swift {
    child: Child,
    stdin: Option<ChildStdin>,
    port: u16,
}

impl Swift {
    /// Starts one with these buckets; `None` (and a word why) where there is none.
    pub fn start(world: &World, buckets: &[&str]) -> Option<Self> {
        let installed = ["/usr/bin/swift-proxy-server", "/usr/bin/swift-object-server"];
        if installed.iter().any(|path| !Path::new(path).exists()) || !rustix::process::getuid().is_root() {
            crate::common::skip_missing("OpenStack Swift is not installed, or this is not root");
            return None;
        }
        // Three more ports follow it.
        let port = free_port().min(60_000);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/s3-server");
        let mut child = Command::new(script)
            .args([&port.to_string(), &world.text("swift")])
            .args(buckets)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let stdin = child.stdin.take();
        Some(Self { child, stdin, port })
    }

    /// The address of a bucket that everybody may read, without the protocol of
    /// S3.
    pub fn address(&self, bucket: &str) -> String {
        format!("http://127.0.0.1:{}/v1/AUTH_test/{bucket}", self.port)
    }

    /// The URI of a bucket as a store.
    pub fn uri(&self, bucket: &str, parameters: &str) -> String {
        format!("s3://{bucket}?endpoint=127.0.0.1:{}&scheme=http{parameters}", self.port)
    }
}

impl Drop for Swift {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// Lets the programs of a world log in with a key.
pub fn with_key(world: &mut World, key: &str, secret: &str) {
    world.variables.retain(|(name, _)| !name.starts_with("AWS_"));
    // No waiting for the metadata of a machine elsewhere.
    for (name, value) in
        [("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_EC2_METADATA_DISABLED", "true")]
    {
        world.variables.push((name.to_owned(), value.to_owned()));
    }
}
