//! Who we are to S3: the places where the AWS tools look, one after the other.
//!
//! | place | what it is |
//! |---|---|
//! | environment | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` |
//! | profile | `~/.aws/credentials` and `~/.aws/config` |
//! | single sign-on | of a profile |
//! | web identity | `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN` |
//! | process | `credential_process` of a profile |
//! | container | `AWS_CONTAINER_CREDENTIALS_…_URI` |
//! | instance metadata | of EC2, version 2 |

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqsign_aws_v4::{
    AssumeRoleWithWebIdentityCredentialProvider, Credential, ECSCredentialProvider, EnvCredentialProvider,
    IMDSv2CredentialProvider, ProcessCredentialProvider, ProfileCredentialProvider, RequestSigner,
    SSOCredentialProvider,
};
use reqsign_core::{
    CommandExecute, CommandOutput, Context, Error, FileRead, HttpSend, ProvideCredential,
    ProvideCredentialDyn, Result, Signer, StaticEnv,
};

use crate::sys::threads::locked;

/// Longest wait for a service on this machine or network.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// What a place is asked with.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The user's.
    pub home: Option<PathBuf>,
    /// Variables.
    pub variables: HashMap<String, String>,
}

/// What signs requests.
pub fn signer(
    around: Surroundings,
    profile: Option<&str>,
    region: &str,
    certificates: Option<&Path>,
) -> Signer<Credential> {
    // Named for every place that knows profiles.
    let mut around = around;
    if let Some(profile) = profile {
        around.variables.insert("AWS_PROFILE".to_owned(), profile.to_owned());
    }
    let unreadable = Arc::new(Mutex::new(BTreeSet::new()));
    let environment = StaticEnv { home_dir: around.home, envs: around.variables };
    let mut context = Context::new()
        .with_file_read(Files(Arc::clone(&unreadable)))
        .with_env(environment)
        .with_command_execute(Commands);
    let client = reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_secs(1))
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none());
    if let Ok(tls) = crate::http::client::tls(certificates, false)
        && let Ok(client) = client.tls_backend_preconfigured(tls).build()
    {
        context = context.with_http_send(Http(client));
    }
    let mut profiles = ProfileCredentialProvider::new();
    let mut sign_on = SSOCredentialProvider::new();
    let mut process = ProcessCredentialProvider::new();
    if let Some(profile) = profile {
        profiles = profiles.with_profile(profile);
        sign_on = sign_on.with_profile(profile);
        process = process.with_profile(profile);
    }
    let mut places: Vec<Place> = Vec::new();
    // A profile that is named comes before what the environment has.
    if profile.is_none() {
        places.push(("environment", Box::new(EnvCredentialProvider::new())));
    }
    places.push(("profile", Box::new(profiles)));
    places.push(("single sign-on", Box::new(sign_on)));
    places.push(("web identity", Box::new(AssumeRoleWithWebIdentityCredentialProvider::new())));
    places.push(("process", Box::new(process)));
    places.push(("container", Box::new(ECSCredentialProvider::new())));
    places.push(("instance metadata", Box::new(IMDSv2CredentialProvider::new())));
    Signer::new(context, Chain { places, unreadable }, RequestSigner::new("s3", region))
}

type Place = (&'static str, Box<dyn ProvideCredentialDyn<Credential = Credential>>);

/// The places, in their order.
struct Chain {
    places: Vec<Place>,
    /// What is wrong with files that are there.
    unreadable: Arc<Mutex<BTreeSet<String>>>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain")
    }
}

impl ProvideCredential for Chain {
    type Credential = Credential;

    async fn provide_credential(&self, context: &Context) -> Result<Option<Credential>> {
        let mut tried = Vec::new();
        for (name, place) in &self.places {
            match place.provide_credential_dyn(context).await {
                Ok(Some(credential)) => return Ok(Some(credential)),
                Ok(None) => tried.push(format!("{name} (nothing there)")),
                Err(error) => tried.push(format!("{name} ({})", causes(&error))),
            }
        }
        let unreadable = locked(&self.unreadable).clone();
        tried.extend(unreadable);
        Err(Error::credential_invalid(format!("no AWS credentials were found; tried: {}", tried.join(", "))))
    }
}

/// An error and its causes.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}

#[derive(Debug)]
struct Files(Arc<Mutex<BTreeSet<String>>>);

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>> {
        crate::sys::read_configured(Path::new(path), MAX_FILE).map_err(|error| {
            // A link that leads nowhere is there, too.
            if !error.is_not_found() || Path::new(path).is_symlink() {
                locked(&self.0).insert(error.to_string());
            }
            Error::unexpected(error.to_string())
        })
    }
}

#[derive(Debug)]
struct Commands;

impl CommandExecute for Commands {
    async fn command_execute<'a>(&'a self, program: &'a str, args: &'a [&'a str]) -> Result<CommandOutput> {
        let mut command = std::process::Command::new(program);
        command.args(args).stdin(std::process::Stdio::null());
        let output = crate::sys::mount::outside(&mut command)
            .output()
            .map_err(|error| Error::unexpected(format!("running '{program}': {error}")))?;
        Ok(CommandOutput {
            status: output.status.code().unwrap_or(1),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }
}

#[derive(Debug)]
struct Http(reqwest::Client);

impl HttpSend for Http {
    async fn http_send(&self, request: http::Request<bytes::Bytes>) -> Result<http::Response<bytes::Bytes>> {
        let failed = |error: reqwest::Error| Error::unexpected(causes(&error));
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let answer = self.0.execute(request).await.map_err(failed)?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let body = answer.bytes().await.map_err(failed)?;
        response.body(body).map_err(|error| Error::unexpected(error.to_string()))
    }
}
