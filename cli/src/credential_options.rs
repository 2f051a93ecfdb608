//! How the application proves who it is: the options, and the credential that they make.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use cache_core::secret::Secret;
use clap::Args;
use flows::client::ClientCredential;
use flows::request::{ClientCertificate, FederatedTokenFile};

use crate::arguments::HEADING;
use crate::failure::Failure;
use crate::variable_name::VariableName;

/// At most one kind of credential. None of the options is a credential itself: what stands in a command line can be read by
/// every process of the machine.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CredentialOptions {
    /// The name of the environment variable that holds the application's secret, if it has one
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_CLIENT_SECRET_ENV",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = HEADING
    )]
    pub(crate) client_secret_env: Option<VariableName>,

    /// The application's certificate (PEM), with those that vouch for it; the file may hold its private key too
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_CLIENT_CERTIFICATE",
        allow_hyphen_values = true,
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING
    )]
    pub(crate) client_certificate: Option<CredentialFile>,

    /// The private key (PEM) of --client-certificate, where that file does not hold it; alone for an issuer other than
    /// Microsoft's that knows its public key
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_CLIENT_KEY",
        allow_hyphen_values = true,
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING
    )]
    pub(crate) client_key: Option<CredentialFile>,

    /// A file with an assertion of the application, which somebody renews, such as that of a workload identity
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_CLIENT_ASSERTION_FILE",
        allow_hyphen_values = true,
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING
    )]
    pub(crate) client_assertion_file: Option<CredentialFile>,
}

impl CredentialOptions {
    /// Whether the application has a credential.
    pub(crate) fn is_given(&self) -> bool {
        self.kinds() > 0
    }

    /// The credential.
    pub(crate) fn credential(&self) -> Result<ClientCredential, Failure> {
        // clap checks conflicts within one level of the command line only, and these options may stand at any.
        if self.kinds() > 1 {
            return Err(Failure::usage(
                "more than one credential is given; leave all but one of --client-secret-env, --client-certificate (with \
                 --client-key) and --client-assertion-file out, and their environment variables",
            ));
        }
        if let Some(name) = &self.client_secret_env {
            return secret(name).map(ClientCredential::secret);
        }
        if let Some(file) = &self.client_assertion_file {
            return Ok(ClientCredential::federated_token_file(FederatedTokenFile::new(
                &file.0,
            )));
        }
        let certificate = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), key) => {
                let key = key.as_ref().unwrap_or(certificate);
                ClientCertificate::from_pem(
                    certificate.read("certificate")?.expose(),
                    &key.read("private key")?,
                )
            }
            (None, Some(key)) => ClientCertificate::from_private_key(&key.read("private key")?),
            (None, None) => {
                return Err(Failure::usage(
                    "no credential of the application is given; name the environment variable that holds its secret with \
                     --client-secret-env, or a file with --client-certificate or --client-assertion-file",
                ));
            }
        };
        Ok(ClientCredential::certificate(
            certificate.map_err(flows::Error::from)?,
        ))
    }

    fn kinds(&self) -> usize {
        let signs = self.client_certificate.is_some() || self.client_key.is_some();
        [
            self.client_secret_env.is_some(),
            signs,
            self.client_assertion_file.is_some(),
        ]
        .into_iter()
        .filter(|given| *given)
        .count()
    }
}

/// The path of a file with a credential. clap would repeat a value that begins with a hyphen as an unknown option, and PEM does,
/// so the options accept it and it is refused here.
#[derive(Clone)]
pub(crate) struct CredentialFile(pub(crate) PathBuf);

impl CredentialFile {
    fn read(&self, what: &str) -> Result<Secret, Failure> {
        let text = std::fs::read_to_string(&self.0);
        text.map(Secret::new).map_err(|error| {
            Failure::file(&format!("read the application's {what} in"), &self.0, error).into_usage()
        })
    }
}

impl FromStr for CredentialFile {
    type Err = String;

    /// Refuses what is the credential itself, given in place of its file, so that no error repeats it as a path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_jwt = text.starts_with("eyJ") && text.contains('.');
        // A path that begins with a hyphen is written with `./` before it.
        if text.is_empty() || text.starts_with('-') || text.contains("-----") || is_jwt {
            return Err("give the path of a file; the credential itself is never an argument".to_owned());
        }
        Ok(Self(PathBuf::from(text)))
    }
}

impl fmt::Debug for CredentialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn secret(name: &VariableName) -> Result<Secret, Failure> {
    match std::env::var(name.as_str()) {
        Ok(secret) if !secret.is_empty() => Ok(Secret::new(secret)),
        // Not its name, which may be the secret, given in the wrong place.
        _ => Err(Failure::usage(
            "the environment variable that --client-secret-env or TOKENKEEP_CLIENT_SECRET_ENV names holds no secret",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_in_place_of_its_file_is_refused() {
        for credential in [
            "",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nAQID\n",
            "eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2ln",
        ] {
            let refused = credential.parse::<CredentialFile>().unwrap_err();
            assert!(credential.is_empty() || !refused.contains(credential));
        }
        let file: CredentialFile = "keys/app-1.pem".parse().unwrap();
        assert_eq!(file.0, PathBuf::from("keys/app-1.pem"));
    }
}
