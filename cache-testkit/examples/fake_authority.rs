//! Runs the fake Entra authority until it is killed, for programs in any language.
//!
//! ```sh
//! cargo run -p cache-testkit --features authority --example fake_authority -- \
//!     --port 8443 --ca-file fake-ca.pem --auto-approve alice@contoso.test
//! ```
//!
//! The first line on standard output is the base URL, printed once the authority answers; with `--port 0`
//! (the default) it tells the port. Usage errors go to standard error, with exit code 2.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to the person who runs it"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use cache_testkit::authority::{Config, FakeAuthority, Lifetimes, Rotation};

const USAGE: &str = "\
usage: fake_authority [option …]
  --port N                  listen on 127.0.0.1:N (default 0: a free port)
  --host NAME               the host in addresses handed out (default 127.0.0.1)
  --plain-http              speak HTTP instead of HTTPS
  --ca-file PATH            write the certificate that clients must trust to PATH (PEM)
  --auto-approve USER       approve device codes in the name of USER
  --pending-polls N         answer N polls with authorization_pending first (default 0)
  --strict-rotation         a refresh token works once; reuse revokes its family
  --access-token-lifetime S seconds (default 3599)
  --refresh-in S            seconds after which a client should refresh ahead (default: not sent)
  --refresh-token-lifetime S seconds (default 90 days)";

struct Options {
    config: Config,
    ca_file: Option<PathBuf>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut config = Config::default();
        let mut lifetimes = Lifetimes::default();
        let (mut ca_file, mut approver, mut pending_polls) = (None, None, 0);
        while let Some(option) = arguments.next() {
            match option.as_str() {
                "--plain-http" => config.https = false,
                "--strict-rotation" => config.rotation = Rotation::Strict,
                "--port" => config.port = value(&option, arguments.next())?,
                "--host" => config.host = value(&option, arguments.next())?,
                "--ca-file" => ca_file = Some(value(&option, arguments.next())?),
                "--auto-approve" => approver = Some(value::<String>(&option, arguments.next())?),
                "--pending-polls" => pending_polls = value(&option, arguments.next())?,
                "--access-token-lifetime" => {
                    lifetimes.access_token = seconds(&option, arguments.next())?;
                    lifetimes.extended = Some(lifetimes.access_token);
                }
                "--refresh-in" => lifetimes.refresh_in = Some(seconds(&option, arguments.next())?),
                "--refresh-token-lifetime" => {
                    lifetimes.refresh_token = seconds(&option, arguments.next())?;
                }
                _ => return Err(format!("unknown option {option}")),
            }
        }
        let mut config = config.lifetimes(lifetimes);
        if let Some(approver) = approver {
            config = config.auto_approve_devices(pending_polls, &approver);
        }
        Ok(Self { config, ca_file })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let authority = match FakeAuthority::start(options.config).await {
        Ok(authority) => authority,
        Err(error) => {
            let cause = std::error::Error::source(&error)
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            eprintln!("{error}{cause}");
            return ExitCode::FAILURE;
        }
    };
    if let Some((path, pem)) = options.ca_file.zip(authority.ca_pem())
        && let Err(error) = std::fs::write(&path, pem)
    {
        eprintln!("cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    // Last, so that whoever waits for this line finds the certificate written.
    println!("{}", authority.base_url());
    std::future::pending().await
}

fn value<T: FromStr>(option: &str, argument: Option<String>) -> Result<T, String> {
    let argument = argument.ok_or_else(|| format!("{option} needs a value"))?;
    argument
        .parse()
        .map_err(|_| format!("{option} cannot be {argument}"))
}

fn seconds(option: &str, argument: Option<String>) -> Result<Duration, String> {
    value(option, argument).map(Duration::from_secs)
}
